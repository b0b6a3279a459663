//! Much data, many files, many sessions: pipes, rsync, scp, git, sshfs, for somebody with a shell.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::{Desk, PATIENCE, version};
use crate::harness::{
    Identity, Waiting, checksum, finish, make_tree, owners, random_file, signal, ssh, ssh_line, sshfs, wait_until,
};
use crate::programs::run;

as_root_and_rootless!(
    a_hundred_megabytes_through_cat,
    twenty_sessions_at_once_on_one_connection,
    rsync_of_five_thousand_files,
    scp_by_both_protocols,
    git_push_deploys,
    sshfs_of_somebody_with_a_shell,
);

/// Two trees with the same names, kinds and contents.
#[track_caller]
fn same(one: &Path, other: &Path) {
    assert_eq!(finish(Command::new("diff").args(["-r", "--no-dereference"]).arg(one).arg(other), "").ok(), "");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn a_hundred_megabytes_through_cat(identity: Identity) {
    let mut desk = Desk::new(identity, "ssh host cat", version("ssh", "-V"));
    let (here, back) = (desk.dir().join("big"), desk.dir().join("back"));
    random_file(&here, 100 << 20, 5);
    let mut upload = run(&desk.dev, "cat > big; md5sum < big");
    let upload = upload.stdin(fs::File::open(&here).expect("a file")).output().expect("start ssh");
    let sum = finish(Command::new("md5sum").stdin(Stdio::null()).arg(&here), "").ok();
    assert_eq!(String::from_utf8_lossy(&upload.stdout).split(' ').next(), sum.split(' ').next(), "{upload:?}");
    assert_eq!(checksum(&here), checksum(&desk.at().join("big")));
    desk.saw("100 MB to it");
    let mut download = run(&desk.dev, "cat big");
    let download = download.stdin(Stdio::null()).stdout(fs::File::create(&back).expect("a file")).status();
    assert!(download.expect("start ssh").success());
    assert_eq!(checksum(&here), checksum(&back));
    desk.saw("100 MB from it");
    let mut through = run(&desk.dev, "cat");
    through.stdin(fs::File::open(&here).expect("a file")).stdout(fs::File::create(&back).expect("a file"));
    assert!(through.status().expect("start ssh").success());
    assert_eq!(checksum(&here), checksum(&back));
    desk.saw("100 MB through it, the same bytes each time");
}

fn twenty_sessions_at_once_on_one_connection(identity: Identity) {
    let mut desk = Desk::new(identity, "ControlMaster", version("ssh", "-V"));
    let (_master, control) = desk.shared("control");
    let mut sessions: Vec<_> = (0..20)
        .map(|number| {
            let mut client = ssh(&desk.dev);
            client
                .args(["-o", &control])
                .arg(desk.dev.at())
                .arg(format!("read line; echo {number}-$line; exit {number}"));
            client.stdin(Stdio::piped()).stdout(Stdio::piped());
            client.spawn().expect("start")
        })
        .collect();
    let waiting = || finish(&mut run(&desk.dev, "pgrep -fc '[r]ead line'"), "").stdout;
    assert_eq!(wait_until(PATIENCE, || waiting() == "20\n"), Waiting::Came, "{} run at once", waiting());
    // The last first: none waits for another.
    for (number, session) in sessions.iter_mut().enumerate().rev() {
        let mut keys = session.stdin.take().expect("piped");
        keys.write_all(b"typed\n").expect("it listens");
        let mut said = String::new();
        session.stdout.take().expect("piped").read_to_string(&mut said).expect("it speaks");
        assert_eq!(said, format!("{number}-typed\n"));
        assert_eq!(session.wait().expect("our own child").code(), i32::try_from(number).ok());
    }
    desk.saw("20 sessions at once, each with its own input, output and exit status");
}

fn rsync(desk: &Desk, arguments: &[&str]) -> Command {
    let mut command = desk.command("rsync");
    command.arg("-e").arg(ssh_line(&desk.dev)).args(arguments);
    command
}

fn rsync_of_five_thousand_files(identity: Identity) {
    let mut desk = Desk::new(identity, "rsync", version("rsync", "--version"));
    let (here, back) = (desk.dir().join("here"), desk.dir().join("back"));
    make_tree(&here, 5_000);
    std::os::unix::fs::symlink("dir 000", here.join("link")).expect("a link");
    let (source, there, target) =
        (format!("{}/", text(&here)), format!("{}:tree/", desk.dev.at()), format!("{}/", text(&back)));
    finish(&mut rsync(&desk, &["-a", "--delete", &source, &there]), "").ok();
    same(&here, &desk.at().join("tree"));
    finish(&mut rsync(&desk, &["-a", "--delete", &there, &target]), "").ok();
    same(&here, &back);
    desk.saw("-a --delete of 5,000 files to it and back");
    let idle = finish(&mut rsync(&desk, &["-ai", "--delete", &source, &there]), "").ok();
    assert_eq!(idle, "", "times and modes are kept, so nothing is sent twice");
    fs::remove_dir_all(here.join("dir 007")).expect("it goes");
    fs::write(here.join("dir 000/new"), "new").expect("a file");
    finish(&mut rsync(&desk, &["-a", "--delete", &source, &there]), "").ok();
    same(&here, &desk.at().join("tree"));
    desk.saw("a second one sends nothing; after changes what is gone is deleted");
    goes_on_where_it_was_cut_off(&mut desk);
}

fn goes_on_where_it_was_cut_off(desk: &mut Desk) {
    let file = desk.dir().join("large");
    random_file(&file, 4 << 20, 7);
    let there = format!("{}:", desk.dev.at());
    let mut slow = rsync(desk, &["-a", "--partial", "--bwlimit=400", text(&file), &there]);
    let mut slow = slow.spawn().expect("start");
    let arrived = || {
        let sizes = owners(&desk.at()).into_iter().filter(|o| text(&o.path).contains("large"));
        sizes.filter_map(|o| Some(fs::metadata(o.path).ok()?.len())).max().unwrap_or(0)
    };
    assert_eq!(wait_until(PATIENCE, || arrived() > 100_000), Waiting::Came);
    signal(slow.id(), Signal::SIGINT);
    assert!(!slow.wait().expect("our own child").success());
    let kept = desk.at().join("large");
    assert_eq!(wait_until(PATIENCE, || kept.exists()), Waiting::Came, "what had come is kept");
    let part = fs::metadata(&kept).expect("a part").len();
    let statistics = finish(&mut rsync(desk, &["-a", "--partial", "--stats", text(&file), &there]), "").ok();
    let reused = statistics.lines().find_map(|line| line.strip_prefix("Matched data: ")).expect("a figure");
    let reused: u64 = reused.chars().filter(char::is_ascii_digit).collect::<String>().parse().expect("a number");
    assert!(reused > 0 && reused <= part, "of {part} bytes {reused} were used again");
    assert!(fs::read(&kept).expect("whole") == fs::read(&file).expect("here"), "it is whole");
    desk.saw("--partial: cut off, gone on with what was there");
}

fn scp_by_both_protocols(identity: Identity) {
    let mut desk = Desk::new(identity, "scp", version("ssh", "-V"));
    let here = desk.dir().join("here");
    make_tree(&here, 300);
    for (number, options) in [&["-r", "-p"][..], &["-O", "-r", "-p"]].into_iter().enumerate() {
        let (there, back) = (format!("tree{number}"), desk.dir().join(format!("back{number}")));
        let scp = |from: &str, to: &str| {
            let mut command = desk.command("scp");
            command.args(desk.dev.options()).arg("-q").args(options).args([from, to]);
            finish(&mut command, "").ok();
        };
        scp(text(&here), &format!("{}:{there}", desk.dev.at()));
        same(&here, &desk.at().join(&there));
        scp(&format!("{}:{there}", desk.dev.at()), text(&back));
        same(&here, &back);
        desk.saw(if number == 0 { "by SFTP, 300 files both ways" } else { "-O, 300 files both ways" });
    }
}

/// Git of ours, which tells what it says to the other side.
#[track_caller]
fn git(desk: &Desk, arguments: &[&str]) -> String {
    let mut command = desk.command("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.version=2"]);
    command.args(arguments).env("GIT_SSH_COMMAND", format!("{} -o SendEnv=GIT_PROTOCOL", ssh_line(&desk.dev)));
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TRACE_PACKET", "1");
    let done = finish(&mut command, "");
    assert!(done.status.success(), "{arguments:?}: {}", done.stderr);
    done.stderr
}

