//! Places of sessions where there may be only so many at the same time: on this node by what it counts itself, on the others by
//! what control finds out. Runs in: the monitor. Trusts: control's count, for which it knows whose sessions are where.

use rustix::io::Errno;

use super::node::Node;
use super::sessions::{Asked, Phase, Seating, seat_of};
use super::{Error, system};
use crate::authority::Principal;
use crate::domain::{Claim, Common, ConnId, ForEach, MonitorId, Seat};
use crate::wire::ToControl;

/// A number that no other monitor has.
pub(super) fn new_id() -> Result<MonitorId, Error> {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => Ok(MonitorId(i64::from_ne_bytes(bytes))),
        Ok(_) => Err(system("draw a number for the node")(Errno::AGAIN)),
        Err(errno) => Err(system("draw a number for the node")(errno)),
    }
}

impl Node<'_> {
    /// Takes a place among the sessions that there may be. Nothing else happens between the count and the taking: this
    /// process has one thread, and what it has begun counts from here on, whether its grants are there yet or not. Whoever is
    /// not limited waits for nobody else.
    pub(super) fn take_place(&mut self, slot: u32, claim: &Claim, principal: Principal) -> Result<(), Error> {
        let (seat, most) = (seat_of(&principal), principal.most_sessions());
        let begun = self.begun(&seat);
        if let Some(what) = most.reached(&begun) {
            return self.refuse_place(slot, claim, &principal, what);
        }
        let Some(session) = self.sessions.get(slot) else { return Ok(()) };
        session.place = Some(Box::new(seat));
        if most.is_none() {
            return self.grant(slot, principal);
        }
        let Phase::Login { peer, .. } = &session.phase else { return Ok(()) };
        let conn = peer.conn;
        session.seat = Some(conn);
        let seating = Seating { claim: claim.clone(), principal, conn, left: most.less(&begun) };
        self.ask(slot, Asked::Seat(Box::new(seating)));
        Ok(())
    }

    /// How many sessions of this node have what in common with one that begins.
    fn begun(&self, seat: &Seat) -> ForEach<u32> {
        let mut begun = ForEach::default();
        for other in self.sessions.iter().filter_map(|(_, session)| session.place.as_deref()) {
            begun.account += u32::from(seat.shares(other, Common::Account));
            begun.user += u32::from(seat.shares(other, Common::User));
            begun.key += u32::from(seat.shares(other, Common::Key));
        }
        begun
    }

    /// Control has counted those of other nodes too.
    pub(super) fn seated(&mut self, ticket: u64, full: Option<Common>) -> Result<(), Error> {
        let Some((slot, Asked::Seat(seating))) = self.redeem(ticket) else { return Ok(()) };
        let Some(what) = full else { return self.grant(slot, seating.principal) };
        if let Some(session) = self.sessions.get(slot) {
            (session.place, session.seat) = (None, None);
        }
        self.refuse_place(slot, &seating.claim, &seating.principal, what)
    }

    /// Control cannot ask its database. Whoever may log in without it counts on this node alone until it is back.
    pub(super) fn seated_here(&mut self, slot: u32, seating: Seating) -> Result<(), Error> {
        tracing::warn!(user = %seating.principal.user(), "sessions on other nodes cannot be counted at the moment");
        self.grant(slot, seating.principal)
    }

    /// The session ends before it has begun.
    pub(super) fn give_back(&mut self, seat: Option<ConnId>) {
        if let Some(conn) = seat {
            self.tell_control(ToControl::Closed { conn });
        }
    }

    fn refuse_place(&mut self, slot: u32, claim: &Claim, principal: &Principal, what: Common) -> Result<(), Error> {
        let whose = match what {
            Common::Account => format!("account {}", principal.account()),
            Common::User => principal.user().to_string(),
            Common::Key if principal.key().is_some_and(|key| key.certified.is_some()) => "this certificate".to_owned(),
            Common::Key => "this key".to_owned(),
        };
        let most = principal.most_sessions().of(what).unwrap_or_default();
        let sessions = if most == 1 { "session" } else { "sessions" };
        let sentence = format!("{whose} may have {most} {sessions} at the same time, and has; end one and try again");
        self.deny_in_words(slot, claim, sentence.clone(), sentence)
    }
}
