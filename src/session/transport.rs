//! The SSH library, and nothing of it beyond this file.
//!
//! Owns: its configuration, and the adapter between its callbacks and ours. Every callback that wants an answer gets
//! one: the library sends none by itself (and an unanswered request hangs its client).

mod prompt;
mod warm_up;
mod wishes;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PublicKeyBase64;
use russh::keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, RunningSession, Session, VerifiedPublicKey};
use russh::{ChannelId, ChannelOpenFailure, Disconnect, Limits, MethodKind, MethodSet, Preferred, Pty, Sig, SshId};
use russh::{cipher, compression, kex, mac};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use prompt::Prompt;
use wishes::{HandleSink, Wishes, signal_name, size, terminal};

use super::channels::{Channel, Channels, refusal};
use super::login::{Access, Client};
use super::programs::{self, Program};
use super::sftp_channel::{Outlet, SftpChannel, Stopped, Waiting};
use super::{Error, FAREWELL};
use crate::config::SessionSettings;
use crate::domain::Service;
use crate::sftp::LinkOrder;
use crate::wire::{self, Event, Start, ToWorker};

/// What the library failed with.
pub(super) type SshError = russh::Error;

/// Sent instead of a version, which would only help those who look for old ones. It must not begin with `OpenSSH`:
/// clients would take us for it.
const IDENT: &str = "SSH-2.0-Enclos";
/// Smallest RSA key whose signature is looked at.
const SMALLEST_RSA: usize = 2048;
/// Bytes after which keys are exchanged anew, either way; the library takes no more.
const REKEY_BYTES: usize = 1 << 30;
/// Time after which keys are exchanged anew.
const REKEY_TIME: Duration = Duration::from_secs(3600);
/// What a client may send before we have read it.
const WINDOW: u32 = 2 * 1024 * 1024;
/// The smallest window that the library still opens again.
const ALMOST_SHUT: u32 = 2;
/// Every failed attempt takes at least this long, whatever was wrong with it.
const REJECTION: Duration = Duration::from_millis(100);
/// Extended data of type 1 is standard error (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// Key exchanges, best first: hybrid post-quantum, then X25519 by its two names. No finite-field group: the large ones
/// are a cheap way to keep a server busy.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];
/// Ciphers, cheapest first among equals.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];
/// For the counter-mode ciphers of older clients.
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

/// The library, set up; shared by all sessions of a zygote.
#[derive(Debug)]
pub(super) struct Transport {
    config: Arc<server::Config>,
}

impl Transport {
    pub(super) fn new(settings: &SessionSettings, keys: Vec<PrivateKey>) -> Transport {
        let config = server::Config {
            server_id: SshId::Standard(IDENT.into()),
            methods: methods(),
            auth_rejection_time: REJECTION,
            auth_rejection_time_initial: Some(Duration::ZERO),
            preferred: Preferred {
                kex: KEX.into(),
                key: algorithms(&keys).into(),
                cipher: CIPHERS.into(),
                mac: MACS.into(),
                compression: (&[compression::NONE][..]).into(),
                ..Preferred::default()
            },
            keys,
            limits: Limits::new(REKEY_BYTES, REKEY_BYTES, REKEY_TIME),
            window_size: WINDOW,
            maximum_packet_size: 32 * 1024,
            // No channel of the library's own is ever read; see `channel_open_session`.
            channel_buffer_size: 1,
            event_buffer_size: 4,
            max_auth_attempts: settings.max_auth_attempts,
            // The monitor ends logins that take too long; later a client may be silent.
            inactivity_timeout: None,
            keepalive_interval: settings.keepalive_interval,
            keepalive_max: settings.keepalive_max,
            nodelay: true,
            ..server::Config::default()
        };
        Transport { config: Arc::new(config) }
    }

