//! Forwards on the channels of a connection: what the worker of the cell has connected is relayed to a channel and back,
//! in both directions by itself, each to its own end.
//!
//! Nothing of it waits inside the SSH library: what is read from a socket is sent as far as the client's window is open,
//! and the socket is not read meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::programs::{Input, feed, lock, ready};
use super::traffic::Traffic;
use crate::wire::{Forwarded, Origin, Refusal};

/// Forwards of one connection at the same time, those that are being made among them. A browser keeps some 30 to a proxy.
const MOST: usize = 128;
/// Input of all open forwards that may wait for those who do not read. Beyond it their windows are kept almost shut, as
/// those of programs are.
const MUCH_INPUT: usize = 16 * 1024 * 1024;
/// Beyond it the channel that brings more is closed: the windows that are open then add up to more.
const TOO_MUCH_INPUT: usize = 64 * 1024 * 1024;
/// Most bytes of one read from a socket.
const MOST_AT_ONCE: usize = 32 * 1024;
/// Connections to one place that may wait to be offered to the client.
const MOST_ACCEPTED: usize = 16;
/// How long a client may take to close a channel on which everything is said. The library forgets a channel completely
/// only when the client closes it first, and clients do.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long what a client has sent before it closed a channel may wait for somebody who does not read.
const LAST_INPUT: Duration = Duration::from_secs(30);

/// The way back to the client.
pub(super) trait Channel: Send + Sync + 'static {
    /// Sends as the window opens; says whether the channel is still there.
    fn send(&self, bytes: Bytes) -> impl Future<Output = bool> + Send;
    /// Nothing more comes from our side.
    fn eof(&self) -> impl Future<Output = ()> + Send;
    /// Closes it.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// What the worker says about forwards, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Answers {
    asked: HashMap<u32, oneshot::Sender<Answer>>,
    listening: HashMap<u32, mpsc::Sender<Accepted>>,
}

/// Somebody who has connected to a place that is listened on.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The connection.
    pub(super) socket: OwnedFd,
    /// Where it comes from, if it came to a port.
    pub(super) origin: Option<Origin>,
}

/// What was made, or why not.
pub(super) type Answer = Result<Made, Refusal>;

/// A forward that was made.
#[derive(Debug)]
pub(super) enum Made {
    /// A connected socket.
    Connected(OwnedFd),
    /// It is listened, on this port if it is one.
    Listening(u16),
}

impl Answers {
    /// Somebody waits for the answer with this number.
    pub(super) fn expect(&mut self, number: u32) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.asked.insert(number, sender);
        receiver
    }

    /// The same for a place to be listened on, and those who connect there.
    pub(super) fn expect_many(&mut self, number: u32) -> (oneshot::Receiver<Answer>, mpsc::Receiver<Accepted>) {
        let (sender, receiver) = mpsc::channel(MOST_ACCEPTED);
        self.listening.insert(number, sender);
        (self.expect(number), receiver)
    }

    /// It is not listened there any more.
    pub(super) fn forget(&mut self, number: u32) {
        self.listening.remove(&number);
    }

    /// Somebody has connected; when too many wait already, it is turned away.
    fn accepted(&mut self, number: u32, socket: Option<OwnedFd>, origin: Option<Origin>) {
        if let (Some(listening), Some(socket)) = (self.listening.get(&number), socket) {
            drop(listening.try_send(Accepted { socket, origin }));
        }
    }

    /// The worker has said something.
    pub(super) fn heard(&mut self, number: u32, what: Forwarded, socket: Option<OwnedFd>) {
        let answer = match (what, socket) {
            (Forwarded::Accepted { origin }, socket) => return self.accepted(number, socket, origin),
            (Forwarded::Listening { port }, _) => Ok(Made::Listening(port)),
            (Forwarded::Connected, Some(socket)) => Ok(Made::Connected(socket)),
            (Forwarded::Connected, None) => Err(Refusal::failed("the connection is of no use")),
            (Forwarded::Refused(refusal), _) => Err(refusal),
        };
        // A connection that has ended does not listen any more.
        drop(self.asked.remove(&number).map(|asked| asked.send(answer)));
    }
}

/// One forward and its channel, as the callbacks of the library know it.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    input: Arc<Input>,
    closed: Arc<Closed>,
    is_done: Arc<AtomicBool>,
}

impl Forward {
    /// Nothing came of it.
    pub(super) fn give_up(&self) {
        self.is_done.store(true, Ordering::Relaxed);
    }
}

/// Whether the client has closed the channel.
#[derive(Debug, Default)]
struct Closed {
    is_closed: AtomicBool,
    came: Notify,
}

impl Closed {
    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.came.notify_waiters();
    }

    /// Waits until it has been closed for so long that what still waits will not be read any more.
    async fn long_ago(&self) {
        self.wait().await;
        tokio::time::sleep(LAST_INPUT).await;
    }

    async fn wait(&self) {
        let came = self.came.notified();
        if !self.is_closed.load(Ordering::Relaxed) {
            came.await;
        }
    }
}

