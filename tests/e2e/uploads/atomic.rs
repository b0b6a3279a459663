//! An uploaded file shows when it is whole, whoever uploads it and however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{mode, refusal, site};
use crate::harness::{
    Identity, Login, Node, Raw, Reply, Waiting, checksum, finish, make_tree, open, random_file, rclone, scp, sftp,
    signal, sshfs, wait_until,
};

as_root_and_rootless!(
    what_was_there_stays_until_the_upload_is_whole,
    every_client_uploads_and_finds_what_it_uploaded,
    a_cut_upload_is_gone_on_with_by_the_clients_own_means,
    a_killed_session_leaves_nothing_that_shows,
    a_session_that_ends_clears_away_what_it_was_replacing,
    beside_a_drop_box_uploads_show_when_they_are_whole_too,
    as_many_files_as_announced_are_uploaded_at_once,
);

const PATIENCE: Duration = Duration::from_secs(20);
const PUT: u32 = open::WRITE | open::CREATE | open::TRUNCATE;

fn with_atomic_bob(identity: Identity) -> (Node, Login) {
    let (node, bob) = Node::with_bob(identity);
    node.admin(&["user", "set", "bob", "--uploads", "atomic"]);
    (node, bob)
}

/// What is in a directory besides what the test put there.
fn partials(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.to_string_lossy().contains(".ht-enclos-upload.")).collect()
}

fn put(raw: &mut Raw, path: &[u8], content: &[u8]) -> Vec<u8> {
    let Reply::Handle(handle) = raw.open(path, PUT) else { panic!("cannot open") };
    assert!(raw.write_at(&handle, 0, content).is_success());
    handle
}

fn size(reply: Reply) -> Option<u64> {
    match reply {
        Reply::Attributes(seen) => seen.size,
        _ => None,
    }
}

fn what_was_there_stays_until_the_upload_is_whole(identity: Identity) {
    let (node, bob) = with_atomic_bob(identity);
    fs::write(node.dir().join("a"), "before").expect("a file");
    finish(sftp(&bob).current_dir(node.dir()), "put a\nchmod 606 a\n").ok();
    let (mut raw, mut other) = (Raw::connect(&bob), Raw::connect(&bob));
    let handle = put(&mut raw, b"/a", b"after");
    assert_eq!(fs::read(site(&node).join("a")).expect("it"), b"before");
    assert_eq!(other.contents(b"/a").expect("the old one"), b"before");
    assert_eq!(raw.contents(b"/a").expect("the new one"), b"after");
    assert_eq!((size(raw.stat(b"/a")), size(other.stat(b"/a"))), (Some(5), Some(6)));
    for connection in [&mut raw, &mut other] {
        let names = connection.names(b"/").expect("a listing");
        assert!(names.iter().all(|name| !name.starts_with(b".ht")), "{names:?}");
    }
    assert!(raw.close(&handle).is_success());
    assert_eq!(fs::read(site(&node).join("a")).expect("it"), b"after");
    assert_eq!(mode(&node, "a"), 0o606);
    assert!(partials(&site(&node)).is_empty());
    let handle = put(&mut raw, b"/synced", b"on disk");
    assert!(raw.extended("fsync@openssh.com", &[&handle]).is_success());
    assert_eq!(fs::read(site(&node).join("synced")).expect("it"), b"on disk");
}

fn every_client_uploads_and_finds_what_it_uploaded(identity: Identity) {
    let (node, bob) = with_atomic_bob(identity);
    let local = node.dir().join("local");
    make_tree(&local, 200);
    random_file(&local.join("big"), 5 << 20, 9);
    let from = local.to_str().expect("text");
    let same = |place: &str| {
        finish(Command::new("diff").arg("-r").arg(&local).arg(site(&node).join(place)), "").ok();
        assert!(partials(&site(&node).join(place)).is_empty());
    };
    for _ in 0..2 {
        // The second time everything is replaced.
        finish(sftp(&bob).current_dir(node.dir()), "-mkdir sftp\nput -r local/. sftp\nput -f local/big sftp/big\n")
            .ok();
        same("sftp");
        finish(&mut scp(&bob, &format!("{from}/."), ":scp"), "").ok();
        same("scp");
        finish(rclone(&bob).args(["copy", "--ignore-times", from, "enclos:/rclone"]), "").ok();
        finish(rclone(&bob).args(["check", "--download", from, "enclos:/rclone"]), "").ok();
        same("rclone");
    }
    let mounted = sshfs(&bob, &node.dir().join("mnt"));
    let at = mounted.path();
    finish(Command::new("cp").arg("-r").arg(&local).arg(at.join("sshfs")), "").ok();
    finish(Command::new("sh").args(["-c", "echo one > f; echo two >> f; cat f; mv f g; cat g"]).current_dir(at), "")
        .ok();
    assert_eq!(fs::read(site(&node).join("g")).expect("it"), b"one\ntwo\n");
    finish(Command::new("rm").arg("-r").arg(at.join("sftp")), "").ok();
    drop(mounted);
    same("sshfs");
    assert!(!site(&node).join("sftp").exists());
}

