//! Programs that take all they can get: what is theirs ends there, and the others and the node go on.
//!
//! They need control groups with controllers, which root makes for a node of its own and for one of an ordinary user;
//! `tests/run` leaves them out where the kernel has none.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use super::{Site, run, told};
use crate::harness::{ControlGroup, Identity, Login, Waiting, finish, wait_until};

/// Takes processes until there are no more, then says so and keeps them.
const FORK_BOMB: &str = "import os, sys, time
count = 0
while True:
    try:
        if os.fork() == 0:
            time.sleep(1000)
    except OSError:
        print('full at', count, flush=True)
        time.sleep(1000)
    count += 1";

/// Takes memory page by page. (Should nothing bound it, it fails in another way before it harms the machine.)
const MEMORY_HOG: &str = "held = []
while True:
    held.append(bytearray(1 << 20))";

/// Takes inotify instances and keeps them.
const NOTICE_HOG: &str = "import ctypes, time
libc = ctypes.CDLL(None)
count = 0
while libc.inotify_init() >= 0:
    count += 1
print('full at', count, flush=True)
time.sleep(1000)";

/// A site whose node makes control groups in one of the test's own.
struct Bounded {
    site: Site,
    group: ControlGroup,
}

impl Bounded {
    fn new(identity: Identity) -> Bounded {
        let mut site = Site::stopped(identity);
        let group = ControlGroup::of(&site.node);
        site.node.write_config(&group.setting());
        site.node.begin_in(group.entrances());
        site.node.serve();
        Bounded { site, group }
    }

    /// A developer with these limits.
    fn user(&self, name: &str, limits: &[&str]) -> Login {
        let login = self.site.user(name, "sftp,exec,shell", &[("www/site1", "rw")]);
        if !limits.is_empty() {
            self.site.node.admin(&[&["user", "set", name], limits].concat());
        }
        login
    }

