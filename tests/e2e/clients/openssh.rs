//! OpenSSH's `sftp` and `scp` (which speaks SFTP from version 9 on).

use std::fs;
use std::process::Command;

use super::{BIG, By, Drive, done, same, same_file, text, version_of};
use crate::harness::{Identity, Login, scp, sftp};

as_root_and_rootless!(sftp_does_all_it_can, scp_does_all_it_can);

fn version() -> String {
    version_of(Command::new("ssh").arg("-V"))
}

fn batch(drive: &Drive, commands: &str) -> String {
    done(sftp(&drive.bob).current_dir(drive.dir()), commands)
}

fn sftp_does_all_it_can(identity: Identity) {
    let mut drive = Drive::new(identity, "OpenSSH sftp", version());
    let local = drive.make_local(1_000);
    batch(&drive, "put -pR local tree\n");
    same(&local, &drive.site().join("tree"), By::ContentsModesTimes);
    drive.saw("put -pR of 1,000 files");
    batch(&drive, "get -pR tree back\n");
    same(&local, &drive.dir().join("back"), By::ContentsModesTimes);
    drive.saw("get -pR");
    resumes(&mut drive);
    let long = batch(&drive, "ls -la tree\nls -1 tree/dir*/*\ndf -h\n");
    assert!(long.contains("run.sh") && long.contains("file-00999"), "{long}");
    drive.saw("ls, glob, df");
    batch(&drive, "cp big copy\nrename copy moved\nln -s moved soft\nln moved hard\nchmod 600 moved\n");
    same_file(&drive.site().join("soft"), &local.join("big"));
    same_file(&drive.site().join("hard"), &local.join("big"));
    drive.saw("cp, rename, ln, chmod");
    batch(&drive, "put local/run.sh moved\n");
    same_file(&drive.site().join("hard"), &local.join("run.sh"));
    drive.saw("overwrite");
    requests_of_another_size(&mut drive);
    batch(&drive, "rm soft\nrm hard\nrm moved\nrm tree/dir*/*\nrmdir tree/empty/inside\n");
    assert!(!drive.site().join("tree/empty/inside").exists());
    drive.saw("rm by glob, rmdir");
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

fn requests_of_another_size(drive: &mut Drive) {
    let (bob, big) = (&drive.bob, drive.dir().join("local/big"));
    for (buffer, requests) in [("1000", "200"), ("261120", "64")] {
        let mut command = Command::new("sftp");
        command.args(bob.options()).args(["-B", buffer, "-R", requests, "-b", "-"]).arg(bob.at());
        done(command.current_dir(drive.dir()), "put local/big sized\nget sized sized\n");
        same_file(&big, &drive.dir().join("sized"));
        fs::remove_file(drive.dir().join("sized")).expect("it came");
    }
    drive.saw("-B 1000 and 255 KiB, -R 200 and 64");
}

fn scp_does_all_it_can(identity: Identity) {
    let mut drive = Drive::new(identity, "OpenSSH scp", version());
    let local = drive.make_local(500);
    done(&mut scp(&drive.bob, text(&local), ":tree"), "");
    same(&local, &drive.site().join("tree"), By::ContentsModesTimes);
    done(&mut scp(&drive.bob, ":tree", text(&drive.dir().join("back"))), "");
    same(&local, &drive.dir().join("back"), By::ContentsModesTimes);
    drive.saw("-r -p both ways, 500 files");
    done(&mut scp(&drive.bob, text(&local.join("big")), ":~/home"), "");
    same_file(&local.join("big"), &drive.site().join("home"));
    drive.saw("~ in a path");
    let glob = drive.dir().join("glob");
    fs::create_dir(&glob).expect("a directory");
    done(&mut scp(&drive.bob, ":tree/dir 00*/file-0000*", text(&glob)), "");
    assert_eq!(fs::read_dir(&glob).expect("a directory").count(), 10);
    drive.saw("glob");
    from_server_to_server(&mut drive);
    let old = drive.command("scp").args(drive.bob.options()).args(["-O"]).arg(&glob).arg(drive.bob.at() + ":").output();
    let old = old.expect("start scp");
    assert!(!old.status.success(), "there is no scp program to be had with sftp alone");
    drive.saw("-O ends with an error where only sftp is granted");
}

fn from_server_to_server(drive: &mut Drive) {
    let Login { user, port, .. } = &drive.bob;
    let place = |path: &str| format!("scp://{user}@127.0.0.1:{port}/{path}");
    let mut command = drive.command("scp");
    command.args(drive.bob.options()).args(["-3", "-r", &place("tree"), &place("third")]);
    done(&mut command, "");
    same(&drive.site().join("tree"), &drive.site().join("third"), By::Contents);
    assert_eq!(fs::metadata(drive.site().join("third/big")).expect("a file").len(), BIG);
    drive.saw("-3");
}
