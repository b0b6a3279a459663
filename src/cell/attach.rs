//! Mounts the grants of a plan in a session's mount namespace, from outside.
//!
//! Runs in: the monitor's attach helpers. Trusts: the plan; nothing on disk. All paths of the account are resolved before
//! the session's namespace is entered, and what a nested grant is mounted onto is compared with what it was cloned from.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode as Bits, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};

use super::guard::Guard;
use super::homes;
use super::idmap;
use super::plan::{Kind, Plan, Source, Step, Target};
use super::skeleton::{Covers, Skeleton, attach_onto, attach_to_view};
use super::sources::{self, Identity, Tree, open_beneath};

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
    /// The user's own directory cannot be made.
    #[error("no home can be made for this login in its account (.enclos/home); ask the account's owner to allow it")]
    UserHome {
        /// What the kernel answered.
        errno: i32,
    },
    /// Something was renamed while it was being attached.
    #[error("the granted {path:?} was being moved at this moment; try again")]
    Moved {
        /// Below the home.
        path: String,
    },
    /// The filesystem cannot map owners.
    #[error("the filesystem of {path:?} cannot map owners (no idmapped mounts); ask the server's operator")]
    NoIdmap {
        /// Below the home.
        path: String,
    },
    /// A directory of the host that programs are shown cannot be.
    #[error("the directory {path} that this server shows to programs cannot be attached; ask the server's operator")]
    Bind {
        /// On the host.
        path: String,
        /// What the kernel answered.
        errno: i32,
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
            Fault::Home { errno }
            | Fault::UserHome { errno }
            | Fault::Bind { errno, .. }
            | Fault::NotPlain { errno, .. }
            | Fault::Step { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

pub(super) fn step(step: &'static str) -> impl Fn(Errno) -> Fault {
    move |errno| Fault::Step { step: step.to_owned(), errno: errno.raw_os_error() }
}

/// What an attach has left behind.
#[derive(Debug)]
pub struct Attached {
    /// A map of owners that was made for it, to be kept by the caller.
    pub map: Option<OwnedFd>,
    /// Number of the filesystem that covers what is hidden, if anything is.
    pub cover: Option<u64>,
    /// Who watches the places of what is nested in a shell cell.
    pub guard: Option<Guard>,
}

/// Attaches all grants of `plan` at [`super::VIEW`] in the mount namespace `namespace`, and leaves this process there.
///
/// `map` is a namespace from [`idmap::owner_map`] for this plan; without one a new one is made.
pub fn attach(plan: &Plan, namespace: BorrowedFd<'_>, map: Option<BorrowedFd<'_>>) -> Result<Attached, Fault> {
    let home = sources::open_home(plan)?;
    homes::make(plan, &home)?;
    // Before anything is opened, so that no change goes unseen.
    let guard = Guard::of(plan, &home)?;
    let fresh = match (plan.cell(), map) {
        (Some(cell), None) => Some(idmap::owner_map(plan.owner(), cell).map_err(|e| {
            let errno = std::error::Error::source(&e).and_then(|s| s.downcast_ref::<Errno>()).copied();
            step("make the map of owners")(errno.unwrap_or(Errno::IO))
        })?),
        _ => None,
    };
    let map = fresh.as_ref().map(AsFd::as_fd).or(map);
    let steps = plan.steps();
    let trees: Vec<Option<Tree>> =
        steps.iter().map(|s| sources::clone(plan, &home, s, map)).collect::<Result<_, Fault>>()?;
    let binds: Vec<(&str, OwnedFd)> = plan
        .binds()
        .iter()
        .filter_map(|bind| Some(sources::clone_bind(bind, map).transpose()?.map(|tree| (bind.place(), tree))))
        .collect::<Result<_, Fault>>()?;
    rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))
        .map_err(step("enter the session's mount namespace"))?;
    let covers = steps.iter().any(|s| s.source == Source::Cover).then(|| Covers::make(plan.kind())).transpose()?;
    match plan.kind() {
        Kind::Files => place_outermost(&steps, &trees)?,
        Kind::Shell => place_on_host_paths(&steps, &trees, &binds)?,
    }
    for (step, tree) in steps.iter().zip(&trees) {
        place_nested(step, tree.as_ref(), &trees, covers.as_ref())?;
    }
    if let Some(covers) = &covers {
        covers.put_away()?;
    }
    let cover = covers.map(|c| c.device()).transpose()?;
    Ok(Attached { map: fresh, cover, guard })
}

