//! What a view is made of besides grants: the directories that lead to them, and covers over what is hidden.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode as Bits, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

use super::VIEW;
use super::attach::{Fault, step};
use super::memory;
use super::plan::Kind;
use super::sources::open_beneath;
use crate::sys::{self, MountAttr};

/// Small directories in memory with a place for each grant. Read-only once [`Skeleton::close`] is called.
pub(super) struct Skeleton {
    root: OwnedFd,
}

impl Skeleton {
    /// Makes the directories that `places` need (paths in the view) and attaches them as the view.
    pub(super) fn make<'a>(places: impl Iterator<Item = &'a str> + Clone) -> Result<Skeleton, Fault> {
        let mut directories = BTreeSet::new();
        for place in places {
            let parts: Vec<&str> = place.split('/').filter(|c| !c.is_empty()).collect();
            directories.extend((1..=parts.len()).filter_map(|end| parts.get(..end)).map(|p| p.join("/")));
        }
        let root = small_filesystem(directories.len() + 1)?;
        attach_to_view(&root)?;
        // In this order every directory comes after the one that it lies in.
        for directory in &directories {
            rustix::fs::mkdirat(&root, directory.as_str(), Bits::from_raw_mode(0o755))
                .map_err(step("name a grant in the view"))?;
        }
        Ok(Skeleton { root })
    }

    /// The directory for a grant.
    pub(super) fn place(&self, at: &str) -> Result<OwnedFd, Fault> {
        open_beneath(&self.root, at).map_err(step("name a grant in the view"))
    }

    /// Lets nothing be changed in it any more.
    pub(super) fn close(self) -> Result<(), Fault> {
        rustix::fs::chmodat(&self.root, ".", Bits::from_raw_mode(0o555), AtFlags::empty())
            .map_err(step("close the view"))?;
        make_read_only(&self.root)
    }
}

/// An empty directory that nobody may list and an empty file that nobody may open, to be mounted over what is hidden.
pub(super) struct Covers {
    root: OwnedFd,
    kind: Kind,
}

/// A directory of every shell cell, in which no grant lies, that something can be mounted over for a moment.
const SCRATCH: &str = "/dev/mqueue";

impl Covers {
    /// Makes them. They lie at the view's place, under the view, so this comes before it.
    pub(super) fn make(kind: Kind) -> Result<Covers, Fault> {
        let root = small_filesystem(3)?;
        let nobody = Bits::empty();
        // With leave to pass, whoever looks for something in it hears that there is nothing.
        rustix::fs::mkdirat(&root, "directory", Bits::from_raw_mode(0o111)).map_err(step("make a cover"))?;
        let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::openat(&root, "file", new, nobody).map_err(step("make a cover"))?;
        make_read_only(&root)?;
        // Before Linux 6.15 only what is attached somewhere can be cloned.
        match kind {
            Kind::Files => attach_to_view(&root)?,
            Kind::Shell => attach_at(&root, SCRATCH)?,
        }
        Ok(Covers { root, kind })
    }

    /// Puts away what covers were cloned from. In a session it lies under the view, where nothing reaches it.
    pub(super) fn put_away(&self) -> Result<(), Fault> {
        match self.kind {
            Kind::Files => Ok(()),
            Kind::Shell => unmount(SCRATCH, UnmountFlags::DETACH).map_err(step("put the covers away")),
        }
    }

    /// Number of the filesystem that covers lie on: whatever lies on it is one.
    pub(super) fn device(&self) -> Result<u64, Fault> {
        Ok(rustix::fs::fstat(&self.root).map_err(step("look at a cover"))?.st_dev)
    }

    /// A cover for a directory, or for anything else.
    pub(super) fn cover(&self, is_directory: bool) -> Result<OwnedFd, Fault> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(&self.root, if is_directory { "directory" } else { "file" }, flags).map_err(step("clone a cover"))
    }
}

fn small_filesystem(directories: usize) -> Result<OwnedFd, Fault> {
    // A page for each directory is more than their names take; the rest is for the filesystem itself.
    let count = directories as u64;
    memory::filesystem(4 * count + 16, count + 8, 0o755).map_err(step("make the view"))
}

fn make_read_only(mount: &OwnedFd) -> Result<(), Fault> {
    sys::set_mount_attr(mount, MountAttr { read_only: true, no_exec: true, ..MountAttr::default() })
        .map_err(step("close the view"))
}

/// Attaches a mount as the view; one that was there lies under it.
pub(super) fn attach_to_view(tree: &OwnedFd) -> Result<(), Fault> {
    attach_at(tree, VIEW)
}

fn attach_at(tree: &OwnedFd, path: &str) -> Result<(), Fault> {
    move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(step("attach the granted directory"))
}

/// Attaches a mount onto an open directory or file.
pub(super) fn attach_onto(tree: &OwnedFd, target: &OwnedFd) -> Result<(), Fault> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", target, "", flags).map_err(step("attach the granted directory"))
}
