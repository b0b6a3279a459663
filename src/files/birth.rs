//! When a file was made, for whoever wants to know whether it was made just now.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::File;

/// A moment, by the clock that filesystems go by: it stands still for some milliseconds at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(i64, i64);

impl Instant {
    /// Now.
    pub fn now() -> Instant {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Instant(now.tv_sec, now.tv_nsec)
    }
}

/// Which file it is, and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// When.
    pub at: Instant,
    device: (u32, u32),
    inode: u64,
}

/// What kind of file was opened, and when it was made; by one call, since every file is asked for both.
pub(super) fn kind_and_birth(file: impl AsFd) -> Result<(FileType, Option<Birth>), Errno> {
    let wanted = StatxFlags::TYPE | StatxFlags::BTIME | StatxFlags::INO;
    let found = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, wanted)?;
    let is_told = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    let birth = is_told.then(|| Birth {
        at: Instant(found.stx_btime.tv_sec, i64::from(found.stx_btime.tv_nsec)),
        device: (found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
    });
    Ok((FileType::from_raw_mode(found.stx_mode.into()), birth))
}

impl File {
    /// When it was made, as it was when it was opened; `None` where the filesystem does not tell.
    pub fn birth(&self) -> Option<Birth> {
        self.birth
    }
}
