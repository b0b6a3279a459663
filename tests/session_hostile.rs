//! A session against clients that break rules: whatever they do, each request gets an answer, nothing hangs, memory stays
//! bounded, and other connections go on.
//!
//! The binary runs as it is shipped; the client is russh's own, which shares the transport with the server but none of
//! our code, and which sends what no honest client would.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::rand_core::UnwrapErr;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Limits, Sig, Signer};
use tempfile::TempDir;

/// Longest that a test may take. Reaching it is a failure: something hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest READ that is answered in full, as `limits@openssh.com` says.
const LONGEST_READ: u32 = 255 * 1024;
/// Most memory that a client can make its session take. A debug build's own size comes to it.
const MOST_MEMORY_KIB: u64 = 16 * 1024;

// -- the server -----------------------------------------------------------------------------------------------------

/// A running server with the account `acme`, whose `site` is open to `bob`.
struct Node {
    dir: TempDir,
    port: u16,
    server: Child,
    key: Arc<PrivateKey>,
}

impl Node {
    fn start(more_settings: &str) -> Node {
        let dir = tempfile::Builder::new().prefix("enclos-hostile-").tempdir().expect("a directory");
        // Control runs as another user and must be able to pass.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a directory others may pass");
        let port = free_port();
        let state = dir.path().join("state");
        fs::create_dir(&state).expect("a state directory");
        let settings = format!(
            "listen = [\"127.0.0.1:{port}\"]\nstate = {state:?}\nexempt_sources = [\"127.0.0.0/8\"]\n{more_settings}\n"
        );
        fs::write(dir.path().join("enclos.toml"), settings).expect("a configuration");
        let log = File::create(dir.path().join("log")).expect("a log");
        let server = command(dir.path(), &["serve"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("start the server");
        let mut rng = UnwrapErr(getrandom());
        let key = Arc::new(PrivateKey::random(&mut rng, Algorithm::Ed25519).expect("a key"));
        let mut node = Node { dir, port, server, key };
        node.await_hello();
        node.furnish();
        node
    }

    fn furnish(&self) {
        let (uid, gid) = owner();
        for place in [self.home(), self.site()] {
            fs::create_dir(&place).expect("a directory");
            chown(&place, Some(uid), Some(gid)).expect("give it to the account");
        }
        let public = self.dir.path().join("key.pub");
        fs::write(&public, self.key.public_key().to_openssh().expect("a public key")).expect("write it");
        let (uid, gid, home) = (uid.to_string(), gid.to_string(), self.home());
        let home = home.to_str().expect("a plain path");
        self.admin(&["account", "add", "acme", "--uid", &uid, "--gid", &gid, "--home", home]);
        self.admin(&["user", "add", "bob", "--account", "acme", "--service", "sftp"]);
        self.admin(&["grant", "add", "bob", "site", "--mode", "rw"]);
        self.admin(&["key", "add", "bob", "--file", public.to_str().expect("a plain path")]);
    }

    fn admin(&self, arguments: &[&str]) -> String {
        let done = command(self.dir.path(), arguments).output().expect("run the command line");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("acme")
    }

    fn site(&self) -> PathBuf {
        self.home().join("site")
    }

    /// A file in the grant, filled with numbered words.
    fn put_file(&self, name: &str, length: usize) -> Vec<u8> {
        let content = pattern(0, length);
        fs::write(self.site().join(name), &content).expect("a file");
        content
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Most memory that any live session has ever had, in KiB, as the kernel counts it.
    fn most_memory(&self) -> u64 {
        let json: serde_json::Value =
            serde_json::from_str(&self.admin(&["session", "list", "--json"])).expect("the list is JSON");
        let list = json.get("value").unwrap_or(&json).as_array().expect("a list").clone();
        let peaks = list.iter().map(|s| peak(s.get("pid").and_then(serde_json::Value::as_u64).expect("a pid")));
        peaks.max().expect("a live session")
    }

    /// No session has taken much more than `before`, when it had just been logged in to.
    fn assert_frugal(&self, before: u64) {
        let most = self.most_memory();
        assert!(most < before + MOST_MEMORY_KIB, "a session has had {most} KiB, {before} KiB of them from the start");
    }

    fn await_hello(&mut self) {
        let began = Instant::now();
        while !says_hello(self.port) {
            let ended = self.server.try_wait().expect("look after the server");
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "the server does not serve:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}", self.log());
        }
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.server.id()).expect("a process id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("end the server");
        self.server.wait().expect("see the server end");
    }
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enclos"));
    command.arg("--config").arg(dir.join("enclos.toml")).args(arguments).current_dir(dir);
    command
}

/// Owner of the account on disk: somebody else where the server is root, and its own user where it is not.
fn owner() -> (u32, u32) {
    match (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()) {
        (0, _) => (5001, 5001),
        ids => ids,
    }
}

fn peak(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a live session");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

/// The first line that the server says, if it comes.
fn first_line(stream: &TcpStream) -> Option<String> {
    let mut line = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    BufReader::new(stream).read_line(&mut line).ok()?;
    Some(line)
}

fn dial(port: u16) -> Option<TcpStream> {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()
}

fn says_hello(port: u16) -> bool {
    dial(port).and_then(|s| first_line(&s)).is_some_and(|line| line.starts_with("SSH-2.0-Enclos"))
}

fn pattern(from: u64, length: usize) -> Vec<u8> {
    (from / 8..).flat_map(u64::to_be_bytes).take(length).collect()
}

// -- the client -----------------------------------------------------------------------------------------------------

/// Trusts any server.
struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

type Client = Handle<Trusting>;

fn getrandom() -> russh::keys::ssh_key::getrandom::SysRng {
    russh::keys::ssh_key::getrandom::SysRng
}

/// Runs a test to its end, within [`PATIENCE`].
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("nothing may hang") })
}

