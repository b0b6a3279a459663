//! Opening files, and what is done with an open one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::birth::{Birth, kind_and_birth};
use super::policy::check_size;
use super::resolve::{At, Last, Split, split};
use super::unfinished::Ticket;
use super::{Error, Reason, Root};
use crate::domain::UploadPolicy;
use crate::sys;

/// What an open file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Both.
    Both,
}

impl Access {
    pub(super) fn flags(self) -> OFlags {
        match self {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::Both => OFlags::RDWR,
        }
    }
}

/// What happens when there is no such file, or there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It must be there.
    Never,
    /// It is made if it is not there.
    IfMissing,
    /// It must not be there; a link as last component counts as there.
    Always,
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What for.
    pub access: Access,
    /// Whether it may be made.
    pub creation: Creation,
    /// Whether what was in it goes.
    pub truncate: bool,
    /// Whether every write goes to the end, whatever its offset.
    pub append: bool,
    /// Permissions of a file that is made; only the bits of 0777 count.
    pub mode: u32,
}

impl Opening {
    pub(super) fn append_flag(&self) -> OFlags {
        if self.append { OFlags::APPEND } else { OFlags::empty() }
    }
}

/// An open regular file.
#[derive(Debug)]
pub struct File {
    fd: OwnedFd,
    policy: Arc<UploadPolicy>,
    /// Whether every write goes to the end.
    appends: bool,
    /// It does not have its name yet.
    upload: Option<Ticket>,
    /// When it was made.
    pub(super) birth: Option<Birth>,
}

impl Root {
    /// Opens a regular file. A pipe, socket or device is refused and never waited for.
    pub fn open_file(&self, path: &[u8], how: &Opening) -> Result<File, Error> {
        let writes = how.access != Access::Read || how.truncate || how.creation != Creation::Never;
        if writes && (self.minds_names() || self.is_atomic()) && leads_to_name(path) {
            return self.open_end(path, how);
        }
        if let Some(upload) = self.uploading(path, Last::Followed)? {
            return self.open_upload(&upload, how);
        }
        let opened = match &self.overlay.drop_boxes {
            Some(boxes) => self.open_carefully(path, how, boxes)?,
            None if self.is_atomic() && !writes => self.open_shown(path, Last::Followed, how.flags())?,
            None => self.follow(path, how.flags(), self.mode_for(how))?,
        };
        File::regular(opened, how, &self.policy)
    }

    /// Opens what is behind all links for writing.
    fn open_end(&self, path: &[u8], how: &Opening) -> Result<File, Error> {
        match self.open_named(self.at(path)?, path, how) {
            Err(error) if error.reason == Reason::Loop => {
                let real = self.real_path(path)?;
                if leads_to_name(&real) { self.open_named(self.at(&real)?, &real, how) } else { Err(error) }
            }
            opened => opened,
        }
    }

    /// Opens a name for writing and follows no link, so that the name that was looked at is the name that is written.
    fn open_named(&self, at: At, path: &[u8], how: &Opening) -> Result<File, Error> {
        self.check_name(at.name.to_bytes())?;
        if let Some(boxes) = &self.overlay.drop_boxes
            && boxes.holds(&at.parent)?
        {
            let opened = self.open_carefully(path, how, boxes)?;
            self.check_opened(&opened, path)?;
            return File::regular(opened, how, &self.policy);
        }
        if self.is_atomic() { self.open_to_upload(at, how) } else { self.open_in_place(&at, how) }
    }

    /// Opens a name for writing where it is.
    pub(super) fn open_in_place(&self, at: &At, how: &Opening) -> Result<File, Error> {
        File::regular(self.open_at(at, how.flags(), self.mode_for(how))?, how, &self.policy)
    }

    /// Permissions for what an opening may make. openat2 refuses them when nothing can be made.
    pub(super) fn mode_for(&self, how: &Opening) -> Mode {
        if how.creation == Creation::Never { Mode::empty() } else { self.mode_of_new_file(how.mode) }
    }
}

/// Whether the last component of a path may be a file.
fn leads_to_name(path: &[u8]) -> bool {
    !path.ends_with(b"/") && matches!(split(path), Split::Named(..))
}

impl Opening {
    /// As `open(2)` has them.
    pub(super) fn flags(&self) -> OFlags {
        let creation = match self.creation {
            Creation::Never => OFlags::empty(),
            Creation::IfMissing => OFlags::CREATE,
            Creation::Always => OFlags::CREATE | OFlags::EXCL,
        };
        let mut flags = self.access.flags() | self.append_flag() | creation | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags.set(OFlags::TRUNC, self.truncate);
        flags
    }
}

impl File {
    pub(super) fn regular(fd: OwnedFd, how: &Opening, policy: &Arc<UploadPolicy>) -> Result<File, Error> {
        let (kind, birth) = kind_and_birth(&fd)?;
        refuse_others(kind)?;
        Ok(File { fd, policy: Arc::clone(policy), appends: how.append, upload: None, birth })
    }

    /// The same for an upload, of which nobody asks when it was made.
    pub(super) fn regular_with_stat(
        fd: OwnedFd,
        how: &Opening,
        policy: &Arc<UploadPolicy>,
    ) -> Result<(File, Stat), Error> {
        let stat = rustix::fs::fstat(&fd)?;
        refuse_others(FileType::from_raw_mode(stat.st_mode))?;
        Ok((File { fd, policy: Arc::clone(policy), appends: how.append, upload: None, birth: None }, stat))
    }

