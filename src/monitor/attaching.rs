//! Helpers that attach grants: processes that enter a session's mount namespace, mount, and come back.
//!
//! They exist because a path can block (a dead network filesystem) and the monitor must not. A few are kept; one that
//! hangs is killed and does not come back. A helper has the monitor's capabilities, resolves paths that belong to an
//! account, and reads nothing of anybody.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::thread::LinkNameSpaceType;

use super::children::Child;
use super::{Error, system};
use crate::cell::{self, Fault, Plan};
use crate::telemetry::Causes;
use crate::wire::{Link, LinkError, Received};

/// How long one attach may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Helpers kept while there is nothing to do.
const MOST_IDLE: usize = 2;

/// A helper at work.
#[derive(Debug)]
pub(super) struct Helper {
    process: Child<Plan>,
    deadline: Instant,
}

impl Helper {
    /// Its channel, which becomes readable with the result.
    pub(super) fn link(&self) -> &Link {
        &self.process.link
    }

    /// What came of it: the number of the filesystem that covers lie on, if anything is hidden.
    pub(super) fn result(&self) -> Result<Result<Option<u64>, Fault>, LinkError> {
        Ok(self.process.link.try_recv()?.message)
    }

    /// Whether it has taken too long.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline <= now
    }

    /// Ends the helper, wherever it hangs; what is left is its process, to be reaped.
    pub(super) fn end(self) -> OwnedFd {
        if let Err(errno) = self.process.kill() {
            tracing::error!(%errno, "an attach helper could not be killed");
        }
        self.process.pidfd
    }
}

/// Helpers without work.
#[derive(Debug, Default)]
pub(super) struct Helpers {
    idle: Vec<Child<Plan>>,
    ended: Vec<Helper>,
}

impl Helpers {
    /// Has a plan attached in `namespace`.
    ///
    /// A captured session gains nothing from asking: it names no path, and a second request ends it.
    pub(super) fn attach(&mut self, plan: &Plan, namespace: BorrowedFd<'_>, now: Instant) -> Result<Helper, Error> {
        let deadline = now + PATIENCE;
        while let Some(process) = self.idle.pop() {
            match process.link.try_send(plan, Some(namespace)) {
                Ok(()) => return Ok(Helper { process, deadline }),
                // It was killed while it had nothing to do.
                Err(error) => {
                    tracing::warn!(%error, "an attach helper had ended");
                    self.ended.push(Helper { process, deadline });
                }
            }
        }
        let process = Child::fork(c"enclos-attach", |link| help(&link))?;
        process.link.try_send(plan, Some(namespace))?;
        Ok(Helper { process, deadline })
    }

    /// Helpers that were found dead, to be reaped.
    pub(super) fn take_ended(&mut self) -> Vec<Helper> {
        std::mem::take(&mut self.ended)
    }

    /// Takes back a helper that has answered. One too many is returned, to be ended.
    pub(super) fn keep(&mut self, helper: Helper) -> Option<Helper> {
        if self.idle.len() >= MOST_IDLE {
            return Some(helper);
        }
        self.idle.push(helper.process);
        None
    }

    /// Lets all idle helpers go; they end when their channel closes.
    pub(super) fn dismiss(&mut self) -> Vec<OwnedFd> {
        self.idle.drain(..).map(|process| process.pidfd).collect()
    }
}

/// The life of a helper: plan after plan until the monitor is gone.
pub(super) fn help(link: &Link) -> ExitCode {
    match serve(link) {
        Ok(()) | Err(Error::Link(LinkError::Gone)) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %Causes(&error), "an attach helper ended");
            ExitCode::FAILURE
        }
    }
}

fn serve(link: &Link) -> Result<(), Error> {
    let home = rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(system("remember the own mount namespace"))?;
    let mut maps = Maps::default();
    loop {
        let Received { message: plan, fd, .. } = link.recv::<Plan>()?;
        let namespace = fd.ok_or(LinkError::Malformed)?;
        let result = cell::attach(&plan, namespace.as_fd(), maps.find(&plan));
        // The next plan is resolved from here. A helper that cannot come back is of no use.
        rustix::thread::move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Mount))
            .map_err(system("come back from a session's mount namespace"))?;
        let (told, guard) = match result {
            Ok(attached) => {
                maps.keep(&plan, attached.map);
                (Ok(attached.cover), attached.guard)
            }
            Err(fault) => (Err(fault), None),
        };
        link.send::<Result<Option<u64>, Fault>>(&told, None)?;
        if let Some(guard) = guard {
            // From here this process has one thing to say: that it ends.
            super::children::call_process(c"enclos-guard");
            drop((maps, namespace, home));
            return Ok(guard.stand(link.as_fd())?);
        }
    }
}

/// Maps of owners that were made before, newest first. Each is a user namespace of some 2 KiB.
#[derive(Debug, Default)]
struct Maps {
    kept: VecDeque<(MapKey, OwnedFd)>,
}

/// Owner on disk, and ids of the session.
type MapKey = ((u32, u32), (u32, u32));

impl Maps {
    /// Most maps kept.
    const MOST: usize = 512;

    /// The map for a plan, if there is one.
    fn find(&mut self, plan: &Plan) -> Option<BorrowedFd<'_>> {
        let key = (plan.owner(), plan.cell()?);
        let at = self.kept.iter().position(|(k, _)| *k == key)?;
        let found = self.kept.remove(at)?;
        self.kept.push_front(found);
        self.kept.front().map(|(_, map)| map.as_fd())
    }

    /// Keeps a map that was made for a plan.
    fn keep(&mut self, plan: &Plan, map: Option<OwnedFd>) {
        if let (Some(cell), Some(map)) = (plan.cell(), map) {
            self.kept.push_front(((plan.owner(), cell), map));
            self.kept.truncate(Self::MOST);
        }
    }
}