/// Waits for an answer that must come soon.
async fn soon<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
    answer.unwrap_or_else(|_| panic!("{what}: no answer"))
}

async fn connect_with(node: &Node, config: client::Config) -> Client {
    let address = (Ipv4Addr::LOCALHOST, node.port);
    soon("handshake", client::connect(Arc::new(config), address, Trusting)).await.expect("a handshake")
}

async fn connect(node: &Node) -> Client {
    connect_with(node, client::Config::default()).await
}

async fn offer(client: &mut Client, user: &str, key: &Arc<PrivateKey>) -> Result<AuthResult, russh::Error> {
    let key = PrivateKeyWithHashAlg::new(key.clone(), None);
    soon("publickey", client.authenticate_publickey(user, key)).await
}

async fn log_in_with(node: &Node, config: client::Config) -> Client {
    let mut client = connect_with(node, config).await;
    assert!(offer(&mut client, "bob", &node.key).await.expect("an answer").success());
    client
}

async fn log_in(node: &Node) -> Client {
    log_in_with(node, client::Config::default()).await
}

async fn open(client: &Client) -> Result<Channel<Msg>, russh::Error> {
    soon("channel", client.channel_open_session()).await
}

/// What a channel said until it was closed.
#[derive(Debug, Default, PartialEq)]
struct Ended {
    granted: Option<bool>,
    error: String,
    status: Option<u32>,
}

async fn until_closed(channel: &mut Channel<Msg>) -> Ended {
    let mut ended = Ended::default();
    while let Some(message) = soon("close", channel.wait()).await {
        match message {
            ChannelMsg::Success => ended.granted = Some(true),
            ChannelMsg::Failure => ended.granted = Some(false),
            ChannelMsg::ExtendedData { data, .. } => ended.error.push_str(&String::from_utf8_lossy(&data)),
            ChannelMsg::ExitStatus { exit_status } => ended.status = Some(exit_status),
            _ => {}
        }
    }
    ended
}

async fn answer(channel: &mut Channel<Msg>) -> bool {
    loop {
        match soon("reply", channel.wait()).await.expect("the channel is still open") {
            ChannelMsg::Success => return true,
            ChannelMsg::Failure => return false,
            _ => {}
        }
    }
}

