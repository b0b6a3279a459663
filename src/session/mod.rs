//! One connection's process: SSH on one side, the monitor on the other, and files in between.
//!
//! Owns: the connection, the host keys, and after login exactly what was attached at `/view`. Runs in: sessions; what
//! all of them share ([`Prepared`]) is made in the zygote. Trusts: the monitor. Of the client it believes nothing but
//! the signature that russh verified (RFC 4252, section 7), and reports it as a claim.
//!
//! The process is born without a file, a capability or a network; see [`crate::cell`]. It ends with its connection.

mod asked;
mod channels;
mod forwards;
mod greeting;
mod host_keys;
mod invitation;
mod last_output;
mod ledger;
mod login;
mod monitor_link;
mod own_keys;
mod programs;
mod proxy_header;
mod sftp_channel;
mod surroundings;
mod traffic;
mod transport;
mod window;
mod windows;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::cell;
use crate::config::SessionSettings;
use crate::domain::Mode;
use crate::wire::{EndReason, Event, FromSession, HeaderRule, Heading, Link, LinkError, Notice, ToSession};

pub use host_keys::HostKeyError;
use ledger::Ledger;
use monitor_link::MonitorLink;
pub use proxy_header::try_parse as parse_proxy_header;
use transport::Transport;

/// How long a connection that was told goodbye may take to hang up.
const FAREWELL: Duration = Duration::from_millis(250);
/// How long the audit trail of a connection that has ended may take to be passed on.
const LAST_DEEDS: Duration = Duration::from_secs(2);
/// A client that has done nothing for this long gets the memory of its last burst taken away.
const QUIET: Duration = Duration::from_secs(2);

