//! What an editor for remote work does (VS Code Remote-SSH and those made after it), in our own words: it looks around by a
//! script on the standard input of `bash`, puts a server into the home, and speaks to that by forwards.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use super::{Desk, PATIENCE, version};
use crate::forwards::Running;
use crate::harness::{Identity, Waiting, finish, free_port, random_file, ssh, wait_until};

as_root_and_rootless!(an_editor_installs_its_server_and_comes_back_to_it);

const SCRIPT: &str = include_str!("scripts/editor.sh");
const SERVER: &str = include_str!("scripts/editor_server.py");

/// The script, with the mark that its answers have.
fn script(mark: &str) -> String {
    format!("set -- {mark}\n{SCRIPT}")
}

/// Bytes of the server beside its program.
const LOAD: u64 = 20 << 20;

fn an_editor_installs_its_server_and_comes_back_to_it(identity: Identity) {
    let mut desk = Desk::new(identity, "VS Code Remote-SSH (replay)", version("ssh", "-V"));
    let said = desk.scripted("bash", &script("a1"));
    assert!(said.starts_with("a1: running\nLinux ") && said.ends_with("a1: upload\n"), "{said}");
    assert!(said.contains("GLIBC") && !said.contains("a1: no "), "{said}");
    desk.saw("bash with a script on standard input: uname, ldd, flock, tar, curl, nothing installed yet");
    upload(&mut desk);
    let window = Window::open(&desk, "a2");
    assert_eq!(window.said("osReleaseId"), "debian");
    let who = ask(window.through_proxy(), "who");
    assert!(who.ends_with(window.said("connectionToken")), "{who}");
    desk.saw("the server begins, tells its port, and is reached by -D");
    assert!(ask(window.through_proxy(), "terminal tty; stty size").starts_with("/dev/pts/"));
    let much = "y".repeat(3_000_000);
    assert_eq!(ask(window.through_proxy(), &format!("length {much}")), "3000000");
    assert_eq!(ask(window.through_proxy(), "much 3000000").len(), 3_000_000);
    let many: Vec<_> = (0..12).map(|_| window.through_proxy()).collect();
    assert!(many.into_iter().all(|stream| ask(stream, "who") == who));
    desk.saw("its terminals, much both ways, twelve connections at once");
    let by_socket = by_socket(&desk, &window);
    assert_eq!(ask(by_socket.1.try_clone().expect("a copy"), "who"), who);
    desk.saw("the same by a socket in /tmp (-L)");
    let (port, token) = (window.said("listeningOn").to_owned(), window.said("connectionToken").to_owned());
    desk.saw_hidden(&["bin/server.py", &token, "vscode-ipc"], &[&port]);
    let held = desk.keeps_running("exec sleep 1000");
    assert_eq!(wait_until(PATIENCE, || desk.told("pgrep -c sleep; true") == "1\n"), Waiting::Came);
    let cut = window.through_proxy();
    drop((window, by_socket));
    assert_eq!(read_to_end(cut), "", "what was forwarded ends with its connection");
    let again = Window::open(&desk, "a3");
    assert_eq!((again.said("listeningOn"), again.said("connectionToken")), (port.as_str(), token.as_str()));
    assert_eq!(ask(again.through_proxy(), "who"), who, "it is the same process");
    desk.saw("cut off while another connection holds the cell: back at the same server");
    drop((again, held));
}