/// An SFTP channel that sends what it likes.
struct Raw {
    channel: Channel<Msg>,
    come: Vec<u8>,
    read: usize,
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("short").to_be_bytes(), bytes].concat()
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    string(&[&[kind], body].concat())
}

fn read_request(id: u32, handle: &[u8], offset: u64, length: u32) -> Vec<u8> {
    let body = [&id.to_be_bytes()[..], &string(handle), &offset.to_be_bytes(), &length.to_be_bytes()];
    packet(5, &body.concat())
}

fn write_request(id: u32, handle: &[u8], offset: u64, data: &[u8]) -> Vec<u8> {
    packet(6, &[&id.to_be_bytes()[..], &string(handle), &offset.to_be_bytes(), &string(data)].concat())
}

impl Raw {
    async fn open(client: &Client) -> Raw {
        let mut channel = open(client).await.expect("a channel");
        channel.request_subsystem(true, "sftp").await.expect("sent");
        assert!(answer(&mut channel).await, "sftp is served");
        let mut raw = Raw { channel, come: Vec::new(), read: 0 };
        raw.send(packet(1, &3_u32.to_be_bytes())).await;
        assert_eq!(raw.packet().await.first(), Some(&2), "VERSION");
        raw
    }

    async fn send(&self, bytes: Vec<u8>) {
        self.channel.data_bytes(bytes).await.expect("sent");
    }

    /// The next packet: type, number and body.
    async fn packet(&mut self) -> Vec<u8> {
        loop {
            let rest = self.come.get(self.read..).unwrap_or_default();
            if let Some((length, rest)) = rest.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                if let Some(packet) = rest.get(..length) {
                    let packet = packet.to_vec();
                    self.read += 4 + length;
                    return packet;
                }
            }
            self.come.drain(..self.read);
            self.read = 0;
            match soon("sftp", self.channel.wait()).await {
                Some(ChannelMsg::Data { data }) => self.come.extend_from_slice(&data),
                Some(ChannelMsg::Close | ChannelMsg::ExtendedData { .. }) | None => panic!("the channel was closed"),
                Some(_) => {}
            }
        }
    }

    async fn handle(&mut self, name: &str, flags: u32) -> Vec<u8> {
        let body = [&1_u32.to_be_bytes()[..], &string(name.as_bytes()), &flags.to_be_bytes(), &[0; 4]];
        self.send(packet(3, &body.concat())).await;
        let answer = self.packet().await;
        assert_eq!(answer.first(), Some(&102), "HANDLE");
        answer.get(9..).expect("a handle").to_vec()
    }
}

// -- logging in -----------------------------------------------------------------------------------------------------

/// What a signer of ours comes to.
#[derive(Debug)]
enum Unsigned {
    Shy,
    Ended,
}

impl From<russh::SendError> for Unsigned {
    fn from(_: russh::SendError) -> Unsigned {
        Unsigned::Ended
    }
}

/// Signs nothing, but sends something.
struct Forger;

impl Signer for Forger {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        _hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        let signature = [string(b"ssh-ed25519"), string(&[7; 64])].concat();
        to_sign.extend(string(&signature));
        Ok(to_sign)
    }
}

/// A signer that never signs, so that an offered key stays an offer.
struct Shy;

impl Signer for Shy {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        _hash: Option<HashAlg>,
        _to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        Err(Unsigned::Shy)
    }
}

#[test]
fn a_forged_signature_opens_nothing() {
    let node = Node::start("");
    run(async {
        let mut client = connect(&node).await;
        let public = node.key.public_key().clone();
        let mut forger = Forger;
        let forged = client.authenticate_publickey_with("bob", public, None, &mut forger);
        let forged = soon("forged signature", forged).await;
        assert!(!forged.is_ok_and(|result| result.success()), "a forged signature was believed");
        let mut next = connect(&node).await;
        assert!(offer(&mut next, "bob", &node.key).await.expect("an answer").success(), "others go on");
    });
}

