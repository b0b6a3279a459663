//! rsync, git and scp for logins that may have those and run nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::clients::same;
use super::{Site, run, told};
use crate::harness::{
    Identity, Login, Waiting, finish, make_tree, owners, random_file, signal, ssh, ssh_line, wait_until,
};

as_root_and_rootless!(
    rsync_alone,
    rsync_goes_on_where_it_was_cut_off,
    git_alone,
    scp_alone,
    nothing_else_is_run,
    a_login_with_exec_has_a_shell_read_its_commands,
);

fn rsync(login: &Login, arguments: &[&str]) -> Command {
    let mut command = Command::new("rsync");
    command.arg("-e").arg(ssh_line(login)).args(arguments);
    command
}

fn path(of: &Path) -> String {
    of.to_str().expect("a plain path").to_owned()
}

fn rsync_alone(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("mirror", "rsync", &[("www/site1", "rw")]);
    let (here, back) = (site.node.dir().join("here"), site.node.dir().join("back"));
    make_tree(&here, 200);
    let there = |below: &str| format!("{}:{below}", login.at());
    let source = format!("{}/", here.display());
    let home = site.home.join(".enclos/home/mirror");
    let places = [("tree/", site.site().join("tree")), ("~/a tree's $1/", home.join("a tree's $1"))];
    for (place, on_disk) in places {
        finish(&mut rsync(&login, &["-az", "--delete", "--partial", &source, &there(place)]), "").ok();
        same(&here, &on_disk);
    }
    let first = fs::read_dir(&here).expect("a directory").next().expect("an entry").expect("an entry").path();
    if first.is_dir() {
        fs::remove_dir_all(first).expect("it goes")
    } else {
        fs::remove_file(first).expect("it goes")
    }
    fs::write(here.join("new"), "new").expect("a file");
    finish(
        &mut rsync(&login, &["-a", "--delete-after", "--backup", "--backup-dir=../old", &source, &there("tree/")]),
        "",
    )
    .ok();
    same(&here, &site.site().join("tree"));
    finish(&mut rsync(&login, &["-a", "--delete", &there("tree/"), &path(&back)]), "").ok();
    same(&here, &back);
    let owner = site.node.identity().account_owner();
    assert!(owners(&site.site()).iter().all(|o| (o.uid, o.gid) == owner), "every file is the account's");
    // Nothing would expand these, and what is behind -s could not be looked at.
    assert!(finish(&mut rsync(&login, &["-a", &there("tree/*"), &path(&back)]), "").err().contains("no shell"));
    assert!(finish(&mut rsync(&login, &["-as", &there("tree/"), &path(&back)]), "").err().contains("leave it out"));
    // The rights are the grant's.
    let reader = site.user("reader", "rsync", &[("www/site1", "ro")]);
    let from = format!("{}:tree/", reader.at());
    finish(&mut rsync(&reader, &["-a", "--delete", &from, &path(&back)]), "").ok();
    fs::write(here.join("new"), "newer").expect("a file");
    finish(&mut rsync(&reader, &["-a", "--checksum", &source, &from]), "").err();
    let outside = format!("{}:{}/", reader.at(), site.home.join("private").display());
    finish(&mut rsync(&reader, &["-a", &outside, &path(&back)]), "").err();
}

fn rsync_goes_on_where_it_was_cut_off(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("mirror", "rsync", &[("www/site1", "rw")]);
    let file = site.node.dir().join("big");
    random_file(&file, 4 << 20, 7);
    let there = format!("{}:", login.at());
    let mut slow = rsync(&login, &["-a", "--partial", "--bwlimit=400", &path(&file), &there]).spawn().expect("start");
    let arrived = || {
        let sizes = owners(&site.site()).into_iter().filter_map(|o| Some(fs::metadata(o.path).ok()?.len()));
        sizes.max().unwrap_or(0)
    };
    assert_eq!(wait_until(Duration::from_secs(30), || arrived() > 100_000), Waiting::Came);
    signal(slow.id(), nix::sys::signal::Signal::SIGINT);
    assert!(!slow.wait().expect("our own child").success());
    let kept = site.site().join("big");
    assert_eq!(wait_until(Duration::from_secs(30), || kept.exists()), Waiting::Came, "what had come is kept");
    assert!(fs::metadata(&kept).expect("a part").len() < 4 << 20);
    finish(&mut rsync(&login, &["-a", "--partial", "--append-verify", &path(&file), &there]), "").ok();
    assert!(fs::read(&kept).expect("whole") == fs::read(&file).expect("here"), "it is whole");
}

