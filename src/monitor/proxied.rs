//! Connections that a balancer passes on: who they come from is said by the PROXY header that a session read.
//!
//! It is believed from listed balancers alone, by the address that the kernel saw, and once, before a byte of the client was
//! read. From then on it is the address, and everything that was asked about the balancer's is asked about it.

use std::net::SocketAddr;
use std::time::Instant;

use super::Error;
use super::admission::draw;
use super::node::Node;
use super::offences::moment;
use super::sessions::{Phase, Waits};
use crate::wire::{Heading, ToSession};

impl Node<'_> {
    /// A captured caller gains nothing here: it has read nothing but the header, and whoever wrote that could say the same.
    pub(super) fn take_header(&mut self, slot: u32, heading: Heading) -> Result<(), Error> {
        let Some(Phase::Login { peer, .. }) = self.sessions.get(slot).map(|s| &s.phase) else { return Ok(()) };
        let (conn, proxy) = (peer.conn, peer.address);
        match heading {
            Heading::Own => self.admit_proxied(slot, proxy),
            Heading::From(source) => self.admit_client(slot, proxy, source),
            Heading::Bad { what } => {
                tracing::error!(%conn, peer = %proxy, what = ?what, "connection of a balancer ended");
                self.hang_up(slot, String::new())
            }
        }
    }

    fn admit_client(&mut self, slot: u32, proxy: SocketAddr, source: SocketAddr) -> Result<(), Error> {
        let client = SocketAddr::new(source.ip().to_canonical(), source.port());
        let now = Instant::now();
        let mut load = self.load(client.ip());
        // It is among them itself.
        load.unauthenticated = load.unauthenticated.saturating_sub(1);
        load.connections = load.connections.saturating_sub(1);
        if let Some(why) = self.admission.refusal(client.ip(), load, draw(), moment(now)) {
            self.turned_away.log(client, &why, now);
            return self.hang_up(slot, why.sentence());
        }
        tracing::debug!(peer = %client, %proxy, "connection through a balancer");
        self.admit_proxied(slot, client)
    }

    fn admit_proxied(&mut self, slot: u32, client: SocketAddr) -> Result<(), Error> {
        if let Some(Phase::Login { peer, waits }) = self.sessions.get(slot).map(|s| &mut s.phase) {
            (peer.address, *waits) = (client, Waits::Nothing);
        }
        self.tell_session(slot, &ToSession::Admitted)
    }

    /// The session says a last sentence and ends.
    fn hang_up(&mut self, slot: u32, sentence: String) -> Result<(), Error> {
        self.tell_session(slot, &ToSession::TurnedAway { sentence })?;
        self.retire(slot, Instant::now() + super::node::FAREWELL);
        Ok(())
    }
}
