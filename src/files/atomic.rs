//! Uploads that show when they are whole: how they are begun, gone on with, seen on their way, and cleared away.
//!
//! A client opens a file to write it anew; what it writes goes to another name in the same directory, which takes the
//! file's name when the handle is closed or synced. To this connection the file looks all the while as with a server that
//! writes it in place. Others see what was there before; where there was nothing, logins that upload in this way see the
//! beginning and may go on with it.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use rustix::time::ClockId;

use super::open::{Access, Creation, File, Opening};
use super::partial::{self, Kind};
use super::resolve::{At, Last, Split, split};
use super::unfinished::{Upload, identity};
use super::{Error, Reason, Root};
use crate::domain::Uploads;

/// How long what was cut off waits for somebody who goes on with it, in seconds since it was last changed.
const KEPT_FOR: i64 = 24 * 60 * 60;
/// After how long without a change a new upload of the same file takes the place of one that was cut off.
const QUIET_FOR: i64 = 10 * 60;

/// What an upload will replace.
enum Before {
    /// Nothing.
    Nothing,
    /// A file, and how it can be opened: `None` while it is being run.
    File(Stat, Option<OwnedFd>),
    /// What cannot be replaced by another file: a mount point.
    Fixed,
}

/// What came of beginning an upload.
enum Made {
    /// An empty file with a name of its own.
    Upload(File, Stat),
    /// Nothing: the directory takes no new file, or not of such a name. What was meant comes back.
    Nothing(At),
}

impl Opening {
    /// Whether a file is to be written anew from its beginning. With EXCL the name is what matters: it is a lock.
    fn is_whole_upload(&self) -> bool {
        self.access != Access::Read && self.truncate && self.creation == Creation::IfMissing
    }
}

fn is_older_than(stat: &Stat, seconds: i64) -> bool {
    let now = rustix::time::clock_gettime(ClockId::Realtime).tv_sec;
    now.saturating_sub(stat.st_ctime) > seconds
}

fn stat_at(directory: impl AsFd, name: &CString) -> Result<Option<Stat>, Error> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

impl Root {
    /// Whether uploads show when they are whole.
    pub(super) fn is_atomic(&self) -> bool {
        self.policy.uploads == Uploads::Atomic
    }

    /// Opens what a path leads to for writing, in the way of uploads that show when they are whole.
    pub(super) fn open_to_upload(&self, at: At, how: &Opening) -> Result<File, Error> {
        if how.is_whole_upload() {
            return self.begin_upload(at, how);
        }
        if how.creation == Creation::Always {
            self.refuse_awaited(&at)?;
            return self.open_in_place(&at, how);
        }
        match self.unfinished.find(&at.parent, &at.name)? {
            Some(upload) => self.open_upload(&upload, how),
            None => match self.open_in_place(&at, &Opening { creation: Creation::Never, ..*how }) {
                Err(error) if error.reason == Reason::NotFound => self.resume_upload(at, how),
                opened => opened,
            },
        }
    }

    /// Opens what this connection is uploading once more.
    pub(super) fn open_upload(&self, upload: &Arc<Upload>, how: &Opening) -> Result<File, Error> {
        let flags = how.access.flags() | how.append_flag() | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::regular(self.open_at(upload.partial(), flags, Mode::empty())?, how, &self.policy)?;
        let reads = how.access == Access::Read;
        Ok(if reads { file } else { file.uploading(self.unfinished.join(upload)) })
    }

    /// Goes on with what an earlier connection has left, if there is something; else makes the file.
    fn resume_upload(&self, target: At, how: &Opening) -> Result<File, Error> {
        let left = At { name: partial::name_for(target.name.to_bytes(), Kind::Resumable), parent: target.parent };
        let existing = Opening { creation: Creation::Never, ..*how };
        match self.open_in_place(&left, &existing) {
            Ok(file) if how.access == Access::Read => Ok(file),
            Ok(file) => {
                let found = identity(&file)?;
                Ok(file.uploading(self.unfinished.begin(left, target.name, found, Kind::Resumable)?))
            }
            Err(error) if error.reason == Reason::NotFound => {
                self.open_in_place(&At { parent: left.parent, name: target.name }, how)
            }
            Err(error) => Err(error),
        }
    }

    fn begin_upload(&self, target: At, how: &Opening) -> Result<File, Error> {
        match self.before(&target, how)? {
            Before::Nothing => match self.make_partial(target, how, self.mode_for(how), Kind::Resumable)? {
                Made::Upload(file, _) => Ok(file),
                Made::Nothing(target) => self.open_in_place(&target, how),
            },
            Before::File(stat, opened) if stat.st_nlink == 1 => self.replace(target, how, &stat, opened),
            // Its other names would go on to say what it was.
            Before::File(_, Some(opened)) => self.write_anew(opened, how),
            Before::File(_, None) | Before::Fixed => self.open_in_place(&target, how),
        }
    }

