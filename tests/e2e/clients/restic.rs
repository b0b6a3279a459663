//! restic, which keeps a repository of backups over SFTP.

use std::fs;
use std::process::Command;

use super::{By, Drive, done, same, text, version_of};
use crate::harness::Identity;

as_root_and_rootless!(restic_backs_up_checks_and_restores);

fn restic_backs_up_checks_and_restores(identity: Identity) {
    let mut drive = Drive::new(identity, "restic", version_of(Command::new("restic").arg("version")));
    let local = drive.make_local(500);
    restic(&drive, &["init"]);
    restic(&drive, &["backup", text(&local)]);
    drive.saw("init, backup");
    fs::remove_dir_all(local.join("dir 002")).expect("a directory");
    fs::write(local.join("dir 001/new.txt"), "new\n").expect("a file");
    restic(&drive, &["backup", text(&local)]);
    let checked = restic(&drive, &["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");
    drive.saw("second backup, check --read-data");
    let target = drive.dir().join("restored");
    restic(&drive, &["restore", "latest", "--target", text(&target)]);
    let restored = target.join(local.strip_prefix("/").expect("an absolute path"));
    same(&local, &restored, By::ContentsModesTimes);
    drive.saw("restore, modes and times too");
    let kept = restic(&drive, &["forget", "--keep-last", "1", "--prune"]);
    assert!(kept.contains("remove 1 snapshots"), "{kept}");
    let checked = restic(&drive, &["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");
    drive.saw("forget --prune, check");
}

fn restic(drive: &Drive, arguments: &[&str]) -> String {
    let ssh = format!("ssh {} {} -s sftp", drive.bob.options().join(" "), drive.bob.at());
    let mut command = drive.command("restic");
    command.args(["-r", &format!("sftp:{}:/backups", drive.bob.at()), "--no-cache", "-o"]);
    command.arg(format!("sftp.command={ssh}")).args(arguments).env("RESTIC_PASSWORD", "a test's password");
    done(&mut command, "")
}