#[test]
fn probes_of_keys_end() {
    let node = Node::start("");
    run(async {
        let mut client = connect(&node).await;
        let mut probes = 0_u32;
        // A good key that is only offered costs no attempt; there must be an end to it all the same.
        while probes < 200 && !client.is_closed() {
            let public = node.key.public_key().clone();
            let mut shy = Shy;
            let probed = client.authenticate_publickey_with("bob", public, None, &mut shy);
            match soon("probe", probed).await {
                Err(Unsigned::Shy) => probes += 1,
                _ => break,
            }
        }
        assert_eq!(probes, 64, "offers that were taken");
        let mut next = connect(&node).await;
        assert!(offer(&mut next, "bob", &node.key).await.expect("an answer").success(), "others go on");
    });
    assert!(!node.log().contains("broke the rules"), "the session itself must stop before the monitor does");
}

#[test]
fn impossible_names_and_passwords_are_refused_like_wrong_ones() {
    let node = Node::start("");
    let long = "b".repeat(300);
    let secret = "x".repeat(5000);
    run(async {
        for user in ["", "bob\0", "bob\0root", "\u{7f}\x1b[2J", "../bob", long.as_str()] {
            let mut client = connect(&node).await;
            let refused = offer(&mut client, user, &node.key).await.expect("an answer");
            assert!(!refused.success(), "{user:?} was let in");
            for password in ["", "wrong", "\0", secret.as_str()] {
                let tried = client.authenticate_password(user, password);
                let refused = soon("password", tried).await.expect("an answer");
                assert!(!refused.success(), "{user:?} was let in");
            }
        }
        let mut client = connect(&node).await;
        for password in ["", "wrong", "\0", secret.as_str()] {
            let refused = soon("password", client.authenticate_password("bob", password)).await.expect("an answer");
            assert!(!refused.success());
        }
        assert!(offer(&mut client, "bob", &node.key).await.expect("an answer").success(), "the right key still serves");
    });
}

#[test]
fn attempts_end_in_a_disconnect() {
    let node = Node::start("");
    run(async {
        let mut client = connect(&node).await;
        let mut refused = 0;
        while let Ok(AuthResult::Failure { .. }) = soon("password", client.authenticate_password("bob", "wrong")).await
        {
            refused += 1;
            assert!(refused < 50, "attempts never end");
            if client.is_closed() {
                break;
            }
        }
    });
}

// -- channels -------------------------------------------------------------------------------------------------------

#[test]
fn one_channel_too_many_is_refused_until_one_is_closed() {
    let node = Node::start("");
    run(async {
        let client = log_in(&node).await;
        let mut channels = Vec::new();
        for n in 0..32 {
            channels.push(open(&client).await.unwrap_or_else(|e| panic!("channel {n}: {e}")));
        }
        assert!(open(&client).await.is_err(), "one more channel was opened");
        let last = channels.pop().expect("all channels");
        last.close().await.expect("sent");
        drop(last);
        // The close travels before the open, on the same connection.
        open(&client).await.expect("a channel in place of the closed one");
    });
}

#[test]
fn channels_that_have_ended_make_room_for_others() {
    let node = Node::start("");
    run(async {
        let client = log_in(&node).await;
        for _ in 0..25 {
            let raw = Raw::open(&client).await;
            let mut channel = raw.channel;
            channel.eof().await.expect("sent");
            assert_eq!(until_closed(&mut channel).await.status, Some(0));
        }
        for _ in 0..25 {
            let mut channel = open(&client).await.expect("a channel");
            channel.exec(true, "true").await.expect("sent");
            assert_eq!(until_closed(&mut channel).await.status, Some(1));
        }
    });
}

#[test]
fn busy_multiplexing_is_no_breach() {
    let node = Node::start("");
    run(async {
        let client = log_in(&node).await;
        // More reports than a session may make at once.
        for n in 0..150 {
            let mut channel = open(&client).await.unwrap_or_else(|e| panic!("channel {n}: {e}"));
            channel.exec(true, "true").await.expect("sent");
            until_closed(&mut channel).await;
            let raw = Raw::open(&client).await;
            raw.channel.close().await.expect("sent");
        }
    });
    assert!(!node.log().contains("broke the rules"), "an honest session was killed");
}

