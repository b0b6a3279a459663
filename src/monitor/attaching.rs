//! Helpers that attach grants, one short-lived process each, and the maps of owners they leave to the next.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Error;
use crate::cell::{self, Fault, Plan};
use crate::sys::{self, CloneFlags, Forked};
use crate::wire::{Link, LinkError, Received};

/// How long one attach may take; a dead network filesystem would hold it for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running helper.
#[derive(Debug)]
pub(super) struct Helper {
    /// Becomes readable with the result.
    pub(super) link: Link,
    pidfd: OwnedFd,
    deadline: Instant,
}

impl Helper {
    /// Forks a helper for `plan`, which is to be attached in `namespace`.
    ///
    /// The helper has the monitor's capabilities, resolves paths that belong to an account and reads nothing. A
    /// captured session gains nothing from asking: it names no path, and a second request ends it.
    pub(super) fn fork(
        plan: &Plan,
        namespace: BorrowedFd<'_>,
        map: Option<Rc<OwnedFd>>,
        now: Instant,
    ) -> Result<Helper, Error> {
        let (ours, theirs) = Link::pair()?;
        match sys::fork(CloneFlags::NONE).map_err(|source| Error::Fork { source })? {
            Forked::Child => {
                super::children::call_process(c"enclos-attach");
                let code = help(plan, namespace, map.as_deref(), &theirs);
                sys::exit_now(u8::from(code != ExitCode::SUCCESS))
            }
            Forked::Parent { pidfd, .. } => Ok(Helper { link: ours, pidfd, deadline: now + PATIENCE }),
        }
    }

    /// The result, and a map to keep if one was made.
    pub(super) fn result(&self) -> Result<(Result<(), Fault>, Option<OwnedFd>), LinkError> {
        let Received { message, fd } = self.link.try_recv::<Result<(), Fault>>()?;
        Ok((message, fd))
    }

    /// Whether it has taken too long.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline <= now
    }

    /// Gives the helper up; what is left is its process, to be reaped.
    pub(super) fn into_process(self) -> OwnedFd {
        // Mostly it has ended by itself; then the signal finds nobody.
        if let Err(errno) = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL) {
            tracing::debug!(%errno, "attach helper already gone");
        }
        self.pidfd
    }
}

fn help(plan: &Plan, namespace: BorrowedFd<'_>, map: Option<&OwnedFd>, link: &Link) -> ExitCode {
    let (result, fresh) = match cell::attach(plan, namespace, map.map(AsFd::as_fd)) {
        Ok(fresh) => (Ok(()), fresh),
        Err(fault) => (Err(fault), None),
    };
    match link.send(&result, fresh.as_ref().map(AsFd::as_fd)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Maps of owners that were made before, newest first. Each is a user namespace of some 2 KiB.
#[derive(Debug, Default)]
pub(super) struct Maps {
    kept: VecDeque<(MapKey, Rc<OwnedFd>)>,
}

/// Owner on disk, and ids of the session.
type MapKey = ((u32, u32), (u32, u32));

impl Maps {
    /// Most maps kept.
    const MOST: usize = 512;

    /// The map for a plan, if there is one.
    pub(super) fn find(&mut self, plan: &Plan) -> Option<Rc<OwnedFd>> {
        let key = (plan.owner(), plan.cell()?);
        let at = self.kept.iter().position(|(k, _)| *k == key)?;
        let found = self.kept.remove(at)?;
        let map = found.1.clone();
        self.kept.push_front(found);
        Some(map)
    }

    /// Keeps a map that was made for a plan.
    pub(super) fn keep(&mut self, plan: &Plan, map: OwnedFd) {
        if let Some(cell) = plan.cell() {
            self.kept.push_front(((plan.owner(), cell), Rc::new(map)));
            self.kept.truncate(Self::MOST);
        }
    }
}
