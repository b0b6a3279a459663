//! Seats of this node's sessions in the database that all nodes share, so that each knows how many there are on the others.
//!
//! What is wanted is what the monitor says; what is written follows, at once or as soon as the database answers. Runs in:
//! control.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::serve::Control;
use super::store::StoreError;
use crate::domain::{ConnId, ForEach, Seat};
use crate::telemetry::Causes;
use crate::wire::{FromControl, LinkError, SessionRecord};

/// How often others are told that this node is there.
const BEAT: Duration = Duration::from_secs(5);
/// After how long without a word all that was written is written again. Others forget a node after an hour.
const LONG_SILENCE: Duration = Duration::from_secs(60);

/// Sessions of this node of which there may be only so many.
#[derive(Debug, Default)]
pub(super) struct Seats {
    wanted: HashMap<ConnId, Seat>,
    /// Of which the database knows, or may know.
    written: HashMap<ConnId, Known>,
    /// Those that are being taken, which is for nobody else to write.
    being_taken: HashSet<ConnId>,
}

impl Seats {
    fn begin(&mut self, conn: ConnId, seat: &Seat) {
        self.wanted.insert(conn, seat.clone());
        self.being_taken.insert(conn);
    }

    /// One was taken or not, as far as is known.
    fn finish(&mut self, conn: ConnId, taken: Taken) {
        self.being_taken.remove(&conn);
        match taken {
            Taken::Yes => drop(self.written.insert(conn, Known::Surely)),
            Taken::No => drop(self.wanted.remove(&conn)),
            // Deleting what is not there, and writing what is, does no harm.
            Taken::Perhaps => drop(self.written.insert(conn, Known::Perhaps)),
        }
    }

    /// Others may have forgotten this node's.
    fn doubt(&mut self) {
        self.written.values_mut().for_each(|known| *known = Known::Perhaps);
    }

    /// What has to be written, and what is written and has to go.
    fn to_do(&self) -> (Vec<(ConnId, Seat)>, Vec<ConnId>) {
        let is_settled = |conn: &ConnId| !self.being_taken.contains(conn);
        let is_known = |conn: &ConnId| self.written.get(conn) == Some(&Known::Surely);
        let new = self.wanted.iter().filter(|(conn, _)| is_settled(conn) && !is_known(conn));
        let gone = self.written.keys().filter(|conn| is_settled(conn) && !self.wanted.contains_key(conn));
        (new.map(|(conn, seat)| (*conn, seat.clone())).collect(), gone.copied().collect())
    }
}

/// Whether the database knows of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Surely,
    Perhaps,
}

/// Whether a seat was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    No,
    Perhaps,
}

impl Control {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody who was believed may come in if others on other nodes leave a seat.
    pub(super) async fn seat(
        &self,
        ticket: u64,
        conn: ConnId,
        seat: &Seat,
        left: &ForEach<Option<u32>>,
    ) -> Result<(), LinkError> {
        self.seats().begin(conn, seat);
        // Nobody waits until it is found out again that the database is away.
        if self.remembered().away_since().is_some() {
            self.seats().finish(conn, Taken::Perhaps);
            return self.monitor.send(&FromControl::Unable { ticket }).await;
        }
        let found = self.store.take_seat(self.id, conn, seat, left).await;
        let taken = match &found {
            Ok(None) => Taken::Yes,
            Ok(Some(_)) => Taken::No,
            Err(_) => Taken::Perhaps,
        };
        self.seats().finish(conn, taken);
        // It may have ended meanwhile.
        self.seats_changed.notify_one();
        match found {
            Ok(full) => self.monitor.send(&FromControl::Seated { ticket, full }).await,
            Err(error) => {
                tracing::error!(error = %Causes(&error), "sessions on other nodes cannot be counted");
                self.monitor.send(&FromControl::Unable { ticket }).await
            }
        }
    }

    /// A session lives; this process may not have been there when it began.
    pub(super) fn is_seated(&self, record: &SessionRecord) {
        if !record.is_seated {
            return;
        }
        let seat = Seat { account: record.account.clone(), user: record.user.clone(), key: record.fingerprint.clone() };
        self.seats().wanted.insert(record.conn, seat);
        self.seats_changed.notify_one();
    }

