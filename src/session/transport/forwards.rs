//! Channels of forwards: who may have one, and how one begins. What has to wait for the cell's network, or for the client
//! to take a channel, is done by tasks of their own.

use std::collections::BTreeMap;

use bytes::Bytes;
use russh::server::{ChannelOpenHandle, Handle, Msg, Session};
use russh::{ChannelOpenFailure, ChannelWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::SshError;
use super::connection::{Connection, number};
use crate::domain::{Deed, ForwardPolicy, PeerText, Service};
use crate::session::Error;
use crate::session::channels::refusal;
use crate::session::forwards::{self, Accepted, Forward, Forwards};
use crate::session::ledger::Ledger;
use crate::session::login::Access;
use crate::session::monitor_link::MonitorLink;
use crate::session::programs::Worker;
use crate::session::traffic::Traffic;
use crate::wire::{Event, Place, Reason, Refusal, Target};

/// What refusals are called in the log.
const CONNECTING: &str = "a forward to a host, port or socket";
const LISTENING: &str = "a forward from a port or socket";
/// Longest name of a host (RFC 1035), with room for an address and its zone.
const LONGEST_HOST: usize = 255;

/// A channel of the library, for what is relayed to it. The library waits for the window with it.
struct Outlet {
    channel: ChannelWriteHalf<Msg>,
}

impl forwards::Channel for Outlet {
    async fn send(&self, bytes: Bytes) -> bool {
        self.channel.data_bytes(bytes).await.is_ok()
    }

    async fn eof(&self) {
        // A client that is gone needs to hear nothing.
        drop(self.channel.eof().await);
    }

    async fn close(&self) {
        drop(self.channel.close().await);
    }
}

/// What the cell listens on for this client: by what the client calls it, the worker's number.
pub(super) type Listening = BTreeMap<Called, (Worker, u32)>;

/// How a client names what is listened on, and how its connections are announced to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Called {
    /// By the address that it asked for, and the port that it got.
    Port(String, u16),
    /// By its path.
    Socket(String),
    /// The client's agent.
    Agent,
}

impl Called {
    /// As the audit trail has it.
    fn told(&self) -> PeerText {
        PeerText::new(
            match self {
                Called::Port(address, port) => format!("{address}:{port}"),
                Called::Socket(path) => path.clone(),
                Called::Agent => "agent".to_owned(),
            }
            .as_bytes(),
        )
    }
}

/// Where a connection leads, as the audit trail has it.
fn told(target: &Target) -> PeerText {
    PeerText::new(
        match target {
            Target::Port { host, port } => format!("{host}:{port}"),
            Target::Socket { path } => path.clone(),
        }
        .as_bytes(),
    )
}

/// The library's word for a refusal: its code (RFC 4254, 5.1) with our sentence.
fn failure(refusal: Refusal) -> ChannelOpenFailure {
    let code = match refusal.reason {
        Reason::Prohibited => ChannelOpenFailure::AdministrativelyProhibited,
        Reason::Failed => ChannelOpenFailure::ConnectFailed,
        Reason::Shortage => ChannelOpenFailure::ResourceShortage,
    };
    ChannelOpenFailure::Other { code: code.code(), reason: refusal.sentence }
}

/// A host and a port as a client gives them.
pub(super) fn target(host: &str, port: u32) -> Result<Target, Refusal> {
    match u16::try_from(port) {
        Ok(port) if host.len() <= LONGEST_HOST && !host.contains('\0') => {
            Ok(Target::Port { host: host.to_owned(), port })
        }
        _ => Err(Refusal::failed("this is no host and port")),
    }
}

/// A place to listen on as a client gives it.
pub(super) fn place(address: &str, port: u32) -> Result<Place, Refusal> {
    match target(address, port)? {
        Target::Port { host: address, port } => Ok(Place::Port { address, port }),
        Target::Socket { path } => Ok(Place::Socket { path }),
    }
}

