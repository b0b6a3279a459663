//! Uploads on their way: each has a name of its own until it is whole, and then takes the one it was meant for.
//!
//! All channels of a connection know of each other's. What is left behind by a connection that was cut is found by its name
//! ([`partial`](super::partial)).

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::partial::Kind;
use super::resolve::At;
use super::{Error, Reason};

/// Which file or directory something is.
pub(super) type Identity = (u64, u64);

pub(super) fn identity(file: impl AsFd) -> Result<Identity, Error> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The uploads of one connection, by the directory and the name that they are meant for; the latest last.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    uploads: Mutex<HashMap<Place, Vec<Arc<Upload>>>>,
}

type Place = (Identity, CString);

/// One upload.
#[derive(Debug)]
pub(super) struct Upload {
    /// Where it lies, and under which name until it is whole.
    partial: At,
    place: Place,
    file: Identity,
    kind: Kind,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Handles that write to it.
    open: usize,
    /// It has its name.
    is_placed: bool,
    /// Something that was to be written was not.
    has_failed: bool,
}

/// A handle's part in an upload. Dropped without being closed, it was cut off.
#[derive(Debug)]
pub(super) struct Ticket {
    upload: Arc<Upload>,
    unfinished: Arc<Unfinished>,
}

/// No code panics while it holds one of these locks; if it did, the process would be aborted.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Unfinished {
    /// Takes note of an upload that lies at `partial` and is meant for `target` in the same directory.
    pub(super) fn begin(
        self: &Arc<Self>,
        partial: At,
        target: CString,
        file: Identity,
        kind: Kind,
    ) -> Result<Ticket, Error> {
        let place = (identity(&partial.parent)?, target);
        let progress = Mutex::new(Progress { open: 1, ..Progress::default() });
        let upload = Arc::new(Upload { partial, place: place.clone(), file, kind, progress });
        lock(&self.uploads).entry(place).or_default().push(Arc::clone(&upload));
        Ok(Ticket { upload, unfinished: Arc::clone(self) })
    }

    /// One more handle of an upload.
    pub(super) fn join(self: &Arc<Self>, upload: &Arc<Upload>) -> Ticket {
        lock(&upload.progress).open += 1;
        Ticket { upload: Arc::clone(upload), unfinished: Arc::clone(self) }
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.uploads).is_empty()
    }

    /// The latest upload that is meant for a name and does not have it yet.
    pub(super) fn find(&self, directory: impl AsFd, name: &CString) -> Result<Option<Arc<Upload>>, Error> {
        // Mostly there are none, and then it does not matter which directory it is.
        if self.is_empty() {
            return Ok(None);
        }
        let place = (identity(directory)?, name.clone());
        let uploads = lock(&self.uploads);
        Ok(uploads.get(&place).and_then(|uploads| uploads.iter().rev().find(|u| !u.is_placed())).cloned())
    }

    fn forget(&self, upload: &Arc<Upload>) {
        let mut uploads = lock(&self.uploads);
        if let Some(there) = uploads.get_mut(&upload.place) {
            there.retain(|other| !Arc::ptr_eq(other, upload));
            if there.is_empty() {
                uploads.remove(&upload.place);
            }
        }
    }
}

impl Upload {
    /// Where it lies now.
    pub(super) fn partial(&self) -> &At {
        &self.partial
    }

    fn is_placed(&self) -> bool {
        lock(&self.progress).is_placed
    }

    /// Gives it the name it is meant for, in one step.
    pub(super) fn put_in_place(&self) -> Result<(), Error> {
        let mut progress = lock(&self.progress);
        if progress.is_placed {
            return Ok(());
        }
        if progress.has_failed {
            return Err(Error::new(Reason::Unfinished));
        }
        let (At { parent, name }, target) = (&self.partial, &self.place.1);
        // Somebody else may have gone on with it, or taken its name for another upload after it was quiet for long.
        if self.kind == Kind::Resumable && !self.is_file_at(name)? {
            if !self.is_file_at(target)? {
                return Err(Error::new(Reason::Superseded));
            }
        } else {
            match rustix::fs::renameat(parent, name, parent, target) {
                Err(Errno::NOENT) => return Err(Error::new(Reason::Superseded)),
                done => done?,
            }
        }
        progress.is_placed = true;
        Ok(())
    }

    fn is_file_at(&self, name: &CString) -> Result<bool, Error> {
        match rustix::fs::statat(&self.partial.parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok((stat.st_dev, stat.st_ino) == self.file),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// It was cut off. What a later connection can find and go on with is kept: a beginning of a file that is not there.
    fn abandon(&self) -> Result<(), Errno> {
        let (At { parent, name }, target) = (&self.partial, &self.place.1);
        let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_ours = (found.st_dev, found.st_ino) == self.file;
        let is_new = matches!(rustix::fs::statat(parent, target, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT));
        if is_ours && !(self.kind == Kind::Resumable && is_new && found.st_size > 0) {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        }
        Ok(())
    }
}

impl Ticket {
    /// Something was not written.
    pub(super) fn note_failure(&self) {
        lock(&self.upload.progress).has_failed = true;
    }

    /// Whether something was not written, so that it will never be put in place.
    pub(super) fn is_lost(&self) -> bool {
        let progress = lock(&self.upload.progress);
        progress.has_failed && !progress.is_placed
    }

    /// What is written so far is to be where it was meant for, and to stay there when the power goes.
    pub(super) fn sync(&self, file: impl AsFd) -> Result<(), Error> {
        self.upload.put_in_place()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.upload.partial.parent, c".", flags, Mode::empty()) {
            Ok(directory) => Ok(rustix::io::retry_on_intr(|| rustix::fs::fsync(&directory))?),
            // A directory that cannot be read. The filesystems we know write the new name with the file that has it.
            Err(Errno::ACCESS) => Ok(rustix::io::retry_on_intr(|| rustix::fs::fsync(&file))?),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The handle is closed; with the last one the upload is whole.
    pub(super) fn close(self) -> Result<(), Error> {
        let is_last = lock(&self.upload.progress).open == 1;
        if is_last { self.upload.put_in_place() } else { Ok(()) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut progress = lock(&self.upload.progress);
        progress.open -= 1;
        let (is_last, is_placed) = (progress.open == 0, progress.is_placed);
        drop(progress);
        if !is_last {
            return;
        }
        // A file that cannot be cleared away now is by whoever lists its directory in a day.
        if !is_placed {
            self.upload.abandon().unwrap_or_default();
        }
        self.unfinished.forget(&self.upload);
    }
}
