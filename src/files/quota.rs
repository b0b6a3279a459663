//! Limits of what a directory and everything in it takes on disk, by the project quotas of its filesystem.
//!
//! Owns: which project a directory is, and that everything in it belongs to it. Runs in: the command line of an operator, as
//! root. Trusts: the path of a home, as an operator gave it; nothing below, where the account renames what it likes
//! meanwhile: no link is followed, no other filesystem entered, and nothing opened that could wait or act.
//!
//! The kernel counts, and keeps to the limit, whoever writes: by SFTP, in a cell, or outside. What cannot be opened without
//! being used (links, FIFOs, sockets) counts only if it is made later.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::domain::{QuotaChange, RelPath, Setting};
use crate::sys::{self, Handle, Project, ProjectQuota};

/// Numbers of the projects that are made here; those below are the host's own.
const FIRST: u32 = 1_000_000_000;
const MANY: u32 = 1_000_000_000;
/// How many numbers are tried when one is taken.
const TRIES: u32 = 1000;
/// `openat2` may answer EAGAIN whenever anything on the host is being renamed (openat2(2)); it is asked again this often.
const AGAIN: usize = 64;

/// How directories are opened.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What a directory has and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Number of its project.
    pub project: u32,
    /// Bytes on disk, its own and everything's in it.
    pub space: Usage,
    /// Files and directories, itself among them.
    pub files: Usage,
}

/// How much of something there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Now.
    pub used: u64,
    /// At most, if there is a limit.
    pub most: Option<u64>,
}

/// Why a quota cannot be set, lifted or told. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// The directory cannot be opened.
    #[error("open the directory (no link may lead to it)")]
    Open(#[source] std::io::Error),
    /// Nothing counts by projects there.
    #[error(
        "its filesystem has no project quotas switched on: mount ext4 (made with mkfs.ext4 -O quota,project) or XFS with the \
         option prjquota"
    )]
    Uncounted,
    /// A directory above it is a project.
    #[error(
        "it lies in a directory that has a quota (project {project}), and what is counted there cannot be counted apart"
    )]
    Inside {
        /// Which.
        project: u32,
    },
    /// A directory in it is a project.
    #[error("{} in it has a quota (project {project}), and what is counted there cannot be counted twice", path.display())]
    Around {
        /// On the host.
        path: PathBuf,
        /// Which.
        project: u32,
    },
    /// It is a project that was not made here.
    #[error(
        "it is project {project}, which was not made by enclos: use the tool that made it (setquota -P, xfs_quota)"
    )]
    Foreign {
        /// Which.
        project: u32,
    },
    /// There is nothing to lift.
    #[error("it has no quota")]
    Unlimited,
    /// No number is free.
    #[error("no number for a project is free")]
    Numbers,
    /// The kernel does not tell whoever asks.
    #[error("only root is told what a project takes")]
    Untold,
    /// A call failed.
    #[error("{step} {}", path.display())]
    System {
        /// What was to be done.
        step: &'static str,
        /// With what, on the host.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Whose project a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belongs {
    ToNone,
    /// It is one itself.
    Itself(u32),
    /// To one of a directory above it.
    Above(u32),
}

/// What a directory has and may have, if it has a quota of its own; `None` also where nothing is counted.
pub fn of(home: &Path, path: &RelPath) -> Result<Option<Quota>, QuotaError> {
    let directory = open(home, path)?;
    let look = || match project_of(&directory)? {
        0 => Ok(None),
        own if project_above(&directory)? == own => Ok(None),
        own => told(&directory, own).map(Some),
    };
    match look() {
        Err(QuotaError::Uncounted) => Ok(None),
        looked => looked,
    }
}

/// Limits a directory with everything in it. The limits hold first, then what is there already is counted; if that is
/// interrupted, the same again goes on.
pub fn limit(home: &Path, path: &RelPath, change: QuotaChange) -> Result<Quota, QuotaError> {
    let directory = open(home, path)?;
    let project = match belongs(&directory)? {
        Belongs::Itself(project) => ours(project)?,
        Belongs::Above(project) => return Err(QuotaError::Inside { project }),
        Belongs::ToNone => {
            let project = free_number(&directory)?;
            // Before anything is changed.
            each(&directory, &mut |entry, found| only_of(project, entry, found))?;
            project
        }
    };
    let before = told(&directory, project)?;
    let most = |usage: Usage, setting: Setting<u64>| {
        let mut most = usage.most;
        setting.apply(&mut most);
        most.unwrap_or(0)
    };
    let (space, files) = (most(before.space, change.space), most(before.files, change.files));
    sys::set_project_limits(&directory, project, space, files).map_err(system("set the limits of", &directory))?;
    each(&directory, &mut |entry, found| {
        only_of(project, entry, found)?;
        put_into(entry, found, project)
    })?;
    told(&directory, project)
}

