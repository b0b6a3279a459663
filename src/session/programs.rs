//! Programs of a shell cell on the channels of a connection.
//!
//! The worker in the cell starts a program and hands over its streams; here they are connected with a channel. Each
//! direction of each channel has a task of its own, and no callback of the SSH library waits for a program.
//!
//! Output leaves only as far as the client's window is open, so that nothing waits inside the library, where it would
//! hold up the other channels; see [`super::window`].

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::forwards::{Accepted, Answer, Answers, Made};
use super::last_output::LastOutput;
use super::ledger::Ledger;
use super::monitor_link::MonitorLink;
use super::own_keys::OwnKeys;
use super::traffic::Traffic;
use super::window::Window;
use crate::domain::{Deed, Finish, PeerText};
use crate::wire::{
    AsyncLink, Ended, Event, Forward, FromWorker, Link, LinkError, NotStarted, Place, Refusal, Start, Target, ToWorker,
};

/// Most bytes of one read from a program.
const MOST_AT_ONCE: usize = 32 * 1024;
/// Input that may wait for a program that does not read. Beyond it its window is kept almost shut; see [`super::windows`].
const MUCH_INPUT: usize = 4 * 1024 * 1024;
/// What no client can have sent that keeps to its windows, but for one that sends two bytes at a time for hours.
const TOO_MUCH_INPUT: usize = 64 * 1024 * 1024;
/// Small pieces of input are put together to this size.
const PIECE: usize = 64 * 1024;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock belongs to a process that is being aborted.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the channel of a program is written to.
pub(super) trait Sink: Clone + Send + Sync + 'static {
    /// Output, or errors; says whether the channel is still there.
    fn send(&self, bytes: Bytes, is_error: bool) -> impl Future<Output = bool> + Send;
    /// The last words: how the program ended, and that nothing follows.
    fn finish(&self, how: Ended) -> impl Future<Output = ()> + Send;
}

// -- the worker ---------------------------------------------------------------------------------------------------------

/// The connection to the worker of the principal's cell.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    link: AsyncLink,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u32,
    starting: HashMap<u32, oneshot::Sender<Result<Vec<OwnedFd>, NotStarted>>>,
    running: HashMap<u32, oneshot::Sender<Ended>>,
    forwards: Answers,
    is_gone: bool,
}

/// A program that was asked for.
pub(super) struct Asked {
    number: u32,
    started: oneshot::Receiver<Result<Vec<OwnedFd>, NotStarted>>,
    ended: oneshot::Receiver<Ended>,
}

impl Worker {
    /// Takes over the channel and listens to it for as long as it lasts. A runtime must be running.
    pub(super) fn new(channel: OwnedFd) -> std::io::Result<Worker> {
        let link = AsyncLink::new(Link::from_fd(channel))?;
        let worker = Worker { shared: Arc::new(Shared { link, state: Mutex::default() }) };
        let listener = worker.clone();
        tokio::spawn(async move { listener.listen().await });
        Ok(worker)
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&self) -> bool {
        lock(&self.shared.state).is_gone
    }

    async fn listen(&self) {
        while let Ok(received) = self.shared.link.recv::<FromWorker>().await {
            let mut state = lock(&self.shared.state);
            match received.message {
                FromWorker::Started { number } => {
                    let fds = received.fd.into_iter().chain(received.more).collect();
                    answer(state.starting.remove(&number), Ok(fds));
                }
                FromWorker::Failed { number, why } => answer(state.starting.remove(&number), Err(why)),
                FromWorker::Forward { number, what } => state.forwards.heard(number, what, received.fd),
                FromWorker::Ended { number, how } => answer(state.running.remove(&number), how),
            }
        }
        let mut state = lock(&self.shared.state);
        // Whoever waits sees the other end go.
        *state = State { is_gone: true, ..State::default() };
    }

