//! Mounts the grants of a plan in a session's mount namespace, from outside.
//!
//! Runs in: the monitor's attach helpers. It resolves paths that belong to the account, so to the attacker: every component is opened beneath the one before by the kernel, no link is followed,
//! no mount is crossed, and the owner is checked on the descriptor that is then mounted.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode as Bits, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, move_mount, open_tree,
};
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};

use super::plan::{Plan, PlannedGrant};
use super::{VIEW, idmap};
use crate::domain::Mode;
use crate::sys::{self, MountAttr};

/// Why a plan could not be carried out. The text is for the client: it names the grant as the account knows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Fault {
    /// The home is not there, or a component of it is a symbolic link.
    #[error("the account's home directory cannot be opened; ask the server's operator to check it")]
    Home {
        /// What the kernel answered.
        errno: i32,
    },
    /// The home belongs to somebody else.
    #[error("the account's home directory belongs to somebody else; ask the server's operator to check it")]
    HomeOwner {
        /// Who.
        uid: u32,
    },
    /// The granted directory is not there.
    #[error("the directory {path:?} granted to this login does not exist; ask the account's owner to create it")]
    Missing {
        /// Below the home.
        path: String,
    },
    /// Something in the path is a link, a mount point or no directory.
    #[error(
        "the granted {path:?} is not a plain directory inside the account (a link, a mount or a file is in the way)"
    )]
    NotPlain {
        /// Below the home.
        path: String,
        /// What the kernel answered.
        errno: i32,
    },
    /// The granted directory belongs to somebody else.
    #[error("the granted directory {path:?} does not belong to the account; ask its owner to check it")]
    Owner {
        /// Below the home.
        path: String,
        /// Who.
        uid: u32,
    },
    /// The filesystem cannot map owners.
    #[error("the filesystem of {path:?} cannot map owners (no idmapped mounts); ask the server's operator")]
    NoIdmap {
        /// Below the home.
        path: String,
    },
    /// A system call failed.
    #[error("your directory could not be attached ({step}); ask the server's operator")]
    Step {
        /// What we were doing.
        step: String,
        /// What the kernel answered.
        errno: i32,
    },
}

impl Fault {
    /// What the kernel answered, for the log.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Fault::Home { errno } | Fault::NotPlain { errno, .. } | Fault::Step { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

fn step(step: &'static str) -> impl Fn(Errno) -> Fault {
    move |errno| Fault::Step { step: step.to_owned(), errno: errno.raw_os_error() }
}

/// Attaches all grants of `plan` at [`VIEW`] in the mount namespace `namespace`, and leaves this process there.
///
/// `map` is a namespace from [`idmap::owner_map`] for this plan; without one a new one is made and returned, to be
/// kept by the caller.
pub fn attach(plan: &Plan, namespace: BorrowedFd<'_>, map: Option<BorrowedFd<'_>>) -> Result<Option<OwnedFd>, Fault> {
    let home = open_home(plan)?;
    let fresh = match (plan.cell(), map) {
        (Some(cell), None) => Some(idmap::owner_map(plan.owner(), cell).map_err(|e| {
            let errno = std::error::Error::source(&e).and_then(|s| s.downcast_ref::<Errno>()).copied();
            step("make the map of owners")(errno.unwrap_or(Errno::IO))
        })?),
        _ => None,
    };
    let map = fresh.as_ref().map(AsFd::as_fd).or(map);
    let trees: Vec<(&PlannedGrant, OwnedFd)> =
        plan.grants().iter().map(|g| Ok((g, clone_grant(plan, &home, g, map)?))).collect::<Result<_, Fault>>()?;
    rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))
        .map_err(step("enter the session's mount namespace"))?;
    match trees.as_slice() {
        [(grant, tree)] if grant.name.is_empty() => place(tree, VIEW)?,
        several => place_several(several)?,
    }
    Ok(fresh)
}

