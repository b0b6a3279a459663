//! Records on their way to where they are kept: bounded, and what finds no room is counted. Nobody waits to put one in.
//!
//! One connection gets no more than a part of the room, so that whoever does a lot loses records of its own, and not those
//! of others.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::lost;
use crate::telemetry::audit::{Event, Head, Record};

/// Memory that may wait.
const MOST: usize = 32 * 1024 * 1024;
/// Of this, for one connection.
const SHARE: usize = 8 * 1024 * 1024;
/// Connections whose missing records are counted apart.
const MOST_COUNTED: usize = 1024;

/// The queue. Its records are taken by one task.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    came: Notify,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    records: VecDeque<Record>,
    /// All that waits or is being written, and how much of it is whose.
    weight: usize,
    shares: HashMap<Option<String>, usize>,
    missing: BTreeMap<Option<String>, (Arc<Head>, u64)>,
    is_closed: bool,
}

impl Queue {
    /// Adds a record, or counts it.
    pub(super) fn push(&self, record: Record) {
        let mut inner = self.lock();
        let (whose, weight) = (record.head.who.connection.clone(), record.weight());
        let share = inner.shares.get(&whose).copied().unwrap_or(0);
        let is_full = inner.weight + weight > MOST || (whose.is_some() && share + weight > SHARE);
        if is_full {
            inner.miss(whose, record);
        } else {
            inner.weight += weight;
            inner.shares.insert(whose, share + weight);
            inner.records.push_back(record);
        }
        drop(inner);
        self.came.notify_one();
    }

    /// The next records, at most `most` and what is missing; `None` when the queue is closed and empty. They count as
    /// waiting until they are [`Queue::written`].
    pub(super) async fn next(&self, most: usize) -> Option<Vec<Record>> {
        loop {
            let came = self.came.notified();
            {
                let mut inner = self.lock();
                let next = inner.take(most);
                if !next.is_empty() {
                    return Some(next);
                }
                if inner.is_closed {
                    return None;
                }
            }
            came.await;
        }
    }

    /// These are written.
    pub(super) fn written(&self, records: &[Record]) {
        let mut inner = self.lock();
        for record in records.iter().filter(|record| !matches!(record.event, Event::Lost { .. })) {
            inner.weight = inner.weight.saturating_sub(record.weight());
            let whose = &record.head.who.connection;
            let left = inner.shares.get(whose).copied().unwrap_or(0).saturating_sub(record.weight());
            match left {
                0 => drop(inner.shares.remove(whose)),
                left => drop(inner.shares.insert(whose.clone(), left)),
            }
        }
    }

    /// Waits for a while, unless nothing more comes.
    pub(super) async fn pause(&self, pause: Duration) {
        let closed = self.closed.notified();
        if !self.lock().is_closed {
            drop(tokio::time::timeout(pause, closed).await);
        }
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.came.notify_one();
        self.closed.notify_waiters();
    }

    /// How many wait that nobody has taken, and how many are missing.
    pub(super) fn waiting(&self) -> u64 {
        let inner = self.lock();
        inner.missing.values().map(|(_, count)| count).sum::<u64>() + inner.records.len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn miss(&mut self, whose: Option<String>, record: Record) {
        let count = if let Event::Lost { count } = record.event { count } else { 1 };
        let whose = if self.missing.len() < MOST_COUNTED || self.missing.contains_key(&whose) { whose } else { None };
        let head = match whose {
            Some(_) => record.head,
            None => super::of_node(&record.head.who.node),
        };
        let (_, missing) = self.missing.entry(whose).or_insert((head, 0));
        *missing = missing.saturating_add(count);
    }

    /// What is missing came after what waits.
    fn take(&mut self, most: usize) -> Vec<Record> {
        let count = most.min(self.records.len());
        let mut next: Vec<Record> = self.records.drain(..count).collect();
        if self.records.is_empty() {
            self.records.shrink_to(64);
            next.extend(std::mem::take(&mut self.missing).into_values().map(|(head, count)| lost(head, count)));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Escaped;
    use crate::telemetry::audit::{Moment, Who};

    fn head(connection: &str) -> Arc<Head> {
        Head::new(Who { node: "web1".to_owned(), connection: Some(connection.to_owned()), ..Who::default() })
    }

    /// Some 8 KiB.
    fn large(head: &Arc<Head>) -> Record {
        let path = Escaped::new(&[b'a'; 8000]);
        Record { at: Moment(0), head: head.clone(), event: Event::FileRemoved { path } }
    }

    #[tokio::test]
    async fn whoever_does_too_much_loses_its_own_records_and_they_are_counted() {
        let (queue, noisy, quiet) = (Queue::default(), head("1"), head("2"));
        let sent = 3000;
        for _ in 0..sent {
            queue.push(large(&noisy));
        }
        queue.push(large(&quiet));
        queue.close();
        let (mut kept, mut missing, mut of_quiet) = (0, 0, 0);
        while let Some(records) = queue.next(100).await {
            for record in &records {
                match (&record.event, record.head.who.connection.as_deref()) {
                    (Event::Lost { count }, Some("1")) => missing += count,
                    (Event::FileRemoved { .. }, Some("1")) => kept += 1,
                    (Event::FileRemoved { .. }, Some("2")) => of_quiet += 1,
                    other => panic!("{other:?}"),
                }
            }
            queue.written(&records);
        }
        assert_eq!((kept + missing, of_quiet), (sent, 1));
        assert!(missing > 1000 && kept > 500, "{kept} kept, {missing} missing");
        assert!(queue.lock().shares.is_empty() && queue.lock().weight == 0, "all room is given back");
    }

    #[tokio::test]
    async fn many_connections_together_keep_to_the_bound_too() {
        let queue = Queue::default();
        for conn in 0..8000_u32 {
            queue.push(large(&head(&conn.to_string())));
        }
        assert!(queue.lock().weight <= MOST && queue.lock().missing.len() <= MOST_COUNTED + 1);
        assert_eq!(queue.waiting(), 8000);
    }
}
