//! Leaving the service to another process without ending what has begun: `systemctl restart`, and upgrades.
//!
//! On SIGUSR1 the monitor forks. The process that was started ends at once, so that the service manager may start another,
//! which gets the listening sockets (they were given to the manager at the start, and take connections all the time). Its
//! copy has everything else: the sessions, their cells, control, the zygotes. It takes no connection, serves those it has,
//! revokes what is revoked, and ends with the last of them. Two monitors then share a state directory: see [`super::ids`].

use super::node::Node;
use super::poll::Token;
use super::sessions::Phase;
use super::{Error, children, stopping, system};
use crate::sys::{self, CloneFlags, Forked};
use crate::telemetry::Causes;
use crate::wire::{Noted, ToControl};

impl Node<'_> {
    /// Leaves the service. In the process that was started this does not return.
    pub(super) fn leave(&mut self) -> Result<(), Error> {
        if self.leaving_service || self.stopping.is_some() {
            return Ok(());
        }
        if let Err(error) = self.groups.give_way() {
            // The service manager may not be able to start the next one then; sessions are worth more than that.
            tracing::error!(error = %Causes(&error), "the control groups stay in the way of the next process");
        }
        match sys::fork(CloneFlags::NONE) {
            Ok(Forked::Parent { pid, .. }) => {
                tracing::info!(pid, "another process finishes what has begun");
                sys::exit_now(0)
            }
            Ok(Forked::Child) => self.finish_what_has_begun(),
            Err(errno) => {
                tracing::error!(%errno, "the service cannot be left: no process can be forked; still serving");
                Ok(())
            }
        }
    }

    fn finish_what_has_begun(&mut self) -> Result<(), Error> {
        children::call_process(c"enclos-leaving");
        self.leaving_service = true;
        // A descriptor for signals wakes the process that put it into the set, which was the other.
        self.poll.forget(&self.signals).map_err(system("stop watching for signals"))?;
        self.signals = stopping::take_signals()?;
        self.poll.watch(&self.signals, Token::Signals).map_err(system("watch for signals"))?;
        for listener in std::mem::take(&mut self.listeners) {
            self.poll.forget(&listener.socket).map_err(system("stop listening"))?;
        }
        self.note_of_node(Noted::Stopped);
        self.tell_control(ToControl::Leaving { pid: std::process::id() });
        self.let_spare_ones_go()
    }

    /// Ends sessions that wait for a connection, when none will come.
    pub(super) fn let_spare_ones_go(&mut self) -> Result<(), Error> {
        if !self.arrivals.is_empty() {
            return Ok(());
        }
        for slot in self.sessions.which(|s| matches!(s.phase, Phase::Spare)) {
            self.dismiss(slot)?;
        }
        Ok(())
    }

    /// Whether another process has the service and nothing is left to be done here.
    pub(super) fn has_left(&self) -> bool {
        self.leaving_service
            && self.arrivals.is_empty()
            && self.cells.is_empty()
            && self.sessions.iter().next().is_none()
    }
}
