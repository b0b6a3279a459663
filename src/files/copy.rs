//! Copying inside the server, a bounded part at a time, so that whoever waits behind a large file does not wait long.
//!
//! `copy_file_range(2)` lets the filesystem share blocks where it can (Btrfs, XFS), so that `FICLONE`, for which sessions
//! would need `ioctl`, would add nothing.

use rustix::io::Errno;

use super::{Error, File, Reason};

/// What the kernel is asked to copy at once: some milliseconds of memory traffic, or nothing where blocks are shared.
const PART: u64 = 4 * 1024 * 1024;
/// What goes through our own memory at once where the kernel cannot copy.
const BY_HAND: usize = 256 * 1024;

/// A copy that has begun.
#[derive(Debug)]
pub struct Copy {
    source: File,
    target: File,
    from: u64,
    at: u64,
    /// Still to be copied; `None` is all there is.
    left: Option<u64>,
    by_hand: bool,
}

/// What a part of a copy came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// So many bytes; there may be more.
    Part(u64),
    /// So many bytes, and with them all that was asked for.
    All(u64),
    /// The source ended before.
    Short,
}

impl Copy {
    /// Bytes of `source` from an offset, as many as `length` says or all to its end, to an offset of `target`. If that
    /// appends, they go to its end. A file is not copied onto itself, whatever names it was opened by.
    pub fn new(source: &File, from: u64, length: Option<u64>, target: &File, at: u64) -> Result<Copy, Error> {
        if source.is_same(target)? {
            return Err(Error::new(Reason::SameFile));
        }
        target.refuse_after_failure()?;
        let at = if target.appends() { 0 } else { at };
        if from.max(at) > i64::MAX.unsigned_abs() {
            return Err(Error::new(Reason::Invalid));
        }
        // What may not become too large is looked at before every write.
        let is_limited = target.policy().max_file_size.is_some();
        if is_limited {
            let there = source.stat()?.size.saturating_sub(from);
            let length = length.map_or(there, |length| length.min(there));
            target.check_end(at, length).inspect_err(|_| target.note_failure())?;
        }
        let by_hand = is_limited || target.appends();
        Ok(Copy { source: source.duplicate()?, target: target.duplicate()?, from, at, left: length, by_hand })
    }

    /// Copies a part.
    pub fn step(&mut self) -> Result<Copied, Error> {
        let most = self.left.unwrap_or(PART).min(PART);
        let copied = if self.by_hand { self.step_by_hand(most)? } else { self.step_in_kernel(most)? };
        self.from = self.from.saturating_add(copied);
        self.at = self.at.saturating_add(copied);
        self.left = self.left.map(|left| left.saturating_sub(copied));
        Ok(match (copied, self.left) {
            (0, None) | (_, Some(0)) => Copied::All(copied),
            (0, Some(_)) => Copied::Short,
            (copied, _) => Copied::Part(copied),
        })
    }

    /// What the kernel will not copy (between filesystems, or of a size it does not know) it may still read and write.
    fn step_in_kernel(&mut self, most: u64) -> Result<u64, Error> {
        let (mut from, mut at) = (self.from, self.at);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let copied = rustix::io::retry_on_intr(|| {
            rustix::fs::copy_file_range(&self.source, Some(&mut from), &self.target, Some(&mut at), most)
        });
        match copied {
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::BADF) => {
                self.by_hand = true;
                self.step_by_hand(most as u64)
            }
            copied => Ok(copied? as u64),
        }
    }

    fn step_by_hand(&mut self, most: u64) -> Result<u64, Error> {
        let most = usize::try_from(most).unwrap_or(BY_HAND).min(BY_HAND);
        let mut buffer = Vec::new();
        let read = self.source.read_at(self.from, &mut buffer, most)?;
        self.target.write_at(self.at, &buffer)?;
        Ok(read as u64)
    }
}
