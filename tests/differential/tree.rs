//! What both servers begin with, and pictures of what they leave.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, SeekFrom, Timespec, Timestamps};

use super::differences::time;
use super::sides::USER;

const BLOCK: u64 = 4096;
const LONG_AGO: Timespec = Timespec { tv_sec: 1_000_000, tv_nsec: 0 };
const PAST: Timestamps = Timestamps { last_access: LONG_AGO, last_modification: LONG_AGO };

/// Makes the beginning: files, directories, links that lead somewhere and nowhere, a socket, things without rights.
pub(crate) fn lay_out(tree: &Path) {
    let file = |name: &str, content: &[u8], mode: u32| {
        fs::write(tree.join(name), content).expect("a file");
        fs::set_permissions(tree.join(name), PermissionsExt::from_mode(mode)).expect("its mode");
    };
    for directory in ["a", "a/b", "d", "d/closed", "x y"] {
        fs::create_dir(tree.join(directory)).expect("a directory");
    }
    file("a/c", b"some text\n", 0o644);
    file("a/b/c", &[7; 100_000], 0o600);
    file("b", b"", 0o664);
    file("d/secret", b"secret", 0o000);
    file("d/closed/c", b"inside", 0o644);
    file("theirs", b"somebody else's", 0o600);
    for (target, name) in [("a/b", "c"), ("/a/c", "d/a"), ("nowhere", "d/b"), ("c/../../d", "a/d"), ("loop", "loop")] {
        symlink(target, tree.join(name)).expect("a link");
    }
    drop(std::os::unix::net::UnixListener::bind(tree.join("a/socket")).expect("a socket"));
    for entry in everything(tree) {
        lchown(&entry, Some(USER), Some(USER)).expect("its owner");
        // Times in the past, so that the first read shows in one of them.
        rustix::fs::utimensat(CWD, &entry, &PAST, AtFlags::SYMLINK_NOFOLLOW).expect("its times");
    }
    lchown(tree.join("theirs"), Some(0), Some(0)).expect("somebody else's");
    fs::set_permissions(tree.join("d/closed"), PermissionsExt::from_mode(0o000)).expect("closed");
    lchown(tree, Some(USER), Some(USER)).expect("the tree's owner");
    // OpenSSH's server looks up who it runs as, for the names in listings.
    fs::create_dir(tree.join("etc")).expect("a directory");
    fs::create_dir(tree.join("proc")).expect("a directory");
    file("etc/passwd", format!("bob:x:{USER}:{USER}::/:/bin/false\n").as_bytes(), 0o644);
    file("etc/group", format!("acme:x:{USER}:\n").as_bytes(), 0o644);
}

fn everything(tree: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![tree.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if fs::symlink_metadata(&path).expect("an entry").is_dir() {
                left.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

/// One thing in a tree, as far as both must agree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Thing {
    kind: u32,
    mode: u32,
    owner: (u32, u32),
    links: u64,
    size: u64,
    modified: u32,
    target: Option<Vec<u8>>,
    /// Blocks that are not all zero, wherever holes may be.
    blocks: Vec<(u64, Vec<u8>)>,
}

/// Everything in a tree, by its path.
pub(crate) fn picture(tree: &Path) -> BTreeMap<Vec<u8>, Thing> {
    let name = |path: &Path| path.strip_prefix(tree).expect("beneath").as_os_str().as_bytes().to_vec();
    everything(tree).iter().map(|path| (name(path), thing(path))).collect()
}

fn thing(path: &Path) -> Thing {
    let found = fs::symlink_metadata(path).expect("what is there");
    let is_file = found.is_file();
    Thing {
        kind: found.mode() & 0o170_000,
        mode: found.mode() & 0o777,
        owner: (found.uid(), found.gid()),
        links: found.nlink(),
        size: if found.is_dir() { 0 } else { found.len() },
        modified: time(found.mtime() as u32),
        target: found.is_symlink().then(|| fs::read_link(path).expect("a link").as_os_str().as_bytes().to_vec()),
        blocks: if is_file { blocks(path, &found) } else { Vec::new() },
    }
}

fn blocks(path: &Path, found: &Metadata) -> Vec<(u64, Vec<u8>)> {
    let file = File::open(path).expect("a file");
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Ok(start) = rustix::fs::seek(&file, SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&file, SeekFrom::Hole(start)).unwrap_or(found.len());
        at = end;
        let mut block = start / BLOCK * BLOCK;
        while block < end {
            let mut content = vec![0; BLOCK as usize];
            let length = file.read_at(&mut content, block).expect("its content");
            content.truncate(length);
            if content.iter().any(|b| *b != 0) {
                blocks.push((block, content));
            }
            block += BLOCK;
        }
    }
    blocks
}
