//! A cell's root: the shared mounts, and what is its own.
//!
//! Runs in: the newborn cell, while it is still root and alone in its namespaces.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode as Bits};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use serde::{Deserialize, Serialize};

use super::host::{MASKED_DIRECTORIES, MASKED_FILES};
use super::small::{attach_at, directory, file, link, small_filesystem};
use super::template::{BUILD, Contents, SHARED};
use crate::cell::error::{Context, Error};
use crate::domain::{Bind, Network};
use crate::sys::{self, MountAttr};

/// What a cell's root has of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Own {
    /// Login name of the user, and name of its group.
    pub user: String,
    /// The account's.
    pub group: String,
    /// Ids in the cell.
    pub ids: (u32, u32),
    /// `$HOME`, an absolute path in the cell.
    pub home: String,
    /// Its login shell.
    pub shell: String,
    /// Name of the host, as programs in the cell see it.
    pub hostname: String,
    /// Directories to be made for what is attached later: paths without a leading `/`.
    pub places: Vec<String>,
    /// Directories of the host that it shows.
    pub binds: Vec<Bind>,
    /// Its network.
    pub network: Network,
    /// Most KiB in `/tmp`, `/var/tmp`, `/run` and `/dev/shm` together.
    pub scratch: u64,
}

impl Own {
    fn passwd(&self) -> String {
        let Own { user, ids: (uid, gid), home, shell, .. } = self;
        format!(
            "root:x:0:0:root:/root:/usr/sbin/nologin\n{user}:x:{uid}:{gid}::{home}:{shell}\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        )
    }

    fn groups(&self) -> String {
        format!("root:x:0:\ntty:x:5:\n{}:x:{}:\nnogroup:x:65534:\n", self.group, self.ids.1)
    }
}

/// What of a cell is in memory and may be written.
const SCRATCH: [&str; 4] = ["tmp", "var/tmp", "dev/shm", "run"];

/// Builds the root and moves this process, the first of its process namespace, into it.
pub(super) fn enter(contents: &Contents, own: &Own) -> Result<(), Error> {
    let root = skeleton(contents)?;
    attach_to_build(&root)?;
    for name in &contents.mounts {
        let from = format!("{SHARED}/{name}");
        move_mount(CWD, from, &root, name.as_str(), MoveMountFlags::empty()).step("take over the host's programs")?;
    }
    attach_own_settings(&root, own)?;
    attach_processes(&root)?;
    attach_at(&terminals()?, &root, "dev/pts")?;
    attach_scratch(&root, own.scratch)?;
    // Last, for they may lie in what was just attached.
    for place in own.places.iter().map(String::as_str).chain(own.binds.iter().map(Bind::place)) {
        directory(&root, place)?;
    }
    rustix::process::fchdir(&root).step("step into the cell's root")?;
    rustix::process::pivot_root(".", ".").step("make it the root")?;
    unmount(".", UnmountFlags::DETACH).step("drop the template")?;
    rustix::process::chdir("/").step("stand on the cell's root")?;
    rustix::system::sethostname(own.hostname.as_bytes()).step("name the cell")
}

/// Lets nothing be changed in the root any more. What is attached in it has rights of its own.
pub(super) fn close() -> Result<(), Error> {
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::ReadOnlyRoot) {
        return Ok(());
    }
    let root = open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).step("close the cell's root")?;
    sys::set_mount_attr(&root, MountAttr { read_only: true, no_exec: true, ..MountAttr::default() })
        .step("close the cell's root")
}

fn skeleton(contents: &Contents) -> Result<OwnedFd, Error> {
    let root = small_filesystem(512, 1024, 0o755)?;
    for name in contents.mounts.iter().map(String::as_str).chain(["proc", "tmp", "var/tmp", "run"]) {
        directory(&root, name)?;
    }
    for (name, target) in &contents.links {
        link(&root, target, name)?;
    }
    link(&root, b"/run", "var/run")?;
    Ok(root)
}

