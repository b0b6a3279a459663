//! Operations beneath one directory.
//!
//! Owns: [`Root`] and everything that is done with a name under it. Runs in: sessions. Trusts: nothing on disk and no
//! name; both belong to somebody who may change them at any moment, from another connection or another program.
//!
//! A name is resolved once, by the kernel: the directory it lies in by `openat2(2)` with `RESOLVE_IN_ROOT`, the last
//! component by a call of the `*at` family that does not follow it. So an absolute link inside the root means the root,
//! as it does for the account itself, and a link that leads out finds nothing. The process has an empty root and closed
//! Landlock around this; here the same promise is kept a second time, and tests hold it without those.

mod attributes;
mod error;
mod link;
mod list;
mod open;
#[cfg(test)]
mod race;
mod remove;
mod rename;
mod resolve;
mod space;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cap_std::fs::Dir;

pub use attributes::{Attributes, Change};
pub use error::{Error, Reason};
pub use list::{Entry, Listing};
pub use open::{Access, Creation, File, Opening};
pub use space::Space;

/// One directory, and the right to act beneath it.
#[derive(Debug)]
pub struct Root {
    directory: Dir,
}

impl Root {
    /// Opens the directory that a session was given. The path is ours, not a client's.
    pub fn open(path: &Path) -> Result<Root, Error> {
        let directory = Dir::open_ambient_dir(path, cap_std::ambient_authority()).map_err(Error::from)?;
        Ok(Root { directory })
    }

    /// Takes over a directory descriptor.
    pub fn from_fd(directory: OwnedFd) -> Root {
        Root { directory: Dir::from_std_file(directory.into()) }
    }
}

/// The ids (user, group) of this process, as which the kernel shows it what the account owns.
pub fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}
