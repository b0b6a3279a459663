//! Saying no at the door, cheaply and so that it is heard.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, Shutdown};

use super::Refusal;

/// How long a client has to read why it was turned away. What it sent is never read: were its socket closed at once, the
/// kernel would answer with a reset that overtakes the sentence.
const HEARING: Duration = Duration::from_millis(500);
/// Most sockets kept for that; in a flood the oldest are closed early.
const MOST: usize = 256;
/// Lines of the log in one second; the rest of them are counted.
const LINES: u32 = 10;

/// Connections that were turned away a moment ago.
#[derive(Debug)]
pub(in crate::monitor) struct TurnedAway {
    hearing: VecDeque<(Instant, OwnedFd)>,
    since: Instant,
    lines: u32,
    unsaid: u32,
}

impl TurnedAway {
    /// None yet.
    pub(in crate::monitor) fn new(now: Instant) -> TurnedAway {
        TurnedAway { hearing: VecDeque::new(), since: now, lines: 0, unsaid: 0 }
    }

    /// Tells a client why it may not come in, before any banner, as OpenSSH does, and hangs up. One that does not take the
    /// sentence at once goes without.
    pub(in crate::monitor) fn add(&mut self, socket: OwnedFd, peer: SocketAddr, why: &Refusal, now: Instant) {
        self.log(peer, why, now);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let told = rustix::net::send(&socket, why.sentence().as_bytes(), flags).is_ok();
        if told && rustix::net::shutdown(&socket, Shutdown::Write).is_ok() {
            self.hearing.push_back((now + HEARING, socket));
        }
        if self.hearing.len() > MOST {
            self.hearing.pop_front();
        }
    }

    /// Closes those that have had their time.
    pub(in crate::monitor) fn tick(&mut self, now: Instant) {
        while self.hearing.front().is_some_and(|(end, _)| *end <= now) {
            self.hearing.pop_front();
        }
        self.next_second(now);
    }

    /// Whether there is something to close or to say.
    pub(in crate::monitor) fn is_restless(&self) -> bool {
        !self.hearing.is_empty() || self.unsaid > 0
    }

    /// Says so in the log, unless that was said too often in the last second.
    pub(in crate::monitor) fn log(&mut self, peer: SocketAddr, why: &Refusal, now: Instant) {
        self.next_second(now);
        if self.lines < LINES {
            self.lines += 1;
            tracing::warn!(%peer, %why, "connection turned away");
        } else {
            self.unsaid += 1;
        }
    }

    fn next_second(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) < Duration::from_secs(1) {
            return;
        }
        if self.unsaid > 0 {
            tracing::warn!(count = self.unsaid, "more connections turned away");
        }
        (self.since, self.lines, self.unsaid) = (now, 0, 0);
    }
}
