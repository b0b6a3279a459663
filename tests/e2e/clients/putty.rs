//! PuTTY's `psftp`, `pscp` and `plink`, a client that shares nothing with OpenSSH's.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{By, Drive, done, same, same_file, version_of};
use crate::harness::Identity;

as_root_and_rootless!(psftp_does_all_it_can, pscp_carries_trees, plink_reads_more_than_a_usual_window);

fn psftp_does_all_it_can(identity: Identity) {
    let mut drive = Drive::new(identity, "PuTTY psftp", version_of(Command::new("psftp").arg("-V")));
    let local = drive.make_local(300);
    batch(&drive, "mkdir d\nput -r local tree\n");
    same(&local, &drive.site().join("tree"), By::Contents);
    batch(&drive, "get -r tree back\n");
    same(&local, &drive.dir().join("back"), By::Contents);
    drive.saw("put -r, get -r of 300 files");
    resumes(&mut drive);
    let long = batch(&drive, "ls tree\nls tree/run*\n");
    assert!(long.contains("run.sh"), "{long}");
    batch(&drive, "mv big d\nmv d/big d/moved\nchmod 600 d/moved\n");
    same_file(&drive.site().join("d/moved"), &local.join("big"));
    drive.saw("ls, mv into a directory, mv, chmod");
    batch(&drive, "rm d/moved\nrmdir d\n");
    assert!(!drive.site().join("d").exists());
    drive.saw("rm, rmdir");
}

/// It never says how far its window is open, for it is 2 GiB.
fn plink_reads_more_than_a_usual_window(identity: Identity) {
    let mut drive = Drive::new(identity, "PuTTY plink", version_of(Command::new("plink").arg("-V")));
    drive.node.admin(&["user", "set", "bob", "--service", "sftp,exec"]);
    let read = done(putty(&drive, "plink").args([&drive.bob.at(), "yes | head -c 9000000"]), "");
    assert_eq!(read.len(), 9_000_000);
    drive.saw("9 MB of a program's output");
}

fn resumes(drive: &mut Drive) {
    let big = drive.dir().join("local/big");
    drive.part(&big, 5_000_001, &drive.site().join("big"));
    batch(drive, "reput local/big big\n");
    same_file(&big, &drive.site().join("big"));
    drive.part(&big, 7_000_001, &drive.dir().join("down"));
    batch(drive, "reget big down\n");
    same_file(&big, &drive.dir().join("down"));
    drive.saw("reput, reget");
}

fn pscp_carries_trees(identity: Identity) {
    let mut drive = Drive::new(identity, "PuTTY pscp", version_of(Command::new("pscp").arg("-V")));
    let local = drive.make_local(200);
    let place = |path: &str| format!("{}:{path}", drive.bob.at());
    // Into a directory that is there: it takes the name of one that is not for that of a file, with every server.
    done(putty(&drive, "pscp").args(["-r", "-p", "-sftp", "local", &place(".")]), "");
    same(&local, &drive.site().join("local"), By::Contents);
    fs::create_dir(drive.dir().join("back")).expect("a directory");
    done(putty(&drive, "pscp").args(["-r", "-p", "-sftp", &place("local/*"), "back"]), "");
    same(&local, &drive.dir().join("back"), By::Contents);
    let listed = done(putty(&drive, "pscp").args(["-ls", &place("local")]), "");
    assert!(listed.contains("run.sh"), "{listed}");
    drive.saw("-r -p both ways by glob, -ls");
}

fn batch(drive: &Drive, commands: &str) -> String {
    let script = drive.dir().join("script");
    fs::write(&script, commands).expect("a script");
    done(putty(drive, "psftp").arg(drive.bob.at()).arg("-b").arg(&script), "")
}

/// One of PuTTY's programs with the login's key and the server's known by its fingerprint.
fn putty(drive: &Drive, program: &str) -> Command {
    let mut command = drive.command(program);
    let port = drive.bob.port.to_string();
    command.args(["-batch", "-noagent", "-P", &port, "-hostkey", &fingerprint(drive), "-i"]).arg(key(drive));
    command
}

/// The login's key as PuTTY wants it.
fn key(drive: &Drive) -> PathBuf {
    let key = drive.dir().join("bob.ppk");
    if !key.exists() {
        done(drive.command("puttygen").arg(&drive.bob.key).args(["-O", "private", "-o"]).arg(&key), "");
    }
    key
}

fn fingerprint(drive: &Drive) -> String {
    let said = done(Command::new("ssh-keygen").arg("-lf").arg(drive.bob.known_hosts()), "");
    said.split(' ').nth(1).expect("a fingerprint").to_owned()
}
