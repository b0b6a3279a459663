//! What an attack takes: memory and time of the sessions that serve it, and the time of everybody else.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::files::Files;
use super::peer::Peer;
use crate::harness::{Login, Node, descendants};
use crate::storm::Probe;

/// How often memory is looked at.
const GLANCE: Duration = Duration::from_millis(25);

/// Memory of a process that is its own and not a file's, in KiB; nothing once it has ended.
pub(super) fn anonymous(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Time of the processor that a process has used.
pub(super) fn time_used(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// The session that serves a peer: the one that holds the other end of its connection.
pub(super) fn session_of(node: &Node, peer: &Peer) -> Option<u32> {
    let table = fs::read_to_string("/proc/net/tcp").expect("the connections");
    let place = |at: SocketAddrV4| format!("{:08X}:{:04X}", u32::from(*at.ip()).swap_bytes(), at.port());
    let ours = place(SocketAddrV4::new(Ipv4Addr::LOCALHOST, node.port()));
    let theirs = place(peer.address());
    let is_it = |line: &&str| line.contains(&format!(" {ours} {theirs} "));
    let inode = table.lines().find(is_it)?.split_whitespace().nth(9)?.to_owned();
    let socket = format!("socket:[{inode}]");
    let holds = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|to| to.to_string_lossy() == socket)
    };
    let sessions = descendants(node.pid()).into_iter().filter(|(_, name)| name == "enclos-session");
    sessions.map(|(pid, _)| pid).find(holds)
}

/// The most that each of some processes has taken since the watch began.
pub(super) struct Watch {
    pids: Vec<u32>,
    before: BTreeMap<u32, Duration>,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    most: u64,
    used: BTreeMap<u32, Duration>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// Most memory of one process at any time, in KiB.
    pub(super) most: u64,
    /// Time of the processor of all of them.
    pub(super) used: Duration,
}

impl Taken {
    /// The time, as far as it was seen: a session that ends at once is gone before it is looked at.
    pub(super) fn used(&self) -> String {
        if self.used.is_zero() { "-".to_owned() } else { format!("{} ms", self.used.as_millis()) }
    }

    /// Of both together.
    pub(super) fn with(self, other: Taken) -> Taken {
        Taken { most: self.most.max(other.most), used: self.used + other.used }
    }
}

impl Watch {
    pub(super) fn of(pids: Vec<u32>) -> Watch {
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let before = pids.iter().filter_map(|pid| Some((*pid, time_used(*pid)?))).collect();
        // One that the attack ends at once is seen at least as it was before.
        look(&pids, &seen);
        let watch = (pids.clone(), Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let (pids, seen, stop) = watch;
            while !stop.load(Ordering::SeqCst) {
                look(&pids, &seen);
                thread::sleep(GLANCE);
            }
        });
        Watch { pids, before, seen, stop, thread: Some(thread) }
    }

    pub(super) fn end(mut self) -> Taken {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().into_iter().for_each(|thread| thread.join().expect("the watch"));
        look(&self.pids, &self.seen);
        let seen = self.seen.lock().expect("nobody panics with it");
        let used =
            seen.used.iter().map(|(pid, used)| used.saturating_sub(self.before.get(pid).copied().unwrap_or_default()));
        Taken { most: seen.most, used: used.sum() }
    }
}

fn look(pids: &[u32], seen: &Mutex<Seen>) {
    for pid in pids {
        let (memory, used) = (anonymous(*pid), time_used(*pid));
        let mut seen = seen.lock().expect("nobody panics with it");
        seen.most = seen.most.max(memory.unwrap_or(0));
        seen.used.extend(used.map(|used| (*pid, used)));
    }
}

/// Somebody else, all the while: one connection on which files are looked at, and logins.
pub(super) struct Others {
    requests: Arc<Mutex<Vec<Duration>>>,
    logins: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Others {
    pub(super) fn start(login: &Login) -> Others {
        let mut others = Others {
            requests: Arc::default(),
            logins: Arc::default(),
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        let (requests, stop, eve) = (Arc::clone(&others.requests), Arc::clone(&others.stop), login.clone());
        let asking = thread::spawn(move || {
            let mut files =
                Files::open(Peer::log_in(&eve).expect("a login"), 1 << 30).and_then(Files::greeted).expect("sftp");
            repeat(&stop, &requests, Duration::from_millis(4), || files.stat("/").expect("an answer"));
        });
        let (logins, stop, mut probe) = (Arc::clone(&others.logins), Arc::clone(&others.stop), Probe::new(login));
        let coming = thread::spawn(move || {
            repeat(&stop, &logins, Duration::from_millis(40), || {
                probe.look().expect("somebody else logs in");
            });
        });
        others.threads = vec![asking, coming];
        others
    }

    /// The 99th percentile of what requests and logins have taken since the last time.
    pub(super) fn take(&self) -> String {
        let [requests, logins] = [&self.requests, &self.logins].map(|times| {
            let mut times = std::mem::take(&mut *times.lock().expect("nobody panics with it"));
            times.sort();
            let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
            times.get(at).map_or("-".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1e3))
        });
        format!("{requests} / {logins}")
    }

    /// Whether nobody of them was disturbed.
    pub(super) fn are_well(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }
}

fn repeat(stop: &AtomicBool, times: &Mutex<Vec<Duration>>, pause: Duration, mut what: impl FnMut()) {
    while !stop.load(Ordering::SeqCst) {
        let since = Instant::now();
        what();
        times.lock().expect("nobody panics with it").push(since.elapsed());
        thread::sleep(pause);
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // What made it panic is told of already.
            drop(thread.join());
        }
    }
}
