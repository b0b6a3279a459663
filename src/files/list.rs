//! Listing directories, a bounded part at a time, whatever their size.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::{Attributes, Error, Root};

/// What the kernel may put into one part: some 30 names of 255 bytes, or 340 of one.
const PART: usize = 8 * 1024;

/// An open directory.
#[derive(Debug)]
pub struct Listing {
    fd: OwnedFd,
}

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, without the directory; bytes, not text.
    pub name: Vec<u8>,
    /// What it is; a link is not followed.
    pub attributes: Attributes,
}

impl Root {
    /// Opens a directory for listing.
    pub fn list(&self, path: &[u8]) -> Result<Listing, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(Listing { fd: self.follow(path, flags, Mode::empty())? })
    }
}

impl Listing {
    /// The next names with `.` and `..`, in the order of the filesystem; an empty part ends the listing. A name that
    /// went away between being read and being looked at is left out.
    pub fn next_part(&mut self) -> Result<Vec<Entry>, Error> {
        loop {
            let mut buffer = [MaybeUninit::<u8>::uninit(); PART];
            let mut names = RawDir::new(&self.fd, &mut buffer);
            let mut entries = Vec::new();
            let mut seen = false;
            while let Some(entry) = names.next() {
                seen = true;
                let entry = entry?;
                entries.extend(self.look(entry.file_name())?);
                if names.is_buffer_empty() {
                    break;
                }
            }
            // A part of which every name went away is not the end.
            if !seen || !entries.is_empty() {
                return Ok(entries);
            }
        }
    }

    fn look(&self, name: &std::ffi::CStr) -> Result<Option<Entry>, Error> {
        // The root's `..` is the root; what lies above it is nobody's business.
        let looked_at = if name == c".." { c"." } else { name };
        match rustix::fs::statat(&self.fd, looked_at, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Ok(stat) => Ok(Some(Entry { name: name.to_bytes().to_vec(), attributes: stat.into() })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Attributes of the directory itself.
    pub fn stat(&self) -> Result<Attributes, Error> {
        Ok(rustix::fs::fstat(&self.fd)?.into())
    }
}

impl AsFd for Listing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
