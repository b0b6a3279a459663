//! Which descriptors a forked process keeps.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::clone::last_error;

/// Puts a copy of `fd` at the number `number`, closing what was there, without close-on-exec.
///
/// For a process just forked that arranges its descriptors before anything else of it runs: whatever owned `number`
/// in the parent must not be used, nor dropped, in this process.
pub fn place_at(fd: impl AsFd, number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: `dup2` takes two integers; a bad one is an error.
    let placed = unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) };
    if placed < 0 {
        return Err(last_error());
    }
    // SAFETY: `number` now names a copy that this call made; the caller has promised that nothing else uses it.
    Ok(unsafe { OwnedFd::from_raw_fd(placed) })
}

/// Takes over the descriptor with a number that this process was started with, and lets no program inherit it.
///
/// For the first moment of a program: nothing else may own that number.
pub fn take_descriptor(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: `fcntl` takes two integers and the flags; a number that is not open is an error.
    let done = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if done < 0 {
        return Err(last_error());
    }
    // SAFETY: it is open, and the caller has promised that nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Marks every descriptor from `first` on to be closed when another program is executed.
pub fn close_from_on_exec(first: u32) -> Result<(), Errno> {
    // SAFETY: the call takes integers only and closes nothing.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

/// Closes every descriptor from `first` on.
///
/// For a process just forked: whatever owned them in the parent must not be used, nor dropped, in this process.
pub fn close_from(first: u32) -> Result<(), Errno> {
    close_range(first, u32::MAX)
}

/// The same, but for these, which the process just forked has made itself.
pub fn close_from_but(first: u32, kept: &[OwnedFd]) -> Result<(), Errno> {
    let mut numbers: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).filter(|n| *n >= first).collect();
    numbers.sort_unstable();
    let mut next = first;
    for number in numbers {
        if number > next {
            close_range(next, number - 1)?;
        }
        next = number + 1;
    }
    close_range(next, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: the call takes integers only; nobody uses what it closes, as the callers' callers have promised.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}
