//! A forward that nobody reads holds up nothing else of its connection, and takes no more memory than it may.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, Running, Site, exchange};
use crate::harness::{Identity, Login, Waiting, finish, free_port, resident, ssh, wait_until};

as_root_and_rootless!(what_nobody_reads_leaves_a_shell_answering, many_forwards_are_bounded_and_the_connection_lives,);

/// On 7000 it says upper case, on 7001 nothing is ever read, and on 7002 there is no end.
const SERVERS: &str = "
def flood(c):
    while True: c.sendall(b\"x\" * 65536)
def never(c): time.sleep(100000)
def also(port, what):
    l = socket.create_server((\"127.0.0.1\", port))
    threading.Thread(target=serve, args=(l, what), daemon=True).start()
also(7001, never)
also(7002, flood)
serve(socket.create_server((\"127.0.0.1\", 7000)), upper)";

/// A connection that others join, with forwards to the ports of `SERVERS`.
struct Shared {
    ports: [u16; 3],
    control: String,
    login: Login,
    _master: Running,
}

impl Shared {
    fn new(site: &Site, login: &Login) -> Shared {
        let ports = [free_port(), free_port(), free_port()];
        let control = format!("ControlPath={}", site.node.dir().join("control").display());
        let [upper, never, flood] = [0, 1, 2].map(|n: usize| format!("{}:127.0.0.1:{}", ports[n], 7000 + n));
        let arguments = ["-L", &upper, "-L", &never, "-L", &flood, "-o", "ControlMaster=yes", "-o", &control];
        let master = Running::forwarding(login, &arguments, ports[0]);
        Shared { ports, control, login: login.clone(), _master: master }
    }

    /// Begins to fetch a file, and stops the client in the middle of it.
    fn download(&self, site: &Site) -> (Stopped, PathBuf) {
        let (from, got) = (site.home.join("www/site1/large"), site.node.dir().join("fetched"));
        fs::File::create(&from).and_then(|file| file.set_len(DOWNLOADED)).expect("a file");
        let mut client = self.login.command("sftp");
        client.args(["-q", "-o", &self.control]).arg(format!("{}:large", self.login.at())).arg(&got);
        let client = client.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("sftp");
        let stopped = Stopped { pid: Pid::from_raw(client.id().cast_signed()), client };
        let begun = || fs::metadata(&got).is_ok_and(|got| got.len() > 0);
        assert_eq!(wait_until(PATIENCE, begun), Waiting::Came, "no download");
        kill(stopped.pid, Signal::SIGSTOP).expect("our own child");
        let there = fs::metadata(&got).expect("its file").len();
        assert!(there < DOWNLOADED / 2, "{there} bytes are there already: nothing is held up");
        (stopped, got)
    }

    fn run(&self, command: &str) -> Command {
        let mut client = ssh(&self.login);
        client.args(["-o", &self.control]).arg(self.login.at()).arg(command);
        client
    }
}

/// Enough that the client is stopped before the end.
const DOWNLOADED: u64 = 256 << 20;

/// A client that was stopped.
struct Stopped {
    pid: Pid,
    client: Child,
}

impl Stopped {
    fn go_on(&mut self) {
        kill(self.pid, Signal::SIGCONT).expect("our own child");
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.client.kill().and_then(|()| self.client.wait()).expect("our own child");
    }
}

/// Sends until nobody takes any more for a while. Answers with the connection.
fn stuff(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a time limit");
    while stream.write_all(&[0; 1 << 16]).is_ok() {}
    stream
}

fn what_nobody_reads_leaves_a_shell_answering(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "sftp,exec,forward-local", &[]);
    let _server = site.in_cell(&dev, SERVERS);
    let shared = Shared::new(&site, &dev);
    let [upper, never, flood] = shared.ports;
    let (mut download, got) = shared.download(&site);
    // From the cell to a client's program that does not read, and the other way round.
    let not_read: Vec<TcpStream> =
        (0..4).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, flood)).expect("connect")).collect();
    let mut yes = shared.run("yes");
    let yes = Running::start(yes.stdin(Stdio::null()).stdout(Stdio::piped()));
    let taken = stuff(never);
    for number in 0..5 {
        assert_eq!(finish(&mut shared.run(&format!("echo {number}")), "").ok(), format!("{number}\n"));
        assert_eq!(exchange(upper, b"hello"), b"HELLO.");
    }
    let connection = site.node.sessions().iter().map(|s| resident(s.pid)).max().expect("a session");
    assert!(connection < 64 * 1024, "{connection} KiB");
    // More than windows and what may wait for those who do not read together, and it comes through.
    let much = "0123456789abcde\n".repeat(3 << 20);
    assert_eq!(finish(&mut shared.run("wc -c"), &much).ok().trim(), much.len().to_string());
    drop((taken, not_read, yes));
    download.go_on();
    let whole = || fs::metadata(&got).is_ok_and(|got| got.len() == DOWNLOADED);
    assert_eq!(wait_until(PATIENCE, whole), Waiting::Came, "the download does not go on\n{}", site.node.log());
}

fn many_forwards_are_bounded_and_the_connection_lives(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec,forward-local", &[]);
    let _server = site.in_cell(&dev, SERVERS);
    let shared = Shared::new(&site, &dev);
    let [upper, ..] = shared.ports;
    let mut connections = Vec::new();
    let is_refused = || {
        connections.push(TcpStream::connect((Ipv4Addr::LOCALHOST, upper)).expect("connect"));
        exchange(upper, b"hello").is_empty()
    };
    assert_eq!(wait_until(PATIENCE, is_refused), Waiting::Came, "there is a bound");
    assert_eq!(finish(&mut shared.run("echo still here"), "").ok(), "still here\n");
    drop(connections);
    let works = || exchange(upper, b"hello") == b"HELLO.";
    assert_eq!(wait_until(PATIENCE, works), Waiting::Came, "what is closed counts no more");
}
