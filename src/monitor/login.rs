//! From claim to attached grants: the middle of the journey, as the monitor goes it.
//!
//! A session asks; control is asked for facts; `authority` decides; a helper attaches; the session is told. At every
//! step the answer that does not come is a denial.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Error;
use super::attaching::Helper;
use super::cells::CellPlan;
use super::node::Node;
use super::poll::Token;
use super::sessions::{Asked, Phase, Probed, Waits};
use super::system;
use crate::authority::{self, Circumstances, Decision, Denial, Principal, Proven};
use crate::cell::{Fault, Plan, Privilege};
use crate::domain::{Claim, ClaimedName, Factors, Facts, KeyBlob, KeyFile, ProgramPolicy, Proof, Service, Timestamp};
use crate::telemetry::Causes;
use crate::wire::{Event, Granted, LinkError, Question, SessionRecord, ToControl, ToSession, Why, Worth};

/// Services that are served from a shell cell.
const IN_A_CELL: [Service; 8] = [
    Service::Shell,
    Service::Exec,
    Service::Scp,
    Service::Git,
    Service::Rsync,
    Service::ForwardLocal,
    Service::ForwardRemote,
    Service::Agent,
];

/// How long somebody who may not come in has to fetch the sentence that says why.
const SHOWN_FOR: Duration = Duration::from_secs(20);

