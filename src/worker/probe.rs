//! What runs in a trial cell in place of a worker: it goes for what was not granted, and says what it got.
//!
//! Runs in: a shell cell that `enclos doctor` builds, as its first process, confined as the programs of users are.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use crate::sys;
use crate::wire::Link;

/// What there is to be had outside of the cell.
#[derive(Debug)]
pub struct Bait {
    /// A file beside what is granted, which everybody may read.
    pub file: PathBuf,
    /// The granted directory.
    pub granted: PathBuf,
    /// A process of the host.
    pub process: i32,
    /// An abstract socket that something of the host listens on.
    pub socket: String,
    /// A port of the host's localhost.
    pub port: u16,
}

/// Tries everything and tells the monitor what should not have been possible, in words.
pub fn probe(link: &Link, bait: &Bait) -> ExitCode {
    let attempts: [fn(&Bait) -> Vec<String>; 8] =
        [what_is_granted, files, processes, sockets, kinds_of_sockets, calls, writes, privileges];
    let found: Vec<String> = attempts.iter().flat_map(|attempt| attempt(bait)).collect();
    if link.send(&found, None).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A cell in which nothing works would hold everything.
fn what_is_granted(bait: &Bait) -> Vec<String> {
    let written = fs::write(bait.granted.join("by-a-program"), "x").and_then(|()| fs::write("/tmp/by-a-program", "x"));
    written.err().map(|error| format!("a program cannot write what it was granted: {error}")).into_iter().collect()
}

fn files(bait: &Bait) -> Vec<String> {
    let mut paths: Vec<PathBuf> = ["/etc/shadow", "/root", "/sys", "/boot", "/etc/ssh"].map(PathBuf::from).to_vec();
    paths.push(bait.file.clone());
    for root in ["/proc/1/root", "/proc/self/root", "/../.."] {
        paths.push(Path::new(root).join(bait.file.strip_prefix("/").unwrap_or(&bait.file)));
    }
    let there = paths.iter().filter(|path| fs::symlink_metadata(path).is_ok());
    there.map(|path| format!("a program can look up {}", path.display())).collect()
}

fn processes(bait: &Bait) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let others = names.filter(|name| name != "1" && name.bytes().all(|b| b.is_ascii_digit()));
    let mut found: Vec<String> = others.map(|pid| format!("a program sees process {pid} in /proc")).take(3).collect();
    if Pid::from_raw(bait.process).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok()) {
        found.push("a program can signal a process of the host".to_owned());
    }
    for name in ["keys", "kallsyms", "kcore", "kmsg", "sched_debug"] {
        if fs::read(format!("/proc/{name}")).is_ok_and(|content| !content.is_empty()) {
            found.push(format!("a program can read /proc/{name}"));
        }
    }
    found
}

fn sockets(bait: &Bait) -> Vec<String> {
    let mut found = Vec::new();
    let abstract_one = || {
        let address = SocketAddrUnix::new_abstract_name(bait.socket.as_bytes())?;
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::net::connect(&socket, &address)
    };
    if abstract_one().is_ok() {
        found.push("a program can connect to an abstract socket of the host".to_owned());
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, bait.port));
    if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
        found.push("a program can connect to the host's localhost".to_owned());
    }
    found
}

/// `AF_ALG` (linux/socket.h).
const ALG: u16 = 38;

fn kinds_of_sockets(_: &Bait) -> Vec<String> {
    let kinds = [
        ("a packet socket", AddressFamily::PACKET, SocketType::RAW),
        ("a raw socket", AddressFamily::INET, SocketType::RAW),
        ("a socket of the kernel's ciphers", AddressFamily::from_raw(ALG), SocketType::SEQPACKET),
        ("a socket of the hypervisor", AddressFamily::VSOCK, SocketType::STREAM),
    ];
    let made = kinds.into_iter().filter(|(_, family, kind)| {
        let protocol: Option<Protocol> = None;
        rustix::net::socket_with(*family, *kind, SocketFlags::CLOEXEC, protocol).is_ok()
    });
    made.map(|(name, _, _)| format!("a program can make {name}")).collect()
}

fn calls(_: &Bait) -> Vec<String> {
    let passed = sys::calls_that_pass().into_iter().map(|(name, said)| match said {
        Ok(()) => format!("a program can call {name}"),
        Err(errno) => format!("a call of {name} was not stopped by the filter: {errno}"),
    });
    let own_users =
        sys::unshare(UnshareFlags::NEWUSER).is_ok().then(|| "a program can make a user namespace".to_owned());
    passed.chain(own_users).collect()
}

fn writes(_: &Bait) -> Vec<String> {
    let paths = ["/made", "/usr/made", "/etc/made", "/dev/made", "/etc/passwd", "/proc/sys/kernel/core_pattern"];
    let opened = paths.iter().filter(|path| fs::File::options().append(true).create(true).open(path).is_ok());
    opened.map(|path| format!("a program can write {path}")).collect()
}

fn privileges(bait: &Bait) -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let mut found = Vec::new();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        if field(set) != Some("0000000000000000") {
            found.push(format!("a program has capabilities ({set})"));
        }
    }
    if field("NoNewPrivs") != Some("1") {
        found.push("a program can gain privileges".to_owned());
    }
    let file = bait.granted.join("by-a-program");
    let set_id = fs::File::open(&file).map(|file| rustix::fs::fchmod(file, Mode::from_raw_mode(0o4755)));
    if !matches!(set_id, Ok(Err(Errno::PERM))) {
        found.push("a program can ask for set-user-id bits".to_owned());
    }
    found
}