fn a_cut_upload_is_gone_on_with_by_the_clients_own_means(identity: Identity) {
    let (node, bob) = with_atomic_bob(identity);
    random_file(&node.dir().join("big"), 4 << 20, 11);
    let content = fs::read(node.dir().join("big")).expect("it");
    let mut raw = Raw::connect(&bob);
    let Reply::Handle(handle) = raw.open(b"/big", PUT) else { panic!("cannot open") };
    for (number, block) in content.chunks(32_768).take(64).enumerate() {
        assert!(raw.write_at(&handle, number as u64 * 32_768, block).is_success());
    }
    drop(raw);
    assert_eq!(wait_until(PATIENCE, || node.sessions().is_empty()), Waiting::Came);
    assert!(!site(&node).join("big").exists() && partials(&site(&node)).len() == 1);
    let listed = finish(&mut sftp(&bob), "ls -l\n").ok();
    assert!(listed.contains(" 2097152 ") && listed.contains("big"), "{listed}");
    let said = finish(sftp(&bob).current_dir(node.dir()), "reput big\n").ok();
    assert!(!said.contains("not found"), "{said}");
    assert_eq!(checksum(&node.dir().join("big")), checksum(&site(&node).join("big")));
    assert!(partials(&site(&node)).is_empty());
}

fn a_killed_session_leaves_nothing_that_shows(identity: Identity) {
    let (node, bob) = with_atomic_bob(identity);
    fs::write(node.dir().join("a"), "before").expect("a file");
    finish(sftp(&bob).current_dir(node.dir()), "mkdir d\nput a d/a\nput a\n").ok();
    let mut raw = Raw::connect(&bob);
    put(&mut raw, b"/a", b"half");
    put(&mut raw, b"/d/new", b"half");
    signal(node.session_of("bob").pid, Signal::SIGKILL);
    assert_eq!(wait_until(PATIENCE, || node.sessions().is_empty()), Waiting::Came);
    assert_eq!(fs::read(site(&node).join("a")).expect("it"), b"before");
    assert!(!site(&node).join("d/new").exists());
    let listed = finish(&mut sftp(&bob), "ls -a\nls -a d\n").ok();
    assert!(!listed.contains(".ht-"), "{listed}");
    // The beginning of a new file can be removed by its name, and a directory of beginnings is empty.
    finish(&mut sftp(&bob), "rm d/a\nrm d/new\nrmdir d\n").ok();
    assert!(!site(&node).join("d").exists());
    finish(sftp(&bob).current_dir(node.dir()), "put a\n").ok();
    refusal(&node, &bob, "get nothing\n");
}

fn a_session_that_ends_clears_away_what_it_was_replacing(identity: Identity) {
    let (node, bob) = with_atomic_bob(identity);
    fs::write(node.dir().join("a"), "before").expect("a file");
    finish(sftp(&bob).current_dir(node.dir()), "put a\n").ok();
    let mut raw = Raw::connect(&bob);
    put(&mut raw, b"/a", b"half");
    assert_eq!(partials(&site(&node)).len(), 1);
    drop(raw);
    assert_eq!(wait_until(PATIENCE, || partials(&site(&node)).is_empty()), Waiting::Came, "the client went");
    let mut raw = Raw::connect(&bob);
    put(&mut raw, b"/a", b"half");
    node.admin(&["user", "set", "bob", "--max-file-size", "1G"]);
    assert_eq!(wait_until(PATIENCE, || partials(&site(&node)).is_empty()), Waiting::Came, "the session was ended");
    assert_eq!(fs::read(site(&node).join("a")).expect("it"), b"before");
}

/// What `limits@openssh.com` says of handles holds for uploads too, each of which has its directory open beside the file.
fn as_many_files_as_announced_are_uploaded_at_once(identity: Identity) {
    let (node, bob) = with_atomic_bob(identity);
    let mut raw = Raw::connect(&bob);
    let Reply::Extended(limits) = raw.extended("limits@openssh.com", &[]) else { panic!("no limits") };
    let most = limits.last_chunk().map(|number| u64::from_be_bytes(*number)).expect("a number");
    let handles: Vec<Vec<u8>> = (0..most).map(|n| put(&mut raw, format!("/f{n}").as_bytes(), b"x")).collect();
    assert!(!raw.open(b"/more", PUT).is_success());
    assert!(handles.iter().all(|handle| raw.close(handle).is_success()));
    let names = fs::read_dir(site(&node)).expect("a directory").count();
    assert_eq!(names as u64, most);
}

fn beside_a_drop_box_uploads_show_when_they_are_whole_too(identity: Identity) {
    let (node, _) = Node::with_bob(identity);
    let eve = node.user("eve", "acme", &[("www/site1", "rw"), ("www/site2", "upload")]);
    node.admin(&["user", "set", "eve", "--uploads", "atomic", "--deny-name", "*.php"]);
    let mut raw = Raw::connect(&eve);
    let (whole, dropped) = (put(&mut raw, b"/site1/a", b"whole"), put(&mut raw, b"/site2/a", b"dropped"));
    let on_disk = |place: &str| fs::read(node.home("acme").join("www").join(place)).ok();
    assert_eq!((on_disk("site1/a"), on_disk("site2/a")), (None, Some(b"dropped".to_vec())));
    assert_eq!(raw.contents(b"/site1/a").expect("its beginning"), b"whole");
    assert!(raw.close(&whole).is_success() && raw.close(&dropped).is_success());
    assert_eq!(on_disk("site1/a"), Some(b"whole".to_vec()));
    assert!(raw.contents(b"/site2/a").is_err(), "nothing is read in a drop box");
    for path in [&b"/site1/x.php"[..], b"/site2/x.php"] {
        assert!(!raw.open(path, PUT).is_success());
    }
}