    /// Files of this name in groups of cells.
    fn files(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut open: Vec<PathBuf> = self.group.places().collect();
        while let Some(place) = open.pop() {
            let is_of_a_cell = place.parent().is_some_and(|p| p.to_string_lossy().ends_with("account-acme"));
            found.extend(fs::read_to_string(place.join(name)).ok().filter(|_| is_of_a_cell));
            let inside = fs::read_dir(&place).into_iter().flatten().flatten();
            open.extend(inside.map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
        found
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        // The node first: it has groups in these.
        if !std::thread::panicking() {
            self.site.node.end(nix::sys::signal::Signal::SIGTERM);
            assert_eq!(self.group.groups_inside(), 0, "a node that ends leaves no control group");
        }
    }
}

/// The others and the node serve: programs, a new login, files.
#[track_caller]
fn all_is_well(other: &Login) {
    assert_eq!(told(other, "(echo child); echo here > file; cat file; rm file"), "child\nhere\n");
}

/// Has a program run until it says that it has all it can get.
fn until_full(login: &Login, program: &str) -> std::process::Child {
    let command = format!("exec python3 -c \"{program}\"");
    let mut hog = run(login, &command).stdout(Stdio::piped()).spawn().expect("start");
    let mut said = String::new();
    let output = hog.stdout.as_mut().expect("its output");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut said).expect("what it says");
    assert!(said.starts_with("full at"), "{said:?}");
    hog
}

fn end(mut client: std::process::Child) {
    client.kill().expect("our own child");
    client.wait().expect("our own child");
}

fn a_fork_bomb_harms_nobody(identity: Identity) {
    let bounded = Bounded::new(identity);
    let (hog, dev) = (bounded.user("hog", &["--processes", "60"]), bounded.user("dev", &[]));
    all_is_well(&dev);
    let bomb = until_full(&hog, FORK_BOMB);
    all_is_well(&dev);
    let most = bounded.files("pids.max");
    assert!(most.iter().any(|m| m.trim() == "60"), "{most:?}");
    // Its own user is told why nothing begins any more, and is let out by ending what runs.
    let said = finish(&mut run(&hog, "true"), "");
    assert!(!said.status.success() && said.stderr.contains("limit of processes"), "{said:?}");
    end(bomb);
    let again = wait_until(Duration::from_secs(20), || finish(&mut run(&hog, "echo free"), "").stdout == "free\n");
    assert_eq!(again, Waiting::Came);
}

fn a_memory_hog_ends_alone(identity: Identity) {
    let bounded = Bounded::new(identity);
    let (hog, dev) = (bounded.user("hog", &["--memory", "64M"]), bounded.user("dev", &[]));
    let beside = run(&hog, "echo here; exec sleep 1000").stdout(Stdio::piped()).spawn().expect("start");
    assert_eq!(told(&hog, "echo there"), "there\n");
    let ended =
        finish(&mut run(&hog, &format!("ulimit -v 4000000; python3 -c '{MEMORY_HOG}'; echo ended with $?")), "");
    assert_eq!(ended.stdout, "ended with 137\n", "the kernel ends it and nothing else: {ended:?}");
    all_is_well(&dev);
    // Files in the cell's own directories are memory too; full of them, it can still be worked in.
    let fill = "head -c 100M /dev/zero > /tmp/big; head -c 100M /dev/zero > /dev/shm/big; du -cm /tmp/big /dev/shm/big | tail -1";
    let filled = finish(&mut run(&hog, fill), "");
    let size = filled.stdout.split_whitespace().next().and_then(|size| size.parse::<u32>().ok());
    assert!(filled.stderr.contains("No space left") && size.is_some_and(|size| size <= 33), "{filled:?}");
    assert_eq!(told(&hog, "pgrep -c sleep"), "1\n", "the user's other program goes on");
    all_is_well(&dev);
    end(beside);
}

fn a_notice_hog_takes_only_its_own(identity: Identity) {
    let bounded = Bounded::new(identity);
    let (hog, dev) = (bounded.user("hog", &[]), bounded.user("dev", &[]));
    let full = until_full(&hog, NOTICE_HOG);
    assert_eq!(told(&dev, "python3 -c 'import ctypes; print(ctypes.CDLL(None).inotify_init() > 0)'"), "True\n");
    all_is_well(&dev);
    end(full);
}

fn processor_time_is_bounded(identity: Identity) {
    let bounded = Bounded::new(identity);
    let hog = bounded.user("hog", &["--cpu", "10%"]);
    let mut busy = run(&hog, "while :; do :; done").spawn().expect("start");
    let is_throttled = || {
        let stats = bounded.files("cpu.stat");
        stats.iter().flat_map(|s| s.lines()).any(|l| l.strip_prefix("nr_throttled ").is_some_and(|n| n.trim() != "0"))
    };
    assert_eq!(wait_until(Duration::from_secs(30), is_throttled), Waiting::Came);
    busy.kill().expect("our own child");
    busy.wait().expect("our own child");
}

fn the_programs_of_an_account_are_bounded_together(identity: Identity) {
    let bounded = Bounded::new(identity);
    bounded.site.node.admin(&["account", "set", "acme", "--processes", "60"]);
    let (hog, dev) = (bounded.user("hog", &[]), bounded.user("dev", &[]));
    all_is_well(&dev);
    let bomb = until_full(&hog, FORK_BOMB);
    // What an account is given its users share: the node serves, and the operator sees to it.
    assert!(!finish(&mut run(&dev, "(true); echo here"), "").stdout.contains("here"));
    bounded.site.node.admin(&["account", "set", "acme", "--processes", "none"]);
    let free =
        wait_until(Duration::from_secs(20), || finish(&mut run(&dev, "(true); echo here"), "").stdout == "here\n");
    assert_eq!(free, Waiting::Came, "what is said anew holds from the next cell on");
    end(bomb);
}

/// Killed, a node leaves groups behind; the next start removes them.
fn a_killed_nodes_groups_are_removed_at_the_next_start(identity: Identity) {
    let mut bounded = Bounded::new(identity);
    let dev = bounded.user("dev", &[]);
    let running = run(&dev, "echo here; exec sleep 1000").stdout(Stdio::null()).spawn().expect("start");
    assert_eq!(wait_until(Duration::from_secs(20), || !bounded.files("cgroup.procs").is_empty()), Waiting::Came);
    bounded.site.node.end(nix::sys::signal::Signal::SIGKILL);
    assert!(bounded.group.groups_inside() > 0);
    end(running);
    bounded.site.node.serve();
    assert!(bounded.files("cgroup.procs").is_empty());
    all_is_well(&dev);
}

fn doctor_says_which_limits_hold(identity: Identity) {
    let bounded = Bounded::new(identity);
    let said = bounded.site.node.admin(&["doctor"]);
    let line = |layer: &str| said.lines().find(|l| l.starts_with(layer)).unwrap_or_else(|| panic!("{said}")).to_owned();
    for layer in ["memory-limit", "process-limit", "cpu-limit"] {
        assert!(line(layer).contains("holds"), "{said}");
    }
    bounded.site.node.write_config("");
    let without = finish(&mut bounded.site.node.enclos(&["doctor"]), "").stdout;
    if without.lines().any(|l| l.starts_with("memory-limit") && l.contains("MISSING")) {
        let demanding = "require = [\"memory-limit\"]";
        bounded.site.node.write_config(demanding);
        let refused = finish(&mut bounded.site.node.enclos(&["doctor"]), "");
        assert!(!refused.status.success(), "{refused:?}");
    }
}

/// Root makes the groups, for a node of its own and for one of an ordinary user.
macro_rules! for_both_nodes {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use crate::harness::Identity;
            #[test] fn of_root() { super::super::$name(Identity::root()) }
            #[test] fn of_an_ordinary_user() { Identity::root(); super::super::$name(Identity::ordinary()) }
        })+
    };
}

mod as_root {
    for_both_nodes!(
        a_fork_bomb_harms_nobody,
        a_memory_hog_ends_alone,
        processor_time_is_bounded,
        the_programs_of_an_account_are_bounded_together,
        a_killed_nodes_groups_are_removed_at_the_next_start,
        doctor_says_which_limits_hold,
    );

    /// The kernel counts inotify instances by user id alone, so only root's cells have their own.
    #[test]
    fn a_notice_hog_takes_only_its_own() {
        super::a_notice_hog_takes_only_its_own(crate::harness::Identity::root());
    }
}