    pub(super) fn regular_or_directory(fd: OwnedFd, policy: &Arc<UploadPolicy>) -> Result<File, Error> {
        match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::RegularFile | FileType::Directory => {
                Ok(File { fd, policy: Arc::clone(policy), appends: false, upload: None, birth: None })
            }
            _ => Err(Error::new(Reason::NotRegular)),
        }
    }

    /// One more descriptor of the same open file.
    pub fn duplicate(&self) -> Result<File, Error> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)?;
        Ok(File { fd, policy: Arc::clone(&self.policy), appends: self.appends, upload: None, birth: self.birth })
    }

    /// The same as part of an upload.
    pub(super) fn uploading(self, ticket: Ticket) -> File {
        File { upload: Some(ticket), ..self }
    }

    /// Whether it does not have its name yet.
    pub fn is_uploading(&self) -> bool {
        self.upload.is_some()
    }

    /// Something was not written: an upload is not to be put in place.
    pub fn note_failure(&self) {
        if let Some(upload) = &self.upload {
            upload.note_failure();
        }
    }

    /// Closes it. An upload that is whole by this gets its name; one that is dropped instead was cut off.
    ///
    /// Network filesystems may say only now that what was written finds no room.
    pub fn close(self) -> Result<(), Error> {
        let Some(upload) = self.upload else { return flush(self.fd) };
        // The file stays open until it has its name: so long nothing else can be taken for it.
        let second = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)?;
        flush(second).inspect_err(|_| upload.note_failure())?;
        upload.close()
    }

    /// Whether every write goes to the end.
    pub(super) fn appends(&self) -> bool {
        self.appends
    }

    /// Whether both are the same file, by whatever names they were opened.
    pub fn is_same(&self, other: &File) -> Result<bool, Error> {
        let (one, two) = (rustix::fs::fstat(&self.fd)?, rustix::fs::fstat(&other.fd)?);
        Ok((one.st_dev, one.st_ino) == (two.st_dev, two.st_ino))
    }

    /// Reads into the spare room of `buffer` behind what it holds, at most `most` bytes; says how many came. None at
    /// the end of the file.
    pub fn read_at(&self, offset: u64, buffer: &mut Vec<u8>, most: usize) -> Result<usize, Error> {
        Ok(rustix::io::retry_on_intr(|| sys::append_at(&self.fd, offset, buffer, most))?)
    }

    /// What the user's policy asks.
    pub(super) fn policy(&self) -> &UploadPolicy {
        &self.policy
    }

    /// Fails if something written at `offset` would lie beyond the largest size there may be.
    pub(super) fn check_end(&self, offset: u64, length: u64) -> Result<(), Error> {
        if self.policy.max_file_size.is_none() || length == 0 {
            return Ok(());
        }
        let start = if self.appends { self.stat()?.size } else { offset };
        check_size(&self.policy, start.saturating_add(length))
    }

    /// Fails once something of an upload that has no name yet was not written. What came behind it would leave a hole, which
    /// whoever goes on with the upload by its size would take for content.
    pub(super) fn refuse_after_failure(&self) -> Result<(), Error> {
        match &self.upload {
            Some(upload) if upload.is_lost() => Err(Error::new(Reason::Unfinished)),
            _ => Ok(()),
        }
    }

    /// Writes all of `data`. A file that appends does not look at the offset.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.refuse_after_failure()?;
        self.write_all(offset, data).inspect_err(|_| self.note_failure())
    }

    fn write_all(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.check_end(offset, data.len() as u64)?;
        let (mut at, mut rest) = (if self.appends { 0 } else { offset }, data);
        // Of nothing, too, the kernel says whether it may be written.
        loop {
            let done = rustix::io::retry_on_intr(|| rustix::io::pwrite(&self.fd, rest, at))?;
            at = at.saturating_add(done as u64);
            rest = rest.get(done..).unwrap_or_default();
            match (rest, done) {
                ([], _) => return Ok(()),
                (_, 0) => return Err(Error::new(Reason::Io)),
                _ => {}
            }
        }
    }

    /// Returns when the content is on disk, and under its name: who syncs wants to find it there after a crash.
    pub fn sync(&self) -> Result<(), Error> {
        rustix::io::retry_on_intr(|| rustix::fs::fsync(&self.fd))?;
        self.upload.as_ref().map_or(Ok(()), |upload| upload.sync(&self.fd))
    }
}

/// Fails for what is no regular file.
fn refuse_others(kind: FileType) -> Result<(), Error> {
    #[cfg(feature = "weaken")]
    if kind != FileType::Directory && crate::weaken::off(crate::weaken::Layer::RegularFiles) {
        return Ok(());
    }
    match kind {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Error::new(Reason::IsDirectory)),
        _ => Err(Error::new(Reason::NotRegular)),
    }
}

/// Closes a descriptor and says what the filesystem says to that. It is closed in any case (close(2)).
fn flush(fd: OwnedFd) -> Result<(), Error> {
    match nix::unistd::close(fd) {
        Ok(()) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(Errno::from_raw_os_error(errno as i32).into()),
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
