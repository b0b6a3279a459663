//! The sessions of a node as the monitor sees them: which phase each is in, and what it may ask in that phase.
//!
//! A session is the least trusted of our processes. What it may say is a table ([`Phase::permits`]); anything else, or
//! more of it than its budget, ends it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;

use super::admission::Peer;
use super::attaching::Helper;
use super::cells::CellPlan;
use super::ids::IdPool;
use crate::authority::{Principal, Proven};
use crate::cell::Plan;
use crate::domain::{Claim, ClaimedName, ConnId, Facts, ForEach, KeyBlob, Proof, Seat, Welcome};
use crate::wire::{FromSession, Link, Question, SessionRecord, Stamp, Why};

/// Probes one connection may make: agents with many keys are common, 64 of them are not.
const MOST_PROBES: u32 = 80;
/// Claims one connection may make; the session disconnects its client long before.
const MOST_CLAIMS: u32 = 40;
/// Times one connection may ask for its cell; it asks again only when the cell has ended.
const MOST_CELLS: u32 = 1000;
/// Times one connection may say that its user's own keys have changed.
const MOST_OWN_KEYS: u32 = 200;
/// Events one connection may report in [`BUDGET_PERIOD`].
const MOST_EVENTS: u32 = 400;
/// Messages of deeds that one connection may send in [`BUDGET_PERIOD`]; a session keeps itself to half of that.
const MOST_DEEDS: u32 = 800;
/// Deeds in one such message: more than a session of ours puts into one.
const MOST_AT_ONCE: usize = 1024;
/// Deeds of one connection that are passed on in [`BUDGET_PERIOD`]; more are counted. Control has others to serve.
const MOST_PASSED_ON: usize = 100_000;
/// How often the budget of events is filled up again.
const BUDGET_PERIOD: Duration = Duration::from_secs(10);

/// One session process.
#[derive(Debug)]
pub(super) struct Session {
    /// Its user id, in a node that runs as root.
    pub(super) uid: u32,
    /// Process id and descriptor, once the zygote has told.
    pub(super) process: Option<(u32, OwnedFd)>,
    /// Its mount namespace, from birth until the grants are attached.
    pub(super) namespace: Option<OwnedFd>,
    /// The channel to it.
    pub(super) link: Link,
    /// What it is doing.
    pub(super) phase: Phase,
    /// What is known about the key that its client offered last.
    pub(super) probed: Option<Probed>,
    /// What its client has proven, if that is not enough yet.
    pub(super) proven: Option<Proven>,
    /// Whether it waits for control to look at its user's own keys.
    pub(super) awaits_own_keys: bool,
    /// Whose place among the sessions that there may be it takes, from the moment that it is believed.
    pub(super) place: Option<Box<Seat>>,
    /// Its connection, if control has a seat for it and does not know yet that it lives.
    pub(super) seat: Option<ConnId>,
    /// The bandwidths that it shares with others, for as long as it lives.
    pub(super) pages: Vec<Arc<OwnedFd>>,
    /// For the audit trail, from the moment somebody is in until the process has ended.
    pub(super) trail: Option<Box<Trail>>,
    /// How often its client was denied.
    pub(super) failures: u32,
    /// Whether it said that it ends: one that does not has crashed.
    pub(super) has_left: bool,
    /// Whether its end was counted against its client already.
    pub(super) is_counted: bool,
    spent: Spent,
}

/// Whose a session's deeds are, and what became of it.
#[derive(Debug)]
pub(super) struct Trail {
    /// Whose.
    pub(super) stamp: Stamp,
    /// When it began.
    pub(super) since: Instant,
    /// Why it ends.
    pub(super) why: Why,
    /// Deeds that could not be passed on, and that control does not know of yet.
    pub(super) lost: u64,
}

/// Facts about a key that was offered. The claim with that key mostly follows within milliseconds and is decided by the
/// same facts, without asking again; control checks every login once more when it is told of it.
#[derive(Debug)]
pub(super) struct Probed {
    user: ClaimedName,
    key: KeyBlob,
    /// What is known.
    pub(super) facts: Facts,
    until: Instant,
}

impl Probed {
    /// How long they are good for: a signature takes less, unless a person has to touch a token.
    const GOOD_FOR: Duration = Duration::from_secs(2);

    /// Keeps what was answered to a probe.
    pub(super) fn keep(question: Question, facts: Facts, now: Instant) -> Option<Probed> {
        match question {
            Question::Probe { user, key } => Some(Probed { user, key, facts, until: now + Self::GOOD_FOR }),
            Question::Claim(_) | Question::Redeem { .. } | Question::Seat { .. } => None,
        }
    }

