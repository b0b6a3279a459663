//! The two long-lived children: how they are forked, what they keep, and when they are forked again.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};
use serde::Serialize;

use super::Error;
use crate::cell::LINK_FD;
use crate::sys::{self, CloneFlags, Forked};
use crate::wire::{Link, LinkError};

/// Most messages that wait for a child that does not read; past that it counts as stuck and is forked again.
const MOST_WAITING: usize = 4096;
/// Pause before the first new attempt; doubled for each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A forked role: its process and our channel to it.
#[derive(Debug)]
pub(super) struct Child<M> {
    /// Becomes readable when the process has ended.
    pub(super) pidfd: OwnedFd,
    /// The channel.
    pub(super) link: Link,
    /// Whether the role has said that it is ready.
    pub(super) ready: bool,
    waiting: VecDeque<M>,
}

impl<M: Serialize> Child<M> {
    /// Forks a process that runs `role` with its end of a new channel and nothing else of ours but standard error.
    pub(super) fn fork(name: &CStr, role: impl FnOnce(Link) -> ExitCode) -> Result<Child<M>, Error> {
        Child::fork_with(name, &[], |link, _| role(link))
    }

    /// The same, and the process has copies of these descriptors.
    pub(super) fn fork_with(
        name: &CStr,
        kept: &[BorrowedFd<'_>],
        role: impl FnOnce(Link, Vec<OwnedFd>) -> ExitCode,
    ) -> Result<Child<M>, Error> {
        let (ours, theirs) = Link::pair()?;
        match sys::fork(CloneFlags::NONE).map_err(|source| Error::Fork { source })? {
            Forked::Child => begin(name, theirs, kept, role),
            Forked::Parent { pidfd, .. } => Ok(Child { pidfd, link: ours, ready: false, waiting: VecDeque::new() }),
        }
    }

    /// Sends a message, or keeps it until the child reads again. An error means that the child is of no use any more.
    pub(super) fn post(&mut self, message: M) -> Result<(), LinkError> {
        if !self.waiting.is_empty() {
            return self.keep(message);
        }
        match self.link.try_send(&message, None) {
            Err(LinkError::NotReady) => self.keep(message),
            done => done,
        }
    }

    fn keep(&mut self, message: M) -> Result<(), LinkError> {
        if self.waiting.len() >= MOST_WAITING {
            return Err(LinkError::NotReady);
        }
        self.waiting.push_back(message);
        Ok(())
    }

    /// Sends what waited, as far as the child takes it.
    pub(super) fn flush(&mut self) -> Result<(), LinkError> {
        while let Some(message) = self.waiting.front() {
            match self.link.try_send(message, None) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(LinkError::NotReady) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether messages wait for the child to read.
    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many do.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Ends the process at once.
    pub(super) fn kill(&self) -> Result<(), Errno> {
        match rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Err(Errno::SRCH) | Ok(()) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Takes the exit status of a child that has ended, so that no zombie is left. Its text is for the log; `None` while it
/// still runs.
pub(super) fn reap(pidfd: &OwnedFd) -> Option<String> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options) {
        Ok(None) => None,
        Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            _ => "unknown".to_owned(),
        }),
        Err(errno) => Some(errno.to_string()),
    }
}

/// Gives this process a name of its own in `ps` and `top`. It is for people, so a refusal changes nothing.
pub(super) fn call_process(name: &CStr) {
    if let Err(errno) = rustix::thread::set_name(name) {
        tracing::debug!(%errno, "a process keeps its name");
    }
}

/// The first steps of every forked role. Never returns, so nothing inherited is dropped.
fn begin(name: &CStr, link: Link, kept: &[BorrowedFd<'_>], role: impl FnOnce(Link, Vec<OwnedFd>) -> ExitCode) -> ! {
    call_process(name);
    let code = match keep_only(link, kept) {
        Ok((link, kept)) => role(link, kept),
        Err(_) => ExitCode::FAILURE,
    };
    sys::exit_now(u8::from(code != ExitCode::SUCCESS))
}

fn keep_only(link: Link, kept: &[BorrowedFd<'_>]) -> Result<(Link, Vec<OwnedFd>), Errno> {
    let copy = |fd: &BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, LINK_FD + 1);
    let kept: Vec<OwnedFd> = kept.iter().map(copy).collect::<Result<_, _>>()?;
    let placed = sys::place_at(&link, LINK_FD)?;
    std::mem::forget(link);
    sys::close_from_but(LINK_FD.unsigned_abs() + 1, &kept)?;
    // Ctrl-C in a terminal is for the monitor alone; it tells the others.
    rustix::process::setsid()?;
    // The monitor reads its signals from a descriptor and blocks them; a child must be killable.
    SigSet::all().thread_unblock().map_err(|e| Errno::from_raw_os_error(e as i32))?;
    Ok((Link::from_fd(placed), kept))
}

/// When to fork a role again after it ended.
#[derive(Debug, Default)]
pub(super) struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    /// Notes that the role ended before it was of use, and waits longer each time.
    pub(super) fn lengthen(&mut self, now: Instant) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + pause);
    }

    /// Notes that the role works: the next pause is short again.
    pub(super) fn forget(&mut self) {
        self.failures = 0;
    }

    /// Whether the pause is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let start = Instant::now();
        let mut pause = Pause::default();
        assert!(pause.is_over(start));
        pause.lengthen(start);
        assert!(!pause.is_over(start));
        assert!(pause.is_over(start + FIRST_PAUSE));
        for _ in 0..40 {
            pause.lengthen(start);
        }
        assert!(pause.is_over(start + LONGEST_PAUSE));
    }
}
