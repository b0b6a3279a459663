//! The audit trail as the monitor feeds it: it says whose a deed is and when, and passes it on. It never waits for it.
//!
//! What could a captured session gain? It can lie about what its own client did, and use up its share of the room; its
//! connection, account, user, key and address are what the monitor knows.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::login::now;
use super::node::Node;
use super::sessions::{Phase, Trail};
use crate::authority::Principal;
use crate::domain::{Claim, Proof};
use crate::wire::{Deeds, Event, Holder, Note, Noted, Stamp, ToControl, Why};

/// Notes that may wait for control to read. More are counted: control is not to be taken for stuck because of them.
const MOST_WAITING: usize = 1024;
/// Of these, what clients did; so that logins find room when some client does a lot.
const MOST_DEEDS_WAITING: usize = 256;

impl Node<'_> {
    /// Puts something of the node's own on record.
    pub(super) fn note_of_node(&mut self, what: Noted) {
        self.pass_on(None, what, MOST_WAITING);
    }

    /// Somebody is in: all that follows on this connection is theirs.
    pub(super) fn begin_trail(&mut self, slot: u32, principal: &Principal) {
        let run = self.run;
        let Some(session) = self.sessions.get(slot) else { return };
        let Phase::Login { peer, .. } = &session.phase else { return };
        let holder = Holder {
            account: principal.account().clone(),
            user: principal.user().clone(),
            shown: principal.shown(),
            key: principal.key().map(|key| (key.fingerprint.clone(), key.label.clone())),
        };
        let stamp = Stamp { run, conn: peer.conn, peer: peer.address, holder: Some(Box::new(holder)) };
        session.trail = Some(Box::new(Trail { stamp, since: Instant::now(), why: Why::Client, lost: 0 }));
        self.note_of(slot, Noted::LoggedIn);
    }

    /// Somebody was not let in.
    pub(super) fn note_denial(&mut self, slot: u32, claim: &Claim, why: String) {
        let key = if let Proof::Key(key) = &claim.proof { Some(key.clone()) } else { None };
        let (user, factor) = (claim.user.on_record(), claim.proof.factor());
        self.note_of(slot, Noted::Denied { user, factor, key, why });
    }

    /// A session reports something that its client did not do by itself.
    pub(super) fn note_event(&mut self, slot: u32, event: Event) {
        self.note_of(slot, Noted::Reported(event));
    }

    /// Notes why a session ends; the first reason stays.
    pub(super) fn note_why(&mut self, slot: u32, why: Why) {
        if let Some(trail) = self.sessions.get(slot).and_then(|s| s.trail.as_mut())
            && trail.why == Why::Client
        {
            trail.why = why;
        }
    }

    /// A session said what it must not.
    pub(super) fn note_breach(&mut self, slot: u32, what: &str) {
        self.note_why(slot, Why::Broken);
        self.note_of(slot, Noted::Broke { what: what.to_owned() });
    }

    /// Passes on what a client did. Whatever finds no room is counted with what the session could not send, and told as soon
    /// as something finds room.
    pub(super) fn pass_on_deeds(&mut self, slot: u32, deeds: Deeds) {
        let Deeds { mut deeds, mut lost } = deeds;
        let Some(session) = self.sessions.get(slot) else { return };
        if !session.may_pass_on(deeds.len()) {
            lost = lost.saturating_add(deeds.len() as u64);
            deeds.clear();
        }
        let Some(trail) = &mut session.trail else { return };
        let missing = std::mem::take(&mut trail.lost).saturating_add(lost);
        let (stamp, count) = (trail.stamp.clone(), deeds.len() as u64);
        let noted = Noted::Did(Deeds { deeds, lost: missing });
        if !self.pass_on(Some(stamp), noted, MOST_DEEDS_WAITING)
            && let Some(trail) = self.sessions.get(slot).and_then(|s| s.trail.as_mut())
        {
            trail.lost = missing.saturating_add(count);
        }
    }

    /// The process of a session has ended.
    pub(super) fn end_trail(&mut self, slot: u32) {
        let Some(trail) = self.sessions.get(slot).and_then(|s| s.trail.take()) else { return };
        let Trail { stamp, since, why, lost } = *trail;
        if lost > 0 {
            self.pass_on(Some(stamp.clone()), Noted::Did(Deeds { deeds: Vec::new(), lost }), MOST_WAITING);
        }
        self.pass_on(Some(stamp), Noted::Ended { seconds: since.elapsed().as_secs(), why }, MOST_WAITING);
    }

    /// Puts something on record that is about the connection of a session.
    fn note_of(&mut self, slot: u32, what: Noted) {
        let run = self.run;
        let Some(session) = self.sessions.get(slot) else { return };
        let stamp = match (&session.trail, &session.phase) {
            (Some(trail), _) => Some(trail.stamp.clone()),
            (None, Phase::Login { peer, .. }) => Some(Stamp { run, conn: peer.conn, peer: peer.address, holder: None }),
            _ => None,
        };
        self.pass_on(stamp, what, MOST_WAITING);
    }

    /// Says whether there was room. Without, it is counted, and told with what is next: of deeds by whoever passes them on.
    fn pass_on(&mut self, stamp: Option<Stamp>, what: Noted, most: usize) -> bool {
        let has_room = self.control.as_ref().is_some_and(|control| control.ready && control.waiting() < most);
        let is_of_deeds = matches!(what, Noted::Did(_));
        if !has_room {
            self.unnoted += u64::from(!is_of_deeds);
            return false;
        }
        let at = millis();
        if self.unnoted > 0 {
            let lost = std::mem::take(&mut self.unnoted);
            let what = Noted::Did(Deeds { deeds: Vec::new(), lost });
            self.tell_control(ToControl::Note(Box::new(Note { at, stamp: None, what })));
        }
        self.tell_control(ToControl::Note(Box::new(Note { at, stamp, what })));
        true
    }
}

/// When a node was started, so that its connections can be told from those of earlier ones.
pub(super) fn run() -> u64 {
    u64::try_from(now().0).unwrap_or(0)
}

/// Milliseconds since 1970.
fn millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    i64::try_from(since).unwrap_or(i64::MAX)
}