impl Connection {
    /// What this client may forward, if it has the service for it.
    fn policy(&self, service: Service, asked: &str) -> Result<&ForwardPolicy, Refusal> {
        match self.client.access() {
            Some(Access::Granted(granted)) if granted.services.contains(service) => Ok(&granted.forwards),
            Some(Access::Granted(granted)) => Err(Refusal::prohibited(refusal(asked, granted.services))),
            Some(Access::Nothing(sentence)) => Err(Refusal::prohibited(sentence.clone())),
            Some(Access::Invited(welcome, _)) => {
                Err(Refusal::prohibited(format!("this was an invitation; log in as {} from now on", welcome.user)))
            }
            None => Err(Refusal::prohibited("log in first")),
        }
    }

    // -- from the client to somewhere ---------------------------------------------------------------------------------

    /// A client wants a channel that leads somewhere from the cell.
    pub(super) async fn connect(
        &mut self,
        channel: russh::Channel<Msg>,
        target: Result<Target, Refusal>,
        reply: ChannelOpenHandle,
    ) -> Result<(), Error> {
        match self.begin_connecting(target).await {
            Ok((worker, room, target)) => {
                let (_, channel) = channel.split();
                let forward = self.forwards.open(number(channel.id()));
                let (outlet, traffic) = (Outlet { channel }, self.client.traffic());
                let connecting = Connecting { worker, forward, room, outlet, reply, traffic };
                tokio::spawn(connecting.finish(target, self.client.auditor(), self.client.ledger()));
            }
            Err(refusal) => reply.reject(failure(refusal)).await,
        }
        Ok(())
    }

