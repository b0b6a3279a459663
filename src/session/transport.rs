//! The SSH library, and nothing of it beyond this module.
//!
//! Owns: its configuration, the adapter between its callbacks and ours, and what is said on a connection's channels.

mod connection;
mod factors;
mod forwards;
mod handler;
mod stream;
mod warm_up;
mod wishes;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg};
use russh::server::{self, RunningSession};
use russh::{Disconnect, Limits, Preferred, SshId};
use russh::{cipher, compression, kex, mac};
use tokio::net::TcpStream;

use connection::Connection;
use stream::{Buffers, Stream};

use super::Error;
use super::host_keys::HostKeys;
use super::login::Client;
use super::surroundings::Customs;
use super::windows::WINDOW;
use crate::cell;
use crate::config::SessionSettings;

/// What the library failed with.
pub(super) type SshError = russh::Error;

/// Sent instead of a version, which would only help those who look for old ones. It must not begin with `OpenSSH`:
/// clients would take us for it.
const IDENT: &str = "SSH-2.0-Enclos";
/// Bytes after which keys are exchanged anew, either way; the library takes no more.
const REKEY_BYTES: usize = 1 << 30;
/// Time after which keys are exchanged anew.
const REKEY_TIME: Duration = Duration::from_secs(3600);
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
    customs: Customs,
}

impl Transport {
    pub(super) fn new(settings: &SessionSettings, HostKeys { keys, certificates }: HostKeys) -> Transport {
        let config = server::Config {
            server_id: SshId::Standard(IDENT.into()),
            methods: factors::methods(None),
            auth_rejection_time: REJECTION,
            auth_rejection_time_initial: Some(Duration::ZERO),
            preferred: Preferred {
                kex: KEX.into(),
                key: SIGNATURES.into(),
                cipher: CIPHERS.into(),
                mac: MACS.into(),
                compression: (&[compression::NONE][..]).into(),
                ..Preferred::default()
            },
            keys,
            certificates,
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
        };
        let customs = Customs::new(settings.motd.as_deref(), &settings.accept_env);
        Transport { config: Arc::new(config), customs }
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

    /// Begins to speak SSH on a connection; `ends` are the client's address and ours where a balancer stands between.
    pub(super) async fn begin(
        &self,
        stream: TcpStream,
        ends: Option<(SocketAddr, SocketAddr)>,
        client: Client,
    ) -> Result<Running, Error> {
        // One that is gone already is found out soon.
        let ends = ends.or_else(|| stream.peer_addr().ok().zip(stream.local_addr().ok()));
        let stream = Stream::new(stream, client.traffic());
        let buffers = stream.buffers();
        let connection = Connection::new(client, self.customs.of_connection(ends));
        let running = server::run_stream(self.config.clone(), stream, connection).await?;
        Ok(Running { running, buffers })
    }
}

/// A connected socket, as the runtime has it.
pub(super) fn connected(socket: OwnedFd) -> Result<TcpStream, Error> {
    let stream = std::net::TcpStream::from(socket);
    stream.set_nonblocking(true).map_err(Error::Runtime)?;
    stream.set_nodelay(true).map_err(Error::Runtime)?;
    TcpStream::from_std(stream).map_err(Error::Runtime)
}

/// Signature algorithms, best first: those of host keys, of which the library offers what there are keys for, and those of
/// users' keys, which it tells clients (RFC 8308, `server-sig-algs`). OpenSSH's client shows no RSA key where the list does not
/// name an algorithm for it.
const SIGNATURES: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// A connection that is being served.
pub(super) struct Running {
    running: RunningSession<Connection>,
    buffers: Buffers,
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

    /// Gives the memory back that a burst needed.
    pub(super) fn give_back_memory(&self) {
        self.buffers.give_back();
        cell::give_back_memory();
    }

    /// Tells the client why it is being disconnected (RFC 4253, section 11.1).
    pub(super) async fn disconnect(&self, sentence: &str, patience: Duration) {
        let handle = self.running.handle();
        let said = handle.disconnect(Disconnect::ByApplication, sentence.to_owned(), "en".to_owned());
        // A client that does not read cannot be told, and is not waited for.
        drop(tokio::time::timeout(patience, said).await);
    }
}
