//! One process dies, the others go on; the node is asked to end, and nothing stays behind.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{
    Identity, Login, Node, Raw, Waiting, descendants, finish, has_ended, limit_descriptors, open, sftp, signal,
    wait_until,
};

/// Longest until a process that died is replaced.
const REPLACED: Duration = Duration::from_secs(30);
/// Longest until processes are gone that were told to go.
const GONE: Duration = Duration::from_secs(10);

as_root_and_rootless!(
    a_killed_session_leaves_the_others_transferring,
    a_killed_control_leaves_transfers_alone_and_logins_come_back,
    control_may_be_killed_again_and_again,
    a_killed_zygote_leaves_transfers_alone_and_logins_come_back,
    a_killed_attach_helper_costs_nobody_a_login,
    a_monitor_out_of_descriptors_goes_on_when_there_are_some,
    sigterm_ends_everything,
    ctrl_c_ends_everything,
    a_client_that_vanishes_leaves_nothing,
    a_killed_monitor_takes_nothing_with_it_that_serves_and_leaves_nothing_that_does_not,
);

/// A transfer that is under way: one block has been written, and more are to come.
pub(crate) struct Transfer {
    raw: Raw,
    handle: Vec<u8>,
    written: u64,
}

static BLOCK: [u8; 32_768] = [7; 32_768];

impl Transfer {
    pub(crate) fn begin(login: &Login) -> Transfer {
        let mut raw = Raw::connect(login);
        let crate::harness::Reply::Handle(handle) = raw.open(b"/transfer", open::WRITE | open::CREATE) else {
            panic!("cannot open");
        };
        let mut transfer = Transfer { raw, handle, written: 0 };
        transfer.goes_on();
        transfer
    }

    /// Writes on, far beyond what could have been under way already.
    #[track_caller]
    pub(crate) fn goes_on(&mut self) {
        for _ in 0..64 {
            assert!(self.raw.write_at(&self.handle, self.written, &BLOCK).is_success(), "a transfer was interrupted");
            self.written += BLOCK.len() as u64;
        }
    }

    pub(crate) fn finish(mut self, node: &Node, place: &str) {
        self.goes_on();
        assert!(self.raw.close(&self.handle).is_success());
        let file = node.home("acme").join(place).join("transfer");
        assert_eq!(std::fs::metadata(file).expect("the file").len(), self.written);
    }
}

fn with_two(identity: Identity) -> (Node, Login, Login) {
    let (node, bob) = Node::with_bob(identity);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    (node, bob, eve)
}

fn logins_are_back(login: &Login) {
    let came = wait_until(REPLACED, || finish(&mut sftp(login), "ls\n").status.success());
    assert_eq!(came, Waiting::Came, "nobody can log in any more");
}

fn a_killed_session_leaves_the_others_transferring(identity: Identity) {
    let (node, bob, eve) = with_two(identity);
    let (mut first, mut second) = (Transfer::begin(&bob), Transfer::begin(&eve));
    let session = node.session_of("bob");
    signal(session.pid, Signal::SIGKILL);
    assert_eq!(wait_until(GONE, || has_ended(session.pid)), Waiting::Came);
    assert!(first.raw.try_stat(b"/").is_none(), "a dead session answers");
    second.goes_on();
    logins_are_back(&bob);
    assert!(node.sessions().iter().all(|s| s.pid != session.pid), "a dead session is still listed");
    second.finish(&node, "www/site2");
}

fn a_killed_control_leaves_transfers_alone_and_logins_come_back(identity: Identity) {
    let (node, bob, eve) = with_two(identity);
    let mut transfer = Transfer::begin(&bob);
    signal(node.control_pid(), Signal::SIGKILL);
    transfer.goes_on();
    logins_are_back(&eve);
    transfer.goes_on();
    let listed = wait_until(REPLACED, || node.sessions().iter().any(|s| s.user == "bob"));
    assert_eq!(listed, Waiting::Came, "the new control does not know of a session that lives on");
    // What it is for: a session from before can still be ended.
    let session = node.session_of("bob");
    node.admin(&["user", "disable", "bob"]);
    assert_eq!(wait_until(GONE, || has_ended(session.pid)), Waiting::Came);
}

fn control_may_be_killed_again_and_again(identity: Identity) {
    let (node, bob, _) = with_two(identity);
    let mut transfer = Transfer::begin(&bob);
    for _ in 0..3 {
        let before = node.control_pid();
        signal(before, Signal::SIGKILL);
        let another = wait_until(REPLACED, || node.control_pid_now().is_some_and(|pid| pid != before));
        assert_eq!(another, Waiting::Came, "control was not started again");
    }
    logins_are_back(&bob);
    transfer.goes_on();
    transfer.finish(&node, "www/site1");
}

