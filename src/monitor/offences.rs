//! What is counted against whom, and what is done about it at once. Who is held back is decided in [`super::admission`].

use std::net::IpAddr;
use std::time::Instant;

use super::admission::{Moment, Offence, Penalty, Refusal, Whom, seconds};
use super::login::now;
use super::node::Node;
use super::sessions::{Phase, Session, Waits};
use crate::authority::Denial;
use crate::domain::{Banned, Block, Claim, ClaimedName, Factor, UserName};
use crate::wire::{EndReason, ToControl};

/// Failures of one connection that count as one: a person mistypes a password more than once, and clients ask three times.
const FREE_FAILURES: u32 = 3;

impl Node<'_> {
    /// Whether what a claim shows is not to be looked at: then its session is told to end, with the reason. Keys always are.
    pub(super) fn holds_back(&mut self, slot: u32, claim: &Claim) -> bool {
        let Some(Phase::Login { peer, .. }) = self.sessions.get(slot).map(|s| &s.phase) else { return false };
        if claim.proof.factor() == Factor::Key {
            return false;
        }
        let Some(penalty) = self.admission.penalties.guessing(peer.address.ip(), &claim.user, Instant::now()) else {
            return false;
        };
        tracing::info!(
            conn = %peer.conn, peer = %peer.address, user = %claim.user, penalty = %penalty.whom,
            seconds = seconds(penalty.left), "login held back"
        );
        self.note_denial(slot, claim, format!("held back: {}", penalty.whom));
        self.end(slot, EndReason::HeldBack);
        true
    }

    /// A claim was denied. What was shown by a key cannot have been guessed, and costs nothing.
    pub(super) fn count_denial(&mut self, slot: u32, claim: &Claim, denial: Denial) {
        let offence = match (claim.proof.factor(), denial) {
            (Factor::Key, _) | (_, Denial::Mismatch) => return,
            (_, Denial::UnknownUser) => Offence::UnknownUser,
            (_, Denial::WrongPassword | Denial::WrongCode | Denial::CodeAlone | Denial::UnknownKey) => Offence::Failed,
            _ => Offence::Refused,
        };
        let Some(session) = self.sessions.get(slot) else { return };
        session.failures = session.failures.saturating_add(1);
        if session.failures > 1 && session.failures <= FREE_FAILURES {
            return;
        }
        if let Phase::Login { peer, .. } = &session.phase {
            let from = peer.address.ip();
            self.charge(offence, from, Some(&claim.user));
        }
    }

    /// A session that was logging somebody in has ended by itself: it was never said why.
    pub(super) fn count_end(&mut self, session: &Session) {
        let Phase::Login { peer, .. } = &session.phase else { return };
        let offence = match session {
            _ if self.stopping.is_some() || session.is_counted => return,
            session if !session.has_left => Offence::Crash,
            session if session.has_tried() => return,
            _ => Offence::NoAttempt,
        };
        self.charge(offence, peer.address.ip(), None);
    }

    /// A session that logs somebody in crashed, or broke the rules as one does that was captured.
    pub(super) fn count_crash(&mut self, slot: u32) {
        let Some(session) = self.sessions.get(slot) else { return };
        let Phase::Login { peer, .. } = &session.phase else { return };
        let from = peer.address.ip();
        if !std::mem::replace(&mut session.is_counted, true) {
            self.charge(Offence::Crash, from, None);
        }
    }

    /// Counts an offence. Whoever is not let in from now on is not left logging in either.
    pub(super) fn charge(&mut self, offence: Offence, from: IpAddr, name: Option<&ClaimedName>) {
        let now = Instant::now();
        let felt = self.admission.penalties.charge(offence, from, name, now);
        for Penalty { whom, left } in &felt {
            tracing::warn!(penalty = %whom, seconds = seconds(*left), reason = offence.phrase(), "penalty");
        }
        if felt.is_empty() {
            return;
        }
        if let Some(Penalty { whom: Whom::Source(source), left }) = self.admission.penalties.at_the_door(from, now) {
            self.end_logins_from(source);
            let reason = offence.phrase().to_owned();
            self.tell_control(ToControl::Penalised { source, seconds: seconds(left), reason });
        }
    }

    fn end_logins_from(&mut self, source: Block) {
        self.forget_arrivals(|address| source.holds(address));
        // Whoever has proven who they are and waits for their grants is left alone.
        let is_guessing = |waits: &Waits| !matches!(waits, Waits::Grants { .. });
        let slots = self.sessions.which(|s| {
            matches!(&s.phase, Phase::Login { peer, waits } if is_guessing(waits) && source.holds(peer.address.ip()))
        });
        for slot in slots {
            self.end(slot, EndReason::HeldBack);
        }
    }

    // -- bans -------------------------------------------------------------------------------------------------------

    /// Whether the name that somebody tries is banned: then the session is told to end, with the reason. `claim` is what was
    /// shown for it, which counts unless it is a key.
    pub(super) fn is_banned(&mut self, slot: u32, user: &ClaimedName, claim: Option<&Claim>) -> bool {
        let Some(Phase::Login { peer, .. }) = self.sessions.get(slot).map(|s| &s.phase) else { return false };
        let (conn, peer) = (peer.conn, peer.address);
        let Ok(name) = user.as_unchecked_str().parse::<UserName>() else { return false };
        let Some(ban) = self.admission.bans.on_name(&name, peer.ip(), now()) else { return false };
        tracing::info!(%conn, %peer, user = %name, ban = %ban.who, reason = ban.reason, "login refused: banned");
        if let Some(claim) = claim {
            self.note_denial(slot, claim, "banned".to_owned());
        }
        self.end(slot, EndReason::Banned);
        if claim.is_some_and(|claim| claim.proof.factor() != Factor::Key) {
            self.charge(Offence::Refused, peer.ip(), Some(user));
        }
        true
    }

    /// All bans were told anew: whoever is among them goes.
    pub(super) fn hear_bans(&mut self, round: u64) {
        if !self.admission.bans.end(round) {
            return;
        }
        let (admission, at) = (&self.admission, moment(Instant::now()));
        let slots = self.sessions.which(|s| match &s.phase {
            Phase::Login { peer, .. } => {
                matches!(admission.held_off(peer.address.ip(), at), Some(Refusal::Banned { .. }))
            }
            // Whoever is in is not ended for what others guess there.
            Phase::Live { record, .. } => admission.is_banned(record.peer.ip(), &record.user, at.time),
            _ => false,
        });
        for slot in slots {
            self.end(slot, EndReason::Banned);
        }
    }

    /// An operator lets somebody in again.
    pub(super) fn forgive(&mut self, who: &Banned) {
        match who {
            Banned::Block(block) => self.admission.penalties.forgive_sources(*block),
            Banned::User(user) => self.admission.penalties.forgive_name(user),
            Banned::UserFrom(user, block) => self.admission.penalties.forgive_name_from(user, *block),
        }
    }
}

/// Now, by both clocks.
pub(super) fn moment(instant: Instant) -> Moment {
    Moment { instant, time: now() }
}