/// What is mounted can be reached only from a mount that is attached, so the root is at once.
fn attach_to_build(root: &OwnedFd) -> Result<(), Error> {
    move_mount(root, "", CWD, BUILD, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step("attach the cell's root")
}

fn attach_own_settings(root: &OwnedFd, own: &Own) -> Result<(), Error> {
    let small = small_filesystem(64, 16, 0o755)?;
    let hostname = format!("{}\n", own.hostname);
    for (name, content) in [("passwd", own.passwd()), ("group", own.groups()), ("hostname", hostname)] {
        file(&small, name, content.as_bytes(), 0o644)?;
    }
    sys::set_mount_attr(&small, MountAttr { read_only: true, no_exec: true, ..MountAttr::default() })
        .step("close the cell's own settings")?;
    // Before Linux 6.15 only what is attached somewhere can be cloned.
    attach_at(&small, root, "tmp")?;
    for name in super::host::OWN_SETTINGS {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let one = open_tree(&small, *name, flags).step("clone the cell's own settings")?;
        attach_at(&one, root, &format!("etc/{name}"))?;
    }
    unmount(format!("{BUILD}/tmp"), UnmountFlags::DETACH).step("put the cell's own settings away")
}

/// The directories in memory that programs may write into, parts of one filesystem so that they have one size.
fn attach_scratch(root: &OwnedFd, kilobytes: u64) -> Result<(), Error> {
    let whole = small_filesystem(kilobytes, kilobytes / 4 + 64, 0o755)?;
    // Before Linux 6.15 only what is attached somewhere can be cloned.
    attach_at(&whole, root, "tmp")?;
    let part = |place: &str| {
        directory(&whole, place)?;
        rustix::fs::chmodat(&whole, place, Bits::from_raw_mode(0o1777), AtFlags::empty())
            .step("open a directory to all")?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(&whole, place, flags).step("clone a directory of the cell")
    };
    let parts = SCRATCH.map(part);
    unmount(format!("{BUILD}/tmp"), UnmountFlags::DETACH).step("put the whole of them away")?;
    #[cfg(feature = "weaken")]
    let parts = parts.into_iter().skip(usize::from(crate::weaken::off(crate::weaken::Layer::OwnRoot)));
    #[cfg(feature = "weaken")]
    let scratch = SCRATCH.into_iter().skip(usize::from(crate::weaken::off(crate::weaken::Layer::OwnRoot)));
    #[cfg(not(feature = "weaken"))]
    let scratch = SCRATCH.into_iter();
    scratch.zip(parts).try_for_each(|(place, part)| attach_at(&part?, root, place))
}

/// The kernel has some 3,000 terminals for all cells together; one that took them all would leave the others none.
const MOST_TERMINALS: &str = "256";

fn terminals() -> Result<OwnedFd, Error> {
    let context = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC).step("make the cell's terminals")?;
    for (key, value) in [("ptmxmode", "0666"), ("mode", "0620"), ("max", MOST_TERMINALS)] {
        fsconfig_set_string(&context, key, value).step("set up the cell's terminals")?;
    }
    fsconfig_create(&context).step("make the cell's terminals")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).step("make the cell's terminals")
}

/// `/proc` of the cell's own processes, without what tells of the host.
fn attach_processes(root: &OwnedFd) -> Result<(), Error> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).step("make the cell's /proc")?;
    let shown = "invisible";
    #[cfg(feature = "weaken")]
    let shown = if crate::weaken::off(crate::weaken::Layer::HiddenProcesses) { "off" } else { shown };
    fsconfig_set_string(&context, "hidepid", shown).step("set up the cell's /proc")?;
    fsconfig_create(&context).step("make the cell's /proc")?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let proc = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).step("make the cell's /proc")?;
    attach_at(&proc, root, "proc")?;
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::MaskedProc) {
        return Ok(());
    }
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    for name in MASKED_FILES {
        let path = format!("proc/{name}");
        if rustix::fs::statat(root, &path, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            let null = open_tree(root, "dev/null", clone).step("cover a part of /proc")?;
            attach_at(&null, root, &path)?;
        }
    }
    for name in MASKED_DIRECTORIES {
        let path = format!("proc/{name}");
        if rustix::fs::statat(root, &path, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            let empty = open_tree(root, "dev/mqueue", clone).step("cover a part of /proc")?;
            attach_at(&empty, root, &path)?;
        }
    }
    Ok(())
}
