//! Ending a node, in two stages: everybody is told, then whoever is left is ended.

use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::Errno;

use super::children::Child;
use super::node::Node;
use super::sessions::Phase;
use super::{Error, system};
use crate::wire::{EndReason, Noted, ToControl};

/// What all sessions together get when the node stops.
const LAST_CALL: Duration = Duration::from_secs(2);
/// What control gets then, to write down what it was told.
const LAST_LINES: Duration = Duration::from_secs(3);

impl Node<'_> {
    pub(super) fn read_signals(&mut self) -> Result<(), Error> {
        while let Ok(Some(told)) = self.signals.read_signal() {
            if told.ssi_signo == Signal::SIGUSR1 as u32 {
                self.leave()?;
            } else if self.stopping.is_none() {
                self.stop()?;
            }
        }
        Ok(())
    }

    /// First stage: nobody is let in, all are told. The second is in [`Node::is_over`].
    fn stop(&mut self) -> Result<(), Error> {
        tracing::info!("stopping");
        if !self.leaving_service {
            self.note_of_node(Noted::Stopped);
        }
        self.stopping = Some(Instant::now() + LAST_CALL);
        for listener in std::mem::take(&mut self.listeners) {
            self.poll.forget(&listener.socket).map_err(system("stop listening"))?;
        }
        self.arrivals.clear();
        self.leaving.extend(self.helpers.dismiss());
        for slot in self.sessions.which(|_| true) {
            match self.sessions.get(slot).map(|s| &s.phase) {
                Some(Phase::Live { .. } | Phase::Login { .. }) => self.end(slot, EndReason::Shutdown),
                Some(Phase::Spare | Phase::Newborn) => self.dismiss(slot)?,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn dismiss(&mut self, slot: u32) -> Result<(), Error> {
        match self.sessions.get(slot) {
            Some(session) if session.process.is_some() => {
                session.kill();
                self.retire(slot, Instant::now());
                Ok(())
            }
            _ => self.forget_link(slot),
        }
    }

    /// Whether everything has ended. Children end when their links close, and are killed when they do not.
    pub(super) fn is_over(&mut self) -> bool {
        if self.has_left() {
            let is_over = self.has_finished();
            if is_over {
                self.end_children();
            }
            return is_over;
        }
        let Some(deadline) = self.stopping else { return false };
        let late = deadline <= Instant::now();
        if self.sessions.iter().next().is_some() && !late {
            return false;
        }
        for (_, session) in self.sessions.iter() {
            session.kill();
        }
        if !self.has_finished() {
            return false;
        }
        self.kill_cells();
        self.end_children();
        true
    }

    fn end_children(&self) {
        let children = [self.control.as_ref().map(Child::kill), self.zygote.as_ref().map(Child::kill)];
        for errno in children.into_iter().flatten().filter_map(Result::err) {
            tracing::error!(%errno, "a child could not be ended");
        }
    }

    /// Whether control has written down what it was told, or has had its time.
    fn has_finished(&mut self) -> bool {
        let now = Instant::now();
        match self.finishing {
            None => {
                self.finishing = Some(now + LAST_LINES);
                self.tell_control(ToControl::Finish);
                self.control.is_none()
            }
            Some(deadline) => self.control.is_none() || deadline <= now,
        }
    }
}

/// The signals that a node is told by, as a descriptor: to end, or to leave the service to another process.
pub(super) fn take_signals() -> Result<SignalFd, Error> {
    let as_errno = |e: nix::errno::Errno| Error::System {
        step: "take over the signals",
        source: Errno::from_raw_os_error(e as i32),
    };
    let mut wanted = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
        wanted.add(signal);
    }
    wanted.thread_block().map_err(as_errno)?;
    SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(as_errno)
}
