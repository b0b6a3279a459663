//! Users of the host's own database while a node runs. Nothing tells what is changed there, so those with live sessions are
//! looked up again and again, or when the database says that something was changed.
//!
//! When it is away, whoever was looked up just before it went is served as last known, for as long as users of our own
//! database would be; nobody else is, for nobody could say what became of them.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::serve::{Control, Until};
use super::store::{ForeignError, Known, Presented, StoreError};
use crate::domain::{ClaimedName, ConnId, Credential, Factor, UserName};
use crate::telemetry::Causes;
use crate::wire::{EndReason, SessionRecord};

/// Most look-ups that are remembered.
const MOST: usize = 10_000;

/// What was last known of somebody.
#[derive(Debug)]
struct Guest {
    known: Known,
    /// When it was so.
    confirmed: Instant,
}

/// A name, and the key or certificate that was shown for it.
type Whose = (UserName, Vec<u8>);

/// Who was looked up of late.
#[derive(Debug, Default)]
pub(super) struct Guests {
    known: BTreeMap<Whose, Guest>,
    /// The hash of the password, as it was when a session began.
    passwords: BTreeMap<ConnId, Option<String>>,
    away_since: Option<Instant>,
}

fn whose(name: &UserName, bytes: &[u8]) -> Whose {
    (name.clone(), bytes.to_vec())
}

impl Guests {
    fn keep(&mut self, bytes: &[u8], known: &Known, now: Instant) {
        let whose = whose(&known.user.name, bytes);
        if self.known.len() >= MOST && !self.known.contains_key(&whose) {
            self.known.pop_first();
        }
        self.known.insert(whose, Guest { known: known.clone(), confirmed: now });
    }

    fn forget(&mut self, name: &UserName) {
        self.known.retain(|(known, _), _| known != name);
    }

    /// What was last known, if it was so just before the database went away and may still be served.
    fn recall(&self, whose: &Whose, poll: Duration, grace: Duration, now: Instant) -> Option<Known> {
        let (away, guest) = (self.away_since?, self.known.get(whose)?);
        let was_fresh = guest.confirmed + poll * 2 >= away;
        (was_fresh && now.saturating_duration_since(away) < grace).then(|| guest.known.clone())
    }

    fn is_known(&self, name: &UserName) -> bool {
        self.known.keys().any(|(known, _)| known == name)
    }

    /// A session began.
    pub(super) fn opened(&mut self, record: &SessionRecord) {
        if let Some((_, guest)) = self.known.iter().find(|((name, _), _)| *name == record.user) {
            self.passwords.insert(record.conn, guest.known.password.clone());
        }
    }

    /// One ended.
    pub(super) fn closed(&mut self, conn: ConnId) {
        self.passwords.remove(&conn);
    }

    /// Drops what is too old to be of use.
    fn tidy(&mut self, poll: Duration, now: Instant) {
        if self.away_since.is_none() {
            self.known.retain(|_, guest| now.saturating_duration_since(guest.confirmed) < poll * 4);
        }
    }
}

impl Control {
    pub(super) fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody was found in the host's own database.
    pub(super) fn welcome(&self, name: &ClaimedName, bytes: &[u8], known: Known) -> Known {
        let known = Known { change: self.remembered().heard(), ..known };
        let mut guests = self.guests();
        if guests.away_since.take().is_some() {
            tracing::info!("the host's database is back");
        }
        if bytes.is_empty() || known.key.is_some() || known.authority.is_some() {
            guests.keep(bytes, &known, Instant::now());
        }
        tracing::debug!(user = %name, "a user of the host's database");
        known
    }

    /// Somebody who is not in ours could not be looked up in the host's.
    pub(super) fn without_host(
        &self,
        name: &ClaimedName,
        bytes: &[u8],
        error: ForeignError,
    ) -> Result<Option<Known>, StoreError> {
        if !error.is_away() {
            tracing::error!(error = %Causes(&error), "a user of the host's database cannot be taken");
            return Ok(None);
        }
        self.note_host_away(&error);
        let (Ok(user), Some(foreign)) = (name.as_unchecked_str().parse(), self.store.foreign()) else {
            return Ok(None);
        };
        let recalled = self.guests().recall(&whose(&user, bytes), foreign.poll(), self.database_grace, Instant::now());
        recalled.map(Some).ok_or(StoreError::Foreign(error))
    }