    /// Shakes hands with itself once, so that what the cryptography works out at its first use (which instructions the
    /// processor has, tables) is there before sessions are forked, and is shared by them.
    ///
    /// It happens on a thread that has ended when this returns: a fork needs a process with one thread, and what a thread
    /// keeps for itself, the state of its random numbers above all, ends with it.
    pub(super) fn warm_up(&self) -> Result<(), Error> {
        let config = self.config.clone();
        let failed = |e: &dyn std::fmt::Display| Error::WarmUp(e.to_string());
        let thread = std::thread::Builder::new().spawn(move || warm_up::handshake(config)).map_err(|e| failed(&e))?;
        match thread.join() {
            Ok(shaken) => shaken.map_err(|e| failed(&e)),
            Err(_) => Err(failed(&"it panicked")),
        }
    }

    /// Begins to speak SSH on a connected socket.
    pub(super) async fn begin(&self, socket: OwnedFd, client: Client) -> Result<Running, Error> {
        let stream = std::net::TcpStream::from(socket);
        stream.set_nonblocking(true).map_err(Error::Runtime)?;
        stream.set_nodelay(true).map_err(Error::Runtime)?;
        let stream = TcpStream::from_std(stream).map_err(Error::Runtime)?;
        let connection = Connection {
            client,
            channels: Channels::default(),
            finished: Vec::new(),
            programs: Vec::new(),
            wishes: BTreeMap::new(),
        };
        let stream = Buffered::new(Prompt::new(stream));
        let running = server::run_stream(self.config.clone(), stream, connection).await?;
        Ok(Running { running })
    }
}

/// The library reads every packet with two small reads; this takes what has arrived at once. What is written is not held
/// back: the library does not flush its greeting, and a client may wait for it before it says its own.
type Buffered = tokio::io::BufReader<Prompt>;

/// Signature algorithms of the host keys that are there, and those that users' keys may use.
fn algorithms(keys: &[PrivateKey]) -> Vec<Algorithm> {
    let has = |wanted: fn(&Algorithm) -> bool| keys.iter().any(|k| wanted(&k.algorithm()));
    let mut algorithms = Vec::new();
    if has(|a| *a == Algorithm::Ed25519) {
        algorithms.push(Algorithm::Ed25519);
    }
    if has(|a| matches!(a, Algorithm::Ecdsa { .. })) {
        algorithms.push(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 });
    }
    if has(|a| matches!(a, Algorithm::Rsa { .. })) {
        algorithms.extend([Some(HashAlg::Sha512), Some(HashAlg::Sha256)].map(|hash| Algorithm::Rsa { hash }));
    }
    algorithms
}

/// A connection that is being served.
pub(super) struct Running {
    running: RunningSession<Connection>,
}

impl Running {
    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> Result<(), Error> {
        match (&mut self.running).await {
            // How a client hangs up is its own business.
            Err(Error::Ssh(SshError::Disconnect | SshError::HUP | SshError::IO(_))) => Ok(()),
            ended => ended,
        }
    }

    /// Tells the client why it is being disconnected (RFC 4253, section 11.1).
    pub(super) async fn disconnect(&self, sentence: &str) {
        let handle = self.running.handle();
        let said = handle.disconnect(Disconnect::ByApplication, sentence.to_owned(), "en".to_owned());
        // A client that does not read cannot be told, and is not waited for.
        drop(tokio::time::timeout(FAREWELL, said).await);
    }
}

/// Our side of the library's callbacks.
struct Connection {
    client: Client,
    channels: Channels,
    /// Channels that we have closed and still count.
    finished: Vec<ChannelId>,
    /// Channels of programs, which their relays close.
    programs: Vec<ChannelId>,
    /// What was asked for a program that is not asked for yet.
    wishes: BTreeMap<u32, Wishes>,
}

/// A channel of the library, as an outlet for answers.
struct ChannelOutlet<'a> {
    id: ChannelId,
    session: &'a mut Session,
}

