//! The ids that this monitor may give to its sessions and cells, and the numbers of its connections.
//!
//! Two monitors can share one state directory: one that takes connections, and one before it whose sessions are finishing
//! ([`super::leaving`]). No process of the one may have the id of a process of the other, so ids are claimed from the kernel in
//! blocks, by locks on a file, which end with the last process that holds the file open: with this monitor, however it ends.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use rustix::io::Errno;

use super::{Error, system};
use crate::config::Ids;
use crate::domain::ConnId;

/// Ids claimed at a time, unless there are few.
const BLOCK: u32 = 64;
/// Connections numbered with one look at the file.
const NUMBERS: u64 = 1_000_000;
/// The byte that stands for the right to change the file. Each id is the byte of its number, which no setting changes.
const CONTENTS: i64 = 1 << 40;

/// Ids that no other process of this state directory has.
#[derive(Debug)]
pub(super) struct IdPool {
    claims: File,
    ids: Ids,
    block: u32,
    /// The first place in the range that was not tried yet.
    next: u32,
    /// Blocks that another process had when they were tried: where each begins, and how many ids it has.
    elsewhere: Vec<(u32, u32)>,
    free: VecDeque<u32>,
}

impl IdPool {
    /// Ids out of `ids`, but for the first, which may be control's.
    pub(super) fn new(file: &Path, ids: Ids) -> Result<IdPool, Error> {
        let block = (ids.count / BLOCK).clamp(1, BLOCK);
        Ok(IdPool { claims: open(file)?, ids, block, next: 0, elsewhere: Vec::new(), free: VecDeque::new() })
    }

    /// An id that nobody has; `None` when all are taken.
    pub(super) fn take(&mut self) -> Option<u32> {
        while self.free.is_empty() && self.next < self.ids.count {
            let count = self.block.min(self.ids.count - self.next);
            let first = self.ids.first + self.next;
            self.next += count;
            self.try_block(first, count);
        }
        if self.free.is_empty() {
            // Whoever had them may have ended since.
            for (first, count) in std::mem::take(&mut self.elsewhere) {
                self.try_block(first, count);
            }
        }
        self.free.pop_front()
    }

    fn try_block(&mut self, first: u32, count: u32) {
        if self.claim(first, count) {
            self.free.extend((first..first + count).filter(|id| *id != self.ids.first));
        } else {
            self.elsewhere.push((first, count));
        }
    }

    /// Takes an id back whose process has ended.
    pub(super) fn give_back(&mut self, id: u32) {
        self.free.push_back(id);
    }

    /// What cannot be claimed is not used.
    fn claim(&self, first: u32, count: u32) -> bool {
        match lock(&self.claims, i64::from(first)..i64::from(first) + i64::from(count), Taken::Fail) {
            Ok(()) => true,
            Err(Errno::AGAIN | Errno::ACCESS) => false,
            Err(errno) => {
                tracing::error!(%errno, "user ids cannot be claimed");
                false
            }
        }
    }
}

/// Numbers for connections, each given once in the life of a state directory.
#[derive(Debug)]
pub(super) struct ConnNumbers {
    file: File,
    next: u64,
    end: u64,
}

impl ConnNumbers {
    /// Numbers from where the last process left off, or a little later.
    pub(super) fn new(file: &Path) -> Result<ConnNumbers, Error> {
        let mut numbers = ConnNumbers { file: open(file)?, next: 0, end: 0 };
        numbers.reserve().map_err(system("number connections in the state directory"))?;
        Ok(numbers)
    }

    /// The next one.
    pub(super) fn next(&mut self) -> ConnId {
        if self.next == self.end
            && let Err(errno) = self.reserve()
        {
            tracing::error!(%errno, "numbers of connections cannot be noted; some may be given twice");
            self.end = self.end.saturating_add(NUMBERS);
        }
        self.next += 1;
        ConnId(self.next)
    }

