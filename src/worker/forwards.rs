//! Forwards of the sessions: connections that are being made.

use std::collections::HashMap;

use rustix::process::{Pid, WaitStatus};

use super::Worker;
use super::connect;
use crate::domain::Service;
use crate::wire::{Forward, Forwarded, FromWorker, Refusal, Target};

/// Connections that may be on their way at the same time for one session.
const MOST_CONNECTING: usize = 64;

/// What belongs to forwards.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// Processes that connect, and for whom: a session, and its number for it.
    connecting: HashMap<Pid, (u64, u32)>,
}

impl Worker {
    pub(super) fn forward(&mut self, session: u64, number: u32, what: &Forward) {
        let begun = match what {
            Forward::Connect(target) => self.connect(session, number, target),
        };
        if let Err(refusal) = begun {
            self.tell(session, &FromWorker::Forward { number, what: Forwarded::Refused(refusal) });
        }
    }

    fn connect(&mut self, session: u64, number: u32, target: &Target) -> Result<(), Refusal> {
        if !self.user.services.contains(Service::ForwardLocal) {
            return Err(Refusal::prohibited("forwarding is not open to this login"));
        }
        target.check(&self.user.forwards)?;
        let on_their_way = self.forwards.connecting.values().filter(|(whose, _)| *whose == session).count();
        if on_their_way >= MOST_CONNECTING {
            return Err(Refusal::shortage("too many connections of this login are being made at the same time"));
        }
        let Some(link) = self.sessions.get(&session) else { return Ok(()) };
        let pid = connect::start(link, number, target, self.user.forwards.network)?;
        self.forwards.connecting.insert(pid, (session, number));
        Ok(())
    }

    /// A process has ended; says whether it was one that connects. One that did not end well has answered nobody.
    pub(super) fn has_connected(&mut self, pid: Pid, status: WaitStatus) -> bool {
        let Some((session, number)) = self.forwards.connecting.remove(&pid) else { return false };
        if status.exit_status() != Some(0) {
            let refusal = Refusal::failed(format!("the host did not answer within {} seconds", connect::LONGEST));
            self.tell(session, &FromWorker::Forward { number, what: Forwarded::Refused(refusal) });
        }
        true
    }
}
