//! The empty world that sessions are forked from: a read-only root with one directory, and no network.
//!
//! The zygote moves there itself, so that a session's copy of the mount tree is one mount and not the host's hundreds.

use rustix::fs::{CWD, Mode as Bits, OFlags};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount};
use rustix::thread::UnshareFlags;

use super::VIEW;
use super::error::{Context, Error};
use super::memory;
use crate::sys::{self, MountAttr};

/// Moves this process, which must have a single thread, into the template.
pub(super) fn enter() -> Result<(), Error> {
    let apart = UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    sys::unshare(apart).step("make the template's namespaces")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).step("make all mounts private")?;
    let root = memory::filesystem(4, 4, 0o755).step("make the empty root")?;
    #[cfg(feature = "weaken")]
    let root = weakened(root)?;
    rustix::fs::mkdirat(&root, VIEW.trim_start_matches('/'), Bits::from_raw_mode(0o555)).step("make the view")?;
    // Any directory will do to hang it on before it becomes the root; every host has this one.
    #[cfg(feature = "weaken")]
    if !crate::weaken::off(crate::weaken::Layer::EmptyRoot) {
        move_mount(&root, "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step("attach the empty root")?;
    }
    #[cfg(not(feature = "weaken"))]
    move_mount(&root, "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step("attach the empty root")?;
    rustix::process::fchdir(&root).step("step into the empty root")?;
    rustix::process::pivot_root(".", ".").step("make it the root")?;
    // The host's tree now lies on top of it at the same place, and goes with all that hangs on it.
    unmount(".", UnmountFlags::DETACH).step("drop the host's tree")?;
    rustix::process::chdir("/").step("stand on the empty root")?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Bits::empty()).step("close the empty root")?;
    sys::set_mount_attr(&root, MountAttr { read_only: true, no_exec: true, ..MountAttr::default() })
        .step("close the empty root")?;
    rustix::system::sethostname(b"cell").step("name the cell")
}

/// A root that shows some of the host's directories.
#[cfg(feature = "weaken")]
fn weakened(root: std::os::fd::OwnedFd) -> Result<std::os::fd::OwnedFd, Error> {
    use rustix::mount::{OpenTreeFlags, open_tree};
    if !crate::weaken::off(crate::weaken::Layer::EmptyRoot) {
        return Ok(root);
    }
    let root = memory::filesystem(64, 16, 0o755).step("make a root")?;
    for name in ["tmp", "etc", "usr", "proc"] {
        rustix::fs::mkdirat(&root, name, Bits::from_raw_mode(0o755)).step("make a root")?;
    }
    move_mount(&root, "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step("attach a root")?;
    for name in ["tmp", "etc", "usr"] {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, format!("/{name}"), flags).step("show the host")?;
        move_mount(&tree, "", &root, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step("show the host")?;
    }
    Ok(root)
}
