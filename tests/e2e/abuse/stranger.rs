//! Somebody who connects from an address of this host's loopback, and tries things.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use russh::client;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg};
use rustix::net::{AddressFamily, SocketType};

/// Longest that an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// 127.0.0.`last`
pub(crate) fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// A connection from there.
pub(crate) fn dial(from: Ipv4Addr, port: u16) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::from((from, 0))).expect("an address of this host");
    rustix::net::connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("a connection");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// The first line that the server says there, after it was greeted.
pub(crate) fn first_line(stream: &TcpStream) -> String {
    let mut line = String::new();
    // A server that hangs up before it reads the greeting is no failure.
    drop((&mut &*stream).write_all(b"SSH-2.0-stranger\r\n"));
    BufReader::new(stream).read_line(&mut line).unwrap_or_default();
    line
}

/// Whether a session is there for somebody who comes from there; else the sentence that is said instead.
pub(crate) fn knock(from: Ipv4Addr, port: u16) -> Result<(), String> {
    let line = first_line(&dial(from, port));
    if line.starts_with("SSH-2.0-") { Ok(()) } else { Err(line) }
}

/// Reads until the server hangs up.
pub(crate) fn await_end(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    drop(stream.read_to_end(&mut bytes));
}

/// Takes any host key: nothing secret is said here.
pub(crate) struct Anybody;

impl client::Handler for Anybody {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &russh::keys::PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    In,
    Denied,
    HungUp,
}

/// Something to show.
#[derive(Clone)]
pub(crate) enum Shown<'a> {
    Password(&'a str),
    Key(Arc<PrivateKey>),
}

/// Connects from there and shows one thing.
pub(crate) async fn attempt(from: Ipv4Addr, port: u16, user: &str, shown: Shown<'_>) -> Attempt {
    let tried = async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
        let config = Arc::new(client::Config::default());
        let mut session = client::connect_stream(config, stream, Anybody).await?;
        let answer = match shown {
            Shown::Password(password) => session.authenticate_password(user, password).await?,
            Shown::Key(key) => session.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key, None)).await?,
        };
        if answer.success() {
            return Ok(Attempt::In);
        }
        // The library calls a connection that was ended a refusal. One more question tells.
        drop(session.authenticate_none("somebody").await);
        Ok::<Attempt, russh::Error>(if session.is_closed() { Attempt::HungUp } else { Attempt::Denied })
    };
    match tokio::time::timeout(PATIENCE, tried).await.expect("an answer") {
        Ok(came) => came,
        Err(_) => Attempt::HungUp,
    }
}

/// Runs something asynchronous to its end.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// One attempt with a password.
pub(crate) fn guess(from: Ipv4Addr, port: u16, user: &str, password: &str) -> Attempt {
    run(attempt(from, port, user, Shown::Password(password)))
}
