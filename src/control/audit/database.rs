//! Records on their way into the database, and out of it again when they are old or too many.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Writing;
use super::queue::Queue;
use crate::config::AuditSettings;
use crate::control::store::{AuditRow, Store};
use crate::telemetry::Causes;
use crate::telemetry::audit::Moment;

/// Records added at once.
const AT_ONCE: usize = 2048;
/// Between two of such, so that what comes bit by bit is added together.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at how much there is.
const RETENTION_PAUSE: Duration = Duration::from_secs(600);
/// Records after which it is looked at anyway.
const MANY: usize = 50_000;

/// Adds records until there are no more. What is being added when the database goes away is kept, and added when it is back.
pub(super) async fn write(queue: Arc<Queue>, store: Store, retention: Retention) {
    let (mut state, mut added) = (Writing::new("the database"), 0);
    while let Some(records) = queue.next(AT_ONCE).await {
        let rows: Vec<AuditRow> = records.iter().map(AuditRow::from).collect();
        while let Err(error) = store.add_audit(&rows).await {
            state.fails(&error);
            tokio::time::sleep(super::PAUSE).await;
        }
        state.works();
        queue.written(&records);
        added += records.len();
        if added >= MANY {
            added = 0;
            retention.many.notify_one();
        }
        queue.pause(PAUSE).await;
    }
}

/// How long records are kept, and how many.
#[derive(Debug, Clone)]
pub(super) struct Retention {
    settings: AuditSettings,
    store: Store,
    many: Arc<Notify>,
}

impl Retention {
    pub(super) fn new(settings: AuditSettings, store: Store) -> Retention {
        Retention { settings, store, many: Arc::default() }
    }

    /// Removes what is old or too much, for as long as control runs.
    pub(super) async fn keep(self) {
        loop {
            let oldest = Moment::now().0.saturating_sub(self.settings.days.saturating_mul(86_400_000));
            match self.store.prune_audit(oldest, self.settings.rows).await {
                Ok(0) => {}
                Ok(gone) => tracing::info!(gone, "old records of the audit trail were removed"),
                Err(error) => tracing::warn!(error = %Causes(&error), "the audit trail cannot be looked through"),
            }
            tokio::select! {
                () = tokio::time::sleep(RETENTION_PAUSE) => {}
                () = self.many.notified() => {}
            }
        }
    }
}
