//! Operations beneath one directory.
//!
//! Owns: [`Root`] and everything that is done with a name under it. Runs in: sessions. Trusts: nothing on disk and no
//! name; both belong to somebody who may change them at any moment, from another connection or another program.
//!
//! A name is resolved once, by the kernel: the directory it lies in by `openat2(2)` with `RESOLVE_IN_ROOT`, the last
//! component by a call of the `*at` family that does not follow it. So an absolute link inside the root means the root,
//! as it does for the account itself, and a link that leads out finds nothing. The process has an empty root and closed
//! Landlock around this; here the same promise is kept a second time, and tests hold it without those.
//!
//! Only where that finds nothing, and a link on the way says a path of the host that the view shows elsewhere, the path is
//! written anew and given to the kernel a second time ([`link`]).

#[cfg(test)]
mod alike_tests;
mod atomic;
mod attributes;
mod birth;
mod copy;
mod drop_box;
mod ending;
mod error;
mod link;
mod list;
mod mark;
mod open;
mod overlay;
mod partial;
mod parts;
mod policy;
pub mod quota;
#[cfg(test)]
mod race;
mod remove;
mod rename;
mod resolve;
mod space;
mod unfinished;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::{CWD, Mode, OFlags};

use self::overlay::Overlay;
use self::unfinished::Unfinished;
use crate::domain::{HomePath, Layout, UploadPolicy};

pub use attributes::{Attributes, Change};
pub use birth::{Birth, Instant};
pub use copy::{Copied, Copy};
pub use error::{Error, Reason};
pub use list::{Entry, Listing};
pub use open::{Access, Creation, File, Opening};
pub use partial::names_a_partial;
pub use space::Space;

/// One directory, and the right to act beneath it.
#[derive(Debug)]
pub struct Root {
    directory: Arc<Dir>,
    overlay: Arc<Overlay>,
    policy: Arc<UploadPolicy>,
    unfinished: Arc<Unfinished>,
}

/// What a session is told of its view.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The account's home on the host.
    pub home: &'a HomePath,
    /// The grants and their places.
    pub layout: &'a Layout,
    /// Number of the filesystem whose files cover what is hidden.
    pub cover: Option<u64>,
    /// Whose view it is.
    pub login: &'a str,
}

impl Root {
    /// Opens a directory. The path is ours, not a client's. It need not be readable: some views only lead on.
    pub fn open(path: &Path) -> Result<Root, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root::from_fd(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens the directory that a session's view is attached at.
    pub fn open_view(path: &Path, view: &View<'_>) -> Result<Root, Error> {
        let mut root = Root::open(path)?;
        root.overlay = Arc::new(Overlay::of(&root, view)?);
        Ok(root)
    }

    /// The same under what a user's policy asks of uploads.
    pub fn under(self, policy: &UploadPolicy) -> Root {
        Root { policy: Arc::new(policy.clone()), ..self }
    }

    /// Takes over a directory descriptor.
    pub fn from_fd(directory: OwnedFd) -> Root {
        Root {
            directory: Arc::new(Dir::from_std_file(directory.into())),
            overlay: Arc::default(),
            policy: Arc::default(),
            unfinished: Arc::default(),
        }
    }

    /// The same root once more. What one has put into a drop box is the other's too.
    pub fn try_clone(&self) -> Result<Root, Error> {
        Ok(Root {
            directory: Arc::new(self.directory.try_clone()?),
            overlay: Arc::clone(&self.overlay),
            policy: Arc::clone(&self.policy),
            unfinished: Arc::clone(&self.unfinished),
        })
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