    /// A session has ended, or what is left of it counts no more.
    pub(super) fn has_left(&self, conn: ConnId) {
        if self.seats().wanted.remove(&conn).is_some() {
            self.seats_changed.notify_one();
        }
    }

    /// Writes down what has changed, and says that this node is there, for as long as control runs.
    pub(super) async fn keep_seats(self: Arc<Self>) {
        let (mut beat, mut heard) = (tokio::time::interval(BEAT), Instant::now());
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.seats_changed.notified() => {}
                _ = beat.tick() => match self.say_that_we_are_here(heard).await {
                    Ok(()) => heard = Instant::now(),
                    Err(error) => self.note_seats(&error),
                },
            }
            if let Err(error) = self.write_seats().await {
                self.note_seats(&error);
            }
        }
    }

    /// `heard` is when the database was told so before.
    async fn say_that_we_are_here(&self, heard: Instant) -> Result<(), StoreError> {
        if heard.elapsed() > LONG_SILENCE {
            self.seats().doubt();
        }
        if self.seats().written.is_empty() {
            return Ok(());
        }
        self.store.monitor_is_here(self.id).await?;
        self.store.forget_silent_monitors().await
    }

    async fn write_seats(&self) -> Result<(), StoreError> {
        let (new, gone) = self.seats().to_do();
        if !new.is_empty() {
            self.store.monitor_is_here(self.id).await?;
        }
        for (conn, seat) in new {
            self.store.add_seat(self.id, conn, &seat).await?;
            self.seats().written.insert(conn, Known::Surely);
        }
        for conn in gone {
            self.store.leave_seat(self.id, conn).await?;
            self.seats().written.remove(&conn);
        }
        Ok(())
    }

    /// The loop that follows changes says so when the database is away.
    fn note_seats(&self, error: &StoreError) {
        if !error.is_away() {
            tracing::error!(error = %Causes(error), "sessions of this node are not counted by others at the moment");
        }
    }

    /// None of this node's sessions is there any more.
    pub(super) async fn leave_seats(&self) {
        if self.seats().written.is_empty() {
            return;
        }
        if let Err(error) = self.store.leave_all_seats(self.id).await {
            tracing::warn!(error = %Causes(&error), "sessions of this node count on others for some seconds more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat() -> Seat {
        Seat { account: "acme".parse().expect("a name"), user: "bob".parse().expect("a name"), key: None }
    }

    #[test]
    fn what_is_written_follows_what_is_wanted() {
        let mut seats = Seats::default();
        let (one, two) = (ConnId(1), ConnId(2));
        let of = |seats: &Seats| {
            let (new, gone) = seats.to_do();
            (new.into_iter().map(|(conn, _)| conn).collect::<Vec<_>>(), gone)
        };
        seats.begin(one, &seat());
        assert_eq!(of(&seats), (vec![], vec![]), "somebody else writes it");
        seats.wanted.remove(&one);
        seats.finish(one, Taken::Yes);
        assert_eq!(of(&seats), (vec![], vec![one]), "it ended while its seat was taken");
        seats.written.remove(&one);
        seats.begin(two, &seat());
        seats.finish(two, Taken::Perhaps);
        assert_eq!(of(&seats), (vec![two], vec![]), "the database was away");
        seats.wanted.remove(&two);
        assert_eq!(of(&seats), (vec![], vec![two]), "and may know of it after all");
        seats.written.remove(&two);
        seats.begin(one, &seat());
        seats.finish(one, Taken::No);
        assert_eq!(of(&seats), (vec![], vec![]));
        assert!(!seats.wanted.contains_key(&one), "it was refused");
        seats.begin(two, &seat());
        seats.finish(two, Taken::Yes);
        assert_eq!(of(&seats), (vec![], vec![]));
        seats.doubt();
        assert_eq!(of(&seats), (vec![two], vec![]), "others have forgotten it");
    }
}