impl Outlet for ChannelOutlet<'_> {
    fn is_behind(&self) -> bool {
        self.session.has_pending_data(self.id)
    }

    fn send(&mut self, bytes: Vec<u8>) -> Result<(), SshError> {
        self.session.data(self.id, bytes)
    }

    /// The library takes from its queue, which is short, when what it took before has been written.
    fn send_later(&self, waiting: Waiting) -> JoinHandle<()> {
        let (id, handle) = (self.id, self.session.handle());
        tokio::spawn(async move {
            for answers in waiting {
                if answers.is_empty() {
                    // A large file is being copied or read: everything else on the connection comes first.
                    tokio::task::yield_now().await;
                } else if handle.data(id, answers).await.is_err() {
                    return;
                }
            }
        })
    }
}

fn number(id: ChannelId) -> u32 {
    id.into()
}

fn verdict(is_in: bool) -> Auth {
    if is_in { Auth::Accept } else { rejected() }
}

/// A refusal after which everything may be tried again. Left to itself the library takes a method away once it has
/// failed, and a mistyped password could not be typed again.
fn rejected() -> Auth {
    Auth::Reject { proceed_with_methods: Some(methods()), partial_success: false }
}

fn methods() -> MethodSet {
    MethodSet::from(&[MethodKind::PublicKey, MethodKind::Password][..])
}

/// SHA-1 signatures, and RSA keys that can be factored, are refused before anybody is asked.
fn is_sound(key: &PublicKey, algorithm: &Algorithm) -> bool {
    match algorithm {
        Algorithm::Rsa { hash: None } | Algorithm::Dsa => false,
        Algorithm::Rsa { .. } => key
            .key_data()
            .rsa()
            .is_some_and(|rsa| rsa.n().as_positive_bytes().is_some_and(|n| n.len() * 8 >= SMALLEST_RSA)),
        _ => true,
    }
}

impl Connection {
    /// Answers a request for a program or a subsystem with a sentence on standard error and exit status 1, which every
    /// client shows; a bare refusal would be reported as "request failed".
    async fn refuse(&mut self, id: ChannelId, asked: &str, session: &mut Session) -> Result<(), Error> {
        let sentence = match self.client.access() {
            Some(Access::Granted(granted)) => refusal(asked, granted.services),
            Some(Access::Nothing(sentence)) => sentence.clone(),
            None => return Err(SshError::NotAuthenticated.into()),
        };
        self.client.report(Event::Refused { what: asked.to_owned() }).await;
        session.channel_success(id)?;
        self.finish(id, session, Some(&sentence), 1)
    }

    /// Says a last sentence on standard error if there is one, the exit status, and closes.
    fn finish(
        &mut self,
        id: ChannelId,
        session: &mut Session,
        sentence: Option<&str>,
        status: u32,
    ) -> Result<(), Error> {
        self.channels.set(number(id), Channel::Done);
        if let Some(sentence) = sentence {
            session.extended_data(id, STDERR, format!("{sentence}\r\n").into_bytes())?;
        }
        session.exit_status_request(id, status)?;
        session.eof(id)?;
        session.close(id)?;
        self.finished.push(id);
        Ok(())
    }

    /// Forgets channels that we have closed: the library reports no close that answers ours. It keeps a channel for as
    /// long as something waits for its window; until then it counts.
    fn forget_finished(&mut self, session: &Session) {
        let channels = &mut self.channels;
        let is_over = |id: &mut ChannelId| channels.program(number(*id)).is_none_or(|program| program.is_done());
        self.finished.extend(self.programs.extract_if(.., is_over));
        self.finished.retain(|id| {
            let stays = session.has_pending_data(*id);
            if !stays {
                channels.close(number(*id));
            }
            stays
        });
    }

