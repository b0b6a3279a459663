//! One SFTP channel: the engine, and how much its client can take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use crate::domain::Umask;
use crate::files::{self, Root};
use crate::sftp::{Broken, Engine, LinkOrder, Settings, Totals};
use crate::wire::Granted;

/// Answers that are sealed at once; more wait as unserved requests, which are smaller.
const MOST_AT_ONCE: usize = 512 * 1024;
/// Answers that one callback of the SSH library may hand over. Nothing is written to the network before it returns, so
/// this is what a client can make us keep; the usual window of 2 MiB is filled in one go.
const MOST_IN_A_TURN: usize = 3 * 1024 * 1024;
/// What may wait inside the SSH library for a closed window, or for the end of a key exchange.
const MOST_PENDING: usize = 2 * 1024 * 1024;
/// Answers that go out at once where they are made after a turn was full.
const MOST_LATER: usize = 128 * 1024;

/// An engine, and what has left it.
#[derive(Debug)]
pub(super) struct SftpChannel {
    served: Arc<Mutex<Served>>,
    /// An upper bound of what waits inside the SSH library, which sends it by itself as the window opens.
    pending: usize,
    /// Serves what a turn had no room for; while it does, nobody else serves.
    later: Option<JoinHandle<()>>,
    /// Nothing more will be asked.
    asked_all: bool,
}

#[derive(Debug)]
struct Served {
    engine: Engine,
    broken: Option<Broken>,
}

/// The requests that wait, for a task that serves them bit by bit.
#[derive(Debug)]
pub(super) struct Waiting {
    served: Arc<Mutex<Served>>,
}

impl Iterator for Waiting {
    type Item = Vec<u8>;

    /// The next answers; there may be none while a request takes long. `None` when no whole request waits, or one broke a
    /// rule.
    fn next(&mut self) -> Option<Vec<u8>> {
        let mut served = lock(&self.served);
        if served.broken.is_some() {
            return None;
        }
        let mut out = Vec::new();
        served.engine.work(&mut out);
        served.broken = served.engine.resume(&mut out, MOST_LATER).err();
        let goes_on = served.broken.is_none() && served.engine.is_busy();
        (goes_on || !out.is_empty()).then_some(out)
    }
}

/// A poisoned lock belongs to a process that is being aborted.
fn lock(served: &Mutex<Served>) -> MutexGuard<'_, Served> {
    served.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the answers leave.
pub(super) trait Outlet {
    /// Whether bytes handed over before still wait for the client's window or the end of a key exchange.
    fn is_behind(&self) -> bool;
    /// Hands bytes over.
    fn send(&mut self, bytes: Vec<u8>) -> Result<(), super::transport::SshError>;
    /// Has the rest sent by a task, each part when the one before has left the process.
    fn send_later(&self, waiting: Waiting) -> JoinHandle<()>;
}

/// Why a channel ends early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The client broke a rule of SFTP.
    Broken(Broken),
    /// The connection failed.
    Ssh(super::transport::SshError),
}

impl SftpChannel {
    /// An engine over the whole view. `umask` is the node's, for users that have none of their own.
    pub(super) fn new(root: Root, granted: &Granted, umask: u32, links: LinkOrder) -> SftpChannel {
        let settings = Settings {
            user: granted.user.to_string(),
            group: granted.account.to_string(),
            owner_ids: granted.owner,
            own_ids: files::own_ids(),
            umask: granted.uploads.umask.map_or(umask, Umask::bits),
            start: granted.layout.start.clone().into_bytes(),
            links,
        };
        let served = Served { engine: Engine::new(root, settings), broken: None };
        SftpChannel { served: Arc::new(Mutex::new(served)), pending: 0, later: None, asked_all: false }
    }

    /// Serves what arrived.
    pub(super) fn feed(&mut self, input: &[u8], outlet: &mut impl Outlet) -> Result<(), Stopped> {
        let mut out = Vec::new();
        let room = self.room(outlet);
        let fed = lock(&self.served).engine.feed(input, &mut out, room);
        let served = out.len();
        self.send(out, outlet)?;
        fed.map_err(Stopped::Broken)?;
        self.go_on(served, outlet)
    }

    /// Serves what waited, as far as the client's window goes.
    pub(super) fn resume(&mut self, outlet: &mut impl Outlet) -> Result<(), Stopped> {
        self.go_on(0, outlet)
    }

    /// Goes on with what waits after a turn in which `served` bytes have left.
    fn go_on(&mut self, mut served: usize, outlet: &mut impl Outlet) -> Result<(), Stopped> {
        if let Some(broken) = lock(&self.served).broken.take() {
            return Err(Stopped::Broken(broken));
        }
        while self.backlog() > 0 || self.is_busy() {
            let room = self.room(outlet);
            if room == 0 {
                break;
            }
            if served >= MOST_IN_A_TURN || self.is_busy() {
                self.later = Some(outlet.send_later(Waiting { served: self.served.clone() }));
                break;
            }
            let mut out = Vec::new();
            let resumed = lock(&self.served).engine.resume(&mut out, room);
            let length = out.len();
            self.send(out, outlet)?;
            resumed.map_err(Stopped::Broken)?;
            if length == 0 {
                break;
            }
            served += length;
        }
        Ok(())
    }

    /// Notes that nothing more will be asked.
    pub(super) fn ask_no_more(&mut self) {
        self.asked_all = true;
    }

    /// Whether everything was asked, and nothing waits for the client's window any more. Half a request does not count,
    /// nor does what a task has still to serve: nobody would say when that is done.
    pub(super) fn is_done(&self) -> bool {
        let waits_for_window = self.pending >= MOST_PENDING && !self.is_served_later();
        self.asked_all && !(waits_for_window && self.backlog() > 0)
    }

    fn is_served_later(&self) -> bool {
        self.later.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// Whether a request is served a part at a time.
    fn is_busy(&self) -> bool {
        lock(&self.served).engine.is_busy()
    }

    /// Bytes of requests that are not served.
    fn backlog(&self) -> usize {
        lock(&self.served).engine.backlog()
    }

    /// Bytes moved over this channel.
    pub(super) fn totals(&self) -> Totals {
        lock(&self.served).engine.totals()
    }

    /// What may be handed over now.
    ///
    /// When it is nothing, either a task is serving, or the client has been sent a full window, so it will open it
    /// again and `resume` is called.
    fn room(&mut self, outlet: &impl Outlet) -> usize {
        if self.is_served_later() {
            return 0;
        }
        if !outlet.is_behind() {
            self.pending = 0;
        }
        MOST_PENDING.saturating_sub(self.pending).min(MOST_AT_ONCE)
    }

    fn send(&mut self, bytes: Vec<u8>, outlet: &mut impl Outlet) -> Result<(), Stopped> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.pending += bytes.len();
        outlet.send(bytes).map_err(Stopped::Ssh)
    }
}

impl Drop for SftpChannel {
    /// The task must not outlive its channel.
    fn drop(&mut self) {
        if let Some(task) = &self.later {
            task.abort();
        }
    }
}
