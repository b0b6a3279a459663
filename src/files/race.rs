//! A second thread exchanges a directory with a link that leads outside while every operation runs. Nothing outside
//! may be read, listed, made or changed.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Access, Change, Creation, Error, Opening, Root};
use crate::domain::{UploadPolicy, Uploads};

/// Rounds of all operations; enough for thousands of exchanges.
const ROUNDS: u32 = 10_000;
const SECRET: &[u8] = b"the neighbour's";

const WRITE: Opening =
    Opening { access: Access::Both, creation: Creation::IfMissing, truncate: true, append: false, mode: 0o600 };
const READ: Opening =
    Opening { access: Access::Read, creation: Creation::Never, truncate: false, append: false, mode: 0 };

fn lay_out(base: &Path) {
    for directory in ["outside/dir", "root/swap/dir", "root/other"] {
        std::fs::create_dir_all(base.join(directory)).expect("a temporary tree");
    }
    std::fs::write(base.join("outside/canary"), SECRET).expect("the canary");
    std::fs::write(base.join("root/swap/canary"), b"mine").expect("our own");
    symlink(base.join("outside"), base.join("root/trap")).expect("an absolute link");
    symlink("../outside", base.join("root/up")).expect("a relative link");
}

fn exchange(base: &Path, done: &AtomicBool) {
    let (one, trap, up) = (base.join("root/swap"), base.join("root/trap"), base.join("root/up"));
    while !done.load(Ordering::Relaxed) {
        for two in [&trap, &up] {
            renameat_with(CWD, &one, CWD, two, RenameFlags::EXCHANGE).expect("exchange there");
            renameat_with(CWD, &one, CWD, two, RenameFlags::EXCHANGE).expect("exchange back");
        }
    }
}

/// What the outside looks like, by a witness that shares no resolution with us.
fn picture(base: &Path) -> Vec<(String, u64, u32, std::time::SystemTime)> {
    use cap_std::fs::{MetadataExt, PermissionsExt};
    let outside = Dir::open_ambient_dir(base.join("outside"), ambient_authority()).expect("the outside");
    let mut seen: Vec<_> = outside
        .entries()
        .expect("its entries")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let metadata = entry.metadata().expect("its metadata");
            let name = entry.file_name().into_string().expect("plain names");
            let modified = metadata.modified().expect("a time").into_std();
            (name, metadata.ino(), metadata.permissions().mode(), modified)
        })
        .collect();
    seen.sort();
    seen
}

fn refused_or_done<T>(result: Result<T, Error>) -> Option<T> {
    result.ok()
}

fn read_is_ours(root: &Root) {
    let Some(file) = refused_or_done(root.open_file(b"swap/canary", &READ)) else { return };
    let mut content = Vec::new();
    let length = file.read_at(0, &mut content, 64).expect("read what was opened");
    assert!(!content.starts_with(SECRET), "read {length} bytes of the neighbour's");
}

fn listing_is_ours(root: &Root, inode_outside: u64) {
    let Some(listing) = refused_or_done(root.list(b"swap")) else { return };
    let here = rustix::fs::fstat(&listing).expect("stat what was opened");
    assert_ne!(here.st_ino, inode_outside, "listed the neighbour's");
}

fn one_round(root: &Root, outside: u64) {
    read_is_ours(root);
    listing_is_ours(root, outside);
    for metadata in [root.stat(b"swap/canary"), root.lstat(b"swap/canary")].into_iter().flatten() {
        assert_ne!(metadata.size, SECRET.len() as u64, "looked at the neighbour's");
    }
    let changes = Change { mode: Some(0o606), times: Some((7, 7)), ..Change::default() };
    for name in [&b"swap/canary"[..], b"swap/dir"] {
        refused_or_done(root.change(name, &changes));
        refused_or_done(root.change_link(name, &changes));
    }
    refused_or_done(root.change(b"swap/dir", &Change { mode: Some(0o755), ..Change::default() }));
    refused_or_done(
        root.open_file(b"swap/new", &WRITE).and_then(|file| file.write_at(0, b"x").and_then(|()| file.close())),
    );
    refused_or_done(root.make_directory(b"swap/made", 0o700));
    refused_or_done(root.remove_directory(b"swap/made"));
    refused_or_done(root.make_link(b"anywhere", b"swap/link"));
    refused_or_done(root.read_link(b"swap/link"));
    refused_or_done(root.hard_link(b"swap/new", b"swap/second"));
    refused_or_done(root.rename_over(b"swap/new", b"swap/renamed"));
    refused_or_done(root.rename_new(b"swap/renamed", b"other/kept"));
    for name in [&b"swap/link"[..], b"swap/second", b"swap/renamed", b"other/kept"] {
        refused_or_done(root.remove_file(name));
    }
    ends_oddly(root);
    if let Some(path) = refused_or_done(root.real_path(b"swap/canary")) {
        assert!(path.starts_with(b"/"), "a path in the root");
    }
}

/// What is decided here and not by one call of the kernel.
fn ends_oddly(root: &Root) {
    for name in [&b"swap/dir/"[..], b"swap/dir/.", b"swap/canary/", b"swap/.."] {
        refused_or_done(root.make_directory(name, 0o700));
        refused_or_done(root.make_link(b"anywhere", name));
        refused_or_done(root.remove_file(name));
        refused_or_done(root.remove_directory(name));
        for other in [&b"other/odd"[..], b"other/odd/", b"swap/new/"] {
            refused_or_done(root.rename_new(name, other));
            refused_or_done(root.rename_over(name, other));
            refused_or_done(root.hard_link(name, other));
        }
        refused_or_done(root.remove_directory(b"other/odd"));
        refused_or_done(root.remove_file(b"other/odd"));
    }
}

#[test]
fn a_swapped_symlink_does_not_lead_to_the_neighbour() {
    hold_under(&UploadPolicy::default());
}

#[test]
fn nor_does_it_when_names_matter_and_uploads_show_when_they_are_whole() {
    let deny_names = "*.php".parse().expect("a pattern");
    hold_under(&UploadPolicy { uploads: Uploads::Atomic, deny_names, ..UploadPolicy::default() });
}

fn hold_under(policy: &UploadPolicy) {
    use std::os::unix::fs::MetadataExt;
    let base = tempfile::tempdir().expect("a temporary directory");
    let base = base.path();
    lay_out(base);
    let root = Root::open(&base.join("root")).expect("the root").under(policy);
    let before = picture(base);
    let outside = std::fs::metadata(base.join("outside")).expect("the outside").ino();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| exchange(base, &done));
        let rounds = thread::Builder::new()
            .spawn_scoped(scope, || (0..ROUNDS).for_each(|_| one_round(&root, outside)))
            .expect("a thread")
            .join();
        done.store(true, Ordering::Relaxed);
        rounds.expect("every round");
    });
    assert_eq!(picture(base), before);
    assert_eq!(std::fs::read(base.join("outside/canary")).expect("the canary"), SECRET);
}
