//! Logging in: what a client shows becomes a claim, and the monitor's answer becomes access.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::ledger::Ledger;
use super::monitor_link::MonitorLink;
use super::own_keys::OwnKeys;
use super::programs::Worker;
use super::traffic::Traffic;
use super::{Confine, Error};
use crate::domain::{CertificateBlob, Claim, ClaimedName, Factors, KeyBlob, Proof, Secret, Welcome};
use crate::files::{self, Root};
use crate::wire::{Event, FromSession, Granted, LinkError, Notice, ToSession, Worth};

/// Keys that a client may offer without proof. Agents hold a dozen at most; OpenSSH's client stops long before.
const MOST_PROBES: u32 = 64;

/// Keys that are let sign in case they come with a certificate, and how often each: OpenSSH's client offers first the key and
/// then the certificate of `-i`, and the other way round what an agent has.
const MOST_UNCERTAIN: usize = 4;
const MOST_SIGNATURES: u8 = 3;

/// What a client that has logged in may do.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// Use what is attached.
    Granted(Box<Granted>),
    /// Nothing: the sentence says why, and is what every request is answered with.
    Nothing(String),
    /// Nothing but read this, and go.
    Invited(Box<Welcome>, String),
}

/// What a claim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The client is in.
    In,
    /// It was right, and more is to be shown.
    More,
    /// It was not.
    Out,
}

/// The client of this connection.
#[derive(Debug)]
pub(super) struct Client {
    monitor: MonitorLink,
    view: PathBuf,
    umask: u32,
    confine: Confine,
    notice: Option<Notice>,
    probes: u32,
    /// Keys that are worth a signature only with a certificate.
    uncertain: Vec<(KeyBlob, u8)>,
    /// For whom something was right, and what is left to be shown.
    left: Option<(ClaimedName, Factors)>,
    access: Option<Access>,
    root: OnceLock<Root>,
    worker: Option<Worker>,
    ledger: Ledger,
    own_keys: Option<OwnKeys>,
    activity: Activity,
    traffic: Traffic,
}

impl Client {
    pub(super) fn new(monitor: MonitorLink, view: PathBuf, umask: u32, confine: Confine) -> Client {
        Client {
            monitor,
            view,
            umask,
            confine,
            notice: None,
            probes: 0,
            uncertain: Vec::new(),
            left: None,
            access: None,
            root: OnceLock::new(),
            worker: None,
            ledger: Ledger::default(),
            own_keys: None,
            activity: Activity::default(),
            traffic: Traffic::default(),
        }
    }

    /// The same, with something to be told before logging in.
    pub(super) fn telling(self, notice: Option<Notice>) -> Client {
        Client { notice, ..self }
    }

    /// The same, with a ledger of what the client does.
    pub(super) fn noting(self, ledger: Ledger) -> Client {
        Client { ledger, ..self }
    }

    /// Where what the client does is noted.
    pub(super) fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// What the client is to read before it logs in.
    pub(super) fn notice(&self) -> Option<Notice> {
        self.notice
    }

    /// Whether a signature with an offered key would be looked at. Nothing is remembered of it.
    pub(super) async fn offer(&mut self, user: &str, key: &[u8]) -> Result<bool, Error> {
        self.probes += 1;
        let (Ok(user), Ok(key)) = (ClaimedName::new(user), KeyBlob::new(key.to_vec())) else { return Ok(false) };
        if self.probes > MOST_PROBES {
            return Ok(false);
        }
        match self.monitor.ask(&FromSession::Probe { user, key: key.clone() }).await? {
            ToSession::Probed { worth: Worth::Nothing } => Ok(false),
            ToSession::Probed { worth: Worth::Signature } => {
                self.uncertain.retain(|(uncertain, _)| *uncertain != key);
                Ok(true)
            }
            ToSession::Probed { worth: Worth::IfCertified } => Ok(self.let_sign(key)),
            // The session is being ended. A client that is refused its last key leaves before it reads why; one that is asked
            // to sign stays.
            ToSession::Denied => Ok(true),
            _ => Err(LinkError::Malformed.into()),
        }
    }

    /// Whether a key is let sign that is worth something only with a certificate.
    fn let_sign(&mut self, key: KeyBlob) -> bool {
        let is_full = self.uncertain.len() >= MOST_UNCERTAIN;
        match self.uncertain.iter_mut().find(|(known, _)| *known == key) {
            Some((_, signatures)) if *signatures >= MOST_SIGNATURES => return false,
            Some((_, signatures)) => *signatures += 1,
            None if is_full => return false,
            None => self.uncertain.push((key, 1)),
        }
        true
    }

    /// Claims a key whose signature was verified.
    pub(super) async fn claim_key(&mut self, user: &str, key: &[u8]) -> Result<Verdict, Error> {
        match KeyBlob::new(key.to_vec()) {
            // The signature was asked for in case there was a certificate: the client is as far as if it had been told at
            // once that the key is worth nothing.
            Ok(key) if self.uncertain.iter().any(|(uncertain, _)| *uncertain == key) => Ok(Verdict::Out),
            Ok(key) => self.claim(user, Proof::Key(key)).await,
            Err(_) => Ok(Verdict::Out),
        }
    }

    /// Claims a certificate with whose key was signed.
    pub(super) async fn claim_certificate(&mut self, user: &str, certificate: Vec<u8>) -> Result<Verdict, Error> {
        match CertificateBlob::new(certificate) {
            Ok(certificate) => self.claim(user, Proof::Certificate(certificate)).await,
            Err(_) => Ok(Verdict::Out),
        }
    }

