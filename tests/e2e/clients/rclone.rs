//! rclone, which keeps many requests and many connections busy.

use std::fs;
use std::process::Command;

use super::{By, Drive, done, same, text, version_of};
use crate::harness::{Identity, rclone};

as_root_and_rootless!(rclone_syncs_checks_and_moves);

fn rclone_syncs_checks_and_moves(identity: Identity) {
    let mut drive = Drive::new(identity, "rclone", version_of(Command::new("rclone").arg("version")));
    let local = drive.make_local(1_000);
    let many = ["--transfers", "16", "--checkers", "16"];
    done(rclone(&drive.bob).args(["sync", text(&local), "enclos:tree", "--create-empty-src-dirs"]).args(many), "");
    same(&local, &drive.site().join("tree"), By::Contents);
    drive.saw("sync of 1,000 files, 16 transfers at once");
    done(rclone(&drive.bob).args(["check", "--download", text(&local), "enclos:tree"]).args(many), "");
    let again =
        done(rclone(&drive.bob).args(["sync", "-v", text(&local), "enclos:tree", "--stats-log-level", "DEBUG"]), "");
    assert!(!again.contains("Copied"), "times are kept, so nothing is sent twice: {again}");
    drive.saw("check --download; a second sync sends nothing");
    for (concurrency, chunk) in [("1", "32Ki"), ("64", "32Ki"), ("256", "255Ki")] {
        let back = drive.dir().join(format!("back-{concurrency}"));
        let how = ["--sftp-concurrency", concurrency, "--sftp-chunk-size", chunk, "--create-empty-src-dirs"];
        done(rclone(&drive.bob).args(["sync", "enclos:tree", text(&back)]).args(how), "");
        same(&local, &back, By::Contents);
        done(rclone(&drive.bob).args(["copy", text(&local.join("big")), "enclos:up", "--ignore-times"]).args(how), "");
        super::same_file(&local.join("big"), &drive.site().join("up/big"));
    }
    drive.saw("--sftp-concurrency 1, 64, 256; chunks of 32 and 255 KiB");
    changes(&mut drive);
    let about = done(rclone(&drive.bob).args(["about", "enclos:"]), "");
    assert!(about.contains("Total:") && about.contains("Free:"), "{about}");
    done(rclone(&drive.bob).args(["moveto", "enclos:tree/big", "enclos:tree/bigger"]), "");
    done(rclone(&drive.bob).args(["purge", "enclos:tree"]), "");
    assert!(!drive.site().join("tree").exists());
    drive.saw("about, moveto, purge");
}

fn changes(drive: &mut Drive) {
    let local = drive.dir().join("local");
    fs::remove_dir_all(local.join("dir 002")).expect("a directory");
    fs::write(local.join("dir 001/new.txt"), "new\n").expect("a file");
    fs::write(local.join("run.sh"), "#!/bin/sh\nexit 1\n").expect("a file");
    done(rclone(&drive.bob).args(["sync", text(&local), "enclos:tree", "--create-empty-src-dirs"]), "");
    same(&local, &drive.site().join("tree"), By::Contents);
    drive.saw("sync after changes and removals");
}