/// The server in an archive, unpacked by what reads standard input.
fn upload(desk: &mut Desk) {
    let server = desk.dir().join("server/bin");
    fs::create_dir_all(&server).expect("a directory");
    fs::write(server.join("server"), "#!/bin/sh\nexec python3 \"$(dirname \"$0\")/server.py\" \"$@\"\n")
        .expect("a file");
    finish(Command::new("chmod").arg("755").arg(server.join("server")), "").ok();
    fs::write(server.join("server.py"), SERVER).expect("a file");
    random_file(&server.join("load"), LOAD, 3);
    finish(desk.command("tar").args(["-czf", "server.tgz", "server"]), "").ok();
    let mut carry = crate::programs::run(
        &desk.dev,
        "tar -xzf - --strip-components 1 -C \"$HOME/.vscode-server/bin/0ddba11\" && echo unpacked",
    );
    let carried = carry.stdin(fs::File::open(desk.dir().join("server.tgz")).expect("a file")).output();
    assert_eq!(carried.expect("start ssh").stdout, b"unpacked\n");
    let load = desk.home().join(".vscode-server/bin/0ddba11/bin/load");
    assert_eq!(fs::metadata(load).expect("unpacked").len(), LOAD);
    desk.saw("20 MB of a server unpacked into the home by tar");
}

/// A connection with the script's `bash` and a dynamic forward, as one window of the editor holds it.
struct Window {
    told: String,
    proxy: u16,
    _running: Running,
    /// Its end would be the end of `bash`.
    _keyboard: std::process::ChildStdin,
}

impl Window {
    fn open(desk: &Desk, mark: &str) -> Window {
        let proxy = free_port();
        let mut client = ssh(&desk.dev);
        client.args(["-T", "-o", "ExitOnForwardFailure=yes", "-D", &proxy.to_string()]).arg(desk.dev.at());
        client.arg("bash").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(&mut client);
        let (mut keyboard, screen) = running.streams();
        keyboard.write_all(script(mark).as_bytes()).expect("it reads");
        let end = format!("{mark}: end");
        let mut told = String::new();
        for line in BufReader::new(screen).lines() {
            let line = line.expect("text");
            told += &format!("{line}\n");
            if line == end {
                break;
            }
        }
        assert!(told.contains(&end), "the script does not come to its end: {told}");
        Window { told, proxy, _running: running, _keyboard: keyboard }
    }

    /// What the script says of something.
    fn said(&self, name: &str) -> &str {
        let value = self.told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("==")?.strip_suffix("=="));
        value.unwrap_or_else(|| panic!("nothing about {name}: {}", self.told))
    }

    /// A connection to the server, by SOCKS 5 (RFC 1928).
    fn through_proxy(&self) -> TcpStream {
        let port: u16 = self.said("listeningOn").parse().expect("a port");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.proxy)).expect("ssh listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.write_all(&[5, 1, 0]).expect("a greeting");
        let mut chosen = [0; 2];
        stream.read_exact(&mut chosen).expect("a method");
        let [high, low] = port.to_be_bytes();
        stream.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low]).expect("a request");
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!((chosen, answer[1]), ([5, 0], 0), "the connection is refused");
        stream
    }
}

/// Says a line, and reads the one that comes back.
fn ask(mut stream: impl Read + Write, line: &str) -> String {
    stream.write_all(format!("{line}\n").as_bytes()).expect("it listens");
    let mut said = String::new();
    BufReader::new(stream).read_line(&mut said).expect("it answers");
    said.trim_end().to_owned()
}

fn read_to_end(mut stream: TcpStream) -> String {
    let mut said = String::new();
    // One that is reset has ended too.
    drop(stream.read_to_string(&mut said));
    said
}

/// A connection to the server's socket.
fn by_socket(desk: &Desk, window: &Window) -> (Running, UnixStream) {
    let here = desk.dir().join("ipc.sock");
    let there = format!("/tmp/vscode-ipc-{}.sock", window.said("connectionToken"));
    let mut client = ssh(&desk.dev);
    client.args(["-N", "-L", &format!("{}:{there}", here.display())]).arg(desk.dev.at());
    let running = Running::start(client.stdin(Stdio::null()));
    assert_eq!(wait_until(PATIENCE, || here.exists()), Waiting::Came, "the forward does not begin");
    (running, UnixStream::connect(&here).expect("ssh listens"))
}
