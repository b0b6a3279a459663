//! The first process of a shell cell: starts programs and tells how they ended.
//!
//! Owns: the programs of one principal. Runs in: a cell, as its process 1, with nothing of the node but a channel to the
//! monitor. Trusts nobody: the user's programs have the same id and may trace it, so it holds no secret, and what it says
//! of them is no more than they could say themselves. When the monitor is gone it ends, and the kernel ends all that is
//! in the cell with it.

mod connect;
mod environment;
mod forwards;
mod listen;
mod modes;
mod permission;
mod probe;
mod skel;
mod start;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions};

pub use environment::User;
use forwards::{Forwards, Listening};
pub use probe::{Bait, probe};
use start::Started;

use crate::wire::{Ended, FromCell, FromWorker, Link, LinkError, NotStarted, Size, Start, ToWorker, WorkerOrder};

/// Sessions that one principal may have in a cell; the monitor limits them earlier.
const MOST_SESSIONS: usize = 256;
/// Programs that one session may have started and not seen the end of.
const MOST_PROGRAMS: usize = 64;

/// Why the worker ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("{step}")]
    System {
        /// What for.
        step: &'static str,
        /// What it said.
        source: Errno,
    },
    /// The monitor says what makes no sense.
    #[error("talk to the monitor")]
    Link(#[from] LinkError),
}

pub(crate) fn system(step: &'static str) -> impl Fn(Errno) -> Error {
    move |source| Error::System { step, source }
}

/// A program that runs.
#[derive(Debug)]
struct Running {
    session: u64,
    number: u32,
    /// The terminal's own side, kept for its size.
    terminal: Option<OwnedFd>,
}

/// What there is to be read.
struct Ready {
    monitor: bool,
    signals: bool,
    sessions: Vec<u64>,
    listening: Vec<Listening>,
}

/// The worker's whole state.
struct Worker {
    user: User,
    monitor: Link,
    signals: SignalFd,
    sessions: HashMap<u64, Link>,
    next_session: u64,
    programs: HashMap<Pid, Running>,
    forwards: Forwards,
    /// Whether nobody is to come who is known of.
    lingers: bool,
}

/// Serves until the monitor is gone.
pub fn serve(monitor: Link, user: User) -> ExitCode {
    match Worker::new(monitor, user).and_then(|mut worker| worker.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What an error means, for whoever reads a sentence: its number says nothing to them.
fn reason(errno: Errno) -> &'static str {
    nix::errno::Errno::from_raw(errno.raw_os_error()).desc()
}

fn errno(errno: nix::Error) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}

impl Worker {
    fn new(monitor: Link, user: User) -> Result<Worker, Error> {
        let mut wanted = SigSet::empty();
        wanted.add(Signal::SIGCHLD);
        wanted.thread_block().map_err(errno).map_err(system("take the signals"))?;
        let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        let signals = signals.map_err(errno).map_err(system("take the signals"))?;
        monitor.send(&FromCell::Ready, None)?;
        Ok(Worker {
            user,
            monitor,
            signals,
            sessions: HashMap::new(),
            next_session: 0,
            programs: HashMap::new(),
            forwards: Forwards::default(),
            lingers: false,
        })
    }

    fn run(&mut self) -> Result<(), Error> {
        loop {
            let Ready { monitor, signals, sessions, listening } = self.wait()?;
            if monitor && !self.hear_monitor()? {
                return Ok(());
            }
            if signals {
                self.reap()?;
            }
            for session in sessions {
                self.hear_session(session);
            }
            for one in listening {
                self.accept(one);
            }
            if self.lingers && self.sessions.is_empty() && !has_programs()? {
                return Ok(());
            }
        }
    }

