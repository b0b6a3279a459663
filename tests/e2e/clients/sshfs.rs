//! sshfs: the view as a filesystem, put to the work of a developer and of a database.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use super::{By, Drive, done, mode, same, same_file, text};
use crate::harness::{Identity, Numbers, sshfs};

as_root_and_rootless!(sshfs_serves_git_tar_builds_and_random_writes);

fn sshfs_serves_git_tar_builds_and_random_writes(identity: Identity) {
    let mut drive = Drive::new(identity, "sshfs", version());
    let local = drive.make_local(300);
    let mounted = sshfs(&drive.bob, &drive.dir().join("mnt"));
    let at = mounted.path();
    tar(&mut drive, &local, at);
    git(&mut drive, &local, at);
    build(&mut drive, at);
    random_io(&mut drive, at);
    small_calls(&mut drive, at);
}

/// Its own line of several.
fn version() -> String {
    let said = done(Command::new("sshfs").arg("--version"), "");
    said.lines().find(|l| l.starts_with("SSHFS")).expect("a version").to_owned()
}

fn tar(drive: &mut Drive, local: &Path, at: &Path) {
    done(drive.command("tar").args(["-cf", "tree.tar", "local"]), "");
    done(drive.command("tar").args(["-C", text(at), "--no-same-owner", "-xf", "tree.tar"]), "");
    same(local, &at.join("local"), By::ContentsModesTimes);
    same(local, &drive.site().join("local"), By::ContentsModesTimes);
    done(drive.command("tar").args(["-C", text(at), "-cf", "back.tar", "local"]), "");
    fs::create_dir(drive.dir().join("out")).expect("a directory");
    done(drive.command("tar").args(["-C", "out", "-xf", "back.tar"]), "");
    same(local, &drive.dir().join("out/local"), By::ContentsModesTimes);
    drive.saw("tar out of it and into it, modes and times");
}

fn git(drive: &mut Drive, local: &Path, at: &Path) {
    // Through the mount the account owns everything, and git takes no repository of others unless told.
    let settings = "[user]\nname = t\nemail = t@example.org\n[safe]\ndirectory = *\n[init]\ndefaultBranch = main\n";
    fs::write(drive.dir().join(".gitconfig"), settings).expect("git's settings");
    let run = |arguments: &[&str]| {
        let mut command = drive.command("git");
        done(command.args(arguments).env("GIT_CONFIG_NOSYSTEM", "1"), "")
    };
    run(&["-C", text(local), "init", "-q"]);
    run(&["-C", text(local), "add", "-A"]);
    run(&["-C", text(local), "commit", "-q", "-m", "one"]);
    let clone = at.join("clone");
    run(&["clone", "-q", text(local), text(&clone)]);
    fs::write(clone.join("run.sh"), "#!/bin/sh\nexit 2\n").expect("a change");
    run(&["-C", text(&clone), "commit", "-q", "-a", "-m", "two"]);
    run(&["-C", text(&clone), "gc", "-q"]);
    run(&["-C", text(&clone), "fsck", "--strict", "--full"]);
    assert_eq!(run(&["-C", text(&clone), "status", "--porcelain"]), "");
    run(&["-C", text(local), "pull", "-q", "--ff-only", text(&clone)]);
    same_file(&local.join("run.sh"), &clone.join("run.sh"));
    fs::remove_dir_all(local.join(".git")).expect("the repository");
    drive.saw("git clone, commit, gc, fsck, pull");
}

