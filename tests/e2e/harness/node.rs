//! One running server with a state directory, accounts and users of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::client::Login;
use super::identity::{Identity, we_are_root};
use super::process::{self, Waiting, finish, wait_until};

/// Longest that a start or an end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A live session, as `enclos session list --json` tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
}

/// A server and everything it needs, in a directory that goes with it.
#[derive(Debug)]
pub(crate) struct Node {
    identity: Identity,
    binary: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// Where it writes itself into to be in a control group.
    entrances: Vec<PathBuf>,
    dir: TempDir,
    port: u16,
    server: Option<Child>,
}

impl Node {
    /// A server that runs and answers.
    pub(crate) fn start(identity: Identity) -> Node {
        let mut node = Node::prepare(identity);
        node.serve();
        node
    }

    /// A running server with an account `acme` whose grant `www/site1` is open to `bob`.
    pub(crate) fn with_bob(identity: Identity) -> (Node, Login) {
        let node = Node::start(identity);
        node.account("acme");
        let bob = node.user("bob", "acme", &[("www/site1", "rw")]);
        (node, bob)
    }

    /// Configuration and directories of a server that does not run yet.
    pub(crate) fn prepare(identity: Identity) -> Node {
        let dir = tempfile::Builder::new().prefix("enclos-e2e-").tempdir().expect("a temporary directory");
        open_to_all(dir.path());
        let node = Node {
            identity,
            binary: identity.enclos(),
            environment: Vec::new(),
            entrances: Vec::new(),
            port: free_port(),
            server: None,
            dir,
        };
        for place in [node.state(), node.accounts()] {
            fs::create_dir(&place).expect("a directory");
            open_to_all(&place);
            node.give_to_server(&place);
        }
        node.write_config("");
        node
    }

    /// Has another build of the server serve, with one more variable in its environment.
    pub(crate) fn replace_binary(&mut self, binary: &Path, variable: (&'static str, &'static str)) {
        self.binary = binary.to_owned();
        self.set_variable(variable.0, variable.1);
    }

    /// Has the server serve with a variable in its environment when it is started next.
    pub(crate) fn set_variable(&mut self, name: &'static str, value: &str) {
        self.environment.retain(|(other, _)| *other != name);
        self.environment.push((name, value.to_owned()));
    }

    /// The configuration with more lines.
    pub(crate) fn write_config(&self, more: &str) {
        // All clients of a test come from one address, which would soon be penalised for what they do.
        let exempt = if more.contains("exempt_sources") { "" } else { "exempt_sources = [\"127.0.0.0/8\"]\n" };
        let text = format!("listen = [\"127.0.0.1:{}\"]\nstate = {:?}\n{exempt}{more}\n", self.port, self.state());
        fs::write(self.config(), text).expect("write the configuration");
        self.give_to_server(&self.config());
    }

