//! Opening files, and what is done with an open one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Error, Reason, Root};
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
}

impl Root {
    /// Opens a regular file. A pipe, socket or device is refused and never waited for.
    pub fn open_file(&self, path: &[u8], how: &Opening) -> Result<File, Error> {
        if let Some(boxes) = &self.overlay.drop_boxes {
            return File::regular(self.open_carefully(path, how, boxes)?);
        }
        let creation = match how.creation {
            Creation::Never => OFlags::empty(),
            Creation::IfMissing => OFlags::CREATE,
            Creation::Always => OFlags::CREATE | OFlags::EXCL,
        };
        let mut flags = how.access.flags() | how.append_flag() | creation | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags.set(OFlags::TRUNC, how.truncate);
        // openat2 refuses a mode when nothing can be made.
        let mode = if how.creation == Creation::Never { 0 } else { how.mode & 0o777 };
        File::regular(self.follow(path, flags, Mode::from_raw_mode(mode))?)
    }
}

impl File {
    fn regular(fd: OwnedFd) -> Result<File, Error> {
        match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::RegularFile => Ok(File { fd }),
            FileType::Directory => Err(Error::new(Reason::IsDirectory)),
            _ => Err(Error::new(Reason::NotRegular)),
        }
    }

    pub(super) fn regular_or_directory(fd: OwnedFd) -> Result<File, Error> {
        match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::RegularFile | FileType::Directory => Ok(File { fd }),
            _ => Err(Error::new(Reason::NotRegular)),
        }
    }

    /// One more descriptor of the same open file.
    pub fn duplicate(&self) -> Result<File, Error> {
        Ok(File { fd: rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)? })
    }

    /// Reads into the spare room of `buffer` behind what it holds, at most `most` bytes; says how many came. None at
    /// the end of the file.
    pub fn read_at(&self, offset: u64, buffer: &mut Vec<u8>, most: usize) -> Result<usize, Error> {
        Ok(rustix::io::retry_on_intr(|| sys::append_at(&self.fd, offset, buffer, most))?)
    }

    /// Writes all of `data`.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let done = match rustix::io::pwrite(&self.fd, rest, at) {
                Ok(0) => return Err(Error::new(Reason::Io)),
                Ok(done) => done,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            at = at.saturating_add(done as u64);
            rest = rest.get(done..).unwrap_or_default();
        }
        Ok(())
    }

    /// Returns when the content is on disk.
    pub fn sync(&self) -> Result<(), Error> {
        Ok(rustix::io::retry_on_intr(|| rustix::fs::fsync(&self.fd))?)
    }

    /// Copies inside the server: at most `length` bytes, or up to the end for 0. The filesystem may share the blocks.
    pub fn copy_to(&self, from: u64, length: u64, to: &File, at: u64) -> Result<u64, Error> {
        let (mut source, mut target, mut copied) = (from, at, 0_u64);
        loop {
            let left = if length == 0 { u64::MAX } else { length - copied };
            if left == 0 {
                return Ok(copied);
            }
            let chunk = usize::try_from(left.min(64 << 20)).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(&self.fd, Some(&mut source), &to.fd, Some(&mut target), chunk) {
                Ok(0) => return Ok(copied),
                Ok(done) => copied = copied.saturating_add(done as u64),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