fn git_alone(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    told(
        &dev,
        "git init -q --bare -b main \"a repo's.git\" && mkdir live && cd \"a repo's.git\" && printf '#!/bin/sh\\nGIT_WORK_TREE=../live git checkout -f main\\n' > hooks/post-receive && chmod +x hooks/post-receive",
    );
    let login = site.user("robot", "git", &[("www/site1", "rw")]);
    let work = path(&site.node.dir().join("work"));
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
        command.env("GIT_SSH_COMMAND", ssh_line(&login)).env("HOME", site.node.dir());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_PROTOCOL", "version=2");
        command
    };
    let url = format!("{}:a repo's.git", login.at());
    finish(&mut git(&["clone", "-q", &url, &work]), "").ok();
    fs::write(Path::new(&work).join("index.html"), "<h1>").expect("a file");
    for arguments in [
        &["-C", &work, "checkout", "-q", "-B", "main"][..],
        &["-C", &work, "add", "."],
        &["-C", &work, "commit", "-qm", "first"],
        &["-C", &work, "push", "-q", "origin", "main"],
    ] {
        finish(&mut git(arguments), "").ok();
    }
    assert_eq!(fs::read_to_string(site.site().join("live/index.html")).expect("the hook deployed"), "<h1>");
    let again = path(&site.node.dir().join("again"));
    let (home, whole) = (format!("{}:~/own.git", login.at()), site.site().join("a repo's.git"));
    let own = site.home.join(".enclos/home/robot/own.git");
    finish(Command::new("cp").arg("-r").arg(&whole).arg(&own), "").ok();
    site.node.own(&site.home);
    let whole = format!("ssh://{}:{}{}", login.at(), login.port, whole.display());
    for (number, url) in [home, whole].into_iter().enumerate() {
        finish(&mut git(&["clone", "-q", &url, &format!("{again}{number}")]), "").ok();
    }
    let tar = site.node.dir().join("archive.tar");
    finish(&mut git(&["archive", "--remote", &url, "-o", &path(&tar), "main"]), "").ok();
    assert_eq!(finish(Command::new("tar").arg("-tf").arg(&tar), "").ok(), "index.html\n");
    let owner = site.node.identity().account_owner();
    assert!(owners(&site.site()).iter().all(|o| (o.uid, o.gid) == owner), "every file is the account's");
}

fn scp_alone(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("old", "scp", &[("www/site1", "rw")]);
    let (here, back) = (site.node.dir().join("here"), site.node.dir().join("back"));
    make_tree(&here, 200);
    let scp = |more: &[&str], from: &str, to: &str| {
        let mut command = Command::new("scp");
        command.args(login.options()).args(["-q", "-O"]).args(more).args([from, to]);
        finish(&mut command, "")
    };
    let there = |below: &str| format!("{}:{below}", login.at());
    scp(&["-r", "-p"], &path(&here), &there("tree")).ok();
    same(&here, &site.site().join("tree"));
    scp(&["-rp"], &there("./tree"), &path(&back)).ok();
    same(&here, &back);
    scp(&[], &path(&here), &there("tree")).err();
    assert!(scp(&["-r"], &there("t*"), &path(&back)).err().contains("no shell"));
    // Without -O it is SFTP, which this login has not.
    let mut new = Command::new("scp");
    new.args(login.options()).args(["-q", "-r", &path(&here), &there("tree2")]);
    assert!(finish(&mut new, "").err().contains("sftp is not open to this login; it may use: scp"));
    assert!(!site.site().join("tree2").exists());
}

