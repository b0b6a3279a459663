//! lftp, which asks for version 6 of the protocol and mirrors over several connections at once.

use std::fs;
use std::process::Command;

use super::{By, Drive, done, same, same_file, version_of};
use crate::harness::Identity;

as_root_and_rootless!(lftp_mirrors_both_ways);

fn lftp_mirrors_both_ways(identity: Identity) {
    let mut drive = Drive::new(identity, "lftp", version_of(Command::new("lftp").arg("--version")));
    let local = drive.make_local(500);
    lftp(&drive, "mirror -R --parallel=4 local tree");
    same(&local, &drive.site().join("tree"), By::ContentsModesTimes);
    drive.saw("mirror -R over 4 connections, 500 files, modes and times");
    lftp(&drive, "mirror --parallel=4 --use-pget-n=3 tree back");
    same(&local, &drive.dir().join("back"), By::ContentsModesTimes);
    drive.saw("mirror with pget");
    changes(&mut drive);
    resumes(&mut drive);
    let listed = lftp(&drive, "cls -la tree; find tree; du -s tree");
    assert!(listed.contains("run.sh"), "{listed}");
    lftp(&drive, "mv big moved; ln -s moved soft; chmod 600 moved; put local/run.sh -o moved; glob rm soft");
    same_file(&drive.site().join("moved"), &local.join("run.sh"));
    lftp(&drive, "rm -r tree");
    assert!(!drive.site().join("tree").exists());
    drive.saw("cls, find, du, mv, ln -s, chmod, put over a file, rm -r");
}

fn changes(drive: &mut Drive) {
    let local = drive.dir().join("local");
    fs::remove_dir_all(local.join("dir 002")).expect("a directory");
    fs::write(local.join("dir 001/new.txt"), "new\n").expect("a file");
    lftp(drive, "mirror -R --delete local tree");
    same(&local, &drive.site().join("tree"), By::Contents);
    let again = lftp(drive, "mirror -R --delete --verbose=3 local tree");
    assert!(!again.contains("Transferring"), "it sends what is there already: {again}");
    drive.saw("mirror -R --delete; a second one sends nothing");
}

fn resumes(drive: &mut Drive) {
    let big = drive.dir().join("local/big");
    drive.part(&big, 5_000_001, &drive.site().join("big"));
    lftp(drive, "put -c local/big -o big");
    same_file(&big, &drive.site().join("big"));
    drive.part(&big, 7_000_001, &drive.dir().join("down"));
    lftp(drive, "get -c big -o down");
    same_file(&big, &drive.dir().join("down"));
    drive.saw("put -c, get -c");
}

fn lftp(drive: &Drive, commands: &str) -> String {
    let ssh = format!("ssh -a -x {}", drive.bob.options().join(" "));
    let script = format!(
        "set sftp:connect-program \"{ssh}\"\nset cmd:fail-exit yes\nset net:max-retries 1\n\
         open -u {},unused -p {} sftp://127.0.0.1\n{commands}\n",
        drive.bob.user, drive.bob.port
    );
    done(drive.command("lftp").args(["--norc", "-c", &script]), "")
}