    /// Asks for a program.
    pub(super) async fn start(&self, start: Start) -> Result<Asked, LinkError> {
        let ((to_start, started), (to_end, ended)) = (oneshot::channel(), oneshot::channel());
        let number = {
            let mut state = lock(&self.shared.state);
            let number = state.next;
            state.next = state.next.wrapping_add(1);
            state.starting.insert(number, to_start);
            state.running.insert(number, to_end);
            number
        };
        self.shared.link.send(&ToWorker::Start { number, start: Box::new(start) }).await?;
        Ok(Asked { number, started, ended })
    }

    /// Asks for a connection, and waits for what becomes of it.
    pub(super) async fn connect(&self, target: Target) -> Result<OwnedFd, Refusal> {
        let (number, answered) = {
            let mut state = lock(&self.shared.state);
            let number = state.next;
            state.next = state.next.wrapping_add(1);
            (number, state.forwards.expect(number))
        };
        match self.ask(number, Forward::Connect(target), answered).await? {
            Made::Connected(socket) => Ok(socket),
            Made::Listening(_) => Err(Refusal::failed("the cell of this login makes no sense; ask the operator")),
        }
    }

    /// Asks for a place to be listened on. Answers with the number of it, its port, and those who connect.
    pub(super) async fn listen_on(&self, place: Place) -> Result<(u32, u16, mpsc::Receiver<Accepted>), Refusal> {
        let (number, (answered, accepted)) = {
            let mut state = lock(&self.shared.state);
            let number = state.next;
            state.next = state.next.wrapping_add(1);
            (number, state.forwards.expect_many(number))
        };
        match self.ask(number, Forward::Listen(place), answered).await {
            Ok(Made::Listening(port)) => Ok((number, port, accepted)),
            Ok(Made::Connected(_)) => Err(Refusal::failed("the cell of this login makes no sense; ask the operator")),
            Err(refusal) => {
                lock(&self.shared.state).forwards.forget(number);
                Err(refusal)
            }
        }
    }

    /// Listens no more.
    pub(super) async fn listen_no_more(&self, number: u32) {
        lock(&self.shared.state).forwards.forget(number);
        self.say(ToWorker::Forward { number, what: Forward::End }).await;
    }

    async fn ask(&self, number: u32, what: Forward, answered: oneshot::Receiver<Answer>) -> Answer {
        let gone = |_| Refusal::failed("the cell of this login has ended; try again");
        self.shared.link.send(&ToWorker::Forward { number, what }).await.map_err(|e| gone(e.to_string()))?;
        answered.await.map_err(|e| gone(e.to_string()))?
    }

    /// Says something about a program; a worker that is gone needs to hear nothing.
    pub(super) async fn say(&self, message: ToWorker) {
        drop(self.shared.link.send(&message).await);
    }
}

fn answer<T>(to: Option<oneshot::Sender<T>>, value: T) {
    // A channel that was closed meanwhile does not listen any more.
    drop(to.map(|to| to.send(value)));
}

impl Asked {
    /// The worker's number for it.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

// -- input ----------------------------------------------------------------------------------------------------------------

/// What a client sends to a program, on its way.
#[derive(Debug, Default)]
pub(super) struct Input {
    waiting: Mutex<Waiting>,
    came: Notify,
    /// What waits in this and in others that are counted with it.
    piled: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Waiting {
    parts: VecDeque<Vec<u8>>,
    bytes: usize,
    is_all: bool,
}

impl Input {
    /// One that is counted together with others.
    pub(super) fn counted(piled: Arc<AtomicUsize>) -> Input {
        Input { piled, ..Input::default() }
    }

    /// Adds what came, which must not wait for anything: the callback that brings it holds up the whole connection. Says
    /// whether there was room.
    pub(super) fn push(&self, bytes: &[u8]) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.is_all {
            return true;
        }
        if waiting.bytes + bytes.len() > TOO_MUCH_INPUT {
            return false;
        }
        waiting.bytes += bytes.len();
        self.piled.fetch_add(bytes.len(), Ordering::Relaxed);
        match waiting.parts.back_mut() {
            Some(last) if last.len() + bytes.len() <= PIECE => last.extend_from_slice(bytes),
            _ => waiting.parts.push_back(bytes.to_vec()),
        }
        drop(waiting);
        self.came.notify_one();
        true
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiting).bytes
    }