fn open_home(plan: &Plan) -> Result<OwnedFd, Fault> {
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

fn clone_grant(
    plan: &Plan,
    home: &OwnedFd,
    grant: &PlannedGrant,
    map: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, Fault> {
    let directory = open_grant(plan, home, grant)?;
    let tree = open_tree(
        &directory,
        "",
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH,
    )
    .map_err(step("clone the granted directory"))?;
    // Nothing runs in a session, so nothing needs to be executable there.
    let attr = MountAttr { read_only: grant.mode == Mode::Ro, no_exec: true, id_map: map };
    sys::set_mount_attr(&tree, attr).map_err(|errno| match errno {
        Errno::INVAL if map.is_some() => Fault::NoIdmap { path: grant.path.to_string() },
        errno => step("set the rights of the granted directory")(errno),
    })?;
    Ok(tree)
}

fn open_grant(plan: &Plan, home: &OwnedFd, grant: &PlannedGrant) -> Result<OwnedFd, Fault> {
    let path = || grant.path.to_string();
    let directory = open_beneath(home, wanted(grant)).map_err(|errno| match errno {
        Errno::NOENT => Fault::Missing { path: path() },
        errno => Fault::NotPlain { path: path(), errno: errno.raw_os_error() },
    })?;
    let stat = rustix::fs::fstat(&directory).map_err(step("look at the granted directory"))?;
    let ours = stat.st_uid == plan.owner().0 || (grant.mode == Mode::Ro && stat.st_uid == 0);
    match (FileType::from_raw_mode(stat.st_mode), ours) {
        (FileType::Directory, true) => Ok(directory),
        (FileType::Directory, false) => Err(Fault::Owner { path: path(), uid: stat.st_uid }),
        _ => Err(Fault::NotPlain { path: path(), errno: Errno::NOTDIR.raw_os_error() }),
    }
}

/// The kernel may say EAGAIN whenever anything on the host is being renamed (openat2(2)); then it is asked again.
fn open_beneath(home: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let mut answer = Err(Errno::AGAIN);
    for _ in 0..64 {
        answer = rustix::fs::openat2(
            home,
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Bits::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV,
        );
        if !matches!(answer, Err(Errno::AGAIN)) {
            break;
        }
    }
    answer
}

#[cfg(not(feature = "weaken"))]
fn wanted(grant: &PlannedGrant) -> &str {
    grant.path.as_str()
}

/// Only in builds that exist to show that the tests of confinement can fail: attaches the whole account.
#[cfg(feature = "weaken")]
fn wanted(grant: &PlannedGrant) -> &str {
    match std::env::var("ENCLOS_WEAKEN").as_deref() {
        Ok("bind-home") => ".",
        _ => grant.path.as_str(),
    }
}

fn place(tree: &OwnedFd, at: &str) -> Result<(), Fault> {
    move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(step("attach the granted directory"))
}

/// Several grants lie in a small directory of their own, which is read-only once they are in.
fn place_several(trees: &[(&PlannedGrant, OwnedFd)]) -> Result<(), Fault> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(step("make the view"))?;
    // One inode for each grant and for the root, and a few to spare; it holds directories only.
    for (key, value) in [("mode", "0755"), ("size", "16k"), ("nr_inodes", "80")] {
        fsconfig_set_string(&context, key, value).map_err(step("size the view"))?;
    }
    fsconfig_create(&context).map_err(step("make the view"))?;
    let view =
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(step("make the view"))?;
    place(&view, VIEW)?;
    for (grant, tree) in trees {
        rustix::fs::mkdirat(&view, &grant.name, Bits::from_raw_mode(0o755))
            .map_err(step("name a grant in the view"))?;
        let target = rustix::fs::openat(
            &view,
            &grant.name,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Bits::empty(),
        )
        .map_err(step("name a grant in the view"))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(tree, "", &target, "", flags).map_err(step("attach the granted directory"))?;
    }
    rustix::fs::chmodat(&view, ".", Bits::from_raw_mode(0o555), AtFlags::empty()).map_err(step("close the view"))?;
    sys::set_mount_attr(&view, MountAttr { read_only: true, no_exec: true, id_map: None })
        .map_err(step("close the view"))
}