#[test]
fn requests_that_nobody_serves_are_answered() {
    let node = Node::start("");
    run(async {
        let client = log_in(&node).await;

        let mut channel = open(&client).await.expect("a channel");
        channel.set_env(true, "LD_PRELOAD", "/view/x.so").await.expect("sent");
        assert!(!answer(&mut channel).await, "env");
        channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0).await.expect("sent");
        assert!(!answer(&mut channel).await, "x11");
        channel.agent_forward(true).await.expect("sent");
        assert!(!answer(&mut channel).await, "agent");
        channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.expect("sent");
        answer(&mut channel).await;
        channel.signal(Sig::KILL).await.expect("sent");
        channel.window_change(1, 1, 1, 1).await.expect("sent");
        channel.request_shell(true).await.expect("sent");
        let ended = until_closed(&mut channel).await;
        assert_eq!(ended.status, Some(1));
        assert!(ended.error.contains("may use: sftp"), "{ended:?}");

        let mut channel = open(&client).await.expect("a channel");
        channel.exec(true, "cat /etc/passwd").await.expect("sent");
        let ended = until_closed(&mut channel).await;
        assert!(ended.error.contains("may use: sftp") && ended.status == Some(1), "{ended:?}");

        let mut channel = open(&client).await.expect("a channel");
        channel.request_subsystem(true, "netconf").await.expect("sent");
        let ended = until_closed(&mut channel).await;
        assert!(ended.error.contains("may use: sftp") && ended.status == Some(1), "{ended:?}");

        let direct = client.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1);
        assert!(soon("direct-tcpip", direct).await.is_err());
        let local = client.channel_open_direct_streamlocal("/run/x");
        assert!(soon("direct-streamlocal", local).await.is_err());
        assert!(soon("x11", client.channel_open_x11("127.0.0.1", 1)).await.is_err());
        assert!(soon("tcpip-forward", client.tcpip_forward("127.0.0.1", 0)).await.is_err());
        assert!(soon("streamlocal-forward", client.streamlocal_forward("/run/x")).await.is_err());

        Raw::open(&client).await;
    });
}

#[test]
fn a_second_subsystem_on_a_channel_is_refused() {
    let node = Node::start("");
    node.put_file("small", 100);
    run(async {
        let client = log_in(&node).await;
        let mut raw = Raw::open(&client).await;
        raw.channel.request_subsystem(true, "sftp").await.expect("sent");
        assert!(!answer(&mut raw.channel).await);
        raw.channel.exec(true, "true").await.expect("sent");
        assert!(!answer(&mut raw.channel).await);
        raw.handle("small", 1).await;
    });
}

// -- memory and time ------------------------------------------------------------------------------------------------

