//! Bans on their way from the database to the monitor of every node, and penalties on theirs from a monitor to the database.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::operation::{self, Operation, OperationError};
use super::outcome::Outcome;
use super::serve::Control;
use super::store::{About, Store, StoreError};
use crate::domain::{Ban, BanOrigin, Banned, Block, Timestamp};
use crate::telemetry::Causes;
use crate::wire::{FromControl, LinkError};

/// Bans in one message: with the longest reasons they stay below what fits.
const AT_ONCE: usize = 100;
/// Most penalties that are written at once, and how often: a flood from many sources must not keep the database busy.
const MOST_SHARED: usize = 256;
const PAUSE: Duration = Duration::from_secs(1);

/// Why bans could not be passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum BanError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("tell the monitor")]
    Monitor(#[from] LinkError),
}

/// What the monitor was told last, and what it has told.
#[derive(Debug, Default)]
pub(super) struct Bans {
    round: u64,
    told: Vec<Ban>,
    penalties: Vec<Ban>,
    dropped: usize,
}

impl Bans {
    fn next_round(&mut self) -> u64 {
        self.round += 1;
        self.round
    }

    fn add(&mut self, penalty: Ban) {
        match self.penalties.len() < MOST_SHARED {
            true => self.penalties.push(penalty),
            false => self.dropped += 1,
        }
    }

    /// Those that were lifted before their end: what was there and is not any more.
    fn lifted(&self, bans: &[Ban], now: Timestamp) -> Vec<Banned> {
        let is_gone = |ban: &&Ban| !ban.is_over(now) && bans.iter().all(|other| other.who != ban.who);
        self.told.iter().filter(is_gone).map(|ban| ban.who.clone()).collect()
    }
}

impl Control {
    fn bans(&self) -> std::sync::MutexGuard<'_, Bans> {
        self.bans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the monitor all bans anew, and whom to forgive. Where two do so at once, the monitor takes those of the later.
    pub(super) async fn tell_bans(&self) -> Result<(), BanError> {
        let round = self.bans().next_round();
        let bans = self.store.bans().await?;
        let lifted = self.bans().lifted(&bans, now());
        for who in lifted {
            self.monitor.send(&FromControl::Forgive(who)).await?;
        }
        self.monitor.send(&FromControl::BansBegin { round }).await?;
        for some in bans.chunks(AT_ONCE) {
            self.monitor.send(&FromControl::Bans { round, bans: some.to_vec() }).await?;
        }
        self.monitor.send(&FromControl::BansEnd { round }).await?;
        self.bans().told = bans;
        Ok(())
    }

    /// Bans somebody, or lifts what stands against them, and has the monitor know before the operator hears of it.
    pub(super) async fn change_bans(&self, store: &Store, operation: Operation) -> Result<Outcome, String> {
        let lifted = match &operation {
            Operation::BanRemove { who } => Some(who.clone()),
            _ => None,
        };
        let outcome = match operation::apply(store, self.ids, operation).await {
            Ok(done) => done.outcome,
            // There may be a penalty that no other node knows of.
            Err(OperationError::NoBan { who }) => {
                Outcome::Done(format!("{who} was not banned; what this node held against them is forgiven"))
            }
            Err(error) => return Err(Causes(&error).to_string()),
        };
        if let Some(who) = lifted {
            self.monitor.send(&FromControl::Forgive(who)).await.map_err(|e| e.to_string())?;
        }
        self.tell_bans().await.map_err(|e| Causes(&e).to_string())?;
        Ok(outcome)
    }

    /// The monitor penalises a source.
    pub(super) fn penalised(&self, source: Block, seconds: u64, reason: String) {
        let ends = Timestamp(now().0.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX)));
        let origin = BanOrigin::Penalty;
        self.bans().add(Ban { who: Banned::Block(source), ends: Some(ends), reason, origin });
    }

    /// Writes penalties down for other nodes and for operators, for as long as control runs.
    pub(super) async fn share_penalties(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PAUSE).await;
            let (penalties, dropped) = {
                let mut bans = self.bans();
                (std::mem::take(&mut bans.penalties), std::mem::take(&mut bans.dropped))
            };
            if dropped > 0 {
                tracing::warn!(dropped, "penalties stay on this node: there are too many to share");
            }
            if penalties.is_empty() {
                continue;
            }
            if let Err(error) = self.write_penalties(&penalties).await {
                tracing::warn!(error = %Causes(&error), "penalties stay on this node");
            }
        }
    }

    async fn write_penalties(&self, penalties: &[Ban]) -> Result<(), StoreError> {
        let store = self.store.about(About::Bans);
        let mut change = store.change().await?;
        store.forget_old_bans(&mut change).await?;
        for penalty in penalties {
            store.add_ban(&mut change, penalty).await?;
        }
        Ok(change.commit().await?)
    }
}

fn now() -> Timestamp {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(who: &str, ends: i64) -> Ban {
        let who = Banned::Block(who.parse().expect("an address"));
        Ban { who, ends: Some(Timestamp(ends)), reason: String::new(), origin: BanOrigin::Operator }
    }

    #[test]
    fn what_is_lifted_before_its_end_is_forgiven() {
        let told = vec![ban("192.0.2.1", 100), ban("192.0.2.2", 100), ban("192.0.2.3", 5)];
        let bans = Bans { told, ..Bans::default() };
        let lifted = bans.lifted(&[ban("192.0.2.2", 200)], Timestamp(10));
        assert_eq!(lifted, [ban("192.0.2.1", 0).who], "one stays, and one is over by itself");
    }

    #[test]
    fn a_flood_of_penalties_is_bounded() {
        let mut bans = Bans::default();
        for _ in 0..1000 {
            bans.add(ban("192.0.2.1", 1));
        }
        assert_eq!((bans.penalties.len(), bans.dropped), (MOST_SHARED, 1000 - MOST_SHARED));
    }
}