/// Lets a directory take what it likes again.
pub fn lift(home: &Path, path: &RelPath) -> Result<(), QuotaError> {
    let directory = open(home, path)?;
    let project = match belongs(&directory)? {
        Belongs::Itself(project) => ours(project)?,
        Belongs::Above(project) => return Err(QuotaError::Inside { project }),
        Belongs::ToNone => return Err(QuotaError::Unlimited),
    };
    sys::set_project_limits(&directory, project, 0, 0).map_err(system("lift the limits of", &directory))?;
    each(&directory, &mut |entry, found| if found.id == project { put_into(entry, found, 0) } else { Ok(()) })
}

fn ours(project: u32) -> Result<u32, QuotaError> {
    if (FIRST..FIRST + MANY).contains(&project) { Ok(project) } else { Err(QuotaError::Foreign { project }) }
}

/// Nothing of another project may lie there, and nothing is taken from one.
fn only_of(project: u32, entry: &Entry, found: Project) -> Result<(), QuotaError> {
    match found.id {
        0 => Ok(()),
        id if id == project => Ok(()),
        id => Err(QuotaError::Around { path: shown(&entry.fd), project: id }),
    }
}

fn put_into(entry: &Entry, found: Project, project: u32) -> Result<(), QuotaError> {
    let wanted = Project { id: project, is_inherited: entry.is_directory && project != 0 };
    if found == wanted {
        return Ok(());
    }
    sys::set_project(&entry.fd, wanted).map_err(system("count", &entry.fd))
}

fn told(directory: &OwnedFd, project: u32) -> Result<Quota, QuotaError> {
    let told = counted(directory, sys::project_quota(directory, project))?;
    let usage = |used, most| Usage { used, most: Some(most).filter(|most| *most > 0) };
    Ok(Quota { project, space: usage(told.space, told.most_space), files: usage(told.files, told.most_files) })
}

/// What the kernel answers about projects, and what it means that it does not.
fn counted<T>(directory: &OwnedFd, answer: Result<T, Errno>) -> Result<T, QuotaError> {
    answer.map_err(|errno| match errno {
        // quotactl(2): no such kind of quota, not switched on, or no quotas at all; ioctl(2): no projects.
        Errno::INVAL | Errno::SRCH | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOTTY => QuotaError::Uncounted,
        Errno::PERM => QuotaError::Untold,
        errno => system("read the quota of", directory)(errno),
    })
}

/// One that nothing belongs to. Its directory's own number says where the search begins.
fn free_number(directory: &OwnedFd) -> Result<u32, QuotaError> {
    let inode = rustix::fs::fstat(directory).map_err(system("look at", directory))?.st_ino;
    let begin = u32::try_from(inode % u64::from(MANY)).unwrap_or(0);
    for number in (0..TRIES).map(|n| FIRST + (begin + n) % MANY) {
        if counted(directory, sys::project_quota(directory, number))? == ProjectQuota::default() {
            return Ok(number);
        }
    }
    Err(QuotaError::Numbers)
}

fn belongs(directory: &OwnedFd) -> Result<Belongs, QuotaError> {
    Ok(match (project_of(directory)?, project_above(directory)?) {
        (0, 0) => Belongs::ToNone,
        (0, above) => Belongs::Above(above),
        (own, above) if own == above => Belongs::Above(own),
        (own, _) => Belongs::Itself(own),
    })
}

fn project_of(directory: &OwnedFd) -> Result<u32, QuotaError> {
    counted(directory, sys::project(directory)).map(|project| project.id)
}

/// The nearest project of a directory above, on the same filesystem; 0 for none. All of them are looked at: one between may not
/// be counted yet.
fn project_above(directory: &OwnedFd) -> Result<u32, QuotaError> {
    let place = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let climb = |fd: &OwnedFd| -> Result<Option<OwnedFd>, Errno> {
        let above = rustix::fs::openat(fd, c"..", DIRECTORY, Mode::empty())?;
        let (here, there) = (place(fd)?, place(&above)?);
        // The root of a filesystem, or of everything.
        Ok((here.0 == there.0 && here != there).then_some(above))
    };
    let mut next = climb(directory).map_err(system("look at what lies above", directory))?;
    while let Some(above) = next {
        match project_of(&above)? {
            0 => next = climb(&above).map_err(system("look at what lies above", &above))?,
            project => return Ok(project),
        }
    }
    Ok(0)
}

fn open(home: &Path, path: &RelPath) -> Result<OwnedFd, QuotaError> {
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let home = rustix::fs::openat2(CWD, home, DIRECTORY, Mode::empty(), no_links);
    let beneath = no_links | ResolveFlags::BENEATH;
    let opened =
        home.and_then(|home| again(|| rustix::fs::openat2(&home, path.as_str(), DIRECTORY, Mode::empty(), beneath)));
    opened.map_err(|errno| QuotaError::Open(errno.into()))
}

fn again<T>(call: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..AGAIN {
        match call() {
            Err(Errno::AGAIN) => {}
            done => return done,
        }
    }
    call()
}

/// A file or directory that can belong to a project.
struct Entry {
    fd: OwnedFd,
    is_directory: bool,
}