/// A small project in C, twice: the second `make` finds that nothing is newer.
fn build(drive: &mut Drive, at: &Path) {
    let project = at.join("project");
    fs::create_dir(&project).expect("a directory");
    let parts: Vec<String> = (0..12).map(|n| format!("part{n}")).collect();
    for (n, part) in parts.iter().enumerate() {
        fs::write(project.join(format!("{part}.c")), format!("int {part}(void) {{ return {n}; }}\n")).expect("a file");
    }
    let declared: String = parts.iter().map(|p| format!("int {p}(void);\n")).collect();
    let sum = parts.iter().map(|p| format!("{p}()")).collect::<Vec<_>>().join(" + ");
    fs::write(project.join("main.c"), format!("{declared}int main(void) {{ return {sum} == 66 ? 0 : 1; }}\n"))
        .expect("a file");
    let objects = parts.iter().map(|p| format!("{p}.o")).collect::<Vec<_>>().join(" ");
    fs::write(
        project.join("Makefile"),
        format!("all: lib.a main.o\n\tcc -o program main.o lib.a\nlib.a: {objects}\n\tar rcs lib.a {objects}\n"),
    )
    .expect("a file");
    done(Command::new("make").args(["-j2", "-C", text(&project)]), "");
    done(&mut Command::new(project.join("program")), "");
    let again = done(Command::new("make").args(["-C", text(&project), "lib.a", "main.o"]), "");
    assert!(again.contains("up to date") && !again.contains("cc "), "{again}");
    drive.saw("make -j2 of C, the program run from it, nothing built twice");
}

/// Blocks at random places of one file, in memory and through the mount; a third of the way it is cut or grown.
fn random_io(drive: &mut Drive, at: &Path) {
    const LENGTH: usize = 4 << 20;
    let path = at.join("random");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("a new file");
    let (mut wanted, mut numbers) = (vec![0_u8; LENGTH], Numbers::new(77));
    file.set_len(LENGTH as u64).expect("grow it");
    let mut below = |limit: usize| usize::try_from(numbers.next() % limit as u64).expect("small");
    for step in 0..1_500 {
        let (from, length) = (below(LENGTH - 70_000), below(70_000));
        match below(3) {
            0 => {
                let mut found = vec![0; length];
                file.read_exact_at(&mut found, from as u64).expect("read");
                assert!(found == wanted[from..from + length], "step {step}: {length} bytes at {from} are others");
            }
            _ => {
                let byte = u8::try_from(below(256)).expect("a byte");
                wanted[from..from + length].fill(byte);
                file.write_all_at(&wanted[from..from + length], from as u64).expect("write");
            }
        }
        if step == 500 {
            file.set_len(1_000_001).expect("cut it");
            file.set_len(LENGTH as u64).expect("grow it");
            wanted[1_000_001..].fill(0);
        }
    }
    file.sync_all().expect("sync");
    assert!(fs::read(drive.site().join("random")).expect("a file") == wanted, "on disk is something else");
    drive.saw("1,500 random reads and writes, truncation, fsync");
}

fn small_calls(drive: &mut Drive, at: &Path) {
    let dir = at.join("calls");
    fs::create_dir(&dir).expect("a directory");
    let file = dir.join("a");
    fs::write(&file, "one\n").expect("a file");
    mode(&file, 0o640);
    fs::write(dir.join("b"), "two\n").expect("a file");
    fs::rename(&file, dir.join("b")).expect("rename over a file");
    fs::hard_link(dir.join("b"), dir.join("c")).expect("a hard link");
    std::os::unix::fs::symlink("b", dir.join("d")).expect("a link");
    OpenOptions::new()
        .append(true)
        .open(dir.join("c"))
        .and_then(|mut f| std::io::Write::write_all(&mut f, b"more\n"))
        .expect("append");
    assert_eq!(fs::read_to_string(dir.join("d")).expect("through the link"), "one\nmore\n");
    let names: BTreeMap<_, _> =
        fs::read_dir(&dir).expect("a directory").flatten().map(|e| (e.file_name(), ())).collect();
    assert_eq!(names.len(), 3);
    assert!(File::create_new(dir.join("b")).is_err(), "O_EXCL does not hold");
    let free = rustix::fs::statvfs(at).expect("statvfs");
    assert!(free.f_blocks > 0 && free.f_bavail > 0, "no space is told");
    fs::remove_dir_all(&dir).expect("remove");
    assert!(!drive.site().join("calls").exists());
    drive.saw("rename over a file, links, append, O_EXCL, statvfs, rm -r");
}