fn a_killed_zygote_leaves_transfers_alone_and_logins_come_back(identity: Identity) {
    let (mut node, bob, eve) = with_two(identity);
    let mut transfer = Transfer::begin(&bob);
    signal(node.zygote_pid("bob"), Signal::SIGKILL);
    transfer.goes_on();
    node.await_hello();
    logins_are_back(&eve);
    transfer.finish(&node, "www/site1");
}

fn a_killed_attach_helper_costs_nobody_a_login(identity: Identity) {
    let (node, bob, eve) = with_two(identity);
    logins_are_back(&bob);
    let helpers = || descendants(node.pid()).into_iter().filter(|(_, name)| name == "enclos-attach");
    assert!(helpers().count() > 0, "no helper was kept");
    helpers().for_each(|(pid, _)| signal(pid, Signal::SIGKILL));
    // The very next one, not one of several tries.
    assert!(finish(&mut sftp(&eve), "ls\n").status.success(), "a login found a dead helper\n{}", node.log());
}

/// Nothing can be forked, and no session be asked for: what is open goes on, and everything comes back.
fn a_monitor_out_of_descriptors_goes_on_when_there_are_some(identity: Identity) {
    let (node, bob, eve) = with_two(identity);
    let mut transfer = Transfer::begin(&bob);
    let usual = limit_descriptors(node.pid(), "0").expect("a live monitor");
    for killed in [node.control_pid(), node.zygote_pid("bob")] {
        signal(killed, Signal::SIGKILL);
    }
    for part in ["control could not be started; trying again", "the session zygote could not be started; trying again"]
    {
        assert_eq!(wait_until(GONE, || node.log().contains(part)), Waiting::Came, "{}", node.log());
    }
    transfer.goes_on();
    limit_descriptors(node.pid(), &usual).expect("a live monitor");
    logins_are_back(&eve);
    transfer.finish(&node, "www/site1");
}

fn sigterm_ends_everything(identity: Identity) {
    ended_by(identity, Signal::SIGTERM);
}

fn ctrl_c_ends_everything(identity: Identity) {
    ended_by(identity, Signal::SIGINT);
}

fn ended_by(identity: Identity, how: Signal) {
    let (mut node, bob, eve) = with_two(identity);
    let mut transfers = [Transfer::begin(&bob), Transfer::begin(&eve)];
    let family = descendants(node.pid());
    assert!(family.len() >= 4, "control, zygote and two sessions at least: {family:?}");
    let ended = node.end(how);
    assert!(ended.success(), "{ended}\n{}", node.log());
    let alive = || family.iter().filter(|(pid, _)| !has_ended(*pid)).collect::<Vec<_>>();
    assert_eq!(wait_until(GONE, || alive().is_empty()), Waiting::Came, "these stay behind: {:?}", alive());
    for transfer in &mut transfers {
        assert!(transfer.raw.try_stat(b"/").is_none());
    }
    // It can be started again at once, on the same port and state.
    node.serve();
    logins_are_back(&bob);
}

fn a_client_that_vanishes_leaves_nothing(identity: Identity) {
    let (node, bob, _) = with_two(identity);
    let transfer = Transfer::begin(&bob);
    let session = node.session_of("bob");
    drop(transfer);
    assert_eq!(wait_until(GONE, || has_ended(session.pid)), Waiting::Came);
    assert_eq!(wait_until(GONE, || node.sessions().is_empty()), Waiting::Came);
}

/// As with sshd, a restart of the monitor leaves running sessions alone; control and zygote must not linger.
fn a_killed_monitor_takes_nothing_with_it_that_serves_and_leaves_nothing_that_does_not(identity: Identity) {
    let (mut node, bob, _) = with_two(identity);
    let transfer = Transfer::begin(&bob);
    let (session, control, zygote) = (node.session_of("bob"), node.control_pid(), node.zygote_pid("bob"));
    node.end(Signal::SIGKILL);
    assert_eq!(wait_until(GONE, || has_ended(control)), Waiting::Came, "control lives without a monitor");
    assert_eq!(wait_until(GONE, || has_ended(zygote)), Waiting::Came, "the zygote lives without a monitor");
    drop(transfer);
    assert_eq!(wait_until(GONE, || has_ended(session.pid)), Waiting::Came, "a session outlives its client");
    node.serve();
    logins_are_back(&bob);
}