    fn note_host_away(&self, error: &ForeignError) {
        let mut guests = self.guests();
        if guests.away_since.is_none() {
            guests.away_since = Some(Instant::now());
            let seconds = self.database_grace.as_secs();
            tracing::error!(error = %Causes(error), seconds, "the host's database is away; last known facts are served");
        }
    }

    /// Looks again at everybody of the host's database who has a session, for as long as control runs.
    pub(super) async fn look_after_guests(self: Arc<Self>) {
        let Some(foreign) = self.store.foreign().cloned() else { return };
        let mut bell = foreign.bell();
        loop {
            bell.wait(foreign.poll()).await;
            let records = self.sessions().all();
            let of_guests = records.into_iter().filter(|record| self.guests().is_known(&record.user));
            let mut ended = Vec::new();
            for record in of_guests.collect::<Vec<_>>() {
                match self.look_at_guest(&record).await {
                    Ok(true) => {}
                    Ok(false) => ended.push(record.conn),
                    Err(StoreError::Foreign(error)) if error.is_away() => {
                        self.note_host_away(&error);
                        break;
                    }
                    Err(error) => {
                        tracing::error!(error = %Causes(&error), "a user of the host's database cannot be looked up");
                    }
                }
            }
            if !ended.is_empty() {
                tracing::info!(sessions = ended.len(), "access withdrawn in the host's database");
            }
            if let Err(error) = self.end(ended, EndReason::Revoked).await {
                tracing::error!(%error, "the monitor cannot be told");
            }
            self.guests().tidy(foreign.poll(), Instant::now());
        }
    }

    /// Whether a session may stay by what is known now.
    async fn look_at_guest(&self, record: &SessionRecord) -> Result<bool, StoreError> {
        let Ok(name) = ClaimedName::new(record.user.as_str()) else { return Ok(false) };
        let (presented, bytes) = match &record.credential {
            Some(Credential::Key(key)) => (Presented::Key(key), key.as_bytes()),
            _ => (Presented::Nothing, &[][..]),
        };
        let known = match self.store.known(&name, presented).await {
            Err(StoreError::Foreign(error)) if !error.is_away() => {
                tracing::error!(error = %Causes(&error), "a user of the host's database cannot be taken any more");
                None
            }
            found => found?,
        };
        let Some(known) = known else {
            self.guests().forget(&record.user);
            return Ok(false);
        };
        let password = known.password.clone();
        self.welcome(&name, bytes, known);
        let then = self.guests().passwords.get(&record.conn).cloned();
        if record.shown.contains(Factor::Password) && then.is_some_and(|then| then != password) {
            return Ok(false);
        }
        match self.still_holds(record).await? {
            Some(Until(until)) => {
                self.sessions().stays_until(record.conn, until);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::remembered::testing::known;

    #[test]
    fn only_who_was_looked_up_just_before_is_served_while_the_database_is_away() {
        let (poll, grace) = (Duration::from_secs(2), Duration::from_secs(60));
        let (now, name) = (Instant::now(), "bob".parse::<UserName>().expect("a name"));
        let mut guests = Guests::default();
        guests.keep(&[], &known("bob", 0), now);
        let recall = |guests: &Guests, then| guests.recall(&whose(&name, &[]), poll, grace, then).is_some();
        assert!(!recall(&guests, now), "a database that answers is asked");
        guests.away_since = Some(now + Duration::from_secs(3));
        assert!(recall(&guests, now + Duration::from_secs(30)));
        assert!(!recall(&guests, now + Duration::from_secs(70)), "not for ever");
        guests.away_since = Some(now + Duration::from_secs(5));
        assert!(!recall(&guests, now + Duration::from_secs(6)), "he may have been removed since");
        guests.forget(&name);
        assert!(!guests.is_known(&name));
    }
}
