//! Forwards of all kinds, with OpenSSH's client: they lead where policy says, begin and end in the cell's network and
//! view, and hold up nothing else.

mod jump;
mod local;
mod network;
mod remote;
mod sockets;
mod stalled;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use crate::harness::{Identity, Login, Node, Waiting, ssh, wait_until};

/// Longest that something may take to begin on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An account, and a node that serves it.
pub(super) struct Site {
    pub(super) node: Node,
    pub(super) home: PathBuf,
}

impl Site {
    pub(super) fn new(identity: Identity) -> Site {
        let node = Node::start(identity);
        let home = node.account("acme");
        Site { node, home }
    }

    /// Somebody with services, and with settings as `enclos user set` takes them.
    pub(super) fn user(&self, name: &str, services: &str, settings: &[&str]) -> Login {
        let login = self.node.user_with(name, "acme", services, &[("www/site1", "rw")]);
        if !settings.is_empty() {
            self.node.admin(&[&["user", "set", name], settings].concat());
        }
        login
    }

    /// Runs a program of Python in a login's cell until it says that it is ready, by a file named `ready`, and for as long
    /// as the answer is held.
    pub(super) fn in_cell(&self, login: &Login, program: &str) -> Running {
        let ready = self.home.join("www/site1/ready");
        fs::remove_file(&ready).or_else(gone_already).expect("a clean start");
        let mut command = ssh(login);
        command.arg(login.at()).arg(format!("exec python3 -c '{PRELUDE}{program}'"));
        let running = Running::start(command.stdin(Stdio::null()));
        assert_eq!(wait_until(PATIENCE, || ready.exists()), Waiting::Came, "the program in the cell does not begin");
        running
    }
}

fn gone_already(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Programs in a cell may serve: `serve(listener, what)` does `what` with every connection, in a thread of its own.
const PRELUDE: &str = "
import os, socket, threading, time
def ready(): open(\"ready\", \"w\").close()
def serve(listener, what):
    ready()
    while True: threading.Thread(target=what, args=(listener.accept()[0],), daemon=True).start()
def upper(c):
    while True:
        data = c.recv(65536)
        if not data: break
        c.sendall(data.upper())
    c.sendall(b\".\"); c.close()
";

/// A program that is ended when it is forgotten.
pub(super) struct Running {
    child: Child,
}

impl Running {
    pub(super) fn start(command: &mut std::process::Command) -> Running {
        Running { child: command.spawn().expect("start it; tests/run installs the clients") }
    }

    /// Its input and output, which were asked to be pipes.
    pub(super) fn streams(&mut self) -> (ChildStdin, ChildStdout) {
        (self.child.stdin.take().expect("piped"), self.child.stdout.take().expect("piped"))
    }

    /// `ssh -N` with forwards, once this port on our side answers.
    pub(super) fn forwarding(login: &Login, arguments: &[&str], port: u16) -> Running {
        let mut command = ssh(login);
        command.args(["-N", "-o", "ExitOnForwardFailure=yes"]).args(arguments).arg(login.at());
        let running = Running::start(command.stdin(Stdio::null()));
        let is_there = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        assert_eq!(wait_until(PATIENCE, is_there), Waiting::Came, "{arguments:?} does not begin");
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().expect("our own child");
        }
        self.child.wait().expect("our own child");
    }
}

/// Something of the host's that says `host` to whoever connects.
pub(super) fn host_service() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever looks only whether there is somebody does not wait for it.
            drop((&stream).write_all(b"host"));
        }
    });
    port
}

/// Something of the client's that says what it hears, to its end.
pub(crate) fn echo_service() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // Whoever goes in the middle is no failure of ours.
                drop(std::io::copy(&mut &stream, &mut &stream));
                drop(stream.shutdown(std::net::Shutdown::Write));
            });
        }
    });
    port
}

/// Sends all of it, says that this is all, and reads all that comes back.
pub(super) fn exchange(port: u16, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut writer = stream.try_clone().expect("a copy");
    let sent = sent.to_vec();
    let writing = std::thread::spawn(move || {
        // The other side may refuse to read.
        drop(writer.write_all(&sent));
        drop(writer.shutdown(std::net::Shutdown::Write));
    });
    let mut received = Vec::new();
    // A connection that is reset has said what it has said.
    drop(stream.read_to_end(&mut received));
    writing.join().expect("the writer");
    received
}
