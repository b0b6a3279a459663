//! Processes that are killed, or stand still.

use nix::sys::signal::Signal;

use super::{GONE, REPLACED, Storm};
use crate::harness::{Waiting, has_ended, signal, wait_until};

/// Sessions of those who work; a kill of one that waits for a connection is the next.
pub(super) fn session(storm: &mut Storm) {
    let pid = storm.pick("a session with a connection", |storm| {
        let sessions = storm.stage.processes("enclos-session");
        sessions.into_iter().filter(|pid| has_connection(*pid)).collect()
    });
    kill(pid);
}

pub(super) fn spare(storm: &mut Storm) {
    let pid = storm.pick("a session without a connection", |storm| {
        let sessions = storm.stage.processes("enclos-session");
        sessions.into_iter().filter(|pid| !has_connection(*pid)).collect()
    });
    kill(pid);
}

pub(super) fn zygote(storm: &mut Storm) {
    let pid = pick_named(storm, "enclos-zygote");
    kill(pid);
}

pub(super) fn shell_zygote(storm: &mut Storm) {
    let pid = pick_named(storm, "enclos-shells");
    kill(pid);
}

pub(super) fn helper(storm: &mut Storm) {
    let pid = pick_named(storm, "enclos-attach");
    kill(pid);
}

pub(super) fn worker(storm: &mut Storm) {
    let pid = storm.pick("a worker", |storm| storm.stage.workers());
    kill(pid);
}

pub(super) fn control(storm: &mut Storm) {
    let pid = pick_named(storm, "enclos-control");
    kill(pid);
}

pub(super) fn monitor(storm: &mut Storm) {
    storm.stage.restart();
}

/// Two or three of them in one moment.
pub(super) fn several(storm: &mut Storm) {
    let mut victims = vec![pick_named(storm, "enclos-control"), pick_named(storm, "enclos-zygote")];
    if storm.toss() {
        victims.push(pick_named(storm, "enclos-session"));
    }
    if storm.toss() {
        victims.push(pick_named(storm, "enclos-shells"));
    }
    // A session that was picked may be gone already.
    victims.iter().filter(|pid| !has_ended(**pid)).for_each(|pid| signal(*pid, Signal::SIGKILL));
    await_end(&victims);
}

/// All at once but the connections: the node is gone, and comes again.
pub(super) fn all_but_sessions(storm: &mut Storm) {
    let names = ["enclos-control", "enclos-zygote", "enclos-shells", "enclos-attach"];
    let victims: Vec<u32> = names.iter().flat_map(|name| storm.stage.processes(name)).collect();
    victims.iter().filter(|pid| !has_ended(**pid)).for_each(|pid| signal(*pid, Signal::SIGKILL));
    storm.stage.restart();
    await_end(&victims);
}

/// Control stands still: what is open goes on, and whoever logs in waits for it.
pub(super) fn control_stands_still(storm: &mut Storm) {
    let pid = pick_named(storm, "enclos-control");
    signal(pid, Signal::SIGSTOP);
    let probe = storm.probe_meanwhile();
    storm.some_go_on(&["in place", "atomic", "download"]);
    signal(pid, Signal::SIGCONT);
    storm.judge(probe);
}

fn pick_named(storm: &mut Storm, name: &'static str) -> u32 {
    storm.pick(name, |storm| storm.stage.processes(name))
}

fn kill(pid: u32) {
    if !has_ended(pid) {
        signal(pid, Signal::SIGKILL);
    }
    await_end(&[pid]);
}

fn await_end(pids: &[u32]) {
    let gone = wait_until(GONE, || pids.iter().all(|pid| has_ended(*pid)));
    assert_eq!(gone, Waiting::Came, "killed and still there: {pids:?}");
}

/// Whether a session serves somebody: it has a socket besides its channel to the monitor.
fn has_connection(pid: u32) -> bool {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let sockets = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    sockets.filter(|to| to.to_string_lossy().starts_with("socket:")).count() > 1
}

impl Storm {
    /// One of the processes that are found, as soon as there is one.
    fn pick(&mut self, what: &str, find: impl Fn(&Storm) -> Vec<u32>) -> u32 {
        let mut found = Vec::new();
        let came = wait_until(REPLACED, || {
            found = find(self);
            !found.is_empty()
        });
        assert_eq!(came, Waiting::Came, "there is no {what}\n{}", self.stage.node.log());
        let at = usize::try_from(self.numbers.next() % found.len() as u64).expect("few");
        found[at]
    }
}