    /// Whether this is what a claim needs.
    pub(super) fn is_about(&self, claim: &Claim, now: Instant) -> bool {
        self.until > now && self.user == claim.user && matches!(&claim.proof, Proof::Key(key) if *key == self.key)
    }
}

#[derive(Debug, Default)]
struct Spent {
    probes: u32,
    claims: u32,
    cells: u32,
    own_keys: u32,
    events: u32,
    deeds: u32,
    passed_on: usize,
    since: Option<Instant>,
}

/// What a session is doing.
#[derive(Debug)]
pub(super) enum Phase {
    /// Forked, or about to be; not confined yet.
    Newborn,
    /// Confined, without a connection.
    Spare,
    /// A client is logging in.
    Login {
        /// The client.
        peer: Peer,
        /// What the session waits for.
        waits: Waits,
    },
    /// A client has logged in.
    Live {
        /// As `session list` shows it.
        record: Box<SessionRecord>,
        /// The shell cell that its programs would run in, if it may run any.
        cell: Option<Box<CellPlan>>,
    },
    /// Told to end; killed at the deadline.
    Ending {
        /// When.
        deadline: Instant,
    },
}

/// What a session that is logging somebody in waits for.
#[derive(Debug)]
pub(super) enum Waits {
    /// For the PROXY header of its connection.
    Header,
    /// For its client.
    Nothing,
    /// For facts from control.
    Facts {
        /// Number of the question.
        ticket: u64,
        /// What was asked.
        asked: Asked,
    },
    /// For its grants.
    Grants {
        /// Who was proven.
        principal: Box<Principal>,
        /// What is being attached.
        plan: Box<Plan>,
        /// By whom.
        helper: Helper,
    },
}

/// What a question to control is about. Kept, so that it can be asked again when control was restarted.
#[derive(Debug)]
pub(super) enum Asked {
    /// A key that was only offered.
    Probe(Question),
    /// A claim.
    Claim(Box<Claim>),
    /// An invitation that a key takes up, and what its user will be told.
    Redeem(ClaimedName, KeyBlob, Box<Welcome>),
    /// A seat for somebody who was believed.
    Seat(Box<Seating>),
}

/// Somebody who was believed and waits for a seat.
#[derive(Debug)]
pub(super) struct Seating {
    /// By what they were believed.
    pub(super) claim: Claim,
    /// Who they are.
    pub(super) principal: Principal,
    /// Their connection.
    pub(super) conn: ConnId,
    /// How many the limits leave for other nodes.
    pub(super) left: ForEach<Option<u32>>,
}

impl Asked {
    /// The question, for control.
    pub(super) fn question(&self) -> Question {
        match self {
            Asked::Probe(question) => question.clone(),
            Asked::Redeem(user, key, _) => Question::Redeem { user: user.clone(), key: key.clone() },
            Asked::Seat(seating) => {
                Question::Seat { conn: seating.conn, seat: seat_of(&seating.principal), left: seating.left }
            }
            Asked::Claim(claim) => Question::Claim((**claim).clone()),
        }
    }
}

/// Whose a principal's session is, for the limits of how many there may be.
pub(super) fn seat_of(principal: &Principal) -> Seat {
    Seat {
        account: principal.account().clone(),
        user: principal.user().clone(),
        key: principal.key().map(|key| key.fingerprint.clone()),
    }
}

impl Phase {
    /// The table of requests: what a session may say in which phase.
    ///
    /// What could a captured session gain? Before it has a connection it has read nothing. On a connection from a listed
    /// balancer it says once, before the client's first byte is read, which address the header names. While a client logs in it
    /// may claim a key that was never proven (the threat model says so), one claim at a time, each audited. Once live
    /// it may only report, about its own client alone; nothing it says then changes what it can reach.
    pub(super) fn permits(&self, request: &FromSession) -> bool {
        let takes_own_keys = matches!(self, Phase::Live { record, .. } if record.takes_own_keys);
        if takes_own_keys && matches!(request, FromSession::OwnKeys(_)) {
            return true;
        }
        matches!(
            (self, request),
            (Phase::Newborn, FromSession::Born | FromSession::Ready | FromSession::Event(_))
                | (Phase::Login { waits: Waits::Header, .. }, FromSession::Header(_))
                | (Phase::Login { waits: Waits::Nothing, .. }, FromSession::Probe { .. } | FromSession::Claim(_))
                | (Phase::Live { cell: Some(_), .. }, FromSession::OpenCell)
                | (
                    Phase::Login { .. } | Phase::Live { .. } | Phase::Ending { .. },
                    FromSession::Event(_) | FromSession::Left
                )
                | (Phase::Live { .. } | Phase::Ending { .. }, FromSession::Did(_) | FromSession::Idle)
        )
    }
}

