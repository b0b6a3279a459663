//! The monitor: the one process with power over the host. Small, one thread, no runtime; read it in an hour.
//!
//! Owns: the listening sockets, every capability, the zygote, control, the attach helpers, and the life and death of
//! sessions. Runs in: the process that was started, and (see [`zygote`]) the zygote it forks.
//! Trusts: its settings, and the facts that control answers with. It reads no byte from the network, and parses no SSH,
//! SFTP, SQL or HTTP: an accepted socket goes unread to a session, and what a session may ask is a table
//! ([`sessions::Phase::permits`]).
//!
//! Nothing here may panic, and nothing may wait: whatever can block (a path on a dead filesystem, a password to be
//! judged) is done by another process.

mod admission;
mod attaching;
mod cells;
mod children;
mod ids;
mod keeping;
mod leaving;
mod lingering;
mod listeners;
mod login;
mod node;
mod offences;
mod poll;
mod proxied;
mod renewing;
mod seats;
mod sessions;
mod shares;
mod shells;
mod stopping;
mod trail;
mod trial;
mod zygote;

pub use listeners::{Inherited, ToKeep};
pub use shells::{PROBE, WORKER};
pub use trial::user::UserReport;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use crate::cell::groups::Groups;
use crate::cell::{self, Privilege};
use crate::config::{self, MonitorSettings};
use crate::domain::{Facts, Layer, LayerReport};
use crate::wire::{Link, LinkError, Post};

/// What runs in each session, made once in the zygote: host keys loaded, buffers ready.
pub type SessionMain = Box<dyn Fn(Link) -> ExitCode>;

/// The rooms that the monitor forks but may not know.
pub struct Roles<'a> {
    /// Runs control until its link is gone. Called in a process without privilege.
    pub control: &'a dyn Fn(Link, Post) -> ExitCode,
    /// Prepares what all sessions share. Called in the zygote, while files of the host can still be opened. The text
    /// of an error says what to do.
    pub sessions: &'a dyn Fn() -> Result<SessionMain, String>,
}

/// What a node that has started can say of itself.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Whether it runs as an ordinary user.
    pub rootless: bool,
    /// Which layers of its cells hold.
    pub layers: Vec<LayerReport>,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
}

/// Why a node cannot start or go on. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to listen on.
    #[error("no address to listen on; set `listen` in the configuration")]
    NoAddress,
    /// An address is taken or not ours.
    #[error("cannot listen on {address}: {}", advice(*source))]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the kernel answered.
        source: Errno,
    },
    /// A socket came from outside that is not to be listened on.
    #[error(
        "a socket for {address} was handed over that `listen` does not name; add it there, or take it out of the socket unit"
    )]
    Unnamed {
        /// Its address.
        address: SocketAddr,
    },
    /// Every id of the range belongs to some process.
    #[error(
        "all user ids of this node are taken, by an earlier process whose sessions are not finished; widen `ids`, or end those"
    )]
    NoIds,
    /// A layer that the configuration requires does not hold.
    #[error("the layer {layer} is required but does not hold on this host: {why}")]
    Required {
        /// Which.
        layer: Layer,
        /// Why not.
        why: String,
    },
    /// Something in this process goes on beside us.
    #[error("this process has threads that do not end, so nothing can be forked safely; please report this")]
    Threads,
    /// A process could not be forked.
    #[error("fork a process")]
    Fork {
        /// What the kernel answered.
        source: Errno,
    },
    /// A cell could not be built.
    #[error(transparent)]
    Cell(#[from] cell::Error),
    /// Our processes cannot talk to one another.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A system call of the monitor itself failed.
    #[error("{step}")]
    System {
        /// What it was for.
        step: &'static str,
        /// What the kernel answered.
        source: Errno,
    },
    /// A role ended before it was ready.
    #[error("{role} could not start; its reason is in the log above")]
    NotReady {
        /// Which.
        role: &'static str,
    },
}

fn advice(errno: Errno) -> String {
    match errno {
        Errno::ADDRINUSE => "another program listens there; stop it or choose another port in `listen`".to_owned(),
        Errno::ACCESS => "ports below 1024 need root; choose another port in `listen`, or run as root".to_owned(),
        Errno::ADDRNOTAVAIL => "this host has no such address; correct `listen`".to_owned(),
        errno => errno.to_string(),
    }
}