    fn reserve(&mut self) -> Result<(), Errno> {
        lock(&self.file, CONTENTS..CONTENTS + 1, Taken::Wait)?;
        let mut text = String::new();
        let as_errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        self.file.seek(SeekFrom::Start(0)).map_err(as_errno)?;
        (&mut self.file).take(32).read_to_string(&mut text).map_err(as_errno)?;
        // What is not a number was written by nobody of ours, or only half; what came before cannot be known.
        let first = text.trim_end().parse::<u64>().unwrap_or(0);
        self.file.seek(SeekFrom::Start(0)).map_err(as_errno)?;
        self.file.write_all(format!("{}\n", first.saturating_add(NUMBERS)).as_bytes()).map_err(as_errno)?;
        (self.next, self.end) = (first, first.saturating_add(NUMBERS));
        unlock(&self.file, CONTENTS..CONTENTS + 1)
    }
}

fn open(file: &Path) -> Result<File, Error> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(file).map_err(|e| {
        system("open the file of ids in the state directory")(Errno::from_io_error(&e).unwrap_or(Errno::IO))
    })
}

/// What to do about a lock that another has.
#[derive(Clone, Copy)]
enum Taken {
    Fail,
    Wait,
}

/// Locks some bytes, for this open file and whoever inherits it (fcntl(2), "open file description locks").
fn lock(file: &File, bytes: Range<i64>, taken: Taken) -> Result<(), Errno> {
    set(file, bytes, nix::libc::F_WRLCK, taken)
}

fn unlock(file: &File, bytes: Range<i64>) -> Result<(), Errno> {
    set(file, bytes, nix::libc::F_UNLCK, Taken::Fail)
}

fn set(file: &File, bytes: Range<i64>, kind: i32, taken: Taken) -> Result<(), Errno> {
    let range = nix::libc::flock {
        l_type: kind as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: bytes.start,
        l_len: bytes.end - bytes.start,
        l_pid: 0,
    };
    let call = match taken {
        Taken::Fail => FcntlArg::F_OFD_SETLK(&range),
        Taken::Wait => FcntlArg::F_OFD_SETLKW(&range),
    };
    fcntl(file, call).map(|_| ()).map_err(|e| Errno::from_raw_os_error(e as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pools_never_give_the_same_id() {
        for count in [16, 3 * BLOCK, 100 * BLOCK + 7] {
            two_pools_share(count);
        }
    }

    fn two_pools_share(count: u32) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ids");
        let ids = Ids { first: 1000, count };
        let mut one = IdPool::new(&file, ids).expect("a pool");
        let mut other = IdPool::new(&file, ids).expect("a pool");
        let mut all = Vec::new();
        while let Some(id) = one.take() {
            all.push(id);
            all.extend(other.take());
        }
        all.extend(std::iter::from_fn(|| other.take()));
        all.sort_unstable();
        assert_eq!(all, (1001..1000 + count).collect::<Vec<_>>(), "all but control's, each once");
        assert_eq!(other.take(), None, "all are taken");
        other.give_back(1005);
        assert_eq!(other.take(), Some(1005));
        drop(one);
        assert!(other.take().is_some(), "claims end with who made them");
        drop(other);
        let mut later = IdPool::new(&file, ids).expect("a pool");
        assert_eq!(std::iter::from_fn(|| later.take()).count() as u32, count - 1);
    }

    #[test]
    fn connections_are_numbered_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ids");
        let mut first = ConnNumbers::new(&file).expect("numbers");
        let mut second = ConnNumbers::new(&file).expect("numbers");
        let next = |numbers: &mut ConnNumbers| numbers.next().0;
        assert_eq!((next(&mut first), next(&mut first)), (1, 2));
        assert_eq!((next(&mut second), next(&mut first)), (NUMBERS + 1, 3));
        std::fs::write(&file, "no number").expect("a file");
        assert_eq!(next(&mut ConnNumbers::new(&file).expect("numbers")), 1);
    }
}
