//! One SFTP channel: the engine, and how much its client can take.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::ledger::{HostJournal, Ledger};
use super::traffic::Traffic;
use super::window::Window;
use crate::domain::Umask;
use crate::files::{self, Root};
use crate::sftp::{Broken, Engine, LinkOrder, Settings, Totals};
use crate::wire::Granted;

/// Answers that are sealed at once; more wait as unserved requests, which are smaller.
const MOST_AT_ONCE: usize = 512 * 1024;
/// Answers that one callback of the SSH library may hand over. Nothing is written to the network before it returns, so
/// this is what a client can make us keep; the usual window of 2 MiB is filled in one go.
const MOST_IN_A_TURN: usize = 3 * 1024 * 1024;
/// Answers that go out at once where they are made after a turn was full.
const MOST_LATER: usize = 128 * 1024;
/// Until so much was read from files, answers leave in pieces of [`PIECE`], of which the SSH library takes a handful
/// together: its buffer for what is to be written is as large for ever as it had to be once. Most connections never read
/// more, and weigh little afterwards; for the others large buffers are worth their memory.
const LITTLE: u64 = 16 * 1024 * 1024;
const PIECE: usize = 8 * 1024;
/// Where a bandwidth is kept to: requests that wait for their turn, beyond which the client's window is kept almost shut, and
/// beyond which it is not opened at all. The engine takes 4 MiB, and a window that is open has half of that.
const MUCH_WAITS: usize = 512 * 1024;
const TOO_MUCH_WAITS: usize = 2 * 1024 * 1024;

/// An engine, and what has left it.
#[derive(Debug)]
pub(super) struct SftpChannel {
    served: Arc<Mutex<Served>>,
    /// How far the client lets us send.
    window: Arc<Window>,
    /// Answers that are made and have no room in it: the rest of one, mostly.
    held: Bytes,
    /// Serves what a turn had no room for; while it does, nobody else serves.
    later: Option<JoinHandle<()>>,
    traffic: Traffic,
}

#[derive(Debug)]
struct Served {
    engine: Engine,
    broken: Option<Broken>,
    /// Nothing more will be asked.
    asked_all: bool,
    /// The task that served the last requests has closed the channel.
    is_closed: bool,
}

/// What is sent by a task bit by bit: answers that are made, and then those of requests that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    served: Arc<Mutex<Served>>,
    window: Arc<Window>,
    made: Bytes,
    under_way: Arc<UnderWay>,
    traffic: Traffic,
    /// Bytes of requests that were served and not yet paid for.
    asked: usize,
}

impl Waiting {
    /// The next answers, as far as the client's window is open; there may be none while a request takes long. `None` when no
    /// whole request waits, or one broke a rule, and all that was given out has been sent: whoever serves next may hand its
    /// answers over directly. Nor are there any when the client has closed the channel.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if !self.make() {
            self.under_way.all_sent().await;
            if !self.make() {
                return None;
            }
        }
        if self.made.is_empty() {
            return Some(Bytes::new());
        }
        let piece = if lock(&self.served).has_read_little() { PIECE } else { usize::MAX };
        let room = self.window.take(piece.min(self.made.len())).await?;
        Some(UnderWay::counted(&self.under_way, self.window.counted(self.made.split_to(room))))
    }

    /// Waits for the turn of answers, and of the requests that they are to.
    pub(super) async fn take_turn(&mut self, answers: usize) {
        self.traffic.up(std::mem::take(&mut self.asked)).await;
        self.traffic.down(answers).await;
    }

    /// Makes answers if there are none; says whether there are, or a request takes long.
    fn make(&mut self) -> bool {
        if !self.made.is_empty() {
            return true;
        }
        let mut served = lock(&self.served);
        if served.broken.is_some() {
            return false;
        }
        let most = self.traffic.at_once(if served.has_read_little() { PIECE } else { MOST_LATER });
        let (mut out, before) = (Vec::new(), served.engine.backlog());
        served.engine.work(&mut out);
        served.broken = served.resume_by_turns(&mut out, most, self.traffic.is_limited());
        self.asked += before.saturating_sub(served.engine.backlog());
        self.made = out.into();
        !self.made.is_empty() || (served.broken.is_none() && served.engine.is_busy())
    }

    /// Whether what was sent is the last of the channel, which is to be closed then.
    pub(super) fn ends_the_channel(&self) -> bool {
        let mut served = lock(&self.served);
        served.is_closed = served.asked_all && served.broken.is_none();
        served.is_closed
    }
}