/// One outermost grant is the view; several, or one at its path on the host, lie in directories made for them.
fn place_outermost(steps: &[Step], trees: &[Option<Tree>]) -> Result<(), Fault> {
    let outermost = || {
        steps.iter().zip(trees).filter_map(|(step, tree)| match (&step.target, tree) {
            (Target::View(at), Some(tree)) => Some((at.as_str(), tree)),
            _ => None,
        })
    };
    if let Some((_, tree)) = outermost().find(|(at, _)| at.is_empty()) {
        return attach_to_view(&tree.fd);
    }
    let skeleton = Skeleton::make(outermost().map(|(at, _)| at))?;
    for (at, tree) in outermost() {
        attach_onto(&tree.fd, &skeleton.place(at)?)?;
    }
    skeleton.close()
}

/// Everything on the way is the cell's own or the host's, and a cell runs nothing yet.
fn open_place(root: &OwnedFd, at: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(root, at, flags, Bits::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// The cell has made a directory for each, where the host has none of its own there.
fn place_on_host_paths(steps: &[Step], trees: &[Option<Tree>], binds: &[(&str, OwnedFd)]) -> Result<(), Fault> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Bits::empty())
        .map_err(step("open the cell's root"))?;
    for (at, tree) in binds {
        let place = open_place(&root, at).map_err(step("find the place of a directory of the host in the cell"))?;
        attach_onto(tree, &place)?;
    }
    for (wanted, tree) in steps.iter().zip(trees) {
        if let (Target::View(at), Some(tree)) = (&wanted.target, tree) {
            let place = open_place(&root, at).map_err(step("find the place of a grant in the cell"))?;
            attach_onto(&tree.fd, &place)?;
        }
    }
    Ok(())
}

fn place_nested(
    wanted: &Step,
    tree: Option<&Tree>,
    trees: &[Option<Tree>],
    covers: Option<&Covers>,
) -> Result<(), Fault> {
    let Target::Inside { step: number, name } = &wanted.target else { return Ok(()) };
    #[cfg(feature = "weaken")]
    if wanted.source == Source::Cover && crate::weaken::off(crate::weaken::Layer::Covers) {
        return Ok(());
    }
    let path = || wanted.path.to_string();
    if tree.is_none() && wanted.source != Source::Cover {
        return Ok(());
    }
    let outer = match trees.get(*number).and_then(Option::as_ref) {
        Some(outer) => outer,
        // What lies in nothing needs no hiding.
        None if tree.is_none() => return Ok(()),
        None => return Err(Fault::Moved { path: path() }),
    };
    let target = match open_beneath(&outer.fd, name) {
        Ok(target) => target,
        // What is not there needs no hiding.
        Err(Errno::NOENT) if tree.is_none() => return Ok(()),
        Err(Errno::NOENT) => return Err(Fault::Moved { path: path() }),
        Err(errno) => return Err(Fault::NotPlain { path: path(), errno: errno.raw_os_error() }),
    };
    let stat = rustix::fs::fstat(&target).map_err(step("look at the place of a grant"))?;
    match (tree, covers) {
        (Some(tree), _) if tree.identity == Identity::from(&stat) => attach_onto(&tree.fd, &target),
        (Some(_), _) => Err(Fault::Moved { path: path() }),
        (None, Some(covers)) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Err(Fault::NotPlain { path: path(), errno: Errno::LOOP.raw_os_error() }),
            kind => attach_onto(&covers.cover(kind == FileType::Directory)?, &target),
        },
        (None, None) => Err(Fault::Moved { path: path() }),
    }
}