    async fn begin_sftp(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        let granted = match self.client.access() {
            Some(Access::Granted(granted)) if granted.services.contains(Service::Sftp) => granted,
            _ => return self.refuse(id, "sftp", session).await,
        };
        match self.client.root(granted) {
            Ok(root) => {
                let sftp =
                    SftpChannel::new(root, granted, self.client.umask(), LinkOrder::of_client(session.remote_sshid()));
                self.channels.set(number(id), Channel::Sftp(Box::new(sftp)));
                session.channel_success(id)?;
                self.client.report(Event::SftpOpened).await;
                Ok(())
            }
            Err(error) => {
                session.channel_success(id)?;
                self.finish(id, session, Some(error.sentence()), 1)
            }
        }
    }

    async fn begin_program(
        &mut self,
        id: ChannelId,
        service: Service,
        wanted: wire::Program,
        session: &mut Session,
    ) -> Result<(), Error> {
        let asked = if service == Service::Shell { "a shell" } else { "running commands" };
        if !matches!(self.client.access(), Some(Access::Granted(granted)) if granted.services.contains(service)) {
            return self.refuse(id, asked, session).await;
        }
        session.channel_success(id)?;
        let Wishes { terminal, environment } = self.wishes.remove(&number(id)).unwrap_or_default();
        let has_terminal = terminal.is_some();
        let start = Start { program: wanted, terminal, environment };
        let begun = match self.client.worker().await {
            Ok(worker) => worker.start(start).await.map(|asked| (worker, asked)).map_err(|e| e.to_string()),
            Err(sentence) => Err(sentence),
        };
        let (worker, asked) = match begun {
            Ok(begun) => begun,
            Err(sentence) => return self.finish(id, session, Some(&sentence), 255),
        };
        let program = Program {
            number: asked.number(),
            worker,
            input: Arc::default(),
            window: Arc::default(),
            is_done: Arc::default(),
        };
        program.window.is_now(session.window_size(&id));
        self.channels.set(number(id), Channel::Program(program.clone()));
        self.programs.push(id);
        let sink = HandleSink { id, handle: session.handle() };
        tokio::spawn(programs::relay(asked, program, has_terminal, sink));
        Ok(())
    }

    /// Goes on after the engine of a channel has served, or has stopped.
    async fn after_serving(
        &mut self,
        id: ChannelId,
        served: Result<(), Stopped>,
        session: &mut Session,
    ) -> Result<(), Error> {
        match served {
            Ok(()) if self.channels.sftp(number(id)).is_some_and(|sftp| sftp.is_done()) => {
                self.report_totals(id).await;
                self.finish(id, session, None, 0)
            }
            Ok(()) => Ok(()),
            Err(Stopped::Ssh(error)) => Err(error.into()),
            Err(Stopped::Broken(broken)) => {
                self.client.report(Event::ProtocolError { what: broken.to_string() }).await;
                self.finish(id, session, Some(&broken.to_string()), 1)
            }
        }
    }
}

impl server::Handler for Connection {
    type Error = Error;