/// How many pieces wait in the SSH library. What is handed over directly would overtake them.
#[derive(Debug, Default)]
struct UnderWay {
    pieces: AtomicUsize,
    none: Notify,
}

/// A piece that tells when the library lets go of it, which is when it is sent.
struct Counted {
    bytes: Bytes,
    among: Arc<UnderWay>,
}

impl UnderWay {
    fn counted(among: &Arc<UnderWay>, bytes: Bytes) -> Bytes {
        among.pieces.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Counted { bytes, among: Arc::clone(among) })
    }

    async fn all_sent(&self) {
        while self.pieces.load(Ordering::Relaxed) > 0 {
            self.none.notified().await;
        }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.among.pieces.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.among.none.notify_one();
        }
    }
}

impl Served {
    /// Serves what waits. Where a bandwidth is kept to, so much of requests and answers together as is taken in one turn: a
    /// request to write is answered by a few bytes.
    fn resume_by_turns(&mut self, out: &mut Vec<u8>, most: usize, is_limited: bool) -> Option<Broken> {
        if !is_limited {
            return self.engine.resume(out, most).err();
        }
        let begin = self.engine.backlog();
        loop {
            let (before, room) = (self.engine.backlog(), out.len() + 1);
            if let Err(broken) = self.engine.resume(out, room) {
                return Some(broken);
            }
            let after = self.engine.backlog();
            if after == before || begin - after + out.len() >= most {
                return None;
            }
        }
    }

    fn has_read_little(&self) -> bool {
        self.engine.totals().read < LITTLE
    }
}

/// A poisoned lock belongs to a process that is being aborted.
fn lock(served: &Mutex<Served>) -> MutexGuard<'_, Served> {
    served.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the answers leave.
pub(super) trait Outlet {
    /// Hands bytes over, for which there is room in the client's window.
    fn send(&mut self, bytes: Bytes) -> Result<(), super::transport::SshError>;
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
    pub(super) fn new(root: Root, granted: &Granted, umask: u32, links: LinkOrder, ledger: Ledger) -> SftpChannel {
        let settings = Settings {
            user: granted.user.to_string(),
            group: granted.account.to_string(),
            owner_ids: granted.owner,
            own_ids: files::own_ids(),
            umask: granted.uploads.umask.map_or(umask, Umask::bits),
            start: granted.layout.start.clone().into_bytes(),
            home: granted.layout.home.clone().into_bytes(),
            links,
        };
        let journal = Box::new(HostJournal::new(ledger, granted));
        let engine = Engine::new(root, settings).noting(journal);
        let served = Served { engine, broken: None, asked_all: false, is_closed: false };
        let served = Arc::new(Mutex::new(served));
        let (window, held) = (Arc::default(), Bytes::new());
        SftpChannel { served, window, held, later: None, traffic: Traffic::default() }
    }

    /// The same, held to its client's window and to how fast its connection may be.
    pub(super) fn within(mut self, window: Arc<Window>, traffic: Traffic) -> SftpChannel {
        self.window = window;
        self.traffic = traffic;
        self
    }

    /// Whether more requests wait for their turn than should.
    pub(super) fn is_full(&self) -> bool {
        self.traffic.is_limited() && self.backlog() > MUCH_WAITS
    }

    /// Whether there is hardly room for more.
    pub(super) fn is_stuffed(&self) -> bool {
        self.traffic.is_limited() && self.backlog() > TOO_MUCH_WAITS
    }