type Visit<'a> = dyn FnMut(&Entry, Project) -> Result<(), QuotaError> + 'a;

/// Visits a directory and everything in it, each directory before what lies there: what is made meanwhile inherits. However deep
/// they lie in one another, two are open at a time: those that are left to be listed are known by their handles.
fn each(directory: &OwnedFd, visit: &mut Visit<'_>) -> Result<(), QuotaError> {
    let handle = |fd: &OwnedFd| Handle::of(fd).map_err(system("find again", fd));
    let fd = directory.try_clone().map_err(QuotaError::Open)?;
    look_at(&Entry { fd, is_directory: true }, visit)?;
    let mut left = vec![handle(directory)?];
    while let Some(next) = left.pop() {
        let listed = match next.open(directory, DIRECTORY) {
            Ok(listed) => listed,
            // It has been removed since.
            Err(Errno::STALE) => continue,
            Err(errno) => return Err(system("open a directory in", directory)(errno)),
        };
        for name in Dir::read_from(&listed).map_err(system("list", &listed))? {
            let name = name.map_err(system("list", &listed))?;
            if [c".", c".."].contains(&name.file_name()) {
                continue;
            }
            let Some(entry) = enter(&listed, name.file_name()).map_err(system("open what lies in", &listed))? else {
                continue;
            };
            look_at(&entry, visit)?;
            if entry.is_directory {
                left.push(handle(&entry.fd)?);
            }
        }
    }
    Ok(())
}

fn look_at(entry: &Entry, visit: &mut Visit<'_>) -> Result<(), QuotaError> {
    let found = sys::project(&entry.fd).map_err(system("look at", &entry.fd))?;
    visit(entry, found)
}

/// Opens what can belong to a project. Gone, exchanged or on another filesystem: then it is not there.
fn enter(parent: &OwnedFd, name: &CStr) -> Result<Option<Entry>, Errno> {
    let can_belong = |kind| matches!(kind, FileType::RegularFile | FileType::Directory);
    let kind = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode);
    match rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if can_belong(kind(stat)) => {}
        Ok(_) | Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    // Without waiting, in case that it is a FIFO by now.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let fd = match again(|| rustix::fs::openat2(parent, name, flags, Mode::empty(), rules)) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NXIO | Errno::NODEV) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let kind = kind(rustix::fs::fstat(fd.as_fd())?);
    Ok(can_belong(kind).then(|| Entry { fd, is_directory: kind == FileType::Directory }))
}

fn system(step: &'static str, fd: &OwnedFd) -> impl Fn(Errno) -> QuotaError {
    move |errno| QuotaError::System { step, path: shown(fd), source: errno.into() }
}

/// Where something is at this moment, for people.
fn shown(fd: &OwnedFd) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_else(|_| PathBuf::from("what lies there"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// What a filesystem without projects can show: what is visited, in which order, and what is not.
    #[test]
    fn everything_is_visited_once_and_nothing_behind_a_link() {
        let (tree, outside) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        std::fs::create_dir_all(tree.path().join("a/b")).expect("directories");
        std::fs::write(outside.path().join("secret"), "x").expect("a file");
        std::fs::write(tree.path().join("a/b/file"), "x").expect("a file");
        symlink(outside.path(), tree.path().join("a/link")).expect("a link");
        rustix::fs::mkfifoat(CWD, tree.path().join("fifo"), Mode::RWXU).expect("a FIFO");
        let _socket = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).expect("a socket");
        let top = open(tree.path(), &"a".parse().expect("a path")).expect("it is there");
        assert!(open(tree.path(), &"a/link".parse().expect("a path")).is_err(), "a link is followed");
        let names = |fd: &OwnedFd| {
            let inner = |name: &CStr| enter(fd, name).expect("an answer").map(|entry| entry.is_directory);
            [inner(c"b"), inner(c"link"), inner(c"missing")]
        };
        assert_eq!(names(&top), [Some(true), None, None]);
        let top = open(tree.path(), &RelPath::from_home()).expect("it is there");
        for name in [c"fifo", c"socket"] {
            assert!(enter(&top, name).expect("an answer").is_none(), "{name:?}");
        }
    }

    #[test]
    fn only_projects_of_ours_are_touched() {
        assert!(ours(FIRST).is_ok() && ours(FIRST + MANY - 1).is_ok());
        for project in [1, FIRST - 1, FIRST + MANY, u32::MAX] {
            assert!(matches!(ours(project), Err(QuotaError::Foreign { .. })), "{project}");
        }
        let top = tempfile::tempdir().expect("a directory");
        let fd = open(top.path(), &RelPath::from_home()).expect("it is there");
        let entry = Entry { fd, is_directory: true };
        let found = |id| only_of(7, &entry, Project { id, is_inherited: false });
        assert!(found(0).is_ok() && found(7).is_ok());
        let path = top.path();
        assert!(matches!(found(8), Err(QuotaError::Around { project: 8, path: told }) if told == path));
    }
}