/// Sends `count` READs of the longest kind at once and takes no answer until the memory was looked at; then all of them.
fn greedy(window: u32, count: u32) {
    let node = Node::start("");
    node.put_file("big", 1 << 20);
    run(async {
        let client = log_in_with(&node, client::Config { window_size: window, ..client::Config::default() }).await;
        let mut raw = Raw::open(&client).await;
        let handle = raw.handle("big", 1).await;
        let before = node.most_memory();
        let requests: Vec<u8> = (0..count).flat_map(|id| read_request(id, &handle, 0, LONGEST_READ)).collect();
        raw.send(requests).await;
        // Somebody else is served meanwhile, and more than once.
        let other = log_in(&node).await;
        let mut others = Raw::open(&other).await;
        let theirs = others.handle("big", 1).await;
        for id in 0..100 {
            others.send(read_request(id, &theirs, 0, 1000)).await;
            assert_eq!(others.packet().await.len(), 1 + 4 + 4 + 1000);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        node.assert_frugal(before);
        for id in 0..count {
            let answer = raw.packet().await;
            assert_eq!(answer.get(1..5), Some(&id.to_be_bytes()[..]), "answers come in order");
            assert_eq!(answer.len(), 9 + LONGEST_READ as usize);
        }
        node.assert_frugal(before);
    });
}

#[test]
fn answers_that_are_not_taken_do_not_pile_up_behind_a_huge_window() {
    greedy(u32::MAX, 600);
}

#[test]
fn answers_that_are_not_taken_do_not_pile_up_behind_a_usual_window() {
    greedy(2 << 20, 600);
}

#[test]
fn answers_that_are_not_taken_do_not_pile_up_behind_a_small_window() {
    greedy(40_000, 100);
}

#[test]
fn what_was_asked_before_the_end_is_answered() {
    let node = Node::start("");
    node.put_file("big", 1 << 20);
    run(async {
        let client = log_in(&node).await;
        let mut raw = Raw::open(&client).await;
        let handle = raw.handle("big", 1).await;
        raw.send((0..100).flat_map(|id| read_request(id, &handle, 0, LONGEST_READ)).collect()).await;
        raw.channel.eof().await.expect("sent");
        for id in 0..100_u32 {
            assert_eq!(raw.packet().await.get(1..5), Some(&id.to_be_bytes()[..]));
        }
        // The exit status may have come before the last answers, which waited for the window.
        assert_eq!(until_closed(&mut raw.channel).await.error, "");
    });
}

#[test]
fn requests_without_end_close_their_channel() {
    let node = Node::start("");
    node.put_file("big", 1 << 20);
    run(async {
        let client = log_in_with(&node, client::Config { window_size: 65_536, ..client::Config::default() }).await;
        let mut raw = Raw::open(&client).await;
        let handle = raw.handle("big", 1).await;
        let before = node.most_memory();
        let requests: Vec<u8> = (0..1000).flat_map(|id| read_request(id, &handle, 0, LONGEST_READ)).collect();
        for _ in 0..400 {
            // The client's library does not wake a writer that waits for the window of a channel which is closed.
            let sent = tokio::time::timeout(Duration::from_secs(5), raw.channel.data_bytes(requests.clone())).await;
            if !matches!(sent, Ok(Ok(()))) {
                break;
            }
        }
        node.assert_frugal(before);
        let ended = until_closed(&mut raw.channel).await;
        assert!(ended.error.contains("too many requests wait"), "{ended:?}");
        let other = log_in(&node).await;
        Raw::open(&other).await;
    });
}

#[test]
fn a_gibibyte_arrives_whole_while_keys_change() {
    const PART: usize = 255 * 1024;
    const PARTS: u32 = (1 << 30) / PART as u32;
    let node = Node::start("");
    // Every part is told from the others by its number, and from a torn one by what follows.
    let mut part = pattern(0, PART);
    run(async {
        let limits = Limits::new(64 << 20, 64 << 20, Duration::from_secs(3600));
        let client = log_in_with(&node, client::Config { limits, ..client::Config::default() }).await;
        let mut raw = Raw::open(&client).await;
        let handle = raw.handle("whole", 2 | 8 | 16).await;
        let before = node.most_memory();
        let (mut sent, mut done) = (0_u32, 0_u32);
        while done < PARTS {
            if sent < PARTS && sent - done < 32 {
                part.splice(..4, sent.to_be_bytes());
                raw.send(write_request(sent, &handle, u64::from(sent) * PART as u64, &part)).await;
                sent += 1;
            } else {
                let answer = raw.packet().await;
                assert_eq!(answer.get(5..9), Some(&[0; 4][..]), "a WRITE is done");
                done += 1;
            }
        }
        node.assert_frugal(before);
    });
    let mut file = File::open(node.site().join("whole")).expect("the file");
    let mut found = vec![0; PART];
    for number in 0..PARTS {
        file.read_exact(&mut found).expect("all of it");
        part.splice(..4, number.to_be_bytes());
        assert!(found == part, "part {number} differs");
    }
}

#[test]
fn a_download_goes_on_while_keys_change() {
    let node = Node::start("");
    let content = node.put_file("big", 64 << 20);
    run(async {
        let limits = Limits::new(4 << 20, 4 << 20, Duration::from_secs(3600));
        let config = client::Config { limits, window_size: u32::MAX, ..client::Config::default() };
        let client = log_in_with(&node, config).await;
        let mut raw = Raw::open(&client).await;
        let handle = raw.handle("big", 1).await;
        let part = LONGEST_READ as usize;
        let count = content.len().div_ceil(part);
        let request = |n: usize| read_request(u32::try_from(n).expect("few"), &handle, (n * part) as u64, LONGEST_READ);
        raw.send((0..count).flat_map(request).collect()).await;
        for (n, expected) in content.chunks(part).enumerate() {
            let answer = raw.packet().await;
            assert!(answer.get(9..) == Some(expected), "part {n} differs");
        }
    });
}

// -- the door -------------------------------------------------------------------------------------------------------

#[test]
fn a_client_that_waits_for_the_greeting_gets_it() {
    let node = Node::start("");
    let patient = dial(node.port).expect("a connection");
    assert_eq!(first_line(&patient).as_deref(), Some("SSH-2.0-Enclos\r\n"));
}

/// Sessions are forked from one process and the SSH library's generator does not notice a fork: were it not seeded anew in
/// each, the first bytes drawn, the cookie of KEXINIT (RFC 4253, section 7.1), and soon the keys, would be the same.
#[test]
fn no_two_sessions_draw_the_same_random_numbers() {
    let node = Node::start("");
    let cookies: BTreeSet<[u8; 16]> = (0..8).map(|_| cookie(node.port)).collect();
    assert_eq!(cookies.len(), 8, "sessions share their random numbers");
}

fn cookie(port: u16) -> [u8; 16] {
    let mut stream = dial(port).expect("a connection");
    stream.write_all(b"SSH-2.0-test\r\n").expect("a greeting is taken");
    // The greeting; then length, length of the padding and type of the packet; then the cookie.
    let mut said = [0; 16 + 6 + 16];
    stream.read_exact(&mut said).expect("a greeting and KEXINIT");
    assert!(said.starts_with(b"SSH-2.0-Enclos\r\n"));
    assert_eq!(said[16 + 5], 20, "SSH_MSG_KEXINIT was expected");
    *said.last_chunk().expect("it is that long")
}

#[test]
fn a_slow_handshake_is_ended() {
    let node = Node::start("login_grace = 2");
    let mut dawdler = dial(node.port).expect("a connection");
    assert!(first_line(&dawdler).is_some_and(|l| l.starts_with("SSH-2.0-")));
    let began = Instant::now();
    dawdler.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let mut buffer = [0; 4096];
    loop {
        // A byte now and then is not progress.
        let sent = dawdler.write_all(b"S");
        match dawdler.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            _ if sent.is_err() => break,
            _ => assert!(began.elapsed() < Duration::from_secs(20), "a slow handshake is never ended"),
        }
    }
    assert!(began.elapsed() > Duration::from_millis(1500), "ended before its time");
    run(log_in(&node));
}

#[test]
fn a_flood_is_turned_away_and_leaves_the_door_open() {
    let node = Node::start("max_unauthenticated = 8\nlogin_grace = 30");
    let served = run(log_in(&node));
    drop(served);
    let flood: Vec<TcpStream> = (0..60).filter_map(|_| dial(node.port)).collect();
    let greeted = flood.iter().filter(|s| first_line(s).is_some_and(|l| l.starts_with("SSH-2.0-"))).count();
    assert!(greeted <= 8, "{greeted} connections were greeted");
    assert!(greeted > 0, "nobody was greeted");
    drop(flood);
    let began = Instant::now();
    while !says_hello(node.port) {
        assert!(began.elapsed() < Duration::from_secs(20), "the flood has gone, and nobody is let in");
        std::thread::sleep(Duration::from_millis(20));
    }
    run(log_in(&node));
}
