//! The poll set: which descriptors wake the monitor, and what each of them is.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

/// What a descriptor is, packed into the word that the kernel keeps for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A listening socket, by number.
    Listener(u32),
    /// The signals of this process.
    Signals,
    /// Messages from control.
    Control,
    /// The end of control.
    ControlEnd,
    /// Messages from the zygote.
    Zygote,
    /// The end of the zygote.
    ZygoteEnd,
    /// Messages from the session in a slot of a generation.
    Session(u32, u32),
    /// The end of it.
    SessionEnd(u32, u32),
    /// The result of its attach helper.
    Helper(u32, u32),
    /// What the shell zygote says.
    ShellZygote,
    /// What a shell cell says.
    Cell(u32),
    /// The end of it.
    CellEnd(u32),
    /// The result of its attach helper.
    CellHelper(u32),
}

impl Token {
    fn pack(self) -> u64 {
        let (kind, slot, generation) = match self {
            Token::Listener(n) => (0, n, 0),
            Token::Signals => (1, 0, 0),
            Token::Control => (2, 0, 0),
            Token::ControlEnd => (3, 0, 0),
            Token::Zygote => (4, 0, 0),
            Token::ZygoteEnd => (5, 0, 0),
            Token::Session(slot, generation) => (6, slot, generation),
            Token::SessionEnd(slot, generation) => (7, slot, generation),
            Token::Helper(slot, generation) => (8, slot, generation),
            Token::ShellZygote => (9, 0, 0),
            Token::Cell(number) => (10, number, 0),
            Token::CellEnd(number) => (11, number, 0),
            Token::CellHelper(number) => (12, number, 0),
        };
        kind << 56 | u64::from(generation & super::sessions::GENERATION_MASK) << 32 | u64::from(slot)
    }

    fn unpack(word: u64) -> Option<Token> {
        let slot = (word & u64::from(u32::MAX)) as u32;
        let generation = (word >> 32) as u32 & super::sessions::GENERATION_MASK;
        Some(match word >> 56 {
            0 => Token::Listener(slot),
            1 => Token::Signals,
            2 => Token::Control,
            3 => Token::ControlEnd,
            4 => Token::Zygote,
            5 => Token::ZygoteEnd,
            6 => Token::Session(slot, generation),
            7 => Token::SessionEnd(slot, generation),
            8 => Token::Helper(slot, generation),
            9 => Token::ShellZygote,
            10 => Token::Cell(slot),
            11 => Token::CellEnd(slot),
            12 => Token::CellHelper(slot),
            _ => return None,
        })
    }
}

/// Most events taken at once, so that no kind of them can starve the timers.
const AT_ONCE: usize = 256;

/// The set.
pub(super) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    /// An empty set.
    pub(super) fn new() -> Result<Poll, Errno> {
        Ok(Poll { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(AT_ONCE) })
    }

    /// Watches a descriptor for input and hang-up.
    pub(super) fn watch(&self, fd: impl AsFd, token: Token) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token.pack()), EventFlags::IN)
    }

    /// Watches a descriptor that is in the set for room to write too, or no longer.
    pub(super) fn watch_room(&self, fd: impl AsFd, token: Token, room: bool) -> Result<(), Errno> {
        let flags = if room { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        epoll::modify(&self.epoll, fd, EventData::new_u64(token.pack()), flags)
    }

    /// Leaves a descriptor in the set but does not look at it, or looks again.
    pub(super) fn pause(&self, fd: impl AsFd, token: Token, paused: bool) -> Result<(), Errno> {
        let flags = if paused { EventFlags::empty() } else { EventFlags::IN };
        epoll::modify(&self.epoll, fd, EventData::new_u64(token.pack()), flags)
    }

    /// Takes a descriptor out. It must be done before it is closed: a forked helper may hold a copy for a moment.
    pub(super) fn forget(&self, fd: impl AsFd) -> Result<(), Errno> {
        match epoll::delete(&self.epoll, fd) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Waits for events, for ever without a `patience`.
    pub(super) fn wait(&mut self, patience: Option<Duration>) -> Result<Vec<Token>, Errno> {
        let timeout = patience.map(|p| Timespec {
            tv_sec: i64::try_from(p.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(p.subsec_nanos()),
        });
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(self.events.iter().filter_map(|e| Token::unpack(e.data.u64())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_went() {
        for token in [
            Token::Listener(3),
            Token::Signals,
            Token::Control,
            Token::ControlEnd,
            Token::Zygote,
            Token::ZygoteEnd,
            Token::Session(65_535, 0x00ff_ffff),
            Token::SessionEnd(0, 1),
            Token::Helper(7, 9),
            Token::ShellZygote,
            Token::Cell(3),
            Token::CellEnd(3),
            Token::CellHelper(3),
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
    }
}
