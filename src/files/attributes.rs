//! What is known of a file, and changing it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::open::{Access, Creation, File, Opening};
use super::policy::{check_size, permissions};
use super::resolve::Last;
use super::{Error, Reason, Root};
use crate::sys;

/// An owner or group that stays what it is (chown(2)).
const UNCHANGED: u32 = u32::MAX;

/// Attributes of a file, directory or link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// In bytes.
    pub size: u64,
    /// Owner, as this process sees it.
    pub uid: u32,
    /// Group, as this process sees it.
    pub gid: u32,
    /// Kind and permissions, as in `st_mode`.
    pub mode: u32,
    /// Number of names.
    pub links: u64,
    /// Last access, in seconds since 1970.
    pub accessed: i64,
    /// Last change of content, in seconds since 1970.
    pub modified: i64,
}

impl Attributes {
    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }
}

impl From<rustix::fs::Stat> for Attributes {
    fn from(stat: rustix::fs::Stat) -> Attributes {
        Attributes {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode,
            links: stat.st_nlink,
            accessed: stat.st_atime,
            modified: stat.st_mtime,
        }
    }
}

/// How a file is opened whose size changes.
const TO_RESIZE: Opening =
    Opening { access: Access::Write, creation: Creation::Never, truncate: false, append: false, mode: 0 };

/// What is to be changed. Absent parts stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Cut or extend to this many bytes.
    pub size: Option<u64>,
    /// Owner and group; only those it has already are taken.
    pub owner: Option<(u32, u32)>,
    /// Permissions; only the bits of 0777 count, and none where the policy forces others.
    pub mode: Option<u32>,
    /// Last access and last change of content, in seconds since 1970.
    pub times: Option<(i64, i64)>,
}

impl Root {
    /// Attributes of what a path leads to.
    pub fn stat(&self, path: &[u8]) -> Result<Attributes, Error> {
        self.look(path, Last::Followed)
    }

    /// Attributes of what a path names; a link is not followed.
    pub fn lstat(&self, path: &[u8]) -> Result<Attributes, Error> {
        self.look(path, Last::NotFollowed)
    }

    fn look(&self, path: &[u8], last: Last) -> Result<Attributes, Error> {
        let found = self.stand_in(path, last)?;
        self.check_visible(path, &found)?;
        Ok(rustix::fs::fstat(found)?.into())
    }

    /// Changes what a path leads to: each part by itself, in OpenSSH's order; of those that fail the last is told.
    pub fn change(&self, path: &[u8], change: &Change) -> Result<(), Error> {
        let target = self.stand_in(path, Last::Followed)?;
        self.check_own(path, &target)?;
        let size = match change.size {
            Some(size) if size > i64::MAX.unsigned_abs() => Err(Error::new(Reason::Invalid)),
            Some(size) => self.open_file(path, &TO_RESIZE).and_then(|file| file.truncate(size)),
            None => Ok(()),
        };
        last([size, self.apply(path, &target, change)])
    }

    /// Changes what a path names; a link is not followed. Links have no permissions of their own, and sizes are not
    /// changed this way.
    pub fn change_link(&self, path: &[u8], change: &Change) -> Result<(), Error> {
        if change.size.is_some() {
            return Err(Error::new(Reason::Invalid));
        }
        let target = self.stand_in(path, Last::NotFollowed)?;
        self.check_own(path, &target)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) != FileType::Symlink {
            return self.apply(path, &target, change);
        }
        let mode = change.mode.map_or(Ok(()), |_| Err(Error::new(Reason::Unsupported)));
        last([mode, self.apply(path, &target, &Change { mode: None, ..*change })])
    }

    fn apply(&self, path: &[u8], target: &OwnedFd, change: &Change) -> Result<(), Error> {
        let mode = change.mode.map_or(Ok(()), |mode| self.set_mode(path, target, mode));
        let times = change
            .times
            .map_or(Ok(()), |times| Ok(rustix::fs::utimensat(target, "", &timestamps(times), AtFlags::EMPTY_PATH)?));
        last([mode, times, check_owner(target, change)])
    }

    fn set_mode(&self, path: &[u8], target: &OwnedFd, asked: u32) -> Result<(), Error> {
        let Some(mode) = permissions(&self.policy, asked, rustix::fs::fstat(target)?.st_mode) else { return Ok(()) };
        self.check_stays_open(target, mode)?;
        match sys::set_mode(target, mode.as_raw_mode()) {
            // Before Linux 6.6 a stand-in has no mode to set; the file itself is opened for it.
            Err(Errno::NOSYS) => self.open_to_change(path, OFlags::RDONLY)?.set_mode(asked),
            done => Ok(done?),
        }
    }

    fn open_to_change(&self, path: &[u8], flags: OFlags) -> Result<File, Error> {
        let fd = self.open_shown(path, Last::Followed, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        self.check_own(path, &fd)?;
        File::regular_or_directory(fd, &self.policy)
    }
}

impl File {
    /// Attributes of the open file.
    pub fn stat(&self) -> Result<Attributes, Error> {
        Ok(rustix::fs::fstat(self)?.into())
    }

    /// Changes the open file: each part by itself, in OpenSSH's order; of those that fail the last is told.
    pub fn change(&self, change: &Change) -> Result<(), Error> {
        last([
            change.size.map_or(Ok(()), |size| self.truncate(size).inspect_err(|_| self.note_failure())),
            change.mode.map_or(Ok(()), |mode| self.set_mode(mode)),
            change.times.map_or(Ok(()), |times| Ok(rustix::fs::futimens(self, &timestamps(times))?)),
            check_owner(self, change),
        ])
    }

    fn truncate(&self, size: u64) -> Result<(), Error> {
        self.refuse_after_failure()?;
        // A file that was larger already may be made smaller.
        if let Err(error) = check_size(self.policy(), size)
            && self.stat()?.size < size
        {
            return Err(error);
        }
        Ok(rustix::fs::ftruncate(self, size)?)
    }

    fn set_mode(&self, asked: u32) -> Result<(), Error> {
        match permissions(self.policy(), asked, rustix::fs::fstat(self)?.st_mode) {
            Some(mode) => Ok(rustix::fs::fchmod(self, mode)?),
            None => Ok(()),
        }
    }
}

/// The last failure of several steps, all of which were taken.
fn last<const STEPS: usize>(steps: [Result<(), Error>; STEPS]) -> Result<(), Error> {
    steps.into_iter().rev().find(Result::is_err).unwrap_or(Ok(()))
}

/// Clients that copy owners along (`rsync -a`, WinSCP) name the one that they were shown, and sshfs names "unchanged"
/// (chown(2)) for what it leaves alone; nobody can name another.
fn check_owner(target: impl AsFd, change: &Change) -> Result<(), Error> {
    let Some((uid, gid)) = change.owner else { return Ok(()) };
    let stat = rustix::fs::fstat(target)?;
    let stays = |asked: u32, has: u32| [has, UNCHANGED].contains(&asked);
    if stays(uid, stat.st_uid) && stays(gid, stat.st_gid) { Ok(()) } else { Err(Error::new(Reason::Owner)) }
}

fn timestamps((accessed, modified): (i64, i64)) -> Timestamps {
    let at = |seconds| Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: at(accessed), last_modification: at(modified) }
}