impl Session {
    /// A session whose birth is being asked for.
    pub(super) fn unborn(uid: u32, link: Link) -> Session {
        Session {
            uid,
            process: None,
            namespace: None,
            link,
            phase: Phase::Newborn,
            probed: None,
            proven: None,
            awaits_own_keys: false,
            place: None,
            seat: None,
            pages: Vec::new(),
            trail: None,
            failures: 0,
            has_left: false,
            is_counted: false,
            spent: Spent::default(),
        }
    }

    /// Whether it may say this now; counts it.
    pub(super) fn may_say(&mut self, request: &FromSession, now: Instant) -> bool {
        self.phase.permits(request) && self.spent.count(request, now)
    }

    /// Whether its client has shown or offered anything.
    pub(super) fn has_tried(&self) -> bool {
        self.spent.probes + self.spent.claims > 0
    }

    /// Whether so many deeds more may be passed on now; counts them.
    pub(super) fn may_pass_on(&mut self, deeds: usize) -> bool {
        self.spent.passed_on = self.spent.passed_on.saturating_add(deeds);
        self.spent.passed_on <= MOST_PASSED_ON
    }

    /// Ends the process at once, with all that runs in its namespace.
    pub(super) fn kill(&self) {
        let Some((pid, pidfd)) = &self.process else { return };
        match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            // Cannot happen with CAP_KILL on a descriptor of our own; if it does, an operator has to know.
            Err(errno) => tracing::error!(pid, %errno, "session could not be killed"),
        }
    }
}

impl Spent {
    fn count(&mut self, request: &FromSession, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) > BUDGET_PERIOD) {
            (self.since, self.events, self.deeds, self.passed_on) = (Some(now), 0, 0, 0);
        }
        let (spent, most) = match request {
            FromSession::Probe { .. } => (&mut self.probes, MOST_PROBES),
            FromSession::Claim(_) => (&mut self.claims, MOST_CLAIMS),
            FromSession::Event(_) | FromSession::Idle => (&mut self.events, MOST_EVENTS),
            FromSession::Did(deeds) if deeds.deeds.len() > MOST_AT_ONCE => return false,
            FromSession::Did(_) => (&mut self.deeds, MOST_DEEDS),
            // One question at a time, and as many as a client may open channels in a while.
            FromSession::OpenCell => (&mut self.cells, MOST_CELLS),
            FromSession::OwnKeys(_) => (&mut self.own_keys, MOST_OWN_KEYS),
            // Once by its phase.
            FromSession::Born | FromSession::Ready | FromSession::Header(_) | FromSession::Left => return true,
        };
        *spent = spent.saturating_add(1);
        *spent <= most
    }
}

/// All sessions, by slot. A slot stands for a user id, and is given out again only after its process has ended.
#[derive(Debug)]
pub(super) struct Sessions {
    slots: Vec<Slot>,
    free: VecDeque<u32>,
    ids: IdPool,
    most: usize,
}

#[derive(Debug)]
struct Slot {
    uid: u32,
    generation: u32,
    session: Option<Session>,
}

impl Sessions {
    /// No sessions yet, and at most `most`.
    pub(super) fn new(ids: IdPool, most: usize) -> Sessions {
        Sessions { slots: Vec::new(), free: VecDeque::new(), ids, most }
    }

    /// Finds a slot for a new session; `None` when all are taken.
    pub(super) fn reserve(&mut self, link: Link) -> Option<(u32, u32)> {
        let slot = match self.free.pop_front() {
            Some(slot) => slot,
            None if self.slots.len() < self.most => {
                let uid = self.ids.take()?;
                self.slots.push(Slot { uid, generation: 0, session: None });
                u32::try_from(self.slots.len() - 1).ok()?
            }
            None => return None,
        };
        let place = self.slots.get_mut(slot as usize)?;
        let uid = place.uid;
        place.generation = place.generation.wrapping_add(1) & GENERATION_MASK;
        place.session = Some(Session::unborn(uid, link));
        Some((slot, uid))
    }

    /// The generation of a slot, which tells an event of an earlier session from one of this.
    pub(super) fn generation(&self, slot: u32) -> u32 {
        self.slots.get(slot as usize).map_or(0, |s| s.generation)
    }