/// As hosts document it: a bare repository whose hook checks out into the site.
fn git_push_deploys(identity: Identity) {
    let mut desk = Desk::new(identity, "git", version("git", "--version"));
    desk.told(
        "git init -q --bare -b main repo.git && mkdir live && cat > repo.git/hooks/post-receive <<'END' && chmod +x repo.git/hooks/post-receive
#!/bin/sh
while read old new name; do
    git --work-tree=../live checkout -f \"${name#refs/heads/}\" && echo \"deployed $(git rev-parse --short $new)\"
done
END",
    );
    let (work, url) = (desk.dir().join("work"), format!("{}:repo.git", desk.dev.at()));
    git(&desk, &["clone", &url, text(&work)]);
    make_tree(&work, 200);
    for arguments in [&["checkout", "-q", "-B", "main"][..], &["add", "."], &["commit", "-qm", "first"]] {
        git(&desk, &[&["-C", text(&work)], arguments].concat());
    }
    let said = git(&desk, &["-C", text(&work), "push", "origin", "main"]);
    assert!(said.contains("remote: deployed "), "{said}");
    let live = desk.at().join("live");
    assert_eq!(fs::read_dir(&live).expect("a directory").count(), 2);
    same(&work.join("dir 000"), &live.join("dir 000"));
    desk.saw("clone, push, post-receive checks out into the site");
    let again = desk.dir().join("again");
    let said = git(&desk, &["clone", &url, text(&again)]);
    assert!(said.contains("version 2") && said.contains("command=ls-refs"), "protocol 2 is not spoken: {said}");
    fs::remove_dir_all(work.join(".git")).expect("a repository");
    fs::remove_dir_all(again.join(".git")).expect("a repository");
    same(&work, &again);
    desk.saw("protocol 2");
    let clean = finish(
        &mut run(
            &desk.dev,
            "git -C repo.git log --oneline && git clone -q repo.git copy && git -C copy status && git -C copy gc -q && git -C copy fsck",
        ),
        "",
    );
    assert!(clean.status.success() && !clean.stderr.contains("dubious"), "{clean:?}");
    desk.saw("log, clone, status, gc, fsck in the cell, no \"dubious ownership\"");
}

