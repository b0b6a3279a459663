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
mod last_output;
mod ledger;
mod login;
mod monitor_link;
mod programs;
mod sftp_channel;
mod surroundings;
mod transport;
mod windows;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cell;
use crate::config::SessionSettings;
use crate::domain::Mode;
use crate::wire::{Event, FromSession, Link, LinkError, Notice, ToSession};

pub use host_keys::HostKeyError;
use ledger::Ledger;
use monitor_link::MonitorLink;
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
        let Some((socket, link, notice)) = await_connection(link)? else { return Ok(()) };
        // One thread: the pool of unborn sessions costs a fork each, and no lock is ever shared.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
        let ledger = Ledger::default();
        let served = runtime.block_on(self.serve_connection(socket, link, notice, &ledger));
        runtime.shutdown_background();
        // Files that were open are closed by now.
        ledger.last_words();
        served
    }

    async fn serve_connection(
        &self,
        socket: OwnedFd,
        link: Link,
        notice: Option<Notice>,
        ledger: &Ledger,
    ) -> Result<(), Error> {
        let monitor = MonitorLink::new(link).map_err(Error::Runtime)?;
        ledger.send_to(monitor.clone());
        report_panics(&monitor);
        let client = login::Client::new(monitor.clone(), self.view.clone(), self.umask, self.confine);
        let client = client.telling(notice).noting(ledger.clone());
        let activity = client.activity();
        let mut running = self.transport.begin(socket, client).await?;
        loop {
            tokio::select! {
                ended = running.ended() => {
                    ledger.close(LAST_DEEDS).await;
                    return ended;
                }
                reason = monitor.told_to_end() => {
                    // The monitor gives it little more time than the farewell.
                    ledger.close(FAREWELL / 4).await;
                    running.disconnect(reason.sentence()).await;
                    return tokio::time::timeout(FAREWELL, running.ended()).await.unwrap_or(Ok(()));
                }
                () = activity.pause(QUIET) => cell::give_back_memory(),
            }
        }
    }
}

/// A spare session waits here, with one descriptor and nobody's data.
fn await_connection(link: Link) -> Result<Option<(OwnedFd, Link, Option<Notice>)>, Error> {
    match link.recv::<ToSession>() {
        Ok(received) => match (received.message, received.fd) {
            (ToSession::Serve { notice, .. }, Some(socket)) => Ok(Some((socket, link, notice))),
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
