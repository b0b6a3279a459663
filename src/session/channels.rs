//! The channels of a connection: what each is doing, and what its client may still ask for. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::programs::Program;
use super::sftp_channel::SftpChannel;
use super::window::Window;
use crate::domain::{Service, Services};

/// Most channels open at the same time. OpenSSH's MaxSessions is 10; build tools and editors that share one connection
/// open more, and each is bounded in itself.
pub(super) const MOST_CHANNELS: usize = 32;

/// What a channel is doing.
#[derive(Debug)]
pub(super) enum Channel {
    /// Open, and nothing asked for.
    Idle,
    /// Running a program.
    Program(Program),
    /// Serving SFTP.
    Sftp(Box<SftpChannel>),
    /// Everything is said; what still comes is ignored.
    Done,
}

impl Channel {
    fn is_full(&self) -> bool {
        match self {
            Channel::Program(program) => program.input.is_full(),
            Channel::Sftp(sftp) => sftp.is_full(),
            Channel::Idle | Channel::Done => false,
        }
    }
}

/// All channels, by the library's number.
#[derive(Debug, Default)]
pub(super) struct Channels {
    open: BTreeMap<u32, Open>,
}

#[derive(Debug)]
struct Open {
    window: Arc<Window>,
    doing: Channel,
}

impl Channels {
    /// Takes note of a new channel; says whether there is room for it.
    pub(super) fn open(&mut self, id: u32, window: Window) -> bool {
        let room = self.open.len() < MOST_CHANNELS;
        if room {
            self.open.insert(id, Open { window: Arc::new(window), doing: Channel::Idle });
        }
        room
    }

    fn doing(&self, id: u32) -> Option<&Channel> {
        self.open.get(&id).map(|open| &open.doing)
    }

    fn all(&self) -> impl Iterator<Item = &Channel> {
        self.open.values().map(|open| &open.doing)
    }

    /// How far a channel's client lets us send.
    pub(super) fn window(&self, id: u32) -> Option<&Arc<Window>> {
        self.open.get(&id).map(|open| &open.window)
    }

    /// Forgets a channel, and says what it was doing.
    pub(super) fn close(&mut self, id: u32) -> Option<Channel> {
        self.open.remove(&id).map(|open| open.doing)
    }

    /// Whether it is one of these channels.
    pub(super) fn is_known(&self, id: u32) -> bool {
        self.open.contains_key(&id)
    }

    /// Whether a program or subsystem may be asked for: it may once.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        matches!(self.doing(id), Some(Channel::Idle))
    }

    /// Changes what a channel is doing, and says what it was doing before.
    pub(super) fn set(&mut self, id: u32, channel: Channel) -> Option<Channel> {
        self.open.get_mut(&id).map(|open| std::mem::replace(&mut open.doing, channel))
    }

    /// The program of a channel that runs one.
    pub(super) fn program(&self, id: u32) -> Option<Program> {
        match self.doing(id) {
            Some(Channel::Program(program)) => Some(program.clone()),
            _ => None,
        }
    }

    /// Whether nothing is left to be said on a channel that a task serves.
    pub(super) fn is_over(&self, id: u32) -> bool {
        match self.doing(id) {
            Some(Channel::Program(program)) => program.is_done(),
            Some(Channel::Sftp(sftp)) => sftp.is_closed(),
            Some(Channel::Idle | Channel::Done) | None => true,
        }
    }

    /// Whether more input waits for this program, or more requests for their turn, than should.
    pub(super) fn is_full(&self, id: u32) -> bool {
        self.doing(id).is_some_and(Channel::is_full)
    }

    /// The most input that waits for a program.
    pub(super) fn most_input(&self) -> usize {
        let waiting = |channel: &Channel| match channel {
            Channel::Program(program) => program.input.waiting(),
            _ => 0,
        };
        self.all().map(waiting).max().unwrap_or(0)
    }

    /// The same for any of them.
    pub(super) fn is_any_full(&self) -> bool {
        self.all().any(Channel::is_full)
    }

    /// Whether so many requests wait for their turn that there is hardly room for more.
    pub(super) fn is_any_stuffed(&self) -> bool {
        self.all().any(|channel| matches!(channel, Channel::Sftp(sftp) if sftp.is_stuffed()))
    }

    /// The SFTP engine of a channel that has one.
    pub(super) fn sftp(&mut self, id: u32) -> Option<&mut SftpChannel> {
        match self.open.get_mut(&id).map(|open| &mut open.doing) {
            Some(Channel::Sftp(sftp)) => Some(sftp),
            _ => None,
        }
    }
}

/// The sentence for a request that a user's services do not cover.
pub(super) fn refusal(asked: &str, services: Services) -> String {
    let open = services.iter().map(Service::as_str).collect::<Vec<_>>().join(", ");
    if open.is_empty() {
        format!(
            "{asked} is not open to this login, nor is anything else this server can serve yet; ask the account's owner"
        )
    } else {
        format!("{asked} is not open to this login; it may use: {open}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_counted_and_asked_once() {
        let mut channels = Channels::default();
        let most = u32::try_from(MOST_CHANNELS).expect("a small number");
        for id in 0..most {
            assert!(channels.open(id, Window::default()));
        }
        assert!(!channels.open(most, Window::default()));
        assert!(channels.close(3).is_some());
        assert!(channels.open(most + 1, Window::default()));
        channels.set(0, Channel::Done);
        assert!(!channels.is_idle(0));
        assert!(channels.is_idle(1));
    }

    #[test]
    fn a_refusal_says_what_may_be_used_instead() {
        let sentence = refusal("a shell", Services::NONE.with(Service::Sftp));
        assert_eq!(sentence, "a shell is not open to this login; it may use: sftp");
    }
}