fn sshfs_of_somebody_with_a_shell(identity: Identity) {
    let said = finish(Command::new("sshfs").arg("--version"), "").ok();
    let version = said.lines().find(|line| line.starts_with("SSHFS")).expect("a version").to_owned();
    let mut desk = Desk::new(identity, "sshfs beside a shell", version);
    let mounted = sshfs(&desk.dev, &desk.dir().join("mnt"));
    // The same absolute path on both sides, as an IDE has it.
    let project = format!("{}/project", text(&desk.at()));
    let through = mounted.path().join(project.trim_start_matches('/'));
    fs::create_dir(&through).expect("a directory");
    fs::write(through.join("main.c"), "#include <stdio.h>\nint main(void) { return puts(__FILE__) < 0; }\n")
        .expect("a file");
    fs::write(through.join("Makefile"), format!("program: main.c\n\tcc -o program {project}/main.c\n"))
        .expect("a file");
    assert!(desk.told("cd project && make && ./program").ends_with(&format!("{project}/main.c\n")));
    assert!(finish(Command::new("make").arg("-C").arg(&through), "").ok().contains("up to date"));
    desk.saw("written through the mount, built and run in the cell, nothing built twice");
    let built = finish(Command::new("make").args(["-B", "CC=cc"]).arg("-C").arg(&through).arg("main"), "").ok();
    assert!(built.contains("main.c") && desk.told("cd project && ./main").ends_with("main.c\n"));
    desk.saw("built through the mount, run in the cell");
    assert!(desk.told("echo from the cell > ~/note; cat ~/note").contains("from the cell"));
    assert_eq!(fs::read_to_string(mounted.path().join("home/dev/note")).expect("the same home"), "from the cell\n");
    desk.saw("the home is the same");
}
