//! Control while a node runs: questions of the monitor, and the admin socket.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::audit::{Audit, Made};
use super::bans::Bans;
use super::certificates::{self, Parsed};
use super::codes::{self, Codes, Comer};
use super::foreign::Guests;
use super::operation::{self, Affected, Operation, OperationError};
use super::outcome::Outcome;
use super::passwords::{Judge, Verdict};
use super::remembered::Remembered;
use super::seats::Seats;
use super::sessions::Sessions;
use super::store::{About, Known, Presented, Store, StoreError, is_foreign};
use super::turns::Turns;
use super::{Error, admin_socket};
use crate::authority::{self, Circumstances, Principal};
use crate::config::{ControlSettings, Database, Ids, Paths};
use crate::domain::{
    AsOf, Claim, ClaimedName, ConnId, Credential, Factor, Factors, Facts, Flaw, InviteCode, LastLogin, MonitorId,
    Proof, Secret, Service, Shown, Timestamp, UserName, narrows,
};
use crate::telemetry::Causes;
use crate::wire::{
    AsyncLink, EndReason, FromControl, Link, LinkError, Office, Post, Question, Received, SessionRecord, ToControl,
};

/// Whether what was last known of somebody serves while the database is away.
#[derive(Debug, Clone, Copy)]
enum Memory {
    Used,
    Left,
}

/// Everything that the tasks of control share.
pub(super) struct Control {
    pub(super) store: Store,
    pub(super) ids: Ids,
    judge: Judge,
    pub(super) monitor: AsyncLink,
    sessions: Mutex<Sessions>,
    codes: Mutex<Codes>,
    pub(super) bans: Mutex<Bans>,
    /// Some session may end at another time than was known.
    pub(super) terms_changed: Notify,
    pub(super) remembered: Mutex<Remembered>,
    /// Users of the host's own database who were looked up of late.
    pub(super) guests: Mutex<Guests>,
    pub(super) database: Database,
    /// For how long last known facts may be served while the database is away.
    pub(super) database_grace: Duration,
    paths: Paths,
    pub(super) audit: Audit,
    /// Who has its own keys looked at.
    pub(super) own_keys: Turns<UserName>,
    /// Whether certificates of anybody are taken. A client's offer of a certificate looks like that of its key.
    pub(super) takes_certificates: AtomicBool,
    run: u64,
    /// By what others tell this node's sessions from theirs.
    pub(super) id: MonitorId,
    pub(super) seats: Mutex<Seats>,
    pub(super) seats_changed: Notify,
}

/// Serves until the monitor is gone. Called in a process that has given up every privilege.
pub fn serve(settings: &ControlSettings, link: Link, post: Post) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Passwords are hashed there, and the audit trail is written to its file.
        .max_blocking_threads(settings.max_hashing.max(1) + 2)
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(run(settings, link, post))
}

