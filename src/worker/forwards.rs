//! Forwards of the sessions: connections that are being made, and what is listened on.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::process::{Pid, WaitStatus};

use super::Worker;
use super::connect;
use super::listen::{self, Listener};
use crate::domain::Service;
use crate::wire::{Forward, Forwarded, FromWorker, Place, Refusal, Target};

/// Connections that may be on their way at the same time for one session.
const MOST_CONNECTING: usize = 128;

/// Places that one session may listen on.
const MOST_LISTENERS: usize = 32;

/// What belongs to forwards.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// Processes that connect, and for whom: a session, and its number for it.
    connecting: HashMap<Pid, (u64, u32)>,
    /// What is listened on, by session and its number for it.
    listeners: BTreeMap<(u64, u32), Listener>,
    /// Which of them is for the agent of a session's client.
    agents: HashMap<u64, u32>,
}

/// A socket that somebody may have connected to: whose it is, and which of its sockets.
pub(super) type Listening = ((u64, u32), usize);

impl Forwards {
    /// All sockets that are listened on.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (Listening, BorrowedFd<'_>)> {
        self.listeners.iter().flat_map(|(key, listener)| {
            listener.sockets().enumerate().map(move |(index, socket)| ((*key, index), socket))
        })
    }

    /// The socket of a session's agent.
    pub(super) fn agent(&self, session: u64) -> Option<&str> {
        let number = self.agents.get(&session)?;
        self.listeners.get(&(session, *number))?.path()
    }

    /// A session is gone, and what it listened on with it.
    pub(super) fn forget(&mut self, session: u64) {
        self.agents.remove(&session);
        self.listeners.retain(|(whose, _), _| *whose != session);
    }
}

impl Worker {
    pub(super) fn forward(&mut self, session: u64, number: u32, what: &Forward) {
        let begun = match what {
            Forward::Connect(target) => self.connect(session, number, target),
            Forward::Listen(place) => self.listen(session, number, place),
            Forward::End => {
                self.forwards.listeners.remove(&(session, number));
                Ok(())
            }
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

    fn listen(&mut self, session: u64, number: u32, place: &Place) -> Result<(), Refusal> {
        if !self.user.services.contains(place.service()) {
            return Err(Refusal::prohibited("this kind of forwarding is not open to this login"));
        }
        let addresses = place.check(&self.user.forwards)?;
        let own = self.forwards.listeners.keys().filter(|(whose, _)| *whose == session).count();
        if own >= MOST_LISTENERS || self.forwards.listeners.contains_key(&(session, number)) {
            return Err(Refusal::shortage("this connection listens on too many places"));
        }
        let failed = |errno| Refusal::failed(format!("it cannot be listened there: {}", super::reason(errno)));
        let listener = Listener::on(place, &addresses).map_err(failed)?;
        let port = listener.port();
        self.forwards.listeners.insert((session, number), listener);
        if *place == Place::Agent {
            self.forwards.agents.insert(session, number);
        }
        self.tell(session, &FromWorker::Forward { number, what: Forwarded::Listening { port } });
        Ok(())
    }

    /// Hands what has connected to its session. One that has no room for more loses it, and nothing else.
    pub(super) fn accept(&mut self, ((session, number), index): Listening) {
        let Some(listener) = self.forwards.listeners.get(&(session, number)) else { return };
        let Some(socket) = listener.sockets().nth(index) else { return };
        match listen::accept(socket) {
            Ok(Some((connection, origin))) => {
                let message = FromWorker::Forward { number, what: Forwarded::Accepted { origin } };
                if let Some(link) = self.sessions.get(&session)
                    && let Err(error) = link.try_send(&message, Some(connection.as_fd()))
                {
                    tracing::debug!(%error, "a session takes no more connections");
                }
            }
            Ok(None) => {}
            // It would be there to be taken for ever.
            Err(_) => drop(self.forwards.listeners.remove(&(session, number))),
        }
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