/// Why a session ended other than by its client or the monitor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host keys could not be loaded.
    #[error(transparent)]
    HostKeys(#[from] HostKeyError),
    /// The monitor said something that makes no sense here, or died during a login.
    #[error("talk to the monitor")]
    Monitor(#[from] LinkError),
    /// The view could not be closed behind its grants.
    #[error(transparent)]
    Confine(#[from] cell::Error),
    /// The system gave no random numbers.
    #[error("get random numbers from the system: {0}")]
    Random(String),
    /// The warm-up of the zygote failed: no session would fare better.
    #[error("shake hands with ourselves: {0}")]
    WarmUp(String),
    /// The runtime could not be started.
    #[error("start the runtime")]
    Runtime(#[source] std::io::Error),
    /// The SSH connection failed or broke a rule.
    #[error("ssh")]
    Ssh(#[from] transport::SshError),
}

/// The same where nobody has logged in: an attempt that is being answered comes first, and every refusal takes its time.
const LONG_FAREWELL: Duration = Duration::from_millis(900);

fn farewell(reason: EndReason) -> Duration {
    match reason {
        EndReason::HeldBack | EndReason::Banned | EndReason::TooSlow => LONG_FAREWELL,
        _ => FAREWELL,
    }
}

/// Closes the process over what was attached: names beneath `/view` with their rights.
pub type Confine = fn(&[(String, Mode)]) -> Result<(), cell::Error>;

/// What all sessions of a node share. Made once, while files of the host can be read.
#[derive(Debug)]
pub struct Prepared {
    transport: Transport,
    umask: u32,
    view: PathBuf,
    confine: Confine,
}

/// Loads the host keys from `keys` and sets up the SSH library.
pub fn prepare(settings: &SessionSettings, keys: &Path) -> Result<Prepared, Error> {
    let transport = Transport::new(settings, host_keys::load(keys)?);
    transport.warm_up()?;
    Ok(Prepared { transport, umask: settings.umask, view: cell::VIEW.into(), confine: cell::confine_to_view })
}

/// Whether the host keys could be loaded: so that a mistake is told before anything is started.
pub fn check_host_keys(keys: &Path) -> Result<(), Error> {
    host_keys::load(keys)?;
    Ok(())
}

impl Prepared {
    /// The same without confinement and with another view, for tests that run in an ordinary process.
    pub fn unconfined(self, view: PathBuf) -> Prepared {
        Prepared { view, confine: |_| Ok(()), ..self }
    }

    /// The whole life of a session: wait for a connection, serve it, end.
    pub fn serve(&self, link: Link) -> Result<(), Error> {
        // Whatever random numbers the zygote or its parents ever drew: this process draws others than its siblings.
        rand::rng().reseed().map_err(|e| Error::Random(e.to_string()))?;
        link.send(&FromSession::Ready, None)?;
        let Some((connection, link)) = await_connection(link)? else { return Ok(()) };
        // One thread: the pool of unborn sessions costs a fork each, and no lock is ever shared.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
        let ledger = Ledger::default();
        let served = runtime.block_on(self.serve_connection(connection, link, &ledger));
        runtime.shutdown_background();
        // Files that were open are closed by now.
        ledger.last_words();
        served
    }

    async fn serve_connection(&self, connection: Accepted, link: Link, ledger: &Ledger) -> Result<(), Error> {
        let monitor = MonitorLink::new(link).map_err(Error::Runtime)?;
        ledger.send_to(monitor.clone());
        report_panics(&monitor);
        let served = self.serve_client(connection, &monitor, ledger).await;
        monitor.say_goodbye();
        served
    }

    async fn serve_client(&self, connection: Accepted, monitor: &MonitorLink, ledger: &Ledger) -> Result<(), Error> {
        let Accepted { socket, notice, header } = connection;
        let mut stream = transport::connected(socket)?;
        let ends = match header {
            None => None,
            Some(rule) => match proxied(&mut stream, monitor, rule).await? {
                Proxied::In(ends) => ends,
                Proxied::Out => return Ok(()),
            },
        };
        let client = login::Client::new(monitor.clone(), self.view.clone(), self.umask, self.confine);
        let client = client.telling(notice).noting(ledger.clone());
        let (activity, traffic) = (client.activity(), client.traffic());
        let rested = traffic.rested();
        tokio::pin!(rested);
        let mut running = self.transport.begin(stream, ends, client).await?;
        loop {
            tokio::select! {
                ended = running.ended() => {
                    ledger.close(LAST_DEEDS).await;
                    return ended;
                }
                reason = monitor.told_to_end() => {
                    // The monitor gives it little more time than the farewell.
                    ledger.close(FAREWELL / 4).await;
                    let farewell = farewell(reason);
                    running.disconnect(reason.sentence(), farewell).await;
                    return tokio::time::timeout(farewell, running.ended()).await.unwrap_or(Ok(()));
                }
                () = &mut rested => {
                    monitor.say_idle().await;
                    ledger.close(LAST_DEEDS).await;
                    running.disconnect(EndReason::Idle.sentence(), FAREWELL).await;
                    return tokio::time::timeout(FAREWELL, running.ended()).await.unwrap_or(Ok(()));
                }
                () = activity.pause(QUIET) => running.give_back_memory(),
            }
        }
    }
}

/// What a session is given to serve.
struct Accepted {
    socket: OwnedFd,
    notice: Option<Notice>,
    header: Option<HeaderRule>,
}

/// Whether a connection that a balancer passes on may go on; with the addresses that its header names.
enum Proxied {
    In(Option<(SocketAddr, SocketAddr)>),
    Out,
}

/// Reads the PROXY header and has the monitor decide about the address in it.
async fn proxied(stream: &mut TcpStream, monitor: &MonitorLink, rule: HeaderRule) -> Result<Proxied, Error> {
    let asking = async {
        let header = proxy_header::read(stream, rule).await;
        let (heading, ends) = match header {
            Ok(header) => (header.heading(), header.ends()),
            Err(bad) => (Heading::Bad { what: bad.to_string() }, None),
        };
        (monitor.ask(&FromSession::Header(heading)).await, ends)
    };
    let (answer, ends) = tokio::select! {
        answered = asking => answered,
        // Nothing can be said to the client yet that it would understand.
        _ = monitor.told_to_end() => return Ok(Proxied::Out),
    };
    match answer? {
        ToSession::Admitted => Ok(Proxied::In(ends)),
        ToSession::TurnedAway { sentence } => {
            proxy_header::say(stream, &sentence, FAREWELL).await;
            Ok(Proxied::Out)
        }
        _ => Err(LinkError::Malformed.into()),
    }
}

/// A spare session waits here, with one descriptor and nobody's data.
fn await_connection(link: Link) -> Result<Option<(Accepted, Link)>, Error> {
    match link.recv::<ToSession>() {
        Ok(received) => match (received.message, received.fd) {
            (ToSession::Serve { notice, header, .. }, Some(socket)) => {
                Ok(Some((Accepted { socket, notice, header }, link)))
            }
            (ToSession::End(_), None) => Ok(None),
            _ => Err(LinkError::Malformed.into()),
        },
        Err(LinkError::Gone) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A panic ends the process (the release profile aborts); before that it says where.
fn report_panics(monitor: &MonitorLink) {
    let monitor = monitor.clone();
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map_or_else(|| "unknown".to_owned(), |l| format!("{}:{}", l.file(), l.line()));
        monitor.last_words(Event::Panicked { place });
        std::process::abort();
    }));
}
