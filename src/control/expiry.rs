//! Sessions whose time is over are ended when it is, however the clock is set meanwhile. Runs in: control.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::serve::{Control, now};
use crate::domain::Timestamp;
use crate::wire::EndReason;

/// Between two looks at sessions whose time is over.
const EXPIRY_PAUSE: Duration = Duration::from_millis(200);
/// Longest without a look at the clock while some session has an end.
const CLOCK_PATIENCE: Duration = Duration::from_secs(10);

impl Control {
    /// Ends sessions when their time is over, for as long as control runs. The clock is looked at often enough that setting
    /// it forward is noticed.
    pub(super) async fn end_expired(self: Arc<Self>) {
        loop {
            let over = self.sessions().over(now());
            if !over.is_empty() {
                if let Err(error) = self.decide_again(over, EndReason::Over).await {
                    tracing::error!(%error, "the monitor cannot be told");
                }
                // Whoever could not be looked at, or is being ended, is not asked about in a circle.
                tokio::time::sleep(EXPIRY_PAUSE).await;
            }
            let next = self.sessions().next_end();
            let left = next.map(left_until);
            tokio::select! {
                () = sleep_for(left) => {}
                () = self.terms_changed.notified() => {}
            }
        }
    }
}

fn left_until(end: Timestamp) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(u64::try_from(end.0).unwrap_or(0)).saturating_sub(now)
}

/// Sleeps for as long as there is nothing to do, or not much longer than until the clock may have been set.
async fn sleep_for(left: Option<Duration>) {
    match left {
        None => std::future::pending().await,
        Some(left) => tokio::time::sleep(left.clamp(EXPIRY_PAUSE, CLOCK_PATIENCE)).await,
    }
}
