//! A restart breaks nothing: whoever is connected goes on, and nobody who connects meanwhile is refused.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::faults::Transfer;
use crate::harness::{Identity, Login, Node, Waiting, finish, has_ended, sftp, ssh, wait_until};

as_root_and_rootless!(restarts_break_nothing, what_left_is_still_governed, a_socket_that_nobody_named_is_refused);

/// Longest until something is gone that has nothing to wait for.
const GONE: Duration = Duration::from_secs(20);

/// A program that answers every line.
pub(crate) struct Echo {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Echo {
    pub(crate) fn begin(login: &Login) -> Echo {
        let mut command = ssh(login);
        command.arg(login.at()).arg("cat").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start ssh");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut echo = Echo { child, input, output: BufReader::new(output) };
        echo.goes_on("first");
        echo
    }

    #[track_caller]
    pub(crate) fn goes_on(&mut self, word: &str) {
        writeln!(self.input, "{word}").expect("the program reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the program answers");
        assert_eq!(line.trim_end(), word);
    }

    pub(crate) fn finish(mut self) {
        drop(self.input);
        assert!(self.child.wait().expect("ssh ends").success());
    }
}

/// A node whose listening socket is kept by this test, as systemd keeps it.
struct Kept {
    node: Node,
    socket: TcpListener,
}

impl Kept {
    fn start(identity: Identity) -> (Kept, Login, Login) {
        let node = Node::prepare(identity);
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, node.port())).expect("listen");
        let mut kept = Kept { node, socket };
        kept.start_next();
        kept.node.await_hello();
        kept.node.account("acme");
        let bob = kept.node.user("bob", "acme", &[("www/site1", "rw")]);
        let dev = kept.node.user_with("dev", "acme", "sftp,exec", &[("www/site2", "rw")]);
        (kept, bob, dev)
    }

    fn start_next(&mut self) {
        let name = format!("listen-127.0.0.1_{}", self.node.port());
        self.node.serve_with(&self.socket, &name);
    }

    /// What `systemctl restart` does, with a client that comes in between.
    fn restart(&mut self) {
        assert!(self.node.end(Signal::SIGUSR1).success(), "it leaves the service as if it had ended well");
        let mut meanwhile = TcpStream::connect((Ipv4Addr::LOCALHOST, self.node.port())).expect("nobody is refused");
        self.start_next();
        let mut line = String::new();
        BufReader::new(&mut meanwhile).read_line(&mut line).expect("is served in the end");
        assert!(line.starts_with("SSH-2.0-"), "{line:?}");
    }

    /// The monitors that have left the service, oldest first.
    fn left(&self) -> Vec<u32> {
        let log = self.node.log();
        let pids = log.lines().filter(|line| line.contains("another process finishes what has begun"));
        pids.map(|line| {
            let (_, pid) = line.split_once("pid=").unwrap_or_else(|| panic!("no pid in {line:?}"));
            let digits: String = pid.chars().filter(char::is_ascii_digit).collect();
            digits.parse().expect("a process id")
        })
        .collect()
    }
}

fn restarts_break_nothing(identity: Identity) {
    let (mut kept, bob, dev) = Kept::start(identity);
    let mut transfer = Transfer::begin(&bob);
    let mut echo = Echo::begin(&dev);
    let mut others = Vec::new();
    for round in 0..20 {
        kept.restart();
        transfer.goes_on();
        echo.goes_on(&format!("round {round}"));
        if round % 5 == 0 {
            others.push(Echo::begin(&dev));
        }
        others.iter_mut().for_each(|other| other.goes_on("still here"));
    }
    assert_eq!(finish(&mut sftp(&bob), "ls\n").status.code(), Some(0), "logins work as ever");
    let mut sessions = Vec::new();
    let are_listed = || {
        sessions = kept.node.sessions();
        sessions.len() == 2 + others.len()
    };
    assert_eq!(wait_until(GONE, are_listed), Waiting::Came, "all are listed, whoever serves them: {sessions:?}");
    if identity == Identity::Root {
        sessions.sort_by_key(|session| session.uid);
        sessions.dedup_by_key(|session| session.uid);
        assert_eq!(sessions.len(), 2 + others.len(), "no two have the same id");
    }
    let left = kept.left();
    assert_eq!(left.len(), 20);
    transfer.finish(&kept.node, "www/site1");
    echo.finish();
    others.into_iter().for_each(Echo::finish);
    let all_gone = || left.iter().all(|pid| has_ended(*pid));
    assert_eq!(wait_until(GONE, all_gone), Waiting::Came, "whoever left ends with its last session");
    assert!(kept.node.sessions().is_empty());
}

fn what_left_is_still_governed(identity: Identity) {
    let (mut kept, bob, dev) = Kept::start(identity);
    let transfer = Transfer::begin(&bob);
    let mut echo = Echo::begin(&dev);
    kept.restart();
    echo.goes_on("after the restart");
    // A new program of an old connection, and a new connection.
    assert_eq!(finish(&mut sftp(&dev), "ls\n").status.code(), Some(0));
    kept.node.admin(&["user", "disable", "dev"]);
    assert!(!echo.child.wait().expect("ssh ends").success(), "is revoked, whoever serves it");
    let sessions = kept.node.enclos(&["session", "list", "--json"]);
    let listed = finish(&mut { sessions }, "").ok();
    let conn = listed.split("\"conn\":").nth(1).expect("bob's").trim_start();
    let conn: String = conn.chars().take_while(char::is_ascii_digit).collect();
    kept.node.admin(&["session", "kill", &conn]);
    let left = kept.left();
    assert_eq!(wait_until(GONE, || left.iter().all(|pid| has_ended(*pid))), Waiting::Came, "it has nothing to do");
    drop(transfer);
}

fn a_socket_that_nobody_named_is_refused(identity: Identity) {
    let mut node = Node::prepare(identity);
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    node.serve_with(&other, "enclos.socket");
    let refused = || node.log().contains("that `listen` does not name");
    assert_eq!(wait_until(GONE, refused), Waiting::Came, "{}", node.log());
    // One of our own that the configuration named before is given up.
    node.serve_with(&other, "listen-127.0.0.1_1");
    node.await_hello();
}
