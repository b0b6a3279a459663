//! Listing directories, a bounded part at a time, whatever their size.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::atomic::shown_as;
use super::overlay::Overlay;
use super::partial;
use super::resolve::{Last, c_string};
use super::unfinished::Unfinished;
use super::{Attributes, Error, Reason, Root};

/// What the kernel may put into one part: some 30 names of 255 bytes, or 340 of one.
const PART: usize = 8 * 1024;

/// Names that are looked at for one part, where they are not read from the directory itself.
const KNOWN_PART: usize = 128;

/// An open directory.
#[derive(Debug)]
pub struct Listing {
    fd: OwnedFd,
    overlay: Arc<Overlay>,
    /// Uploads of this connection that show when they are whole; `None` where they are written in place.
    unfinished: Option<Arc<Unfinished>>,
    /// The names to come, where they are not read from the directory itself.
    known: Option<std::collections::btree_set::IntoIter<Vec<u8>>>,
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
        let (fd, known) = match self.open_shown(path, Last::Followed, flags) {
            // What is there is nobody's to read, but some of it may be told.
            Err(error) if error.reason == Reason::Permission => {
                let fd = self.follow(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
                let names = self.known_names(&fd)?.ok_or(error)?;
                (fd, Some(names))
            }
            opened => {
                let fd = opened?;
                let names = self.own_names(&fd)?;
                (fd, names)
            }
        };
        let with_dots = |mut names: BTreeSet<Vec<u8>>| {
            names.extend([b".".to_vec(), b"..".to_vec()]);
            names.into_iter()
        };
        Ok(Listing {
            fd,
            overlay: Arc::clone(&self.overlay),
            unfinished: self.is_atomic().then(|| Arc::clone(&self.unfinished)),
            known: known.map(with_dots),
        })
    }

    fn known_names(&self, directory: impl AsFd) -> Result<Option<BTreeSet<Vec<u8>>>, Error> {
        match self.overlay.names_in(&directory)? {
            Some(names) => Ok(Some(names.clone())),
            None => self.own_names(directory),
        }
    }
}

impl Listing {
    /// The next names with `.` and `..`, in the order of the filesystem; an empty part ends the listing. A name that
    /// went away between being read and being looked at is left out.
    pub fn next_part(&mut self) -> Result<Vec<Entry>, Error> {
        if let Some(names) = &mut self.known {
            return next_known(&self.fd, &self.overlay, names);
        }
        loop {
            let mut buffer = [MaybeUninit::<u8>::uninit(); PART];
            let mut names = RawDir::new(&self.fd, &mut buffer);
            let mut entries = Vec::new();
            let mut seen = false;
            while let Some(entry) = names.next() {
                let entry = match entry {
                    Ok(entry) => entry,
                    // Of a directory that was removed nothing is left to read.
                    Err(Errno::NOENT) => break,
                    Err(errno) => return Err(errno.into()),
                };
                seen = true;
                let found = look(&self.fd, &self.overlay, entry.file_name())?;
                entries.extend(match found {
                    Some(found) => self.as_uploaded(found)?,
                    None => None,
                });
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

    /// An entry as this connection sees it while files are being uploaded.
    fn as_uploaded(&self, mut entry: Found) -> Result<Option<Entry>, Error> {
        if partial::is_partial(&entry.name) {
            let shown = shown_as(&self.fd, &entry.name, &entry.stat);
            let name = shown.filter(|_| self.unfinished.is_some());
            return Ok(name.map(|name| Entry { name, attributes: entry.stat.into() }));
        }
        if let Some(unfinished) = self.unfinished.as_ref().filter(|unfinished| !unfinished.is_empty())
            && let Some(upload) = unfinished.find(&self.fd, &c_string(&entry.name)?)?
        {
            let partial = upload.partial();
            match rustix::fs::statat(&partial.parent, &partial.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entry.stat = stat,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Some(entry.into()))
    }

    /// Attributes of the directory itself.
    pub fn stat(&self) -> Result<Attributes, Error> {
        Ok(rustix::fs::fstat(&self.fd)?.into())
    }
}

fn next_known(
    directory: &OwnedFd,
    overlay: &Overlay,
    names: &mut impl Iterator<Item = Vec<u8>>,
) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    while entries.is_empty() {
        let mut seen = false;
        for name in names.by_ref().take(KNOWN_PART) {
            seen = true;
            entries.extend(look(directory, overlay, &c_string(&name)?)?.map(Entry::from));
        }
        if !seen {
            break;
        }
    }
    Ok(entries)
}

/// A name and what is known of it.
struct Found {
    name: Vec<u8>,
    stat: Stat,
}

impl From<Found> for Entry {
    fn from(found: Found) -> Entry {
        Entry { name: found.name, attributes: found.stat.into() }
    }
}

fn look(directory: &OwnedFd, overlay: &Overlay, name: &CStr) -> Result<Option<Found>, Error> {
    // The root's `..` is the root; what lies above it is nobody's business.
    let looked_at = if name == c".." { c"." } else { name };
    match rustix::fs::statat(directory, looked_at, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
        Ok(stat) if overlay.is_cover(stat.st_dev) => Ok(None),
        Ok(stat) => Ok(Some(Found { name: name.to_bytes().to_vec(), stat })),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

impl AsFd for Listing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