    fn replace(&self, target: At, how: &Opening, old: &Stat, opened: Option<OwnedFd>) -> Result<File, Error> {
        let mode = Mode::from_raw_mode(old.st_mode & 0o777);
        if let Made::Upload(file, new) = self.make_partial(target, how, mode, Kind::Single(number()?))?
            // Else it would belong to somebody else, which only writing it in place avoids. The empty file goes.
            && (new.st_uid, new.st_gid) == (old.st_uid, old.st_gid)
        {
            if new.st_mode & 0o777 != old.st_mode & 0o777 {
                rustix::fs::fchmod(&file, mode)?;
            }
            return Ok(file);
        }
        match opened {
            Some(opened) => self.write_anew(opened, how),
            None => Err(Errno::TXTBSY.into()),
        }
    }

    fn write_anew(&self, opened: OwnedFd, how: &Opening) -> Result<File, Error> {
        rustix::fs::ftruncate(&opened, 0)?;
        File::regular(opened, how, &self.policy)
    }

    /// What has the name now, if it may be written at all.
    fn before(&self, target: &At, how: &Opening) -> Result<Before, Error> {
        let flags = how.access.flags() | how.append_flag() | OFlags::NONBLOCK | OFlags::NOCTTY;
        match self.open_at_with(target, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
            Ok(opened) => {
                let stat = rustix::fs::fstat(&opened)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => Ok(Before::File(stat, Some(opened))),
                    _ => Err(Error::new(Reason::NotRegular)),
                }
            }
            Err(error) if error.reason == Reason::NotFound => Ok(Before::Nothing),
            Err(error) if error.errno == Some(Errno::XDEV) => Ok(Before::Fixed),
            // A program that runs cannot be written, but replaced.
            Err(error) if error.errno == Some(Errno::TXTBSY) => {
                Ok(stat_at(&target.parent, &target.name)?.map_or(Before::Nothing, |stat| Before::File(stat, None)))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the file that is written until the upload is whole.
    fn make_partial(&self, target: At, how: &Opening, mode: Mode, kind: Kind) -> Result<Made, Error> {
        let At { parent, name: target } = target;
        let at = At { parent, name: partial::name_for(target.to_bytes(), kind) };
        let flags = how.access.flags() | how.append_flag() | OFlags::CREATE | OFlags::EXCL | OFlags::NOCTTY;
        let made = match self.open_at(&at, flags, mode) {
            Err(error) if error.reason == Reason::Exists => {
                // Cut off long ago, or on its way in another connection.
                let is_quiet = stat_at(&at.parent, &at.name)?.is_some_and(|stat| is_older_than(&stat, QUIET_FOR));
                if !is_quiet {
                    let target = At { parent: at.parent, name: target };
                    return self.make_partial(target, how, mode, Kind::Single(number()?));
                }
                rustix::fs::unlinkat(&at.parent, &at.name, AtFlags::empty())?;
                self.open_at(&at, flags, mode)
            }
            made => made,
        };
        match made {
            Ok(made) => {
                let (file, stat) = File::regular_with_stat(made, how, &self.policy)?;
                let ticket = self.unfinished.begin(at, target, (stat.st_dev, stat.st_ino), kind)?;
                Ok(Made::Upload(file.uploading(ticket), stat))
            }
            Err(error) if matches!(error.reason, Reason::Permission | Reason::NameTooLong) => {
                Ok(Made::Nothing(At { parent: at.parent, name: target }))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens what is there by a path, which may be an upload that is not whole.
    pub(super) fn open_shown(&self, path: &[u8], last: Last, flags: OFlags) -> Result<OwnedFd, Error> {
        if let Some(upload) = self.uploading(path, last)? {
            return self.open_at(upload.partial(), flags, Mode::empty());
        }
        let follow = if last == Last::Followed { OFlags::empty() } else { OFlags::NOFOLLOW };
        match self.follow(path, flags | follow, Mode::empty()) {
            Err(error) if error.reason == Reason::NotFound => match self.left_at(path, last)? {
                Some(left) => self.open_at(&left, flags, Mode::empty()),
                None => Err(error),
            },
            opened => opened,
        }
    }

    /// What a path stands for that is being uploaded by this connection.
    pub(super) fn uploading(&self, path: &[u8], last: Last) -> Result<Option<Arc<Upload>>, Error> {
        if !self.is_atomic() || self.unfinished.is_empty() {
            return Ok(None);
        }
        match self.end_of(path, last)? {
            Some(at) => self.unfinished.find(&at.parent, &at.name),
            None => Ok(None),
        }
    }

    /// What a path that leads to nothing stands for: the beginning that an earlier connection has left.
    fn left_at(&self, path: &[u8], last: Last) -> Result<Option<At>, Error> {
        if !self.is_atomic() {
            return Ok(None);
        }
        // A directory on the way may be what is not there.
        let Ok(Some(at)) = self.end_of(path, last) else { return Ok(None) };
        let left = At { name: partial::name_for(at.name.to_bytes(), Kind::Resumable), parent: at.parent };
        Ok(stat_at(&left.parent, &left.name)?.map(|_| left))
    }

    fn end_of(&self, path: &[u8], last: Last) -> Result<Option<At>, Error> {
        match (last, split(path)) {
            (_, Split::Nameless) => Ok(None),
            (Last::Followed, _) => self.at_end(path),
            (Last::NotFollowed, _) => Ok(Some(self.at(path)?)),
        }
    }

    /// Fails for a name that something of this connection is on its way to: it is as good as taken.
    pub(super) fn refuse_awaited(&self, at: &At) -> Result<(), Error> {
        match self.is_atomic() && self.unfinished.find(&at.parent, &at.name)?.is_some() {
            true => Err(Error::new(Reason::Exists)),
            false => Ok(()),
        }
    }

    /// The same for a name that `from` is to get, which has to be there.
    pub(super) fn refuse_awaited_for(&self, from: &At, to: &At) -> Result<(), Error> {
        let taken = self.refuse_awaited(to);
        if taken.is_err() && stat_at(&from.parent, &from.name)?.is_none() {
            return Err(Error::new(Reason::NotFound));
        }
        taken
    }

    /// Gives what this connection has on its way to a name that name now, because something else is to take it.
    pub(super) fn settle_own(&self, at: &At) -> Result<(), Error> {
        match self.unfinished.find(&at.parent, &at.name)? {
            Some(upload) if self.is_atomic() => upload.put_in_place(),
            _ => Ok(()),
        }
    }

    /// Gives what is on its way to a name that name now, because it is to be renamed, linked or removed: from here on it is
    /// as with a server that writes in place.
    pub(super) fn settle(&self, at: &At) -> Result<(), Error> {
        if self.check_name(at.name.to_bytes()).is_err() {
            return Ok(());
        }
        if let Some(upload) = self.unfinished.find(&at.parent, &at.name)? {
            return upload.put_in_place();
        }
        // What lies in a drop box may be somebody else's, whatever its name.
        if self.overlay.drop_boxes.as_ref().is_some_and(|boxes| boxes.holds(&at.parent).unwrap_or(true)) {
            return Ok(());
        }
        if stat_at(&at.parent, &at.name)?.is_some() {
            return Ok(());
        }
        let left = partial::name_for(at.name.to_bytes(), Kind::Resumable);
        match rustix::fs::renameat_with(&at.parent, &left, &at.parent, &at.name, RenameFlags::NOREPLACE) {
            Err(Errno::NOENT | Errno::EXIST) => Ok(()),
            // Some network and FUSE filesystems know no such flag.
            Err(Errno::INVAL | Errno::NOSYS) => match rustix::fs::renameat(&at.parent, &left, &at.parent, &at.name) {
                Err(Errno::NOENT) => Ok(()),
                done => Ok(done?),
            },
            done => Ok(done?),
        }
    }

    /// Removes what was cut off from a directory that is to be removed and has nothing else in it.
    pub(super) fn clear_uploads(&self, at: &At) -> Result<(), Error> {
        let directory = self.open_at(at, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut partials = Vec::new();
        for entry in rustix::fs::Dir::read_from(&directory)? {
            let name = entry?.file_name().to_owned();
            match name.to_bytes() {
                b"." | b".." => {}
                bytes if self.is_atomic() && partial::target_of(bytes).is_some() => {
                    // What looks as if it were there has to be removed by its name.
                    return Err(Error::new(Reason::NotEmpty));
                }
                bytes if partial::is_partial(bytes) => partials.push(name),
                _ => return Err(Error::new(Reason::NotEmpty)),
            }
        }
        for name in partials {
            rustix::fs::unlinkat(&directory, &name, AtFlags::empty())?;
        }
        Ok(())
    }
}

/// What a listing has instead of a file that is not whole: `None` for nothing, else the name that it will get.
pub(super) fn shown_as(directory: impl AsFd, name: &[u8], stat: &Stat) -> Option<Vec<u8>> {
    if is_older_than(stat, KEPT_FOR) && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        let name = CString::new(name).ok()?;
        // In a directory that cannot be written it stays for somebody else.
        rustix::fs::unlinkat(directory, name, AtFlags::empty()).unwrap_or_default();
        return None;
    }
    let target = partial::target_of(name)?;
    let is_there = stat_at(directory, &CString::new(target).ok()?).is_ok_and(|found| found.is_some());
    (!is_there).then(|| target.to_vec())
}

/// Tells one upload from another.
fn number() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
#[path = "atomic_tests.rs"]
mod tests;