    fn give_to_server(&self, path: &Path) {
        if let (Identity::Ordinary(uid), true) = (self.identity, we_are_root()) {
            chown(path, Some(uid), Some(uid)).expect("give a directory to the server's user");
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory that everything of this server and its test lies in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir().join("state")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir().join("enclos.toml")
    }

    fn accounts(&self) -> PathBuf {
        self.dir().join("accounts")
    }

    fn log_file(&self) -> PathBuf {
        self.dir().join("server.log")
    }

    /// Everything that the server has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The program that serves.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// The command line, with this server's configuration.
    pub(crate) fn enclos(&self, arguments: &[&str]) -> Command {
        let mut command = self.identity.command(&self.binary);
        for entrance in &self.entrances {
            let mut inside = Command::new("sh");
            inside.args(["-c", "echo 0 > \"$0\" && exec \"$@\""]).arg(entrance);
            inside.arg(command.get_program()).args(command.get_args());
            command = inside;
        }
        command.arg("--config").arg(self.config()).args(arguments).current_dir(self.dir()).env("HOME", self.dir());
        command
    }

    /// Has it begin in these control groups from now on.
    pub(crate) fn begin_in(&mut self, entrances: Vec<PathBuf>) {
        self.entrances = entrances;
    }

    /// An administration call that must succeed; what it prints.
    #[track_caller]
    pub(crate) fn admin(&self, arguments: &[&str]) -> String {
        self.admin_with(arguments, "")
    }

    /// The same with something on standard input.
    #[track_caller]
    pub(crate) fn admin_with(&self, arguments: &[&str], input: &str) -> String {
        finish(&mut self.enclos(arguments), input).ok()
    }

    /// Makes the tree of an account that nobody has told the server of. Returns its home.
    pub(crate) fn account_tree(&self, name: &str) -> PathBuf {
        let home = self.home(name);
        fs::create_dir(&home).expect("a home");
        for inside in ["www", "www/site1", "www/site2", "private"] {
            fs::create_dir(home.join(inside)).expect("a directory");
        }
        self.own(&home);
        home
    }

    /// Makes an account: its tree on disk and its row. Returns its home.
    pub(crate) fn account(&self, name: &str) -> PathBuf {
        let home = self.account_tree(name);
        self.account_at(name, &home);
        home
    }

    /// Makes the row of an account whose tree `home` is.
    pub(crate) fn account_at(&self, name: &str, home: &Path) {
        let (uid, gid) = self.identity.account_owner();
        let (uid, gid) = (uid.to_string(), gid.to_string());
        let path = home.to_str().expect("a plain path");
        self.admin(&["account", "add", name, "--uid", &uid, "--gid", &gid, "--home", path]);
    }

    /// The tree of an account.
    pub(crate) fn home(&self, account: &str) -> PathBuf {
        self.accounts().join(account)
    }

    /// Gives everything beneath `root` to the account on disk, links themselves and not what they lead to.
    pub(crate) fn own(&self, root: &Path) {
        let (uid, gid) = self.identity.account_owner();
        if !we_are_root() {
            return;
        }
        chown(root, Some(uid), Some(gid)).expect("give it to the account");
        for owned in super::owners(root) {
            std::os::unix::fs::lchown(&owned.path, Some(uid), Some(gid)).expect("give it to the account");
        }
    }

    /// Makes a user with grants and a fresh key.
    pub(crate) fn user(&self, name: &str, account: &str, grants: &[(&str, &str)]) -> Login {
        self.user_with(name, account, "sftp", grants)
    }

    /// The same with other services.
    pub(crate) fn user_with(&self, name: &str, account: &str, services: &str, grants: &[(&str, &str)]) -> Login {
        self.admin(&["user", "add", name, "--account", account, "--service", services]);
        for (path, mode) in grants {
            self.admin(&["grant", "add", name, path, "--mode", mode]);
        }
        let login = Login::new(self, name);
        let public = login.public_key();
        self.admin(&["key", "add", name, "--file", public.to_str().expect("a plain path")]);
        login
    }

    /// The live sessions.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        let text = self.admin(&["session", "list", "--json"]);
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"));
        let list =
            json.get("value").unwrap_or(&json).as_array().unwrap_or_else(|| panic!("not a list: {text}")).clone();
        let number = |entry: &Value, field: &str| {
            let number = entry.get(field).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {field} in {entry}"));
            u32::try_from(number).expect("a small number")
        };
        list.iter()
            .map(|entry| Session {
                user: entry.get("user").and_then(Value::as_str).expect("a user").to_owned(),
                pid: number(entry, "pid"),
                uid: number(entry, "uid"),
            })
            .collect()
    }

    /// The one live session of a user.
    pub(crate) fn session_of(&self, user: &str) -> Session {
        let of_user: Vec<Session> = self.sessions().into_iter().filter(|s| s.user == user).collect();
        match of_user.as_slice() {
            [one] => one.clone(),
            several => panic!("not one session of {user}: {several:?}"),
        }
    }

    /// Starts the server and waits until a session of it says hello.
    pub(crate) fn serve(&mut self) {
        let mut command = self.enclos(&["serve"]);
        command.stdin(Stdio::null());
        self.spawn(command);
        self.await_hello();
    }

