//! Two numbers that several of our processes share, in a page of memory that is handed over with a message. Whoever has it may
//! write there what it likes, at any time.

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::sys;

/// Makes such a page.
pub fn make_shared() -> Result<OwnedFd, Errno> {
    sys::make_counters("enclos-shared")
}

/// The numbers of one, for as long as the process lives.
pub fn map_shared(page: &OwnedFd) -> Result<&'static [AtomicU64; 2], Errno> {
    sys::map_counters(page)
}

/// Nanoseconds of the clock that all processes of a host share.
pub fn shared_clock() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}
