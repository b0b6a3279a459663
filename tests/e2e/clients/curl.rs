//! curl, whose SFTP is libssh2.

use std::fs;
use std::process::Command;

use super::{Drive, done, same_file, text, version_of};
use crate::harness::Identity;

as_root_and_rootless!(curl_gets_puts_lists_and_quotes);

fn curl_gets_puts_lists_and_quotes(identity: Identity) {
    let mut drive = Drive::new(identity, "curl", version_of(Command::new("curl").arg("--version")));
    let local = drive.make_local(100);
    let big = local.join("big");
    done(curl(&drive).args(["-T", text(&big), "--ftp-create-dirs", &at(&drive, "/a/b/big")]), "");
    same_file(&big, &drive.site().join("a/b/big"));
    drive.saw("-T with --ftp-create-dirs");
    done(curl(&drive).args(["-o", "back", &at(&drive, "/a/b/big")]), "");
    same_file(&big, &drive.dir().join("back"));
    done(curl(&drive).args(["-o", "home", &at(&drive, "/~/a/b/big")]), "");
    same_file(&big, &drive.dir().join("home"));
    drive.saw("get, also by /~/");
    resumes(&mut drive);
    ranges(&mut drive);
    let listed = done(curl(&drive).arg(at(&drive, "/a/b/")), "");
    assert!(listed.lines().any(|l| l.starts_with("-rw-") && l.ends_with(" big")), "{listed}");
    assert_eq!(
        done(curl(&drive).args(["--list-only", &at(&drive, "/a/")]), "").lines().filter(|l| *l == "b").count(),
        1
    );
    drive.saw("list, --list-only");
    quotes(&mut drive);
    many(&mut drive);
    let missing = curl(&drive).arg(at(&drive, "/nothing")).output().expect("start curl");
    assert_eq!(missing.status.code(), Some(78), "CURLE_REMOTE_FILE_NOT_FOUND");
    drive.saw("exit code 78 for what is missing");
}

fn resumes(drive: &mut Drive) {
    let big = drive.dir().join("local/big");
    drive.part(&big, 5_000_001, &drive.site().join("up"));
    done(curl(drive).args(["-C", "-", "-T", text(&big), &at(drive, "/up")]), "");
    same_file(&big, &drive.site().join("up"));
    drive.part(&big, 7_000_001, &drive.dir().join("down"));
    done(curl(drive).args(["-C", "-", "-o", "down", &at(drive, "/up")]), "");
    same_file(&big, &drive.dir().join("down"));
    drive.saw("-C - both ways");
}

fn ranges(drive: &mut Drive) {
    let whole = fs::read(drive.dir().join("local/big")).expect("a file");
    done(curl(drive).args(["-r", "1000000-2999999", "-o", "middle", &at(drive, "/up")]), "");
    assert!(fs::read(drive.dir().join("middle")).expect("a file") == whole[1_000_000..3_000_000]);
    done(curl(drive).args(["-a", "-T", "middle", &at(drive, "/up")]), "");
    let grown = fs::read(drive.site().join("up")).expect("a file");
    assert!(grown == [&whole[..], &whole[1_000_000..3_000_000]].concat(), "--append does otherwise");
    drive.saw("-r, --append");
}

fn quotes(drive: &mut Drive) {
    let commands = [
        "pwd",
        "mkdir /q",
        "rename /up /q/moved",
        // Made, and told to have failed: with OpenSSH's server too. That it was made, `rm` below tells.
        "*symlink moved /q/soft",
        "chmod 600 /q/moved",
        "statvfs /",
        "mtime \"Sat, 03 Feb 2001 04:05:06 GMT\" /q/moved",
        "*rm /q/none",
        "rm /q/soft",
    ];
    let mut command = curl(drive);
    for quoted in commands {
        command.args(["-Q", quoted]);
    }
    done(command.arg(at(drive, "/q/")), "");
    let moved = fs::metadata(drive.site().join("q/moved")).expect("it was renamed");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&moved) & 0o777, 0o600);
    assert_eq!(std::os::unix::fs::MetadataExt::mtime(&moved), 981_173_106);
    done(curl(drive).args(["-Q", "rm /q/moved", "-Q", "rmdir /q", &at(drive, "/")]), "");
    assert!(!drive.site().join("q").exists());
    drive.saw("-Q pwd, mkdir, rename, symlink, chmod, mtime, statvfs, rm, rmdir");
}

fn many(drive: &mut Drive) {
    let names: Vec<_> = (0..60).map(|n| format!("many-{n}")).collect();
    for name in &names {
        fs::write(drive.dir().join(name), name.repeat(300)).expect("a file");
    }
    let list = format!("{{{}}}", names.join(","));
    done(curl(drive).args(["-Z", "--parallel-max", "8", "-T", &list, &at(drive, "/")]), "");
    for name in &names {
        same_file(&drive.dir().join(name), &drive.site().join(name));
    }
    drive.saw("-Z: 60 uploads, 8 at a time");
}

fn at(drive: &Drive, path: &str) -> String {
    format!("sftp://127.0.0.1:{}{path}", drive.bob.port)
}

/// curl with the login's key; it looks for the server's key in the home's known hosts.
fn curl(drive: &Drive) -> Command {
    let ssh = drive.dir().join(".ssh");
    fs::create_dir_all(&ssh).expect("a directory");
    fs::copy(drive.bob.known_hosts(), ssh.join("known_hosts")).expect("known hosts");
    let mut command = drive.command("curl");
    command.args(["-q", "-sS", "--fail", "-u", &format!("{}:", drive.bob.user)]);
    command.arg("--key").arg(&drive.bob.key).arg("--pubkey").arg(drive.bob.public_key());
    command
}