    async fn begin_connecting(
        &mut self,
        target: Result<Target, Refusal>,
    ) -> Result<(Worker, OwnedSemaphorePermit, Target), Refusal> {
        let policy = self.policy(Service::ForwardLocal, "forwarding to somewhere");
        let permitted = match (policy, target) {
            (Ok(policy), Ok(target)) => target.check(policy).map(|()| target),
            (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
        };
        if let Err(refusal) = &permitted {
            self.client.report(refused(CONNECTING, refusal)).await;
        }
        let target = permitted?;
        let room = self.forwards.room().ok_or_else(|| Refusal::shortage("this connection has too many forwards"))?;
        let worker = self.client.worker().await.map_err(Refusal::failed)?;
        Ok((worker, room, target))
    }

    // -- from somewhere to the client ---------------------------------------------------------------------------------

    /// A client wants a place to be listened on. Answers with its port; a refusal has no text in the protocol, so the
    /// sentence goes before it as a message that clients show or log (RFC 4253, 11.3).
    pub(super) async fn listen(
        &mut self,
        place: Result<Place, Refusal>,
        session: &mut Session,
    ) -> Result<Option<u16>, Error> {
        match self.begin_listening(place, session.handle()).await {
            Ok(port) => Ok(Some(port)),
            Err(refusal) => {
                self.client.report(refused(LISTENING, &refusal)).await;
                session.debug(true, &refusal.sentence, "")?;
                Ok(None)
            }
        }
    }

    async fn begin_listening(&mut self, place: Result<Place, Refusal>, handle: Handle) -> Result<u16, Refusal> {
        let place = place?;
        place.check(self.policy(place.service(), "this kind of forwarding")?)?;
        let worker = self.client.worker().await.map_err(Refusal::failed)?;
        let (listener, port, accepted) = worker.listen_on(place.clone()).await?;
        let called = match place {
            Place::Port { address, .. } => Called::Port(address, port),
            Place::Socket { path } => Called::Socket(path),
            Place::Agent => Called::Agent,
        };
        self.client.ledger().note(Deed::Listening { on: called.told() });
        let ours =
            Ours { forwards: self.forwards.clone(), ledger: self.client.ledger(), traffic: self.client.traffic() };
        tokio::spawn(offer_all(accepted, called.clone(), handle, ours));
        self.listening.insert(called, (worker, listener));
        Ok(port)
    }

    /// A place is listened on no more; says whether it was. Connections that were made there stay.
    pub(super) async fn listen_no_more(&mut self, called: &Called) -> bool {
        match self.listening.remove(called) {
            Some((worker, listener)) => {
                worker.listen_no_more(listener).await;
                true
            }
            None => false,
        }
    }

    /// Whether programs of this connection find the client's agent.
    pub(super) async fn offer_agent(&mut self, session: &mut Session) -> Result<bool, Error> {
        let is_offered = self.listening.get(&Called::Agent).is_some_and(|(worker, _)| !worker.is_gone());
        Ok(is_offered || self.listen(Ok(Place::Agent), session).await?.is_some())
    }
}

/// What is refused, for the log.
fn refused(what: &str, refusal: &Refusal) -> Event {
    Event::Refused { what: what.to_owned(), why: refusal.sentence.clone() }
}

/// A connection that is on its way.
struct Connecting {
    worker: Worker,
    forward: Forward,
    room: OwnedSemaphorePermit,
    outlet: Outlet,
    reply: ChannelOpenHandle,
    traffic: Traffic,
}

impl Connecting {
    /// Policy has a last word in the cell, which knows what a name leads to; what was only tried is not on record.
    async fn finish(self, target: Target, auditor: MonitorLink, ledger: Ledger) {
        let to = told(&target);
        match self.worker.connect(target).await {
            Ok(socket) => {
                ledger.note(Deed::Connected { to });
                self.reply.accept().await;
                forwards::relay(socket, self.forward, self.room, self.outlet, self.traffic).await;
            }
            Err(refusal) => {
                self.forward.give_up();
                if refusal.reason == Reason::Prohibited {
                    auditor.report(refused(CONNECTING, &refusal)).await;
                }
                self.reply.reject(failure(refusal)).await;
            }
        }
    }
}

/// Offers those who connect to one place to the client. When the connection has no room for more they are turned away.
async fn offer_all(mut accepted: mpsc::Receiver<Accepted>, called: Called, handle: Handle, ours: Ours) {
    while let Some(one) = accepted.recv().await {
        if let Some(room) = ours.forwards.room() {
            tokio::spawn(offer(one, called.clone(), handle.clone(), ours.clone(), room));
        }
    }
}

/// What every forward of a connection has to do with.
#[derive(Clone)]
struct Ours {
    forwards: Forwards,
    ledger: Ledger,
    traffic: Traffic,
}

/// Offers one: a client that does not take it hears no more of it.
async fn offer(one: Accepted, called: Called, handle: Handle, ours: Ours, room: OwnedSemaphorePermit) {
    let Ours { forwards, ledger, traffic } = ours;
    let on = called.told();
    let Ok(channel) = open(&one, called, &handle).await else { return };
    let from = one.origin.as_ref().map_or_else(String::new, |origin| format!("{}:{}", origin.address, origin.port));
    ledger.note(Deed::Accepted { on, from: PeerText::new(from.as_bytes()) });
    // Its own end for what comes is not used: data comes by callback.
    let (_, channel) = channel.split();
    if let Some(forward) = forwards.confirmed(number(channel.id())) {
        forwards::relay(one.socket, forward, room, Outlet { channel }, traffic).await;
    }
}

async fn open(one: &Accepted, called: Called, handle: &Handle) -> Result<russh::Channel<Msg>, SshError> {
    let origin = one.origin.as_ref();
    match called {
        Called::Port(address, port) => {
            let (from, from_port) = origin.map_or(("", 0), |o| (o.address.as_str(), o.port));
            handle.channel_open_forwarded_tcpip(address, port.into(), from, from_port.into()).await
        }
        Called::Socket(path) => handle.channel_open_forwarded_streamlocal(path).await,
        Called::Agent => handle.channel_open_agent().await,
    }
}