async fn run(settings: &ControlSettings, link: Link, post: Post) -> Result<(), Error> {
    let store = Store::open(&settings.database).await?;
    let store = store.with_users_from(settings.users_from.as_ref(), settings.ids)?;
    let mut remembered = Remembered::default();
    remembered.forget(store.latest_change().await?, &About::Anyone);
    let takes_certificates = AtomicBool::new(store.has_authorities().await?);
    let judge = Judge::new(settings.max_hashing).map_err(|e| Error::Runtime(std::io::Error::other(e)))?;
    let monitor = AsyncLink::new(link).map_err(Error::Runtime)?;
    let admin = match post.office {
        Office::Service => admin_socket::bind(&settings.paths.admin_socket())?,
        Office::Leaving { pid } => admin_socket::bind(&settings.paths.leaving_socket(pid))?,
    };
    // They are written down anew as the monitor tells of them.
    store.leave_all_seats(post.monitor).await?;
    let (audit, writers) = Audit::begin(&settings.audit, &settings.paths, &store);
    let control = Arc::new(Control {
        store,
        ids: settings.ids,
        judge,
        monitor,
        sessions: Mutex::default(),
        codes: Mutex::default(),
        bans: Mutex::default(),
        terms_changed: Notify::new(),
        remembered: Mutex::new(remembered),
        guests: Mutex::default(),
        database: settings.database.clone(),
        database_grace: settings.database_grace,
        paths: settings.paths.clone(),
        audit,
        own_keys: Turns::new(1),
        takes_certificates,
        run: rand::random(),
        id: post.monitor,
        seats: Mutex::default(),
        seats_changed: Notify::new(),
    });
    // Before anybody is let in.
    control.tell_bans().await.map_err(|e| Error::Bans(Box::new(e)))?;
    control.monitor.send(&FromControl::Ready).await?;
    let operators = tokio::spawn(admin_socket::listen(admin, control.clone()));
    let follower = tokio::spawn(control.clone().follow(control.store.bell()));
    let clock = tokio::spawn(control.clone().end_expired());
    let sharing = tokio::spawn(control.clone().share_penalties());
    let guests = tokio::spawn(control.clone().look_after_guests());
    let seats = tokio::spawn(control.clone().keep_seats());
    let ended = listen(&control).await;
    operators.abort();
    follower.abort();
    clock.abort();
    sharing.abort();
    guests.abort();
    seats.abort();
    control.leave_seats().await;
    writers.finish().await;
    ended
}

