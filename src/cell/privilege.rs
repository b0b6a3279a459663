//! Whether the node has root's powers over the host, or only those over a user namespace of its own.

use std::fs;

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use super::error::{Context, Error};
use crate::sys;

/// What the node may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Root: every session gets an own user id, grants are idmapped.
    Root,
    /// An ordinary user: cells come from a user namespace, every session has this one id, and so has every file.
    Rootless {
        /// The user's id.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl Privilege {
    /// Finds out, and as an ordinary user moves this process, which must have a single thread, into a user namespace
    /// that maps the user to itself. From then on both kinds run the same code.
    pub fn establish() -> Result<Privilege, Error> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid == 0 {
            return Ok(Privilege::Root);
        }
        sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)
            .step("make a user namespace (this host may forbid it to ordinary users; run as root)")?;
        // user_namespaces(7): the group map may be written by an ordinary user only once setgroups is denied.
        write("/proc/self/setgroups", "deny", "deny setgroups in the user namespace")?;
        write("/proc/self/uid_map", &format!("{uid} {uid} 1"), "map the user id")?;
        write("/proc/self/gid_map", &format!("{gid} {gid} 1"), "map the group id")?;
        Ok(Privilege::Rootless { uid, gid })
    }
}

pub(super) fn write(path: &str, text: &str, step: &'static str) -> Result<(), Error> {
    // One write, as the kernel demands of its map files.
    fs::write(path, text).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)).step(step)
}
