//! What other nodes do to the database that this one shares with them: sessions that lose their ground end here as well.
//! And what happens while the database is away.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bans::BanError;
use super::hours;
use super::outcome::Outcome;
use super::remembered::Remembered;
use super::serve::{Control, Until, now};
use super::store::{About, Bell, Changes, Known, Presented, StoreError, is_foreign};
use crate::domain::{ClaimedName, Factor};
use crate::telemetry::Causes;
use crate::wire::{EndReason, FromControl, LinkError, Notice};

/// Longest between two looks, well below the second in which a revocation reaches every node.
const PAUSE: Duration = Duration::from_millis(300);

/// Whether every change since the last look is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    Whole,
    Partial,
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("tell the monitor")]
    Monitor(#[from] LinkError),
    #[error(transparent)]
    Bans(#[from] BanError),
}

impl LookError {
    /// The database is not there, if that is what it is.
    fn away(&self) -> Option<&StoreError> {
        match self {
            LookError::Store(error) | LookError::Bans(BanError::Store(error)) => Some(error).filter(|e| e.is_away()),
            _ => None,
        }
    }
}

impl Control {
    pub(super) fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows what is changed, for as long as control runs.
    pub(super) async fn follow(self: Arc<Self>, mut bell: Bell) {
        let mut told = None;
        loop {
            match self.catch_up().await {
                Ok(()) => self.note_answer(),
                Err(error) => match error.away() {
                    Some(away) => self.note_away(away),
                    None => tracing::error!(error = %Causes(&error), "changes of other nodes cannot be followed"),
                },
            }
            self.tell_clients(&mut told).await;
            bell.wait(PAUSE).await;
        }
    }

    /// A change is heard of when all that it ends has been ended; until then it is looked at again.
    async fn catch_up(&self) -> Result<(), LookError> {
        let then = self.remembered().heard();
        match self.store.changes_since(then).await? {
            Changes::Known(changes) if changes.is_empty() => {}
            Changes::Known(changes) => {
                self.look_for_authorities().await?;
                for (number, about) in changes {
                    self.hear_of(number, &about, Record::Whole).await?;
                }
            }
            Changes::TooMany(last) => {
                self.look_for_authorities().await?;
                tracing::warn!("more was changed than is on record; everybody is looked at again");
                self.hear_of(last, &About::Anyone, Record::Partial).await?;
            }
        }
        Ok(())
    }

    /// Whether anybody's certificates are taken may have changed.
    pub(super) async fn look_for_authorities(&self) -> Result<(), StoreError> {
        self.takes_certificates.store(self.store.has_authorities().await?, Ordering::Relaxed);
        Ok(())
    }

    async fn hear_of(&self, number: i64, about: &About, record: Record) -> Result<(), LookError> {
        // Which passwords were changed is not known any more.
        let any_password = matches!(about, About::Password(_)) || record == Record::Partial;
        match about {
            About::User(name) | About::Password(name) => self.codes().forget(Some(name)),
            About::Bans => {}
            About::Account(_) | About::Anyone => self.codes().forget(None),
        }
        let mut ended = Vec::new();
        let in_question = self.sessions().changed(number, about);
        for record in in_question {
            let has_old_password = any_password && record.shown.contains(Factor::Password);
            match self.still_holds(&record).await?.filter(|_| !has_old_password) {
                Some(Until(until)) => self.sessions().stays_until(record.conn, until),
                None => ended.push(record.conn),
            }
        }
        if !ended.is_empty() {
            tracing::info!(change = number, %about, sessions = ended.len(), "access withdrawn");
        }
        self.end(ended, EndReason::Revoked).await?;
        if matches!(about, About::Bans | About::Anyone) {
            self.tell_bans().await?;
        }
        self.remembered().forget(number, about);
        Ok(())
    }

    /// Once nobody can be let in, clients read why.
    async fn tell_clients(&self, told: &mut Option<Notice>) {
        let away = self.remembered().away_since().map(|since| since.elapsed());
        let notice = away.filter(|away| *away >= self.database_grace).map(|_| Notice::NoLookups);
        if notice == *told {
            return;
        }
        if notice.is_some() {
            tracing::error!("the database is away for longer than database_grace; nobody is let in");
        }
        match self.monitor.send(&FromControl::Notice(notice)).await {
            Ok(()) => *told = notice,
            Err(error) => tracing::error!(%error, "the monitor cannot be told"),
        }
    }

    fn note_away(&self, error: &StoreError) {
        if self.remembered().is_away(Instant::now()) {
            let seconds = self.database_grace.as_secs();
            tracing::error!(error = %Causes(error), seconds, "the database is away; last known facts are served");
        }
    }

    fn note_answer(&self) {
        if let Some(since) = self.remembered().is_back() {
            tracing::info!(seconds = since.elapsed().as_secs(), "the database is back");
        }
    }

    /// Who is behind a name: what the database says, or what it last said while it may be away. `bytes` are those of what is
    /// shown, if it is a key or a certificate.
    pub(super) async fn known(
        &self,
        name: &ClaimedName,
        shown: Presented<'_>,
        bytes: &[u8],
    ) -> Result<Option<Known>, StoreError> {
        let mut found = self.found(name, shown, bytes).await?;
        if let Some(known) = &mut found {
            // What was remembered may be of an hour that is over.
            hours::look_again(known, now());
        }
        Ok(found)
    }

    async fn found(&self, name: &ClaimedName, shown: Presented<'_>, bytes: &[u8]) -> Result<Option<Known>, StoreError> {
        let recall = || self.remembered().recall(name, bytes, self.database_grace, Instant::now());
        // Known to be away: nobody waits until it is found out again.
        if let Some(known) = recall() {
            return Ok(Some(known));
        }
        match self.store.known(name, shown).await {
            Ok(Some(known)) if is_foreign(known.user.id) => Ok(Some(self.welcome(name, bytes, known))),
            Ok(known) => {
                if let Some(known) = &known {
                    self.remembered().keep(name, bytes, known);
                }
                Ok(known)
            }
            Err(StoreError::Foreign(error)) => self.without_host(name, bytes, error),
            Err(error) if error.is_away() => {
                self.note_away(&error);
                recall().map(Some).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// For `enclos status`.
    pub(super) fn status(&self) -> Outcome {
        let away = self.remembered().away_since().map(|since| since.elapsed());
        let database = &self.database;
        Outcome::Done(match away {
            None => format!("the node runs; its database {database} answers"),
            Some(away) => match self.database_grace.checked_sub(away).filter(|left| !left.is_zero()) {
                Some(left) => format!(
                    "the node runs; its database {database} has been away for {} s: whoever it let in before may log in for \
                     {} s more, and nothing can be changed",
                    away.as_secs(),
                    left.as_secs()
                ),
                None => format!(
                    "the node runs; its database {database} has been away for {} s, longer than database_grace: nobody can log \
                     in until it is back",
                    away.as_secs()
                ),
            },
        })
    }
}
