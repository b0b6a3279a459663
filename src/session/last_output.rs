//! What a program on a terminal has still to say when it has ended.
//!
//! Pipes are read until everybody has closed them. A terminal may be held open for ever by what a program leaves behind, so
//! after the program's end it is read only while it has something: what the program wrote lies in the kernel then, however
//! long its client takes to make room for it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::sync::watch;

/// How long a terminal may have nothing before it counts as empty: the kernel hands over what was written a little later.
const LINGER: Duration = Duration::from_millis(50);
/// More than the kernel keeps for a terminal (8 KiB on their way and 4 KiB to be read): beyond it others are writing.
const MOST_KEPT: usize = 64 * 1024;

/// When the output of a program is over.
pub(super) struct LastOutput {
    /// Whether the program has ended, where that matters: on a terminal.
    has_ended: Option<watch::Receiver<bool>>,
    left: usize,
}

impl LastOutput {
    /// Over when everybody has closed it.
    pub(super) fn of_pipe() -> LastOutput {
        LastOutput { has_ended: None, left: MOST_KEPT }
    }

    /// Over also when its program has ended and nothing is left of what it wrote.
    pub(super) fn of_terminal(has_ended: watch::Receiver<bool>) -> LastOutput {
        LastOutput { has_ended: Some(has_ended), left: MOST_KEPT }
    }

    /// Waits until there is something to be read; nothing when it is over.
    pub(super) async fn more<'a>(&mut self, from: &'a AsyncFd<OwnedFd>) -> Option<AsyncFdReadyGuard<'a, OwnedFd>> {
        let Some(has_ended) = &mut self.has_ended else { return from.readable().await.ok() };
        if self.left == 0 {
            return None;
        }
        let is_empty = async {
            // Whoever would tell of the end is gone only when nobody waits for it.
            drop(has_ended.wait_for(|ended| *ended).await);
            tokio::time::sleep(LINGER).await;
        };
        tokio::select! {
            biased;
            ready = from.readable() => ready.ok(),
            () = is_empty => None,
        }
    }

    /// So much was read.
    pub(super) fn took(&mut self, bytes: usize) {
        if self.has_ended.as_ref().is_some_and(|ended| *ended.borrow()) {
            self.left = self.left.saturating_sub(bytes);
        }
    }
}
