//! Cells that outlive their last connection, where policy says so: tmux and nohup are found again at the next login.
//!
//! What was granted to the last session holds for the cell that it left, so its record stays with control: whatever would
//! end that session ends the cell, it is listed, and an operator can end it by its number. A worker without programs ends by
//! itself.

use std::time::{Duration, Instant};

use super::Error;
use super::cells::Cells;
use super::login::now;
use super::node::Node;
use crate::domain::{ConnId, Timestamp};
use crate::wire::{SessionRecord, ToControl, WorkerOrder};

/// Most cells of a node that nobody is connected to.
const MOST: usize = 512;

/// A cell that nobody is connected to.
#[derive(Debug)]
pub(super) struct Lingering {
    /// The last session that was.
    pub(super) record: Box<SessionRecord>,
    until: Instant,
    /// The same, for people.
    shown: Timestamp,
}

impl Cells {
    fn lingering(&self) -> impl Iterator<Item = (u32, &Lingering)> {
        self.iter().filter_map(|(number, cell)| Some((number, cell.lingering.as_ref()?)))
    }

    /// How long it is until the time of one is over.
    pub(super) fn next_end(&self, now: Instant) -> Option<Duration> {
        self.lingering().map(|(_, one)| one.until.saturating_duration_since(now)).min()
    }
}

impl Node<'_> {
    /// Lets a cell that its last session has left go on, if it may; says whether it does.
    pub(super) fn let_linger(&mut self, number: u32, record: &SessionRecord) -> bool {
        let others = self.cells.lingering().count();
        let Some(cell) = self.cells.get(number) else { return false };
        let (true, Some(linger), None) = (cell.is_ready(), cell.plan.linger, self.stopping) else { return false };
        if others >= MOST {
            tracing::warn!(conn = %record.conn, user = %record.user, "programs end with their connection: too many cells linger");
            return false;
        }
        if cell.link.try_send(&WorkerOrder::Linger, None).is_err() {
            return false;
        }
        let shown = Timestamp(now().0.saturating_add(i64::from(linger.seconds())));
        let until = Instant::now() + Duration::from_secs(linger.seconds().into());
        cell.lingering = Some(Lingering { record: Box::new(record.clone()), until, shown });
        tracing::info!(conn = %record.conn, account = %record.account, user = %record.user, "programs outlive their connection");
        self.tell_control(ToControl::Lingers { conn: record.conn, until: shown });
        true
    }

    /// Somebody is connected again, or the cell ends.
    pub(super) fn linger_no_more(&mut self, number: u32) {
        if let Some(ended) = self.cells.get(number).and_then(|cell| cell.lingering.take()) {
            self.tell_control(ToControl::Closed { conn: ended.record.conn });
        }
    }

    /// Ends those whose time is over.
    pub(super) fn end_late_lingering(&mut self, now: Instant) -> Result<(), Error> {
        let over = |one: &Lingering| one.until <= now;
        self.end_lingering(over, "programs end, for nobody came back in time")
    }

    /// Ends those whose last session would be ended.
    pub(super) fn end_lingering_of(&mut self, conns: &[ConnId]) -> Result<(), Error> {
        self.end_lingering(|one| conns.contains(&one.record.conn), "programs without a connection are ended")
    }

    fn end_lingering(&mut self, is_it: impl Fn(&Lingering) -> bool, what: &str) -> Result<(), Error> {
        let found: Vec<u32> = self.cells.lingering().filter(|(_, one)| is_it(one)).map(|(number, _)| number).collect();
        for number in found {
            if let Some(one) = self.cells.get(number).and_then(|cell| cell.lingering.as_ref()) {
                tracing::info!(conn = %one.record.conn, user = %one.record.user, "{what}");
            }
            self.end_cell(number, "")?;
        }
        Ok(())
    }

    /// What control has to know of them when it was started anew.
    pub(super) fn tell_of_lingering(&mut self) {
        let known: Vec<(Box<SessionRecord>, Timestamp)> =
            self.cells.lingering().map(|(_, one)| (one.record.clone(), one.shown)).collect();
        for (record, until) in known {
            let conn = record.conn;
            self.tell_control(ToControl::Opened(record));
            self.tell_control(ToControl::Lingers { conn, until });
        }
    }
}