    /// Serves what arrived.
    pub(super) fn feed(&mut self, input: &[u8], outlet: &mut impl Outlet) -> Result<(), Stopped> {
        let mut out = Vec::new();
        // Where a bandwidth is kept to, a task serves all.
        let room = if self.traffic.is_limited() { 0 } else { self.room() };
        let fed = lock(&self.served).engine.feed(input, &mut out, room);
        let served = out.len();
        match fed {
            Ok(()) => {
                self.hand_over(out.into(), outlet)?;
            }
            Err(broken) => {
                self.hand_over(out.into(), outlet)?;
                return Err(Stopped::Broken(broken));
            }
        }
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
        let held = std::mem::take(&mut self.held);
        served += self.hand_over(held, outlet)?;
        while self.backlog() > 0 || self.is_busy() {
            let room = self.room();
            if room == 0 {
                // Of a window that is not known nobody tells when there is room again.
                if self.held.is_empty() && !self.is_served_later() && self.window.is_unknown() {
                    self.send_later(Bytes::new(), outlet);
                }
                break;
            }
            if served >= self.most_in_a_turn() || self.is_busy() {
                self.send_later(Bytes::new(), outlet);
                break;
            }
            let mut out = Vec::new();
            let resumed = lock(&self.served).engine.resume(&mut out, room);
            let length = out.len();
            if let Err(broken) = resumed {
                self.hand_over(out.into(), outlet)?;
                return Err(Stopped::Broken(broken));
            }
            self.hand_over(out.into(), outlet)?;
            if length == 0 {
                break;
            }
            served += length;
        }
        Ok(())
    }

    /// Hands answers over at once, or what is too much for that to a task. What the client's window has no room for is kept,
    /// or waits with the task.
    fn hand_over(&mut self, mut out: Bytes, outlet: &mut impl Outlet) -> Result<usize, Stopped> {
        let late = out.split_off(out.len().min(self.most_in_a_turn()));
        let sent = self.send(out, outlet)?;
        let is_little = lock(&self.served).has_read_little();
        if self.held.is_empty() && late.is_empty() {
            return Ok(sent);
        }
        // A window that opens wide would otherwise have all of it sent at once, which the library's buffer keeps room for; and one
        // that is not known is opened by nobody.
        if self.held.is_empty() || is_little || self.window.is_unknown() {
            let rest = joined(std::mem::take(&mut self.held), late);
            self.send_later(rest, outlet);
        } else {
            self.held = joined(std::mem::take(&mut self.held), late);
        }
        Ok(sent)
    }

    fn send_later(&mut self, made: Bytes, outlet: &impl Outlet) {
        self.later = Some(outlet.send_later(Waiting {
            served: self.served.clone(),
            window: self.window.clone(),
            made,
            under_way: Arc::default(),
            traffic: self.traffic.clone(),
            asked: 0,
        }));
    }

    fn most_in_a_turn(&self) -> usize {
        if self.traffic.is_limited() {
            return 0;
        }
        if lock(&self.served).has_read_little() { 4 * PIECE } else { MOST_IN_A_TURN }
    }

    /// Notes that nothing more will be asked.
    pub(super) fn ask_no_more(&mut self) {
        lock(&self.served).asked_all = true;
    }

    /// Whether everything was asked and nothing waits for the client's window any more. Half a request does not count.
    /// While a task serves it is not done; the task closes the channel itself.
    pub(super) fn is_done(&self) -> bool {
        let waits_for_window = !self.held.is_empty() || (self.window.room() == 0 && self.backlog() > 0);
        lock(&self.served).asked_all && !self.is_served_later() && !waits_for_window
    }

    /// Whether a task has closed the channel after the last answer.
    pub(super) fn is_closed(&self) -> bool {
        lock(&self.served).is_closed
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
    fn room(&self) -> usize {
        if self.is_served_later() || !self.held.is_empty() {
            return 0;
        }
        let most = if lock(&self.served).has_read_little() { 4 * PIECE } else { MOST_AT_ONCE };
        self.window.room().min(most)
    }

    /// Hands over what there is room for, after what is kept already, and keeps the rest; says how much went.
    fn send(&mut self, bytes: Bytes, outlet: &mut impl Outlet) -> Result<usize, Stopped> {
        let mut bytes = joined(std::mem::take(&mut self.held), bytes);
        let room = self.window.take_now(bytes.len());
        self.held = bytes.split_off(room);
        if room > 0 {
            outlet.send(self.window.counted(bytes)).map_err(Stopped::Ssh)?;
        }
        Ok(room)
    }
}

/// One after the other; mostly one of them is empty.
fn joined(first: Bytes, second: Bytes) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second,
        (_, true) => first,
        (false, false) => [first, second].concat().into(),
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
