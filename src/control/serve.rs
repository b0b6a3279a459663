//! Control while a node runs: questions of the monitor, and the admin socket.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::operation::{self, Operation, OperationError};
use super::outcome::Outcome;
use super::passwords::Judge;
use super::remembered::Remembered;
use super::sessions::Sessions;
use super::store::{About, Known, Store, StoreError};
use super::{Error, admin_socket};
use crate::config::{ControlSettings, Database, Ids};
use crate::domain::{AsOf, Claim, ClaimedName, ConnId, Facts, LastLogin, Proof, Service, Shown, Status, narrows};
use crate::telemetry::Causes;
use crate::wire::{AsyncLink, EndReason, FromControl, Link, LinkError, Question, SessionRecord, ToControl};

/// Everything that the tasks of control share.
pub(super) struct Control {
    pub(super) store: Store,
    ids: Ids,
    judge: Judge,
    pub(super) monitor: AsyncLink,
    sessions: Mutex<Sessions>,
    pub(super) remembered: Mutex<Remembered>,
    pub(super) database: Database,
    /// For how long last known facts may be served while the database is away.
    pub(super) database_grace: Duration,
    run: u64,
}

/// Serves until the monitor is gone. Called in a process that has given up every privilege.
pub fn serve(settings: &ControlSettings, link: Link) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Passwords are hashed there; nothing else waits for it.
        .max_blocking_threads(settings.max_hashing.max(1) + 1)
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(run(settings, link))
}

async fn run(settings: &ControlSettings, link: Link) -> Result<(), Error> {
    let store = Store::open(&settings.database).await?;
    let mut remembered = Remembered::default();
    remembered.forget(store.latest_change().await?, &About::Anyone);
    let judge = Judge::new(settings.max_hashing).map_err(|e| Error::Runtime(std::io::Error::other(e)))?;
    let monitor = AsyncLink::new(link).map_err(Error::Runtime)?;
    let admin = admin_socket::bind(&settings.paths.admin_socket())?;
    let control = Arc::new(Control {
        store,
        ids: settings.ids,
        judge,
        monitor,
        sessions: Mutex::default(),
        remembered: Mutex::new(remembered),
        database: settings.database.clone(),
        database_grace: settings.database_grace,
        run: rand::random(),
    });
    control.monitor.send(&FromControl::Ready).await?;
    let operators = tokio::spawn(admin_socket::listen(admin, control.clone()));
    let follower = tokio::spawn(control.clone().follow(control.store.bell()));
    let ended = listen(&control).await;
    operators.abort();
    follower.abort();
    ended
}

async fn listen(control: &Arc<Control>) -> Result<(), Error> {
    loop {
        match control.monitor.recv::<ToControl>().await {
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
            ToControl::Ask { ticket, question } => self.answer(ticket, question).await,
            ToControl::Opened(record) => self.opened(*record).await,
            ToControl::Closed { conn } => {
                self.sessions().closed(conn);
                Ok(())
            }
        };
        if let Err(error) = told {
            tracing::error!(%error, "the monitor cannot be told");
        }
    }

    pub(super) fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, ticket: u64, question: Question) -> Result<(), LinkError> {
        let answer = match self.facts(question).await {
            Ok(facts) => FromControl::Answer { ticket, facts: facts.map(Box::new) },
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

    async fn facts(&self, question: Question) -> Result<Option<Facts>, OperationError> {
        // Read before the facts are: what is withdrawn meanwhile makes them look older than they are, never newer.
        let as_of = self.as_of();
        match question {
            Question::Probe { user, key } | Question::Claim(Claim { user, proof: Proof::Key(key) }) => {
                let known = self.known(&user, Some(&key)).await?;
                Ok(known.map(|mut known| {
                    let shown = known.key.take().map_or(Shown::UnknownKey, Shown::Key);
                    facts(known, shown, as_of)
                }))
            }
            Question::Claim(Claim { user, proof: Proof::Password(secret) }) => {
                let known = self.known(&user, None).await?;
                let stored = known.as_ref().and_then(|known| known.password.clone());
                // Also for nobody, so that nobody takes as long as somebody.
                let is_right = self.judge.is_right(secret, stored).await?;
                let shown = if is_right { Shown::RightPassword } else { Shown::WrongPassword };
                Ok(known.map(|known| facts(known, shown, as_of)))
            }
        }
    }

    /// A session began on facts that are some milliseconds old; what was withdrawn meanwhile ends it.
    async fn opened(&self, record: SessionRecord) -> Result<(), LinkError> {
        let conn = record.conn;
        self.sessions().opened(record.clone());
        self.note_login(&record).await;
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
            Some(false) => return Ok(()),
            Some(true) => return self.end(vec![conn], EndReason::Revoked).await,
            None => {}
        }
        match self.still_holds(&record).await {
            Ok(true) => Ok(()),
            Ok(false) => self.end(vec![conn], EndReason::Revoked).await,
            Err(error) => {
                tracing::error!(error = %Causes(&error), %conn, "a session cannot be checked again and goes on");
                Ok(())
            }
        }
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

    pub(super) async fn still_holds(&self, record: &SessionRecord) -> Result<bool, StoreError> {
        let Ok(name) = ClaimedName::new(record.user.as_str()) else { return Ok(false) };
        let Some(known) = self.store.known(&name, record.key.as_ref()).await? else { return Ok(false) };
        let is_active = known.account.status == Status::Active && known.user.status == Status::Active;
        let has_credential = if record.key.is_some() { known.key.is_some() } else { known.password.is_some() };
        Ok(is_active
            && has_credential
            && known.account.name == record.account
            && !narrows(&record.grants, &known.grants)
            && record.services.and(known.user.services) == record.services
            && !record.uploads.is_narrowed_by(&known.user.uploads)
            && !record.forwards.is_narrowed_by(&known.user.forwards)
            && !record.programs.is_narrowed_by(&known.user.programs))
    }

    /// Tells the monitor to end sessions.
    pub(super) async fn end(&self, conns: Vec<ConnId>, reason: EndReason) -> Result<(), LinkError> {
        if conns.is_empty() {
            return Ok(());
        }
        self.monitor.send(&FromControl::End { conns, reason }).await
    }

    /// Does what an operator asks, and ends the sessions that lose the ground by it before answering.
    pub(super) async fn operate(&self, operation: Operation) -> Result<Outcome, String> {
        let done = match operation {
            Operation::SessionList => return Ok(Outcome::Sessions(self.sessions().list())),
            Operation::Status => return Ok(self.status()),
            Operation::SessionKill { conn } => return self.kill(conn).await.map_err(|e| e.to_string()),
            operation => {
                operation::apply(&self.store, self.ids, operation).await.map_err(|e| Causes(&e).to_string())?
            }
        };
        let affected = format!("{:?}", done.affected);
        let conns = self.sessions().withdraw(done.affected);
        if !conns.is_empty() {
            tracing::info!(affected, sessions = conns.len(), "access withdrawn");
        }
        self.end(conns, EndReason::Revoked).await.map_err(|e| e.to_string())?;
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

fn facts(known: Known, shown: Shown, as_of: AsOf) -> Facts {
    let as_of = AsOf { change: known.change, ..as_of };
    Facts { account: known.account, user: known.user, grants: known.grants, shown, as_of }
}