    /// Waits; says what there is to be read.
    fn wait(&self) -> Result<Ready, Error> {
        let numbers: Vec<u64> = self.sessions.keys().copied().collect();
        let links = numbers.iter().filter_map(|n| self.sessions.get(n)).map(AsFd::as_fd);
        let (places, sockets): (Vec<Listening>, Vec<BorrowedFd<'_>>) = self.forwards.sockets().unzip();
        let own = [self.monitor.as_fd(), self.signals.as_fd()];
        let all: Vec<BorrowedFd<'_>> = own.into_iter().chain(links).chain(sockets).collect();
        let mut polled: Vec<PollFd<'_>> = all.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None)).map_err(system("wait"))?;
        let mut ready = polled.iter().map(|p| !p.revents().is_empty());
        let (monitor, signals) = (ready.next().unwrap_or(false), ready.next().unwrap_or(false));
        let sessions = numbers.iter().zip(ready.by_ref()).filter_map(|(n, ready)| ready.then_some(*n)).collect();
        let listening = places.iter().zip(ready).filter_map(|(place, ready)| ready.then_some(*place)).collect();
        Ok(Ready { monitor, signals, sessions, listening })
    }

    /// Says whether the monitor is still there.
    fn hear_monitor(&mut self) -> Result<bool, Error> {
        match self.monitor.try_recv::<WorkerOrder>() {
            Ok(order) => {
                self.lingers = matches!(order.message, WorkerOrder::Linger);
                let may_join = matches!(order.message, WorkerOrder::Join) && self.sessions.len() < MOST_SESSIONS;
                if let (Some(channel), true) = (order.fd, may_join) {
                    self.sessions.insert(self.next_session, Link::from_fd(channel));
                    self.next_session += 1;
                }
                Ok(true)
            }
            Err(LinkError::NotReady) => Ok(true),
            Err(LinkError::Gone) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A session that is gone, or breaks the rules, is forgotten; its programs see their terminals and pipes close.
    fn hear_session(&mut self, session: u64) {
        let Some(link) = self.sessions.get(&session) else { return };
        match link.try_recv::<ToWorker>() {
            Ok(asked) => self.answer(session, asked.message),
            Err(LinkError::NotReady) => {}
            Err(_) => self.forget(session),
        }
    }

    fn forget(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.forwards.forget(session);
        let own = |running: &Running| running.session == session;
        for running in self.programs.values_mut().filter(|r| own(r)) {
            running.terminal = None;
        }
    }

    fn answer(&mut self, session: u64, asked: ToWorker) {
        match asked {
            ToWorker::Start { number, start } => self.start(session, number, &start),
            ToWorker::Resize { number, size } => self.resize(session, number, size),
            ToWorker::Signal { number, name } => self.signal(session, number, &name),
            ToWorker::Forward { number, what } => self.forward(session, number, &what),
            ToWorker::HangUp { number } => self.hang_up(session, number),
        }
    }

    fn start(&mut self, session: u64, number: u32, start: &Start) {
        let running = self.programs.values().filter(|r| r.session == session).count();
        let started = match running {
            count if count >= MOST_PROGRAMS => {
                let sentence = "too many programs of this connection run at the same time: end one first".to_owned();
                Err(NotStarted { sentence, status: 255 })
            }
            _ => start::start(&self.user, start, self.forwards.agent(session)),
        };
        match started {
            Ok(Started { pid, descriptors, terminal }) => {
                let fds: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
                let told = self.sessions.get(&session).map(|l| l.try_send_with(&FromWorker::Started { number }, &fds));
                self.programs.insert(pid, Running { session, number, terminal });
                if !matches!(told, Some(Ok(()))) {
                    self.forget(session);
                }
            }
            Err(why) => self.tell(session, &FromWorker::Failed { number, why }),
        }
    }

    fn tell(&mut self, session: u64, message: &FromWorker) {
        if !matches!(self.sessions.get(&session).map(|l| l.try_send(message, None)), Some(Ok(()))) {
            self.forget(session);
        }
    }

    fn find(&self, session: u64, number: u32) -> Option<(Pid, &Running)> {
        let mut all = self.programs.iter();
        all.find(|(_, r)| r.session == session && r.number == number).map(|(pid, running)| (*pid, running))
    }

    fn resize(&self, session: u64, number: u32, size: Size) {
        if let Some((_, Running { terminal: Some(terminal), .. })) = self.find(session, number)
            && let Err(errno) = modes::resize(terminal, size)
        {
            tracing::debug!(%errno, "a terminal keeps its size");
        }
    }

    /// The client has closed the channel. On a terminal that is the end of the line; without one a program goes on, as with
    /// OpenSSH, and finds its streams closed: deploy tools look for what they gave up on, and end it themselves.
    fn hang_up(&self, session: u64, number: u32) {
        if let Some((_, Running { terminal: Some(_), .. })) = self.find(session, number) {
            self.signal(session, number, "HUP");
        }
    }

    /// To the process group that the program leads, or to the program alone while it has not made one yet.
    fn signal(&self, session: u64, number: u32, name: &str) {
        let (Some((pid, _)), Some(signal)) = (self.find(session, number), start::signal(name)) else { return };
        let sent = match rustix::process::kill_process_group(pid, signal) {
            Err(Errno::SRCH) => rustix::process::kill_process(pid, signal),
            sent => sent,
        };
        if let Err(errno) = sent {
            tracing::debug!(%errno, "a program could not be signalled");
        }
    }

    /// Takes the exit status of everything that has ended; as process 1 also of what others have left behind.
    fn reap(&mut self) -> Result<(), Error> {
        while self.signals.read_signal().map_err(errno).map_err(system("read the signals"))?.is_some() {}
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if self.has_connected(pid, status) {
                        continue;
                    }
                    if let Some(Running { session, number, .. }) = self.programs.remove(&pid) {
                        let how = ended(status);
                        self.tell(session, &FromWorker::Ended { number, how });
                    }
                }
                Ok(None) | Err(Errno::CHILD) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(system("wait for programs")(errno)),
            }
        }
    }
}

/// Whether something runs in the cell: as process 1 this one is the parent of whatever has lost its own.
fn has_programs() -> Result<bool, Error> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match rustix::process::waitid(WaitId::All, options) {
        Ok(_) => Ok(true),
        Err(Errno::CHILD) => Ok(false),
        Err(errno) => Err(system("look for programs")(errno)),
    }
}

fn ended(status: rustix::process::WaitStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exit(u8::try_from(code).unwrap_or(255)),
        (_, Some(signal)) => Ended::Signal { name: start::name_of(signal), core: status.as_raw() & 0x80 != 0 },
        _ => Ended::Exit(255),
    }
}