    /// Claims a password.
    pub(super) async fn claim_password(&mut self, user: &str, password: &str) -> Result<Verdict, Error> {
        match Secret::new(password) {
            Ok(secret) => self.claim(user, Proof::Password(secret)).await,
            Err(_) => Ok(Verdict::Out),
        }
    }

    /// Claims a code.
    pub(super) async fn claim_code(&mut self, user: &str, code: &str) -> Result<Verdict, Error> {
        match Secret::new(code) {
            Ok(secret) => self.claim(user, Proof::Code(secret)).await,
            Err(_) => Ok(Verdict::Out),
        }
    }

    /// What is left to be shown for a name of which something was right; `None` when nothing was.
    pub(super) fn left(&self, user: &str) -> Option<Factors> {
        self.left.as_ref().filter(|(name, _)| name.as_unchecked_str() == user).map(|(_, left)| *left)
    }

    async fn claim(&mut self, user: &str, proof: Proof) -> Result<Verdict, Error> {
        let Ok(user) = ClaimedName::new(user) else { return Ok(Verdict::Out) };
        let answer = self.monitor.ask_for(&FromSession::Claim(Claim { user: user.clone(), proof })).await?;
        match answer.message {
            ToSession::Granted(granted) => {
                self.traffic.bind(&granted.bounds, answer.fd.into_iter().chain(answer.more).collect())?;
                self.enter(granted)
            }
            ToSession::Unavailable { sentence } => {
                self.access = Some(Access::Nothing(sentence));
                Ok(Verdict::In)
            }
            ToSession::Invited { welcome, key } => {
                self.access = Some(Access::Invited(welcome, key));
                Ok(Verdict::In)
            }
            ToSession::More { left } => {
                self.left = Some((user, left));
                Ok(Verdict::More)
            }
            ToSession::Denied => Ok(Verdict::Out),
            _ => Err(LinkError::Malformed.into()),
        }
    }

    /// The grants are attached. Before the client hears of it, the process closes itself behind them.
    fn enter(&mut self, granted: Box<Granted>) -> Result<Verdict, Error> {
        let entries: Vec<_> = granted.layout.placed.iter().map(|p| (p.at.clone(), p.grant.mode)).collect();
        (self.confine)(&entries)?;
        self.access = Some(Access::Granted(granted));
        Ok(Verdict::In)
    }

    /// The worker of this client's shell cell. The error is a sentence for the client.
    pub(super) async fn worker(&mut self) -> Result<Worker, String> {
        if let Some(worker) = self.worker.as_ref().filter(|w| !w.is_gone()) {
            return Ok(worker.clone());
        }
        let answer = self.monitor.ask_for(&FromSession::OpenCell).await.map_err(|e| e.to_string())?;
        match (answer.message, answer.fd) {
            (ToSession::Cell, Some(channel)) => {
                let worker = Worker::new(channel).map_err(|e| e.to_string())?;
                self.worker = Some(worker.clone());
                Ok(worker)
            }
            (ToSession::NoCell { sentence }, _) => Err(sentence),
            _ => Err("the server is being restarted; try again".to_owned()),
        }
    }

    /// What the client may do; `None` before it has logged in.
    pub(super) fn access(&self) -> Option<&Access> {
        self.access.as_ref()
    }

    /// The attached grants. All channels share what is known of them.
    pub(super) fn root(&self, granted: &Granted) -> Result<Root, files::Error> {
        if let Some(root) = self.root.get() {
            return root.try_clone();
        }
        let Granted { home, layout, cover, user, .. } = granted;
        let view = files::View { home, layout, cover: *cover, login: user.as_str() };
        let root = Root::open_view(&self.view, &view)?.under(&granted.uploads);
        self.root.get_or_init(|| root).try_clone()
    }

    /// The user's own keys, if they are taken.
    pub(super) fn own_keys(&mut self) -> Option<OwnKeys> {
        if self.own_keys.is_none()
            && let Some(Access::Granted(granted)) = &self.access
            && granted.takes_own_keys
        {
            self.own_keys = self.root(granted).ok().and_then(|root| OwnKeys::of(granted, root, self.monitor.clone()));
        }
        self.own_keys.clone()
    }

    /// Permission bits that new files never get.
    pub(super) fn umask(&self) -> u32 {
        self.umask
    }

    /// The way to the log and the audit trail, for tasks of their own.
    pub(super) fn auditor(&self) -> MonitorLink {
        self.monitor.clone()
    }

    /// Tells the monitor, for the log and the audit trail.
    pub(super) async fn report(&self, event: Event) {
        self.monitor.report(event).await;
    }

    /// How fast this client may be, and whether anything moves.
    pub(super) fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    /// The counter of what this client does.
    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }
}

/// Notes that a client does something, so that memory is given back when it pauses. An idle session wakes up for nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    count: AtomicU64,
    begun: Notify,
}

impl Activity {
    /// Something was done.
    pub(super) fn note(&self) {
        if self.inner.count.fetch_add(1, Ordering::Relaxed) == 0 {
            self.inner.begun.notify_one();
        }
    }

    /// Waits until something was done and nothing more for a while.
    pub(super) async fn pause(&self, quiet: Duration) {
        self.inner.begun.notified().await;
        loop {
            let before = self.inner.count.load(Ordering::Relaxed);
            tokio::time::sleep(quiet).await;
            if self.inner.count.compare_exchange(before, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }
}