fn system(step: &'static str) -> impl Fn(Errno) -> Error {
    move |source| Error::System { step, source }
}

/// Serves until SIGTERM or SIGINT, or until the service is left to another process (see [`leaving`]). `inherited` are
/// sockets that the service manager has kept. `on_ready` is called once, when the first connection may come.
pub fn run(
    settings: &config::Node,
    roles: Roles<'_>,
    inherited: Vec<Inherited>,
    on_ready: &mut dyn FnMut(&Ready, &[ToKeep<'_>]),
) -> Result<(), Error> {
    await_single_thread()?;
    let listeners = listeners::open(&settings.monitor.listen, inherited)?;
    take_all_descriptors()?;
    let privilege = Privilege::establish()?;
    let mark = mark(&settings.monitor)?;
    let (groups, limits) = Groups::prepare(settings.monitor.control_group.as_deref(), &mark);
    let mut layers = trial::layers(privilege, &settings.monitor, &limits)?;
    // It takes a second template; a start does without unless it is asked.
    if settings.monitor.require.contains(&Layer::Programs) {
        layers.push(trial::programs::report(privilege, &settings.monitor)?);
    }
    refuse_missing(&layers, &settings.monitor.require)?;
    cell::keep_for_monitor()?;
    let ready =
        Ready { rootless: privilege != Privilege::Root, layers, listen: listeners.iter().map(|l| l.address).collect() };
    node::Node::start(&settings.monitor, roles, privilege, listeners, groups)?
        .serve(&mut |sockets| on_ready(&ready, sockets))
}

/// What an examination of the host has found.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Which layers hold.
    pub layers: Vec<LayerReport>,
    /// What was found of the user that was asked for.
    pub user: Option<UserReport>,
}

/// Builds cells, attacks them from inside, and says which layers hold; of a user, what its grants come to here.
pub fn doctor(settings: &config::Node, user: Option<&Facts>) -> Result<Examined, Error> {
    await_single_thread()?;
    let privilege = Privilege::establish()?;
    // Not by the name of the node, whose cells may be in use.
    let mark = format!("enclos-doctor-{}", std::process::id());
    let (mut groups, limits) = Groups::prepare(settings.monitor.control_group.as_deref(), &mark);
    let found = trial::layers(privilege, &settings.monitor, &limits);
    groups.remove_all().map_err(cell::Error::from)?;
    let mut layers = found?;
    layers.push(trial::programs::report(privilege, &settings.monitor)?);
    let user = user.map(|facts| trial::user::examine(privilege, &settings.monitor, facts)).transpose()?;
    Ok(Examined { layers, user })
}

/// What this node calls its part of the control groups: the same at each start, and no other node's.
fn mark(settings: &MonitorSettings) -> Result<String, Error> {
    let stat = rustix::fs::stat(&settings.paths.state).map_err(system("look at the state directory"))?;
    Ok(format!("enclos-{:x}-{:x}", stat.st_dev, stat.st_ino))
}

/// Everything here forks, and `unshare` of users asks for it too: this process must have one thread. What ran before, the
/// database of `quickstart` above all, ends its threads a moment after it is done with them; they are waited for.
fn await_single_thread() -> Result<(), Error> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let threads = std::fs::read_dir("/proc/self/task").map_err(|e| Error::System {
            step: "count the threads of this process (is /proc mounted?)",
            source: Errno::from_io_error(&e).unwrap_or(Errno::IO),
        })?;
        match threads.count() {
            1 => return Ok(()),
            _ if Instant::now() > deadline => return Err(Error::Threads),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Takes as many descriptors as this process may have. There are three for each connection; and the kernel holds those that
/// are under way between all processes of a user against the sender's own limit, so that a cell of an ordinary user's node
/// could keep the monitor from sending any while its limit was the lower one.
fn take_all_descriptors() -> Result<(), Error> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .map_err(system("take more descriptors"))
}

fn refuse_missing(layers: &[LayerReport], required: &[Layer]) -> Result<(), Error> {
    let missing = layers.iter().find(|l| required.contains(&l.layer) && l.missing.is_some());
    match missing {
        Some(LayerReport { layer, missing: Some(why) }) => Err(Error::Required { layer: *layer, why: why.clone() }),
        _ => Ok(()),
    }
}
