//! From paths of an account to mounts that can be attached.
//!
//! The paths belong to the account, so to the attacker: every component is opened beneath the one before by the kernel,
//! no link is followed, no mount is crossed, and what is checked is the descriptor that is then cloned.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode as Bits, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::attach::{Fault, step};
use super::plan::{Plan, Rights, Source, Step, Target};
use crate::domain::Bind;
use crate::sys::{self, MountAttr};

/// A mount that is attached nowhere yet.
pub(super) struct Tree {
    /// Its root.
    pub fd: OwnedFd,
    /// What it was cloned from.
    pub identity: Identity,
}

/// Which file something is: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Identity {
        Identity(stat.st_dev, stat.st_ino)
    }
}

/// Opens the account's home.
pub(super) fn open_home(plan: &Plan) -> Result<OwnedFd, Fault> {
    let home = rustix::fs::openat2(
        CWD,
        plan.home().as_str(),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Bits::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
    .map_err(|e| Fault::Home { errno: e.raw_os_error() })?;
    let stat = rustix::fs::fstat(&home).map_err(step("look at the home"))?;
    // A home that root owns is common (sshd's ChrootDirectory demands it); the grants in it are checked themselves.
    if stat.st_uid == plan.owner().0 || stat.st_uid == 0 {
        Ok(home)
    } else {
        Err(Fault::HomeOwner { uid: stat.st_uid })
    }
}

/// The mount that a step attaches; none for a cover, nor for a way that is not there or is a file: what it leads to is
/// looked for by itself, and needs no hiding if it is not there either.
pub(super) fn clone(
    plan: &Plan,
    home: &OwnedFd,
    wanted: &Step,
    map: Option<BorrowedFd<'_>>,
) -> Result<Option<Tree>, Fault> {
    let (rights, is_way) = match wanted.source {
        Source::Grant(rights) => (rights, false),
        Source::Way(rights) => (rights, true),
        Source::Cover => return Ok(None),
    };
    let (source, stat) = match open(plan, home, wanted, rights, is_way) {
        Err(fault) if is_way && leads_nowhere(&fault) => return Ok(None),
        opened => opened?,
    };
    let fd = open_tree(
        &source,
        "",
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH,
    )
    .map_err(step("clone the granted directory"))?;
    #[cfg(feature = "weaken")]
    let rights = Rights {
        read_only: rights.read_only && !crate::weaken::off(crate::weaken::Layer::ReadOnlyMount),
        no_exec: rights.no_exec && !crate::weaken::off(crate::weaken::Layer::NoExec),
    };
    let attr = MountAttr { read_only: rights.read_only, no_exec: rights.no_exec, id_map: map, ..MountAttr::default() };
    sys::set_mount_attr(&fd, attr).map_err(|errno| match errno {
        Errno::INVAL if map.is_some() => Fault::NoIdmap { path: wanted.path.to_string() },
        errno => step("set the rights of the granted directory")(errno),
    })?;
    Ok(Some(Tree { fd, identity: Identity::from(&stat) }))
}

/// A mount of a directory of the host that the operator has shown, with all that is mounted in it; nothing where there is
/// none. What is made in it is the account's, so where that cannot be, nothing may be made.
pub(super) fn clone_bind(bind: &Bind, map: Option<BorrowedFd<'_>>) -> Result<Option<OwnedFd>, Fault> {
    let fault = |errno: Errno| Fault::Bind { path: bind.path().to_string(), errno: errno.raw_os_error() };
    let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = match rustix::fs::openat2(CWD, bind.path().as_str(), how, Bits::empty(), resolve) {
        Ok(found) => found,
        // A service that is not running has no directory for its socket.
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(fault(errno)),
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(&found, "", flags).map_err(fault)?;
    let attr = MountAttr { read_only: !bind.is_writable(), recursive: true, id_map: map, ..MountAttr::default() };
    match sys::set_mount_attr(&tree, attr) {
        Err(Errno::INVAL | Errno::PERM) if map.is_some() && !bind.is_writable() => {
            sys::set_mount_attr(&tree, MountAttr { id_map: None, ..attr }).map_err(fault)?;
        }
        done => done.map_err(fault)?,
    }
    Ok(Some(tree))
}

/// Whether nothing can lie in what was found. Beneath a link something could.
fn leads_nowhere(fault: &Fault) -> bool {
    match fault {
        Fault::Missing { .. } => true,
        Fault::NotPlain { errno, .. } => *errno == Errno::NOTDIR.raw_os_error(),
        _ => false,
    }
}

/// A grant is a directory of the account's; inside another one it may be a file. What lies on the way to a nested one is
/// attached with the rights of the grant around it, whoever owns it.
fn open(plan: &Plan, home: &OwnedFd, wanted: &Step, rights: Rights, is_way: bool) -> Result<(OwnedFd, Stat), Fault> {
    let path = || wanted.path.to_string();
    let found = open_beneath(home, on_disk(wanted)).map_err(|errno| match errno {
        Errno::NOENT => Fault::Missing { path: path() },
        errno => Fault::NotPlain { path: path(), errno: errno.raw_os_error() },
    })?;
    let stat = rustix::fs::fstat(&found).map_err(step("look at the granted directory"))?;
    match (FileType::from_raw_mode(stat.st_mode), &wanted.target) {
        (FileType::Directory, _) => {}
        (FileType::RegularFile, Target::Inside { .. }) if !is_way => {}
        (FileType::Symlink, _) => return Err(Fault::NotPlain { path: path(), errno: Errno::LOOP.raw_os_error() }),
        _ => return Err(Fault::NotPlain { path: path(), errno: Errno::NOTDIR.raw_os_error() }),
    }
    if is_way || stat.st_uid == plan.owner().0 || (rights.read_only && stat.st_uid == 0) {
        Ok((found, stat))
    } else {
        Err(Fault::Owner { path: path(), uid: stat.st_uid })
    }
}

/// Opens what a path names, for standing on it only; a link is never followed.
///
/// The kernel may say EAGAIN whenever anything on the host is being renamed (openat2(2)); then it is asked again.
pub(super) fn open_beneath(outer: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let mut answer = Err(Errno::AGAIN);
    for _ in 0..64 {
        answer = rustix::fs::openat2(
            outer,
            path,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Bits::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV,
        );
        if !matches!(answer, Err(Errno::AGAIN)) {
            break;
        }
    }
    answer
}

fn on_disk(step: &Step) -> &str {
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::GrantedPath) {
        return ".";
    }
    step.path.as_str()
}