    /// Whether more waits than should.
    pub(super) fn is_full(&self) -> bool {
        self.waiting() > MUCH_INPUT
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        lock(&self.waiting).is_all = true;
        self.came.notify_one();
    }

    /// Nobody reads any more.
    pub(super) fn discard(&self) {
        let mut waiting = lock(&self.waiting);
        self.piled.fetch_sub(waiting.bytes, Ordering::Relaxed);
        *waiting = Waiting { is_all: true, ..Waiting::default() };
    }

    async fn next(&self) -> Option<Vec<u8>> {
        loop {
            let came = self.came.notified();
            {
                let mut waiting = lock(&self.waiting);
                if let Some(part) = waiting.parts.pop_front() {
                    waiting.bytes -= part.len();
                    self.piled.fetch_sub(part.len(), Ordering::Relaxed);
                    return Some(part);
                }
                if waiting.is_all {
                    return None;
                }
            }
            came.await;
        }
    }
}

// -- a program on a channel -------------------------------------------------------------------------------------------------

/// A program and its channel.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) number: u32,
    pub(super) worker: Worker,
    pub(super) input: Arc<Input>,
    pub(super) window: Arc<Window>,
    /// Whether its client may send it signals.
    pub(super) takes_signals: bool,
    /// Whether it has ended and its channel was closed from our side.
    pub(super) is_done: Arc<AtomicBool>,
    /// How fast its streams may be.
    pub(super) traffic: Traffic,
}

impl Program {
    /// Whether nothing of it is left to be served.
    pub(super) fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Relaxed)
    }
}

/// Connects a program with its channel, until both are done. What it has written into the user's own keys is known before the
/// client hears that it has ended.
pub(super) async fn relay(
    asked: Asked,
    program: Program,
    has_terminal: bool,
    sink: impl Sink,
    auditor: MonitorLink,
    ledger: Ledger,
    own_keys: Option<OwnKeys>,
) {
    let how = match asked.started.await {
        Ok(Ok(descriptors)) => match Streams::of(descriptors, has_terminal) {
            Ok(streams) => run(streams, asked.ended, &program, has_terminal, &sink).await,
            Err(error) => complain(&sink, &format!("the program's streams are of no use: {error}"), NO_PROGRAM).await,
        },
        Ok(Err(NotStarted { sentence, status })) => {
            auditor.report(Event::Refused { what: "a program".to_owned(), why: sentence.clone() }).await;
            complain(&sink, &sentence, status).await
        }
        Err(_) => complain(&sink, "your programs were ended", NO_PROGRAM).await,
    };
    program.input.discard();
    ledger.note(Deed::Ended { number: program.number, how: finish(&how) });
    if let Some(own_keys) = own_keys {
        own_keys.look().await;
    }
    sink.finish(how).await;
    program.is_done.store(true, Ordering::Relaxed);
}

/// How it ended, for the audit trail.
fn finish(how: &Ended) -> Finish {
    match how {
        Ended::Exit(status) => Finish::Exit(*status),
        Ended::Signal { name, .. } => Finish::Signal(PeerText::new(name.as_bytes())),
    }
}

/// The exit status where there was no program to have one.
const NO_PROGRAM: u8 = 255;

async fn complain(sink: &impl Sink, sentence: &str, status: u8) -> Ended {
    sink.send(Bytes::from(format!("{sentence}\r\n")), true).await;
    Ended::Exit(status)
}

struct Streams {
    input: AsyncFd<OwnedFd>,
    output: AsyncFd<OwnedFd>,
    errors: Option<AsyncFd<OwnedFd>>,
}

