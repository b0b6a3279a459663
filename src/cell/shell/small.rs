//! Small filesystems in memory, and what is put into them. Names are ours.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use crate::cell::error::{Context, Error};
use crate::cell::memory;

/// An empty filesystem in memory of at most so many KiB and files.
pub(super) fn small_filesystem(kilobytes: u64, files: u64, mode: u32) -> Result<OwnedFd, Error> {
    memory::filesystem(kilobytes, files, mode).step("make a filesystem in memory")
}

/// Attaches a mount onto what has a name beneath a directory.
pub(super) fn attach_at(mount: &OwnedFd, directory: &OwnedFd, name: &str) -> Result<(), Error> {
    move_mount(mount, "", directory, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step("attach a part of the cell")
}

/// Makes a directory, and those that lead to it.
pub(super) fn directory(root: &OwnedFd, path: &str) -> Result<(), Error> {
    for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
        match rustix::fs::mkdirat(root, path.get(..end).unwrap_or(path), Bits::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).step("make a directory of the cell"),
        }
    }
    Ok(())
}

/// Makes a file.
pub(super) fn file(root: &OwnedFd, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, name, flags, Bits::from_raw_mode(mode)).step("make a file of the cell")?;
    let written = File::from(file).write_all(content);
    written.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)).step("make a file of the cell")
}

/// Makes a link.
pub(super) fn link(root: &OwnedFd, target: &[u8], name: &str) -> Result<(), Error> {
    rustix::fs::symlinkat(target, root, name).step("make a link of the cell")
}