async fn listen(control: &Arc<Control>) -> Result<(), Error> {
    loop {
        match control.monitor.recv::<ToControl>().await {
            // In their order, and without waiting for anything.
            Ok(Received { message: ToControl::Note(note), .. }) => control.audit.note(*note),
            Ok(Received { message: ToControl::Finish, .. }) => return Ok(()),
            // One task a question: a password that is being judged holds up nobody. There are at most as many as
            // clients that are logging in, which the monitor bounds.
            Ok(received) => drop(tokio::spawn(control.clone().hear(received.message))),
            Err(LinkError::Gone) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Control {
    async fn hear(self: Arc<Self>, message: ToControl) {
        let told = match message {
            ToControl::Ask { ticket, question, from } => self.answer(ticket, question, from).await,
            ToControl::Opened(record) => {
                self.is_seated(&record);
                let checked = self.opened((*record).clone()).await;
                self.note_login(&record).await;
                checked
            }
            ToControl::Penalised { source, seconds, reason } => {
                self.penalised(source, seconds, reason);
                Ok(())
            }
            ToControl::OwnKeys { conn, file } => self.take_over_own_keys(conn, &file).await,
            ToControl::Closed { conn } => {
                self.sessions().closed(conn);
                self.guests().closed(conn);
                self.has_left(conn);
                Ok(())
            }
            ToControl::Lingers { conn, until } => {
                self.sessions().lingers(conn, until);
                self.has_left(conn);
                Ok(())
            }
            ToControl::Leaving { pid } => {
                self.leave(pid).await;
                Ok(())
            }
            // Heard already.
            ToControl::Note(_) | ToControl::Finish => Ok(()),
        };
        if let Err(error) = told {
            tracing::error!(%error, "the monitor cannot be told");
        }
    }

    /// Another control takes over the admin socket; this one's is found by the number of its monitor, until that ends.
    async fn leave(self: Arc<Self>, pid: u32) {
        match admin_socket::bind(&self.paths.leaving_socket(pid)) {
            Ok(listener) => admin_socket::listen(listener, self).await,
            Err(error) => tracing::error!(error = %Causes(&error), "operators cannot list the sessions that are left"),
        }
    }

    pub(super) fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, ticket: u64, question: Question, from: IpAddr) -> Result<(), LinkError> {
        if let Question::Redeem { user, key } = question {
            return self.give_invitation(ticket, &user, &key).await;
        }
        if let Question::Seat { conn, seat, left } = question {
            return self.seat(ticket, conn, &seat, &left).await;
        }
        let answer = match self.facts(question, from).await {
            Ok(facts) => FromControl::Answer {
                ticket,
                facts: facts.map(Box::new),
                takes_certificates: self.takes_certificates.load(Ordering::Relaxed),
            },
            Err(error) => {
                tracing::error!(error = %Causes(&error), "facts cannot be had");
                FromControl::Unable { ticket }
            }
        };
        self.monitor.send(&answer).await
    }

    fn as_of(&self) -> AsOf {
        AsOf { run: self.run, withdrawals: self.sessions().withdrawals(), change: 0 }
    }

    async fn facts(&self, question: Question, from: IpAddr) -> Result<Option<Facts>, OperationError> {
        // Read before the facts are: what is withdrawn meanwhile makes them look older than they are, never newer.
        let as_of = self.as_of();
        match question {
            Question::Probe { user, key } | Question::Claim(Claim { user, proof: Proof::Key(key) }) => {
                match InviteCode::of(&user) {
                    Some(code) => self.about_invitation(&code, &key, as_of).await,
                    None => self.about_key(&user, &Credential::Key(key), from, as_of).await,
                }
            }
            // Nothing is known about it but whether it can be had.
            Question::Redeem { .. } | Question::Seat { .. } => Ok(None),
            Question::Claim(Claim { user, proof: Proof::Certificate(certificate) }) => {
                self.about_key(&user, &Credential::Certificate(certificate), from, as_of).await
            }
            Question::Claim(Claim { user, proof: Proof::Password(secret) }) => {
                let known = self.known(&user, Presented::Nothing, &[]).await?;
                let is_right = self.is_right(secret, known.as_ref(), from).await?;
                let shown = if is_right { Shown::RightPassword } else { Shown::WrongPassword };
                Ok(known.map(|known| self.about(known, shown, from, as_of)))
            }
            Question::Claim(Claim { user, proof: Proof::Code(typed) }) => {
                let Some(known) = self.store.known(&user, Presented::Nothing).await? else { return Ok(None) };
                let is_right = self.is_right_code(&known, &typed).await?;
                let shown = if is_right { Shown::RightCode } else { Shown::WrongCode };
                Ok(Some(facts(known, shown, as_of)))
            }
        }
    }

    async fn about_key(
        &self,
        user: &ClaimedName,
        credential: &Credential,
        from: IpAddr,
        as_of: AsOf,
    ) -> Result<Option<Facts>, OperationError> {
        let found = self.shown(user, credential, Memory::Used).await?;
        Ok(found.map(|(known, shown)| self.about(known, shown, from, as_of)))
    }

    /// Who is behind a name, and what a key or certificate is worth for them.
    async fn shown(
        &self,
        user: &ClaimedName,
        credential: &Credential,
        memory: Memory,
    ) -> Result<Option<(Known, Shown)>, StoreError> {
        match credential {
            Credential::Key(key) => {
                let known = self.look_up(user, Presented::Key(key), key.as_bytes(), memory).await?;
                Ok(known.map(|mut known| {
                    let shown = match known.key.take() {
                        Some(_) if known.is_revoked => Shown::RevokedKey,
                        found => found.map_or(Shown::UnknownKey, |key| Shown::Key(Box::new(key))),
                    };
                    (known, shown)
                }))
            }
            Credential::Certificate(certificate) => match certificates::parse(certificate) {
                Ok(parsed) => {
                    let bytes = certificate.as_bytes();
                    let known = self.look_up(user, Presented::Certificate(&parsed), bytes, memory).await?;
                    Ok(known.map(|mut known| {
                        let shown = certified(&mut known, &parsed).unwrap_or_else(Shown::Flawed);
                        (known, shown)
                    }))
                }
                Err(flaw) => {
                    let known = self.look_up(user, Presented::Nothing, &[], memory).await?;
                    Ok(known.map(|known| (known, Shown::Flawed(flaw))))
                }
            },
        }
    }

    async fn look_up(
        &self,
        user: &ClaimedName,
        shown: Presented<'_>,
        bytes: &[u8],
        memory: Memory,
    ) -> Result<Option<Known>, StoreError> {
        match memory {
            Memory::Used => self.known(user, shown, bytes).await,
            Memory::Left => self.store.known(user, shown).await,
        }
    }

    /// The facts about somebody who comes with a key or a password, and may have shown a code of late.
    fn about(&self, known: Known, shown: Shown, from: IpAddr, as_of: AsOf) -> Facts {
        let fingerprint = match &shown {
            Shown::Key(key) => Some(key.fingerprint.clone()),
            Shown::Certificate(certificate) => Some(certificate.fingerprint.clone()),
            _ => None,
        };
        let comer = Comer { user: known.user.name.clone(), from, fingerprint };
        let code_waived = known.user.has_authenticator && self.codes().is_waived(&comer, Instant::now());
        Facts { code_waived, ..facts(known, shown, as_of) }
    }

    /// Judges a code, and takes it: it is good once. The monitor asks only for those who have shown something else.
    async fn is_right_code(&self, known: &Known, typed: &Secret) -> Result<bool, StoreError> {
        let user = known.user.id;
        // Counted as wrong before it is looked at: others may be looked at meanwhile.
        if !self.codes().begin(user, Instant::now()) {
            tracing::warn!(user = %known.user.name, "too many wrong codes; none is looked at for a while");
            return Ok(false);
        }
        let Some(authenticator) = self.store.authenticator(user).await? else { return Ok(false) };
        let is_right = match codes::read(typed.expose()) {
            codes::Typed::Digits(digits) => match codes::step_of(digits, &authenticator.secret, now()) {
                Some(step) if step > authenticator.last_step => self.store.take_step(user, step).await?,
                _ => false,
            },
            codes::Typed::Recovery(hash) => self.store.take_recovery_code(user, &hash).await?,
            codes::Typed::Nothing => false,
        };
        if is_right {
            self.codes().was_right(user);
        }
        Ok(is_right)
    }

    pub(super) fn codes(&self) -> std::sync::MutexGuard<'_, Codes> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever showed a code need not show the next one at once. One that was not shown but waived makes it no longer.
    fn note_code(&self, record: &SessionRecord) {
        let comer =
            Comer { user: record.user.clone(), from: record.peer.ip(), fingerprint: record.fingerprint.clone() };
        let now = Instant::now();
        let mut codes = self.codes();
        if record.shown.contains(Factor::Code) && !codes.is_waived(&comer, now) {
            codes.shown(comer, now);
        }
    }

    /// Judges a password, also for nobody, so that nobody takes as long as somebody.
    async fn is_right(&self, secret: Secret, known: Option<&Known>, from: IpAddr) -> Result<bool, OperationError> {
        let stored = known.and_then(|known| known.password.clone());
        let verdict = self.judge.judge(secret, stored.clone(), from).await?;
        let ours = known.filter(|known| !is_foreign(known.user.id));
        if let (Verdict::Right(Some(hash)), Some(known), Some(old)) = (&verdict, ours, stored) {
            // Nothing is withdrawn by it, and a login does not fail for it.
            match self.store.replace_hash(known.user.id, &old, hash).await {
                Ok(()) => tracing::info!(user = %known.user.name, "a password was hashed anew"),
                Err(error) => tracing::warn!(error = %Causes(&error), "a password could not be hashed anew"),
            }
        }
        Ok(matches!(verdict, Verdict::Right(_)))
    }

    /// A session began on facts that are some milliseconds old; what was withdrawn meanwhile ends it.
    async fn opened(&self, record: SessionRecord) -> Result<(), LinkError> {
        let conn = record.conn;
        self.sessions().opened(record.clone());
        self.guests().opened(&record);
        if record.as_of.run == self.run {
            self.note_code(&record);
        }
        let lost_ground = match record.as_of.run == self.run {
            true => self.sessions().lost_ground_since(record.as_of.withdrawals, &record),
            // Its facts are from before this process was started.
            false => None,
        };
        // Or from before something that another node changed.
        let is_known = record.as_of.change >= self.remembered().heard();
        let has_old_password = self.sessions().has_old_password(&record);
        let lost_ground = if has_old_password { Some(true) } else { lost_ground.filter(|lost| *lost || is_known) };
        match lost_ground {
            Some(false) => {
                self.terms_changed.notify_one();
                return Ok(());
            }
            Some(true) => return self.end(vec![conn], EndReason::Revoked).await,
            None => {}
        }
        self.decide_again(vec![record], EndReason::Revoked).await
    }

    /// Whether a session would be let in as it is, and until when; `None` when not.
    pub(super) async fn still_holds(&self, record: &SessionRecord) -> Result<Option<Until>, StoreError> {
        let Ok(name) = ClaimedName::new(record.user.as_str()) else { return Ok(None) };
        let found = match &record.credential {
            Some(credential) => self.shown(&name, credential, Memory::Left).await,
            None => {
                let known = self.store.known(&name, Presented::Nothing).await;
                known.map(|known| known.map(|known| (known, Shown::UnknownKey)))
            }
        };
        match found {
            // Nobody can say what became of them since.
            Err(StoreError::Foreign(error)) if error.is_away() => {
                Ok(Some(Until(record.until)).filter(|Until(end)| end.is_none_or(|end| end > now())))
            }
            // What makes no user lets nobody stay.
            Err(StoreError::Foreign(_)) => Ok(None),
            found => Ok(found?.and_then(|(known, shown)| self.holds(record, known, shown))),
        }
    }

    /// The same by what is known, and what that makes of the key that was shown.
    fn holds(&self, record: &SessionRecord, known: Known, shown: Shown) -> Option<Until> {
        let gone = [(Factor::Password, known.password.is_none()), (Factor::Code, !known.user.has_authenticator)];
        let gone = gone.into_iter().filter(|(_, is_gone)| *is_gone).fold(Factors::NONE, |all, (one, _)| all.with(one));
        let at = Circumstances { now: now(), from: record.peer.ip() };
        let facts = facts(known, shown, self.as_of());
        let shown = record.shown.without(gone);
        let principal = authority::decide_again(Some(&facts), record.credential.as_ref(), shown, &at);
        let principal = principal.ok().filter(|principal| covers(principal, record))?;
        let until = principal.until_if_begun(record.since);
        until.is_none_or(|end| end > at.now).then_some(Until(until))
    }

    /// Ends those of these sessions that would not be let in any more.
    pub(super) async fn decide_again(&self, records: Vec<SessionRecord>, reason: EndReason) -> Result<(), LinkError> {
        let mut ended = Vec::new();
        for record in records {
            match self.still_holds(&record).await {
                Ok(Some(Until(until))) => self.sessions().stays_until(record.conn, until),
                Ok(None) => ended.push(record.conn),
                // Its time is over by what was last known.
                Err(_) if reason == EndReason::Over => ended.push(record.conn),
                Err(error) => {
                    tracing::error!(error = %Causes(&error), conn = %record.conn, "a session cannot be checked and goes on");
                }
            }
        }
        self.terms_changed.notify_one();
        if !ended.is_empty() {
            tracing::info!(sessions = ended.len(), "access withdrawn or expired");
        }
        self.end(ended, reason).await
    }

    /// Kept for those who are told of it: the next login shell.
    async fn note_login(&self, record: &SessionRecord) {
        if record.services.contains(Service::Shell) {
            let login = LastLogin { at: record.since, from: record.peer.ip().to_canonical() };
            if let Err(error) = self.store.note_login(&record.user, login).await {
                tracing::error!(error = %Causes(&error), user = %record.user, "a login cannot be noted");
            }
        }
    }

    /// Tells the monitor to end sessions.
    pub(super) async fn end(&self, conns: Vec<ConnId>, reason: EndReason) -> Result<(), LinkError> {
        if conns.is_empty() {
            return Ok(());
        }
        self.monitor.send(&FromControl::End { conns, reason }).await
    }

    /// Does what an operator asks, and ends the sessions that lose the ground by it before answering.
    pub(super) async fn operate(&self, operation: Operation, operator: u32) -> Result<Outcome, String> {
        let before = self.audit.before(&self.store, operator, &operation).await;
        let (record, store) = before.map_err(|e| Causes(&e).to_string())?;
        let made = if matches!(operation, Operation::SessionKill { .. }) { Made::Elsewhere } else { Made::InDatabase };
        let outcome = self.carry_out(&store, operation).await?;
        if let Some(record) = record {
            self.audit.changed(record, made);
        }
        Ok(outcome)
    }

    async fn carry_out(&self, store: &Store, operation: Operation) -> Result<Outcome, String> {
        let done = match operation {
            Operation::SessionList => return Ok(Outcome::Sessions(self.sessions().list())),
            Operation::Status => return Ok(self.status()),
            Operation::BanAdd { .. } | Operation::BanRemove { .. } => return self.change_bans(store, operation).await,
            Operation::SessionKill { conn } => return self.kill(conn).await.map_err(|e| e.to_string()),
            operation => operation::apply(store, self.ids, operation).await.map_err(|e| Causes(&e).to_string())?,
        };
        self.look_for_authorities().await.map_err(|e| Causes(&e).to_string())?;
        if done.affected != Affected::Nobody {
            self.codes().forget(done.affected.user());
        }
        let in_question = self.sessions().to_decide_again(&done.affected);
        let affected = format!("{:?}", done.affected);
        let conns = self.sessions().withdraw(done.affected);
        if !conns.is_empty() {
            tracing::info!(affected, sessions = conns.len(), "access withdrawn");
        }
        self.end(conns, EndReason::Revoked).await.map_err(|e| e.to_string())?;
        self.decide_again(in_question, EndReason::Revoked).await.map_err(|e| e.to_string())?;
        Ok(done.outcome)
    }

    async fn kill(&self, conn: u64) -> Result<Outcome, OperationError> {
        if !self.sessions().contains(ConnId(conn)) {
            return Err(OperationError::NoSession { conn });
        }
        match self.end(vec![ConnId(conn)], EndReason::Killed).await {
            Ok(()) => Ok(Outcome::Done(format!("session {conn} is being ended"))),
            Err(_) => Err(OperationError::NotRunning),
        }
    }
}

/// Until when a session may stay, if not for ever.
pub(super) struct Until(pub(super) Option<Timestamp>);

/// Whether a principal may do all that a session does.
fn covers(principal: &Principal, record: &SessionRecord) -> bool {
    principal.account() == &record.account
        && !narrows(&record.grants, principal.grants())
        && principal.services().and(record.services) == record.services
        && !record.uploads.is_narrowed_by(principal.uploads())
        && !record.forwards.is_narrowed_by(principal.forwards())
        && !record.programs.is_narrowed_by(principal.programs())
        && !record.bounds.is_narrowed_by(&principal.bounds())
        && !record.limits.0.is_narrowed_by(&principal.limits())
        && !record.limits.1.is_narrowed_by(&principal.account_limits())
}

pub(super) fn now() -> Timestamp {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// What a certificate is worth to whom it was shown for.
pub(super) fn certified(known: &mut Known, certificate: &Parsed) -> Result<Shown, Flaw> {
    match known.authority.take() {
        None => Ok(Shown::UnknownAuthority),
        Some(authority) => Ok(Shown::Certificate(Box::new(certificate.facts(authority, known.is_revoked)?))),
    }
}

pub(super) fn facts(known: Known, shown: Shown, as_of: AsOf) -> Facts {
    let as_of = AsOf { change: known.change, ..as_of };
    Facts { account: known.account, user: known.user, grants: known.grants, shown, code_waived: false, as_of }
}
