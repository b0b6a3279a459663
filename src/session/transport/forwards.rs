//! Channels of forwards: who may have one, and how one begins. A request that has to wait for the cell's network is
//! answered by a task of its own.

use bytes::Bytes;
use russh::server::{ChannelOpenHandle, Msg};
use russh::{ChannelOpenFailure, ChannelWriteHalf};
use tokio::sync::OwnedSemaphorePermit;

use super::connection::{Connection, number};
use crate::domain::{ForwardPolicy, Service};
use crate::session::Error;
use crate::session::channels::refusal;
use crate::session::forwards::{self, Forward, Made};
use crate::session::login::Access;
use crate::session::programs::Worker;
use crate::wire::{self, Event, Reason, Refusal, Target};

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

/// The library's word for a refusal: its code (RFC 4254, 5.1) with our sentence.
fn failure(refusal: Refusal) -> ChannelOpenFailure {
    let code = match refusal.reason {
        Reason::Prohibited => ChannelOpenFailure::AdministrativelyProhibited,
        Reason::Failed => ChannelOpenFailure::ConnectFailed,
        Reason::Shortage => ChannelOpenFailure::ResourceShortage,
    };
    ChannelOpenFailure::Other { code: code.code(), reason: refusal.sentence }
}

/// What a refusal is called in the log.
const CONNECTING: &str = "a forward to a host, port or socket";

/// A port as a client writes it.
pub(super) fn target(host: &str, port: u32) -> Result<Target, Refusal> {
    match u16::try_from(port) {
        Ok(port) if host.len() <= LONGEST_HOST && !host.contains('\0') => {
            Ok(Target::Port { host: host.to_owned(), port })
        }
        _ => Err(Refusal::failed("this is no host and port")),
    }
}

/// Longest name of a host (RFC 1035), with room for an address and its zone.
const LONGEST_HOST: usize = 255;

impl Connection {
    /// What this client may forward, if it has the service for it.
    fn policy(&self, service: Service, asked: &str) -> Result<&ForwardPolicy, Refusal> {
        match self.client.access() {
            Some(Access::Granted(granted)) if granted.services.contains(service) => Ok(&granted.forwards),
            Some(Access::Granted(granted)) => Err(Refusal::prohibited(refusal(asked, granted.services))),
            Some(Access::Nothing(sentence)) => Err(Refusal::prohibited(sentence.clone())),
            None => Err(Refusal::prohibited("log in first")),
        }
    }

    /// A client wants a channel that leads somewhere from the cell.
    pub(super) async fn connect(
        &mut self,
        channel: russh::Channel<Msg>,
        target: Result<Target, Refusal>,
        reply: ChannelOpenHandle,
    ) -> Result<(), Error> {
        match self.begin_connecting(target).await {
            Ok((worker, room, what)) => {
                let (_, channel) = channel.split();
                let forward = self.forwards.open(number(channel.id()));
                tokio::spawn(finish_connecting(worker, what, forward, room, Outlet { channel }, reply));
            }
            Err(refusal) => reply.reject(failure(refusal)).await,
        }
        Ok(())
    }

    async fn begin_connecting(
        &mut self,
        target: Result<Target, Refusal>,
    ) -> Result<(Worker, OwnedSemaphorePermit, wire::Forward), Refusal> {
        let policy = self.policy(Service::ForwardLocal, "forwarding to somewhere");
        let permitted = match (policy, target) {
            (Ok(policy), Ok(target)) => target.check(policy).map(|()| target),
            (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
        };
        if permitted.is_err() {
            self.client.report(Event::Refused { what: CONNECTING.to_owned() }).await;
        }
        let target = permitted?;
        let room = self.forwards.room().ok_or_else(|| Refusal::shortage("this connection has too many forwards"))?;
        let worker = self.client.worker().await.map_err(Refusal::failed)?;
        Ok((worker, room, wire::Forward::Connect(target)))
    }
}

async fn finish_connecting(
    worker: Worker,
    what: wire::Forward,
    forward: Forward,
    room: OwnedSemaphorePermit,
    outlet: Outlet,
    reply: ChannelOpenHandle,
) {
    match worker.forward(what).await {
        Ok(Made::Connected(socket)) => {
            reply.accept().await;
            forwards::relay(socket, forward, room, outlet).await;
        }
        Err(refusal) => {
            forward.give_up();
            reply.reject(failure(refusal)).await;
        }
    }
}
