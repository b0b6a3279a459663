//! The audit trail: what the monitor notes and what operators change becomes records, and these are kept.
//!
//! Runs in: control. Trusts: the monitor for whose a deed is, nobody for the text in it. Nothing waits for it: records go
//! into queues with a bound ([`queue`]), and tasks write them down as fast as the disk and the database take them.

mod database;
mod file;
mod of_monitor;
mod of_operator;
mod queue;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use self::database::Retention;
use self::file::AuditFile;
use self::queue::Queue;
use super::operation::Operation;
use super::store::tables::Dump;
use super::store::{AuditRow, Store, StoreError};
use crate::config::{AuditSettings, Paths};
use crate::domain::UserName;
use crate::telemetry::Causes;
use crate::telemetry::audit::{Event, Head, Moment, Record, Who};
use crate::wire::Note;

pub(super) use file::NotWritten;

/// Records written at once.
const AT_ONCE: usize = 512;
/// Between two attempts to write what could not be written.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest that writing down the last records may take when the node stops; the monitor waits a little longer.
const LAST_LINES: Duration = Duration::from_millis(2500);

/// Where records go.
#[derive(Debug)]
pub(super) struct Audit {
    settings: AuditSettings,
    file: Option<Arc<Queue>>,
    database: Option<Arc<Queue>>,
}

/// What an operation has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// Rows of the database.
    InDatabase,
    /// Something of this node.
    Elsewhere,
}

/// The tasks that write records down.
#[derive(Debug)]
pub(super) struct Writers {
    tasks: Vec<(Arc<Queue>, JoinHandle<()>)>,
}

impl Audit {
    /// Begins to keep records as the settings say. A runtime must be running.
    pub(super) fn begin(settings: &AuditSettings, paths: &Paths, store: &Store) -> (Audit, Writers) {
        let queue = |is_wanted: bool| is_wanted.then(|| Arc::new(Queue::default()));
        let audit =
            Audit { settings: settings.clone(), file: queue(settings.to_file), database: queue(settings.to_database) };
        let mut tasks = Vec::new();
        if let Some(queue) = &audit.file {
            let writer = write_to_file(queue.clone(), AuditFile::new(paths.audit_file(), settings.file_size));
            tasks.push((queue.clone(), tokio::spawn(writer)));
        }
        if let Some(queue) = &audit.database {
            let retention = Retention::new(settings.clone(), store.clone());
            let writer = database::write(queue.clone(), store.clone(), retention.clone());
            tasks.push((queue.clone(), tokio::spawn(writer)));
            tokio::spawn(retention.keep());
        }
        (audit, Writers { tasks })
    }

    /// Takes what the monitor notes.
    pub(super) fn note(&self, note: Note) {
        for record in of_monitor::records(&self.settings.node, note) {
            self.keep(record);
        }
    }

    /// What an operation comes to on record, and the database for it to be done on.
    pub(super) async fn before(
        &self,
        store: &Store,
        operator: u32,
        operation: &Operation,
    ) -> Result<(Option<Record>, Store), StoreError> {
        before(&self.settings, store, operator, operation).await
    }

    /// Takes what an operator has changed. What was changed in the database is on record there with it.
    pub(super) fn changed(&self, record: Record, operation: Made) {
        match operation {
            Made::InDatabase => self.keep_outside(&record),
            Made::Elsewhere => self.keep(record),
        }
    }

    /// Takes what a user has changed about itself.
    pub(super) fn changed_by_user(&self, user: &UserName, operation: &str, detail: serde_json::Value) {
        let who = Who { node: self.settings.node.clone(), user: Some(user.clone()), ..Who::default() };
        let event = Event::PolicyChanged { operation: operation.to_owned(), detail };
        self.keep(Record { at: Moment::now(), head: Head::new(who), event });
    }

    fn keep(&self, record: Record) {
        self.keep_outside(&record);
        if let Some(queue) = &self.database {
            queue.push(record);
        }
    }

    fn keep_outside(&self, record: &Record) {
        if self.settings.to_log {
            tracing::info!(target: "audit", record = record.line());
        }
        if let Some(queue) = &self.file {
            queue.push(record.clone());
        }
    }
}