    /// Starts it as systemd does that has kept its listening socket (sd_listen_fds(3)); does not wait.
    pub(crate) fn serve_with(&mut self, socket: &TcpListener, name: &str) {
        let serve = self.enclos(&["serve"]);
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"]);
        command.arg(serve.get_program()).args(serve.get_args()).env("LISTEN_FDNAMES", name).current_dir(self.dir());
        command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().expect("the socket again"))));
        self.spawn(command);
    }

    /// Has it started by another program, which ends with the server.
    pub(crate) fn serve_by(&mut self, command: Command) {
        self.spawn(command);
    }

    fn spawn(&mut self, mut command: Command) {
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log file");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone().expect("the log file again")).stderr(log);
        self.server = Some(command.spawn().expect("start the server"));
    }

    /// Waits until a session says hello: the listener, the zygote and the monitor then work.
    pub(crate) fn await_hello(&mut self) {
        let port = self.port;
        let mut ended = None;
        let waited = wait_until(PATIENCE, || {
            ended = self.server.as_mut().and_then(|s| s.try_wait().expect("look after the server"));
            ended.is_some() || says_hello(port)
        });
        assert_eq!(waited, Waiting::Came, "the server does not answer; its log:\n{}", self.log());
        assert!(ended.is_none(), "the server has ended with {ended:?}; its log:\n{}", self.log());
    }

    /// Process id of the monitor.
    pub(crate) fn pid(&self) -> u32 {
        self.server.as_ref().expect("a running server").id()
    }

    /// Process id of control: whoever listens on the admin socket.
    pub(crate) fn control_pid(&self) -> u32 {
        let mut found = None;
        let waited = wait_until(PATIENCE, || {
            found = self.control_pid_now();
            found.is_some()
        });
        assert_eq!(waited, Waiting::Came, "nobody listens on the admin socket; the log:\n{}", self.log());
        found.expect("just found")
    }

    /// The same, if there is one at the moment.
    pub(crate) fn control_pid_now(&self) -> Option<u32> {
        let socket = UnixStream::connect(self.state().join("run/admin.sock")).ok()?;
        let peer = rustix::net::sockopt::socket_peercred(&socket).ok()?;
        u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
    }

    /// Process id of the zygote: the parent of a live session.
    pub(crate) fn zygote_pid(&self, of_session_of: &str) -> u32 {
        let session = self.session_of(of_session_of);
        process::parent(session.pid).expect("a live session has a parent")
    }

    /// Process id of whoever has the service, as it says itself: the parent of control.
    pub(crate) fn monitor_pid(&self) -> u32 {
        process::parent(self.control_pid()).expect("control has a parent")
    }

    /// Asks the server to end, and waits for it.
    pub(crate) fn end(&mut self, how: Signal) -> ExitStatus {
        process::signal(self.pid(), how);
        self.await_end()
    }

    /// Waits until the process ends that was started.
    pub(crate) fn await_end(&mut self) -> ExitStatus {
        let mut ended = None;
        let waited = wait_until(PATIENCE, || {
            ended = self.server.as_mut().and_then(|s| s.try_wait().expect("look after the server"));
            ended.is_some()
        });
        assert_eq!(waited, Waiting::Came, "the server does not end; its log:\n{}", self.log());
        self.server = None;
        ended.expect("just seen")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}", self.log());
        }
        let Some(mut server) = self.server.take() else { return };
        if let (Ok(None), Ok(pid)) = (server.try_wait(), i32::try_from(server.id())) {
            // Gone in this moment is as good as told to go.
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM).unwrap_or_default();
        }
        if wait_until(Duration::from_secs(10), || !matches!(server.try_wait(), Ok(None))) == Waiting::Expired {
            eprintln!("the server did not end within ten seconds of SIGTERM and was killed");
            drop(server.kill());
            drop(server.wait());
        }
    }
}

/// Whether a session answers a greeting (RFC 4253, section 4.2).
fn says_hello(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
    let mut line = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(20))).is_ok()
        && stream.write_all(b"SSH-2.0-test\r\n").is_ok()
        && BufReader::new(stream).read_until(b'\n', &mut line).is_ok()
        && line.starts_with(b"SSH-2.0-")
}

/// A port that nobody listens on, below the range that clients' own connections come from; each test process begins
/// somewhere else.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id().wrapping_mul(97) + step * 7919) % 20_000;
        let port = u16::try_from(port).expect("a port");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("let others enter");
}