    /// The session in a slot.
    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Session> {
        self.slots.get_mut(slot as usize)?.session.as_mut()
    }

    /// The session in a slot, if it is the one an event was about.
    pub(super) fn current(&mut self, slot: u32, generation: u32) -> Option<&mut Session> {
        let place = self.slots.get_mut(slot as usize).filter(|s| s.generation == generation)?;
        place.session.as_mut()
    }

    /// Takes a session out whose process has ended; its id is the next to be given out, for its maps are still kept.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Session> {
        let session = self.slots.get_mut(slot as usize)?.session.take()?;
        self.free.push_front(slot);
        Some(session)
    }

    /// Takes a session out whose process was never heard of; its id is the last to be given out.
    pub(super) fn abandon(&mut self, slot: u32) -> Option<Session> {
        let session = self.slots.get_mut(slot as usize)?.session.take()?;
        self.free.push_back(slot);
        Some(session)
    }

    /// All sessions with their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Session)> {
        (0_u32..).zip(&self.slots).filter_map(|(n, slot)| Some((n, slot.session.as_ref()?)))
    }

    /// Slots of all sessions for which `wanted` holds.
    pub(super) fn which(&self, wanted: impl Fn(&Session) -> bool) -> Vec<u32> {
        self.iter().filter(|(_, s)| wanted(s)).map(|(slot, _)| slot).collect()
    }
}

/// Generations share a word with slots and kinds in the poll set.
pub(super) const GENERATION_MASK: u32 = 0x00ff_ffff;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ids;
    use crate::domain::{Deed, PeerText};
    use crate::wire::{Deeds, Event};

    fn probe() -> FromSession {
        FromSession::Probe { user: ClaimedName::new("bob").expect("short"), key: KeyBlob::new(vec![1]).expect("short") }
    }

    fn sessions() -> Sessions {
        let dir = tempfile::tempdir().expect("a directory");
        let ids = IdPool::new(&dir.path().join("ids"), Ids { first: 1000, count: 3 }).expect("ids");
        Sessions::new(ids, 10)
    }

    #[test]
    fn a_session_without_a_client_may_not_claim() {
        assert!(!Phase::Newborn.permits(&probe()));
        assert!(!Phase::Spare.permits(&probe()));
        assert!(!Phase::Spare.permits(&FromSession::Ready));
        assert!(!Phase::Ending { deadline: Instant::now() }.permits(&probe()));
    }

    #[test]
    fn reports_have_a_budget() {
        let mut spent = Spent::default();
        let (event, now) = (FromSession::Event(Event::SftpOpened), Instant::now());
        for _ in 0..MOST_EVENTS {
            assert!(spent.count(&event, now));
        }
        assert!(!spent.count(&event, now));
        assert!(spent.count(&event, now + BUDGET_PERIOD + Duration::from_millis(1)));
    }

    #[test]
    fn deeds_have_a_budget_too() {
        let deeds = |count| FromSession::Did(Deeds { deeds: vec![removed(); count], lost: 0 });
        let (mut spent, now) = (Spent::default(), Instant::now());
        assert!(!spent.count(&deeds(MOST_AT_ONCE + 1), now), "more than a session of ours sends at once");
        for _ in 0..MOST_DEEDS {
            assert!(spent.count(&deeds(MOST_AT_ONCE), now));
        }
        assert!(!spent.count(&deeds(1), now));
        assert!(spent.count(&deeds(1), now + BUDGET_PERIOD + Duration::from_millis(1)));
        let mut session = Session::unborn(1000, Link::pair().expect("a pair").0);
        assert!(session.may_pass_on(MOST_PASSED_ON) && !session.may_pass_on(1));
    }

    fn removed() -> Deed {
        Deed::Removed { path: PeerText::new(b"/x") }
    }

    #[test]
    fn an_id_is_given_out_again_only_after_its_session() {
        let mut sessions = sessions();
        let mut reserve = || sessions.reserve(Link::pair().expect("a pair").0);
        let (first, second) = (reserve().expect("a slot"), reserve().expect("a slot"));
        assert_ne!(first.1, second.1);
        assert!(reserve().is_none(), "three ids, one of them control's");
        let old = sessions.generation(first.0);
        sessions.remove(first.0);
        let third = sessions.reserve(Link::pair().expect("a pair").0).expect("a slot");
        assert_eq!(third, first);
        assert!(sessions.current(third.0, old).is_none(), "events of the earlier session find nobody");
    }
}