impl Writers {
    /// Has everything written down that is not yet, as far as there is time.
    pub(super) async fn finish(self) {
        self.tasks.iter().for_each(|(queue, _)| queue.close());
        let deadline = tokio::time::Instant::now() + LAST_LINES;
        for (queue, task) in self.tasks {
            let is_late = tokio::time::timeout_at(deadline, task).await.is_err();
            let lost = queue.waiting();
            if is_late || lost > 0 {
                tracing::error!(lost, "the node stops, and not all of its audit trail is written down");
            }
        }
    }
}

/// Writes records to the file until there are no more.
async fn write_to_file(queue: Arc<Queue>, file: AuditFile) {
    let file = Arc::new(Mutex::new(file));
    let mut state = Writing::new("its file");
    while let Some(records) = queue.next(AT_ONCE).await {
        let lines: Arc<str> = records.iter().map(|record| record.line() + "\n").collect::<String>().into();
        loop {
            let (file, lines) = (file.clone(), lines.clone());
            let append = move || file.lock().unwrap_or_else(PoisonError::into_inner).append(lines.as_bytes());
            let written = tokio::task::spawn_blocking(append).await;
            match written {
                Ok(Ok(())) => break,
                Ok(Err(error)) => state.fails(&error),
                // The runtime ends.
                Err(_) => return,
            }
            tokio::time::sleep(PAUSE).await;
        }
        state.works();
        queue.written(&records);
    }
}

/// Whether records can be written somewhere: told once when that changes.
#[derive(Debug)]
struct Writing {
    place: &'static str,
    is_failing: bool,
}

impl Writing {
    fn new(place: &'static str) -> Writing {
        Writing { place, is_failing: false }
    }

    fn fails(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let (place, error) = (self.place, Causes(error));
            tracing::error!(place, %error, "the audit trail cannot be written; it is kept as far as there is room");
        }
    }

    fn works(&mut self) {
        if std::mem::replace(&mut self.is_failing, false) {
            tracing::info!(place = self.place, "the audit trail is written again");
        }
    }
}

/// What an operation comes to on record, to be made together with it; nothing for one that only asks.
pub(super) async fn before(
    settings: &AuditSettings,
    store: &Store,
    operator: u32,
    operation: &Operation,
) -> Result<(Option<Record>, Store), StoreError> {
    if operation.only_asks() {
        return Ok((None, store.clone()));
    }
    let whose = of_operator::whom(store, operation).await?;
    let record = of_operator::record_of(&settings.node, operator, whose, operation);
    let row = record.as_ref().filter(|_| settings.to_database).map(AuditRow::from);
    Ok((record, store.noting(row)))
}

/// What an import comes to in the database, to be made together with it: how many rows of which table were in it.
pub(super) fn of_import(settings: &AuditSettings, operator: u32, dump: &Dump) -> Option<AuditRow> {
    let rows = dump.0.iter().map(|(table, rows)| ((*table).to_owned(), serde_json::Value::from(rows.len())));
    let who = Who { node: settings.node.clone(), operator: Some(operator), ..Who::default() };
    let event = Event::PolicyChanged { operation: "import".to_owned(), detail: rows.collect() };
    settings.to_database.then(|| AuditRow::from(&Record { at: Moment::now(), head: Head::new(who), event }))
}

/// Puts an operation in the file that was done while no node runs.
pub(super) fn note_alone(settings: &AuditSettings, paths: &Paths, record: &Record) -> Result<(), NotWritten> {
    if !settings.to_file {
        return Ok(());
    }
    AuditFile::new(paths.audit_file(), settings.file_size).append((record.line() + "\n").as_bytes())
}

/// So many records are missing.
fn lost(head: Arc<Head>, count: u64) -> Record {
    Record { at: Moment::now(), head, event: Event::Lost { count } }
}

/// A head without a connection.
fn of_node(node: &str) -> Arc<Head> {
    Head::new(Who { node: node.to_owned(), ..Who::default() })
}