impl Streams {
    fn of(descriptors: Vec<OwnedFd>, has_terminal: bool) -> std::io::Result<Streams> {
        let mut all = descriptors.into_iter();
        let mut next = || all.next().ok_or(std::io::Error::from(std::io::ErrorKind::InvalidData));
        let first = next()?;
        if has_terminal {
            let input = ready(first.try_clone()?, Interest::WRITABLE)?;
            return Ok(Streams { input, output: ready(first, Interest::READABLE)?, errors: None });
        }
        let (output, errors) = (next()?, next()?);
        Ok(Streams {
            input: ready(first, Interest::WRITABLE)?,
            output: ready(output, Interest::READABLE)?,
            errors: Some(ready(errors, Interest::READABLE)?),
        })
    }
}

/// A descriptor for the runtime.
pub(super) fn ready(fd: OwnedFd, interest: Interest) -> std::io::Result<AsyncFd<OwnedFd>> {
    crate::wire::set_nonblocking(&fd)?;
    #[expect(deprecated, reason = "made for types that may change their descriptor; an OwnedFd does not")]
    AsyncFd::with_interest(fd, interest)
}

async fn run(
    streams: Streams,
    mut ended: oneshot::Receiver<Ended>,
    program: &Program,
    has_terminal: bool,
    sink: &impl Sink,
) -> Ended {
    let Streams { input, output, errors } = streams;
    let (waiting, traffic) = (program.input.clone(), program.traffic.clone());
    let feeding = tokio::spawn(async move { feed(&input, &waiting, &traffic).await });
    let (end, has_ended) = watch::channel(false);
    let last = if has_terminal { LastOutput::of_terminal(has_ended) } else { LastOutput::of_pipe() };
    let out = drain(output, program, sink, false, last);
    let err = async {
        if let Some(errors) = errors {
            drain(errors, program, sink, true, LastOutput::of_pipe()).await;
        }
    };
    let both = async { tokio::join!(out, err) };
    tokio::pin!(both);
    let how = tokio::select! {
        _ = &mut both => ended.await.ok(),
        how = &mut ended => {
            end.send_replace(true);
            (&mut both).await;
            how.ok()
        }
    };
    feeding.abort();
    how.unwrap_or(Ended::Signal { name: "KILL".to_owned(), core: false })
}

/// Carries a program's output to the channel, until its end or the channel's. It owns the stream: a program that still
/// writes when the client is gone is to find nobody there (SIGPIPE).
async fn drain(from: AsyncFd<OwnedFd>, program: &Program, sink: &impl Sink, is_error: bool, mut last: LastOutput) {
    let Program { window, traffic, .. } = program;
    loop {
        let Some(mut guard) = last.more(&from).await else { return };
        let Some(room) = window.take(traffic.at_once(MOST_AT_ONCE)).await else { return };
        let mut bytes = vec![0; room];
        let got = guard.try_io(|fd| crate::wire::read(fd.as_fd(), &mut bytes));
        let got = match got {
            // Not ready after all.
            Err(_) => {
                window.put_back(room);
                continue;
            }
            // A terminal whose program is gone says EIO.
            Ok(Err(_) | Ok(0)) => {
                window.put_back(room);
                return;
            }
            Ok(Ok(got)) => got,
        };
        bytes.truncate(got);
        last.took(got);
        window.put_back(room - got);
        traffic.down(got).await;
        if !sink.send(window.counted(bytes.into()), is_error).await {
            return;
        }
    }
}

/// Carries what the client sends to a program or a socket, until it is all.
pub(super) async fn feed(to: &AsyncFd<OwnedFd>, input: &Input, traffic: &Traffic) {
    while let Some(part) = input.next().await {
        for piece in part.chunks(traffic.at_once(PIECE)) {
            traffic.up(piece.len()).await;
            if !write_all(to, piece).await {
                return input.discard();
            }
        }
    }
}

/// Says whether somebody reads it.
async fn write_all(to: &AsyncFd<OwnedFd>, mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Ok(mut guard) = to.writable().await else { return false };
        match guard.try_io(|fd| crate::wire::write(fd.as_fd(), rest)) {
            Err(_) => {}
            Ok(Ok(done)) => rest = rest.get(done..).unwrap_or_default(),
            Ok(Err(_)) => return false,
        }
    }
    true
}