/// All forwards of a connection, by the library's numbers of their channels. Copies are of the same.
#[derive(Clone, Debug)]
pub(super) struct Forwards {
    open: Arc<Mutex<BTreeMap<u32, Forward>>>,
    piled: Arc<AtomicUsize>,
    room: Arc<Semaphore>,
}

impl Default for Forwards {
    fn default() -> Forwards {
        Forwards { open: Arc::default(), piled: Arc::default(), room: Arc::new(Semaphore::new(MOST)) }
    }
}

/// What became of data for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is on its way.
    Yes,
    /// There is no room for it: the channel is to be closed.
    TooMuch,
    /// The channel is no forward's.
    NotOurs,
}

impl Forwards {
    /// Room for one more, for as long as it is held.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        lock(&self.open).retain(|_, forward| !forward.is_done.load(Ordering::Relaxed));
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Takes note of a channel.
    pub(super) fn open(&self, id: u32) -> Forward {
        let input = || Arc::new(Input::counted(Arc::clone(&self.piled)));
        let forward = || Forward { input: input(), closed: Arc::default(), is_done: Arc::default() };
        lock(&self.open).entry(id).or_insert_with(forward).clone()
    }

    /// A channel that we asked for and the client has confirmed; none if it has closed it again.
    pub(super) fn confirmed(&self, id: u32) -> Option<Forward> {
        lock(&self.open).get(&id).cloned()
    }

    /// Data from the client. It must not wait: the callback that brings it holds up the whole connection.
    pub(super) fn push(&self, id: u32, data: &[u8]) -> Taken {
        match lock(&self.open).get(&id) {
            None => Taken::NotOurs,
            Some(_) if self.piled.load(Ordering::Relaxed) + data.len() > TOO_MUCH_INPUT => Taken::TooMuch,
            Some(forward) if forward.input.push(data) => Taken::Yes,
            Some(_) => Taken::TooMuch,
        }
    }

    /// The client has nothing more to send; says whether the channel is a forward's.
    pub(super) fn end_input(&self, id: u32) -> bool {
        let open = lock(&self.open);
        open.get(&id).inspect(|f| f.input.end()).is_some()
    }

    /// The channel is closed; says whether it was a forward's. What the client has sent before still arrives.
    pub(super) fn close(&self, id: u32) -> bool {
        let forward = lock(&self.open).remove(&id);
        forward
            .inspect(|f| {
                f.input.end();
                f.closed.close();
            })
            .is_some()
    }

    /// Whether more input waits than should.
    pub(super) fn is_full(&self) -> bool {
        self.input() > MUCH_INPUT || lock(&self.open).values().any(|forward| forward.input.is_full())
    }

    /// The input that waits for all that are open.
    pub(super) fn input(&self) -> usize {
        lock(&self.open).values().map(|forward| forward.input.waiting()).sum()
    }

    /// Whether more waits for this one than should, or anything while there is too much of all together.
    pub(super) fn is_full_at(&self, id: u32) -> bool {
        let waiting = lock(&self.open).get(&id).map_or(0, |forward| forward.input.waiting());
        let share = if self.input() > MUCH_INPUT { 0 } else { MUCH_INPUT };
        waiting > share || lock(&self.open).get(&id).is_some_and(|forward| forward.input.is_full())
    }
}

/// Relays between a socket and its channel until both directions have ended. `room` is held until then.
pub(super) async fn relay(
    socket: OwnedFd,
    forward: Forward,
    room: OwnedSemaphorePermit,
    channel: impl Channel,
    traffic: Traffic,
) {
    if let Ok(socket) = ready(socket, Interest::READABLE | Interest::WRITABLE) {
        let up = async {
            tokio::select! {
                () = feed(&socket, &forward.input, &traffic) => {}
                () = forward.closed.long_ago() => forward.input.discard(),
            }
            // A socket that is gone already needs to hear nothing.
            drop(crate::wire::shut_down_writing(socket.as_fd()));
        };
        let down = async {
            tokio::select! {
                () = drain(&socket, &channel, &traffic) => channel.eof().await,
                () = forward.closed.wait() => {}
            }
        };
        tokio::join!(up, down);
    }
    forward.input.discard();
    // A client that does not answer is not waited for.
    drop(tokio::time::timeout(FAREWELL, forward.closed.wait()).await);
    channel.close().await;
    forward.give_up();
    drop(room);
}

/// Carries what a socket brings to the channel, until its end or the channel's.
async fn drain(from: &AsyncFd<OwnedFd>, channel: &impl Channel, traffic: &Traffic) {
    loop {
        let Ok(mut guard) = from.readable().await else { return };
        let mut bytes = vec![0; traffic.at_once(MOST_AT_ONCE)];
        let got = match guard.try_io(|fd| crate::wire::read(fd.as_fd(), &mut bytes)) {
            // Not ready after all.
            Err(_) => continue,
            Ok(Err(_) | Ok(0)) => return,
            Ok(Ok(got)) => got,
        };
        bytes.truncate(got);
        // Small answers do not hold on to the room of large ones.
        bytes.shrink_to_fit();
        traffic.down(got).await;
        if !channel.send(Bytes::from(bytes)).await {
            return;
        }
    }
}