impl Node<'_> {
    /// A captured caller learns here which keys are some user's, which an honest client may ask as well.
    pub(super) fn ask_about_probe(&mut self, slot: u32, user: ClaimedName, key: KeyBlob) -> Result<(), Error> {
        self.ask(slot, Asked::Probe(Question::Probe { user, key }));
        Ok(())
    }

    /// A captured caller may lie here about a key (the signature was checked in its process), never about a password or a
    /// code. A code is asked about only after something else was proven, so that nobody can try codes, or use up another's.
    pub(super) fn ask_about_claim(&mut self, slot: u32, claim: Claim) -> Result<(), Error> {
        let has_proven = self.sessions.get(slot).is_some_and(|s| s.proven.is_some());
        if matches!(claim.proof, Proof::Code(_)) && !has_proven {
            return self.deny(slot, &claim, Denial::CodeAlone);
        }
        let probed = self.sessions.get(slot).and_then(|s| s.probed.take());
        match probed.filter(|p| p.is_about(&claim, Instant::now())) {
            Some(probed) => self.decide(slot, &claim, Some(&probed.facts)),
            None => {
                self.ask(slot, Asked::Claim(Box::new(claim)));
                Ok(())
            }
        }
    }

    fn decide(&mut self, slot: u32, claim: &Claim, facts: Option<&Facts>) -> Result<(), Error> {
        let Some(at) = self.circumstances(slot) else { return Ok(()) };
        let earlier = self.sessions.get(slot).and_then(|s| s.proven.clone());
        match authority::decide(&claim.proof, facts, &at, earlier) {
            Ok(Decision::In(principal)) => self.take_place(slot, claim, *principal),
            Ok(Decision::Invited(welcome)) => {
                if let Proof::Key(key) = &claim.proof {
                    self.ask(slot, Asked::Redeem(claim.user.clone(), key.clone(), welcome));
                }
                Ok(())
            }
            Ok(Decision::More(proven, left)) => self.ask_for_more(slot, *proven, left),
            Err(denial) => match denial.told() {
                Some(sentence) => self.deny_in_words(slot, claim, denial.to_string(), sentence),
                None => self.deny(slot, claim, denial),
            },
        }
    }

    fn ask_for_more(&mut self, slot: u32, proven: Proven, left: Factors) -> Result<(), Error> {
        if let Some(session) = self.sessions.get(slot) {
            session.proven = Some(proven);
        }
        self.tell_session(slot, &ToSession::More { left })
    }

    /// When and from where the client of a session that is logging in comes.
    fn circumstances(&mut self, slot: u32) -> Option<Circumstances> {
        let Phase::Login { peer, .. } = &self.sessions.get(slot)?.phase else { return None };
        Some(Circumstances { now: now(), from: peer.address.ip() })
    }

    pub(super) fn ask(&mut self, slot: u32, asked: Asked) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let question = asked.question();
        let Some(Phase::Login { waits, peer }) = self.sessions.get(slot).map(|s| &mut s.phase) else { return };
        *waits = Waits::Facts { ticket, asked };
        let from = peer.address.ip();
        self.tickets.insert(ticket, slot);
        self.tell_control(ToControl::Ask { ticket, question, from });
    }

    /// Control is back: what it did not answer is asked again.
    pub(super) fn ask_again(&mut self) {
        let open: Vec<ToControl> = self
            .sessions
            .iter()
            .filter_map(|(_, s)| match &s.phase {
                Phase::Login { waits: Waits::Facts { ticket, asked }, peer } => {
                    Some(ToControl::Ask { ticket: *ticket, question: asked.question(), from: peer.address.ip() })
                }
                _ => None,
            })
            .collect();
        for question in open {
            self.tell_control(question);
        }
    }

    /// Takes the question back that a ticket stands for, if its session still waits for it.
    pub(super) fn redeem(&mut self, ticket: u64) -> Option<(u32, Asked)> {
        let slot = self.tickets.remove(&ticket)?;
        let Some(Phase::Login { waits, .. }) = self.sessions.get(slot).map(|s| &mut s.phase) else { return None };
        if !matches!(waits, Waits::Facts { ticket: open, .. } if *open == ticket) {
            return None;
        }
        match std::mem::replace(waits, Waits::Nothing) {
            Waits::Facts { asked, .. } => Some((slot, asked)),
            _ => None,
        }
    }

    /// Control has answered.
    pub(super) fn answer(&mut self, ticket: u64, facts: Option<Facts>, takes_certificates: bool) -> Result<(), Error> {
        match self.redeem(ticket) {
            None => Ok(()),
            Some((slot, Asked::Probe(question))) => {
                let at = self.circumstances(slot);
                let worth_a_signature = at.is_some_and(|at| authority::worth_a_signature(facts.as_ref(), &at));
                if let (Some(session), Some(facts), true) = (self.sessions.get(slot), facts, worth_a_signature) {
                    session.probed = Probed::keep(question, facts, Instant::now());
                }
                // Of everybody, whether there is such a user or not, so that nothing is told by it.
                let otherwise = if takes_certificates { Worth::IfCertified } else { Worth::Nothing };
                let worth = if worth_a_signature { Worth::Signature } else { otherwise };
                self.tell_session(slot, &ToSession::Probed { worth })
            }
            Some((slot, Asked::Claim(claim))) => self.decide(slot, &claim, facts.as_ref()),
            // Never answered so.
            Some((slot, Asked::Redeem(..) | Asked::Seat(_))) => self.tell_session(slot, &ToSession::Denied),
        }
    }

    /// An invitation was given to a key, or was somebody else's already. The session goes on as one that is logging in, with
    /// nothing attached, for a moment: it has a few lines to show and no more.
    pub(super) fn welcome(&mut self, ticket: u64, given_to: Option<String>) -> Result<(), Error> {
        let Some((slot, Asked::Redeem(name, key, welcome))) = self.redeem(ticket) else { return Ok(()) };
        let Some(key) = given_to else {
            return self.deny(slot, &Claim { user: name, proof: Proof::Key(key) }, Denial::TakenUp);
        };
        if let Some(Phase::Login { peer, .. }) = self.sessions.get(slot).map(|s| &s.phase) {
            tracing::info!(conn = %peer.conn, peer = %peer.address, user = %welcome.user, key, "invitation taken up");
        }
        self.end_soon(slot);
        self.tell_session(slot, &ToSession::Invited { welcome, key })
    }

    /// Control cannot ask its database: nobody is believed, and nobody is called a liar in the log.
    pub(super) fn unable(&mut self, ticket: u64) -> Result<(), Error> {
        match self.redeem(ticket) {
            None => Ok(()),
            Some((slot, Asked::Probe(_))) => self.tell_session(slot, &ToSession::Probed { worth: Worth::Nothing }),
            Some((slot, Asked::Redeem(..))) => {
                tracing::warn!("an invitation cannot be taken up at the moment");
                self.tell_session(slot, &ToSession::Denied)
            }
            Some((slot, Asked::Seat(seating))) => self.seated_here(slot, *seating),
            Some((slot, Asked::Claim(claim))) => {
                tracing::warn!(user = %claim.user, "login refused: facts cannot be had at the moment");
                self.tell_session(slot, &ToSession::Denied)
            }
        }
    }

    fn deny(&mut self, slot: u32, claim: &Claim, denial: Denial) -> Result<(), Error> {
        if let Some(Phase::Login { peer, .. }) = self.sessions.get(slot).map(|s| &s.phase) {
            tracing::info!(
                conn = %peer.conn, peer = %peer.address, user = %claim.user, method = method(&claim.proof),
                reason = %denial, "login denied"
            );
        }
        self.note_denial(slot, claim, denial.to_string());
        self.tell_session(slot, &ToSession::Denied)?;
        self.count_denial(slot, claim, denial);
        Ok(())
    }

    /// Somebody proven may not come in now, and is told why. The session goes on as one that is logging in, with nothing
    /// attached, for a moment: it has a sentence to show and no more.
    pub(super) fn deny_in_words(
        &mut self,
        slot: u32,
        claim: &Claim,
        why: String,
        sentence: String,
    ) -> Result<(), Error> {
        if let Some(Phase::Login { peer, .. }) = self.sessions.get(slot).map(|s| &s.phase) {
            tracing::info!(conn = %peer.conn, peer = %peer.address, user = %claim.user, reason = why, "login refused");
        }
        self.note_denial(slot, claim, why);
        self.end_soon(slot);
        self.tell_session(slot, &ToSession::Unavailable { sentence })
    }

    /// The session has something to show, and then no business any more. That it does not get any further is not its client's
    /// fault; but it keeps a place among those that log in, which others want.
    fn end_soon(&mut self, slot: u32) {
        let Some(session) = self.sessions.get(slot) else { return };
        session.is_counted = true;
        if let Phase::Login { peer, .. } = &mut session.phase {
            peer.deadline = peer.deadline.min(Instant::now() + SHOWN_FOR);
        }
    }

    /// Believed: from here the session waits for its grants.
    pub(super) fn grant(&mut self, slot: u32, principal: Principal) -> Result<(), Error> {
        let Some(uid) = self.sessions.get(slot).map(|s| s.uid) else { return Ok(()) };
        let plan = match Plan::for_session(&principal, self.privilege, uid) {
            Ok(plan) => plan,
            Err(unserved) => return self.serve_nothing(slot, &principal, unserved.to_string(), None),
        };
        // Taken: a session gets its grants once.
        let Some(namespace) = self.sessions.get(slot).and_then(|s| s.namespace.take()) else {
            return self.breach(slot, "claim without a mount namespace");
        };
        let helper = self.helpers.attach(&plan, namespace.as_fd(), Instant::now());
        self.leaving.extend(self.helpers.take_ended().into_iter().map(Helper::end));
        match helper {
            Ok(helper) => self.await_helper(slot, principal, plan, helper),
            Err(error) => {
                tracing::error!(error = %Causes(&error), "no attach helper is to be had");
                let sentence = "the server is overloaded; try again later".to_owned();
                self.serve_nothing(slot, &principal, sentence, None)
            }
        }
    }

    fn await_helper(&mut self, slot: u32, principal: Principal, plan: Plan, helper: Helper) -> Result<(), Error> {
        let generation = self.sessions.generation(slot);
        self.poll.watch(helper.link(), Token::Helper(slot, generation)).map_err(system("watch an attach helper"))?;
        if let Some(Phase::Login { waits, .. }) = self.sessions.get(slot).map(|s| &mut s.phase) {
            *waits = Waits::Grants { principal: Box::new(principal), plan: Box::new(plan), helper };
        }
        Ok(())
    }

    /// A helper has finished, or died.
    pub(super) fn hear_helper(&mut self, slot: u32, generation: u32) -> Result<(), Error> {
        let Some(session) = self.sessions.current(slot, generation) else { return Ok(()) };
        let Phase::Login { waits: Waits::Grants { helper, .. }, .. } = &session.phase else { return Ok(()) };
        match helper.result() {
            Err(LinkError::NotReady) => Ok(()),
            Err(error) => {
                tracing::error!(error = %Causes(&error), "an attach helper died");
                self.finish_attach(slot, Err(lost("the helper died")), Fate::Ended)
            }
            Ok(result) => self.finish_attach(slot, result, Fate::Kept),
        }
    }

    fn finish_attach(&mut self, slot: u32, result: Result<Option<u64>, Fault>, fate: Fate) -> Result<(), Error> {
        let Some(Phase::Login { waits, .. }) = self.sessions.get(slot).map(|s| &mut s.phase) else { return Ok(()) };
        let Waits::Grants { principal, plan, helper } = std::mem::replace(waits, Waits::Nothing) else {
            return Ok(());
        };
        self.release_helper(helper, fate);
        match result {
            Ok(cover) => self.enter(slot, &principal, &plan, cover),
            Err(fault) => self.serve_nothing(slot, &principal, fault.to_string(), fault.errno()),
        }
    }

    /// Takes back a helper that attached in a cell, or ends it.
    pub(super) fn give_back_helper(&mut self, helper: Helper, is_kept: bool) {
        self.release_helper(helper, if is_kept { Fate::Kept } else { Fate::Ended });
    }

    /// A helper whose answer nobody waits for any more is ended: it may hang, or be half done.
    fn release_helper(&mut self, helper: Helper, fate: Fate) {
        if let Err(errno) = self.poll.forget(helper.link()) {
            tracing::error!(%errno, "an attach helper is still watched");
        }
        let surplus = match fate {
            Fate::Kept => self.helpers.keep(helper),
            Fate::Ended => Some(helper),
        };
        self.leaving.extend(surplus.map(Helper::end));
    }

    /// The grants are there: the session may serve.
    fn enter(&mut self, slot: u32, principal: &Principal, plan: &Plan, cover: Option<u64>) -> Result<(), Error> {
        let granted = Granted {
            user: principal.user().clone(),
            account: principal.account().clone(),
            owner: principal.owner(),
            services: principal.services(),
            home: plan.home().clone(),
            layout: plan.layout().clone(),
            uploads: principal.uploads().clone(),
            forwards: principal.forwards().clone(),
            programs: principal.programs().clone(),
            bounds: principal.bounds(),
            takes_own_keys: principal.takes_own_keys() && plan.user_home().is_some(),
            last_login: principal.last_login(),
            cover,
        };
        match self.shares.of(principal) {
            Ok(pages) => self.go_live(slot, principal, &ToSession::Granted(Box::new(granted)), pages),
            Err(errno) => {
                tracing::error!(%errno, "memory for bandwidths is not to be had");
                let sentence = "the server is overloaded; try again later".to_owned();
                self.serve_nothing(slot, principal, sentence, None)
            }
        }
    }

    /// Believed, but there is nothing to serve: the client gets the sentence, the log the reason.
    fn serve_nothing(
        &mut self,
        slot: u32,
        principal: &Principal,
        sentence: String,
        errno: Option<i32>,
    ) -> Result<(), Error> {
        tracing::warn!(account = %principal.account(), user = %principal.user(), errno, sentence, "nothing to serve");
        let refused = Event::Refused { what: "all that is granted".to_owned(), why: sentence.clone() };
        self.go_live(slot, principal, &ToSession::Unavailable { sentence }, Vec::new())?;
        self.note_event(slot, refused);
        Ok(())
    }

    fn go_live(
        &mut self,
        slot: u32,
        principal: &Principal,
        told: &ToSession,
        pages: Vec<Arc<OwnedFd>>,
    ) -> Result<(), Error> {
        let Some(session) = self.sessions.get(slot) else { return Ok(()) };
        let Phase::Login { peer, .. } = &session.phase else { return Ok(()) };
        let record = Box::new(SessionRecord {
            conn: peer.conn,
            account: principal.account().clone(),
            user: principal.user().clone(),
            grants: principal.grants().to_vec(),
            services: principal.services(),
            uploads: principal.uploads().clone(),
            forwards: principal.forwards().clone(),
            programs: principal.programs().clone(),
            limits: (principal.limits(), principal.account_limits()),
            bounds: principal.bounds(),
            peer: peer.address,
            shown: principal.shown(),
            credential: principal.credential().cloned(),
            certified: principal.key().and_then(|key| key.certified.clone()),
            takes_own_keys: principal.takes_own_keys(),
            fingerprint: principal.key().map(|k| k.fingerprint.clone()),
            pid: session.process.as_ref().map_or(0, |(pid, _)| *pid),
            uid: match self.privilege {
                Privilege::Root => session.uid,
                Privilege::Rootless { uid, .. } => uid,
            },
            since: now(),
            until: principal.until_if_begun(now()),
            is_seated: session.seat.is_some(),
            as_of: principal.as_of(),
        });
        tracing::info!(
            conn = %record.conn, account = %record.account, user = %record.user, peer = %record.peer,
            key = record.fingerprint.as_deref(), certificate = record.certified.as_ref().map(tracing::field::display),
            "login"
        );
        self.admission.penalties.logged_in(record.peer.ip(), &record.user, Instant::now());
        let cell = self.plan_cell(principal);
        self.begin_trail(slot, principal);
        let Some(session) = self.sessions.get(slot) else { return Ok(()) };
        session.phase = Phase::Live { record: record.clone(), cell };
        session.seat = None;
        session.pages = pages.clone();
        self.tell_control(ToControl::Opened(record));
        self.tell_session_with(slot, told, &pages.iter().map(|page| page.as_fd()).collect::<Vec<_>>())
    }

    /// A captured caller could say here what no file says: the keys that it adds are those of its own user, who could add them,
    /// and only of one who showed something that is as good as any of them.
    pub(super) fn pass_on_own_keys(&mut self, slot: u32, file: KeyFile) -> Result<(), Error> {
        let Some(session) = self.sessions.get(slot) else { return Ok(()) };
        let Phase::Live { record, .. } = &session.phase else { return Ok(()) };
        let conn = record.conn;
        // It reads the file again only after it was told what became of the last one.
        if std::mem::replace(&mut session.awaits_own_keys, true) {
            return self.breach(slot, "own keys before the last were seen");
        }
        if self.control.as_ref().is_some_and(|control| control.ready) {
            self.tell_control(ToControl::OwnKeys { conn, file });
            return Ok(());
        }
        self.own_keys_seen(|_, _| true)
    }

    /// Control has looked at the keys of some sessions, or is gone and will not.
    pub(super) fn own_keys_seen(&mut self, whose: impl Fn(u32, &SessionRecord) -> bool) -> Result<(), Error> {
        let waiting: Vec<u32> = self
            .sessions
            .iter()
            .filter(|(slot, s)| {
                s.awaits_own_keys && matches!(&s.phase, Phase::Live { record, .. } if whose(*slot, record))
            })
            .map(|(slot, _)| slot)
            .collect();
        for slot in waiting {
            if let Some(session) = self.sessions.get(slot) {
                session.awaits_own_keys = false;
            }
            self.tell_session(slot, &ToSession::OwnKeysSeen)?;
        }
        Ok(())
    }

    /// Where this principal's programs would run; the id is chosen when they do.
    fn plan_cell(&self, principal: &Principal) -> Option<Box<CellPlan>> {
        let needs_cell = IN_A_CELL.iter().any(|s| principal.services().contains(*s));
        let plan = needs_cell.then(|| Plan::for_shell(principal, self.privilege, 0))?.ok()?;
        Some(Box::new(CellPlan {
            account: principal.account().clone(),
            user: principal.user().clone(),
            plan,
            services: principal.services(),
            forwards: principal.forwards().clone(),
            programs: ProgramPolicy { linger: None, ..principal.programs().clone() },
            linger: principal.programs().linger,
            limits: (principal.limits(), principal.account_limits()),
        }))
    }

    pub(super) fn tell_session(&mut self, slot: u32, message: &ToSession) -> Result<(), Error> {
        self.tell_session_with(slot, message, &[])
    }

    fn tell_session_with(&mut self, slot: u32, message: &ToSession, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let Some(session) = self.sessions.get(slot) else { return Ok(()) };
        match session.link.try_send_with(message, fds) {
            Ok(()) => Ok(()),
            // It has died (its end is seen elsewhere), or does not read what it asked for.
            Err(LinkError::Gone) => Ok(()),
            Err(error) => self.breach(slot, &error.to_string()),
        }
    }

    /// What a session that has ended was waiting for.
    pub(super) fn drop_wait(&mut self, waits: Waits) {
        match waits {
            Waits::Nothing | Waits::Header => {}
            Waits::Facts { ticket, .. } => drop(self.tickets.remove(&ticket)),
            Waits::Grants { helper, .. } => self.release_helper(helper, Fate::Ended),
        }
    }

    /// Helpers that hang, as on a network filesystem whose server is gone.
    pub(super) fn end_late_helpers(&mut self, now: Instant) {
        let late = self.sessions.which(
            |s| matches!(&s.phase, Phase::Login { waits: Waits::Grants { helper, .. }, .. } if helper.is_late(now)),
        );
        for slot in late {
            if let Err(error) = self.finish_attach(slot, Err(lost("the filesystem does not answer")), Fate::Ended) {
                tracing::error!(error = %Causes(&error), "an attach helper could not be ended");
            }
        }
    }

    /// Writes what a session reports into the log, with what the monitor knows of it.
    pub(super) fn report(&mut self, slot: u32, event: Event) {
        self.log_event(slot, &event);
        if matches!(event, Event::Panicked { .. }) {
            self.note_why(slot, Why::Broken);
        }
        self.note_event(slot, event);
    }

    fn log_event(&mut self, slot: u32, event: &Event) {
        let Some(session) = self.sessions.get(slot) else { return };
        let (conn, user) = match &session.phase {
            Phase::Live { record, .. } => (Some(record.conn), Some(record.user.clone())),
            Phase::Login { peer, .. } => (Some(peer.conn), None),
            _ => (None, None),
        };
        let (conn, user) = (conn.map(tracing::field::display), user.map(tracing::field::display));
        match event {
            Event::SftpOpened => tracing::info!(conn, user, "sftp opened"),
            Event::SftpClosed { read, written } => tracing::info!(conn, user, read, written, "sftp closed"),
            Event::Refused { what, why } => tracing::info!(conn, user, what = ?what, why = ?why, "refused"),
            Event::ProtocolError { what } => tracing::warn!(conn, user, what = ?what, "protocol error"),
            Event::Panicked { place } => {
                tracing::error!(conn, user, place = ?place, "session failed");
                self.count_crash(slot);
            }
        }
    }
}

fn method(proof: &Proof) -> &'static str {
    match proof {
        Proof::Key(_) => "publickey",
        Proof::Certificate(_) => "publickey with a certificate",
        Proof::Password(_) => "password",
        Proof::Code(_) => "totp",
    }
}

/// What becomes of a helper.
enum Fate {
    /// It has answered and waits for the next plan.
    Kept,
    /// It has not.
    Ended,
}

fn lost(why: &str) -> Fault {
    Fault::Step { step: why.to_owned(), errno: 0 }
}

pub(super) fn now() -> Timestamp {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX))
}