/// Everything that was ever used against such services, and what a shell would make of a line.
fn nothing_else_is_run(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("few", "sftp,rsync,git,scp", &[("www/site1", "rw")]);
    // What the login may write, and would like to have run.
    let script = site.site().join("evil");
    fs::write(&script, "#!/bin/sh\ntouch PWNED\n").expect("a file");
    fs::write(site.site().join("rsyncd.conf"), "[m]\npath=/\nuse chroot=no\npre-xfer exec=/bin/touch PWNED\n")
        .expect("a file");
    finish(Command::new("chmod").arg("755").arg(&script), "").ok();
    finish(Command::new("git").args(["init", "-q", "--bare"]).arg(site.site().join("repo.git")), "").ok();
    site.node.own(&site.home);
    for command in [
        "touch PWNED",
        "./evil",
        "sh -c 'touch PWNED'",
        "rsync --server -e 'sh -c \"touch PWNED\"' . .",
        "rsync --server -e ./evil . .",
        "rsync --server -e./evil . .",
        "rsync --server --rsh=./evil -logDtpr . host:x .",
        "rsync --server --rsh ./evil . .",
        "rsync --server --rsync-path=./evil . .",
        "rsync --server --daemon --config=rsyncd.conf . .",
        "rsync --server --daemon . .",
        "rsync --daemon --config=rsyncd.conf --no-detach",
        "rsync --server -slogDtpre.iLsfxCIvu",
        "rsync --server -logDtpre.iLsfxCIvu . x; touch PWNED",
        "rsync --server -logDtpre.iLsfxCIvu . `touch PWNED`",
        "rsync --server -logDtpre.iLsfxCIvu . $(touch PWNED)",
        "rsync --server -logDtpre.iLsfxCIvu . \"$(touch PWNED)\"",
        "rsync --server -logDtpre.iLsfxCIvu . x\ntouch PWNED",
        "rsync --server -logDtpre.iLsfxCIvu . x && touch PWNED",
        "rsync --server -logDtpre.iLsfxCIvu . x | touch PWNED",
        "rsync --server -logDtpre.iLsfxCIvu . x > PWNED",
        "rsync --server -logDtpre.iLsfxCIvu --log-file=PWNED . x",
        "rsync -e ./evil x host:y",
        "git-upload-pack '--upload-pack=touch PWNED'",
        "git-upload-pack --exec=./evil repo.git",
        "git-upload-pack 'repo.git'; touch PWNED",
        "git-upload-pack 'repo.git' 'x'",
        "git-receive-pack 'repo.git' '&' touch PWNED",
        "git -c core.fsmonitor=./evil upload-pack repo.git",
        "git --exec-path=. upload-pack repo.git",
        "git -C . -c alias.x=!./evil x",
        "git-shell -c ./evil",
        "git clone ext::./evil",
        "scp -S ./evil x host:y",
        "scp -S ./evil -t .",
        "scp -vS./evil -f x",
        "scp -t . -S ./evil",
        "scp -oProxyCommand=./evil -t .",
        "scp -t `touch PWNED`",
        "scp -t 'unfinished",
        "scp -t \"un'; touch PWNED",
        "LD_PRELOAD=./evil scp -t .",
        "./scp -t .",
        "/usr/bin/scp -t .",
        "exec scp -t .",
        "~/evil",
        "internal-sftp",
        " ",
    ] {
        let ended = finish(&mut run(&login, command), "");
        assert!(ended.status.code() == Some(1) && !ended.stderr.is_empty(), "{command}: {ended:?}");
        let marks: Vec<_> = owners(&site.home).into_iter().filter(|o| o.path.ends_with("PWNED")).collect();
        assert!(marks.is_empty(), "{command}: {marks:?}");
    }
    super::conduct::is_logged(&site, "the command has a control character in it");
    // What a client sets does not reach such a program either.
    let mut with = ssh(&login);
    with.args(["-o", "SendEnv=GIT_EXEC_PATH"]).arg(login.at()).arg("git-upload-pack 'repo.git'");
    finish(with.env("GIT_EXEC_PATH", "/nowhere"), "0000").ok();
}

fn a_login_with_exec_has_a_shell_read_its_commands(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("both", "exec,rsync,git,scp", &[("www/site1", "rw")]);
    assert_eq!(told(&login, "scp 2>/dev/null || echo $((6*7)); rsync --version | head -c 5"), "42\nrsync");
}