    // -- who is there -----------------------------------------------------------------------------------------------

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Error> {
        if !is_sound(offer.public_key, offer.algorithm) {
            return Ok(rejected());
        }
        Ok(verdict(self.client.offer(user, &offer.public_key.public_key_bytes()).await?))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        if !is_sound(key.public_key, key.algorithm) {
            return Ok(rejected());
        }
        Ok(verdict(self.client.claim_key(user, &key.public_key.public_key_bytes()).await?))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Error> {
        Ok(verdict(self.client.claim_password(user, password).await?))
    }

    // -- channels ---------------------------------------------------------------------------------------------------

    /// The library's own end of the channel is dropped: data comes by callback and leaves through [`Session`], so no
    /// queue stands between.
    async fn channel_open_session(
        &mut self,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.forget_finished(session);
        if self.channels.open(number(channel.id())) {
            reply.accept().await;
        } else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
        }
        Ok(())
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Error> {
        match (name, self.channels.is_idle(number(id))) {
            (_, false) => Ok(session.channel_failure(id)?),
            ("sftp", true) => self.begin_sftp(id, session).await,
            (_, true) => self.refuse(id, "this subsystem", session).await,
        }
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        if !self.channels.is_idle(number(id)) {
            return Ok(session.channel_failure(id)?);
        }
        self.begin_program(id, Service::Shell, wire::Program::Shell, session).await
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Error> {
        if !self.channels.is_idle(number(id)) {
            return Ok(session.channel_failure(id)?);
        }
        self.begin_program(id, Service::Exec, wire::Program::Command(command.to_vec()), session).await
    }

    /// Granted also where no program will be: the client then shows the sentence that its request for one is answered
    /// with, and not a complaint about the terminal.
    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        let terminal = terminal(term, size(columns, rows, width, height), modes);
        self.wishes.entry(number(id)).or_default().terminal = Some(terminal);
        Ok(session.channel_success(id)?)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        if !self.wishes.entry(number(id)).or_default().add(name, value) {
            return Ok(session.channel_failure(id)?);
        }
        Ok(session.channel_success(id)?)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        Ok(session.channel_failure(id)?)
    }

    async fn agent_request(&mut self, id: ChannelId, session: &mut Session) -> Result<bool, Error> {
        session.channel_failure(id)?;
        Ok(false)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        if let Some(program) = self.channels.program(number(id)) {
            let size = size(columns, rows, width, height);
            program.worker.say(ToWorker::Resize { number: program.number, size }).await;
        }
        Ok(session.channel_success(id)?)
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, _session: &mut Session) -> Result<(), Error> {
        if let Some(program) = self.channels.program(number(id)) {
            program.worker.say(ToWorker::Signal { number: program.number, name: signal_name(&signal) }).await;
        }
        Ok(())
    }

    // -- data -------------------------------------------------------------------------------------------------------

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Error> {
        self.client.activity().note();
        if let Some(program) = self.channels.program(number(id)) {
            if !program.input.push(data) {
                return self.finish(id, session, Some("more input than the program can take; it was ended"), 255);
            }
            return Ok(());
        }
        let Some(sftp) = self.channels.sftp(number(id)) else { return Ok(()) };
        let served = sftp.feed(data, &mut ChannelOutlet { id, session });
        self.after_serving(id, served, session).await
    }

    /// The library opens a window again when its data has come, not when it was read, and has one size for the windows of
    /// all channels. So while the input of one program piles up, all of them are opened by two bytes at a time: the one
    /// that piles up as good as stands still, keystrokes on another come through, and nothing waits in a callback.
    fn adjust_window(&mut self, _id: ChannelId, _current: u32) -> u32 {
        if self.channels.is_any_full() { ALMOST_SHUT } else { WINDOW }
    }

    async fn window_adjusted(&mut self, id: ChannelId, size: u32, session: &mut Session) -> Result<(), Error> {
        if let Some(program) = self.channels.program(number(id)) {
            program.window.is_now(size);
            return Ok(());
        }
        let Some(sftp) = self.channels.sftp(number(id)) else { return Ok(()) };
        let served = sftp.resume(&mut ChannelOutlet { id, session });
        self.after_serving(id, served, session).await
    }

    /// The client has nothing more to ask: what it asked for is answered, and that is all.
    async fn channel_eof(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        if let Some(program) = self.channels.program(number(id)) {
            program.input.end();
            return Ok(());
        }
        match self.channels.sftp(number(id)) {
            Some(sftp) => {
                sftp.ask_no_more();
                self.after_serving(id, Ok(()), session).await
            }
            None => Ok(()),
        }
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Error> {
        self.report_totals(id).await;
        self.wishes.remove(&number(id));
        if let Some(Channel::Program(program)) = self.channels.close(number(id)) {
            program.input.end();
            program.window.shut();
            program.worker.say(ToWorker::HangUp { number: program.number }).await;
        }
        Ok(())
    }
}

impl Connection {
    async fn report_totals(&mut self, id: ChannelId) {
        if let Some(sftp) = self.channels.sftp(number(id)) {
            let totals = sftp.totals();
            self.client.report(Event::SftpClosed { read: totals.read, written: totals.written }).await;
        }
    }
}
