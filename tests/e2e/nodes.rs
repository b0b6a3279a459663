//! Several nodes on one database: what is withdrawn on one ends on all. And a node whose database is away.

#[path = "../postgres/mod.rs"]
#[expect(dead_code, reason = "only the benchmark of look-ups keeps a cluster")]
pub(crate) mod postgres;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::forwards::Running;
use crate::harness::{
    Figures, Identity, Login, Node, Raw, Waiting, descendants, finish, has_ended, new_key, sftp, ssh, wait_until,
};
use postgres::Postgres;

/// Longest until something is gone or there, on a busy machine. The promise is a second; how long it took is printed.
const PATIENCE: Duration = Duration::from_secs(20);

as_root_and_rootless!(
    an_invitation_is_for_one_key_over_all_nodes,
    sessions_are_counted_over_all_nodes,
    everything_of_a_revoked_login_is_gone_in_a_second,
    what_is_revoked_on_one_node_ends_on_the_other,
    what_is_withdrawn_on_one_node_ends_on_the_other_with_postgres,
    what_is_withdrawn_on_one_node_ends_on_the_other_with_sqlite,
    while_the_database_is_away_last_known_facts_serve_those_who_may,
);

/// Two nodes on one database. Fields are dropped in this order.
pub(crate) struct Pair {
    pub(crate) here: Node,
    pub(crate) there: Node,
    postgres: Option<Postgres>,
}

impl Pair {
    pub(crate) fn start(identity: Identity, here: &str, there: &str, postgres: Option<Postgres>) -> Pair {
        let (mut first, mut second) = (Node::prepare(identity), Node::prepare(identity));
        let database = match &postgres {
            Some(postgres) => postgres.url(),
            None => first.state().join("db/control.sqlite").display().to_string(),
        };
        // Control of both may write the file, and their sessions have ids of their own.
        let shared = format!("database = {database:?}\ncontrol_user = \"nobody\"\n");
        first.write_config(&format!("{shared}{here}"));
        second.write_config(&format!("{shared}uid_first = 1880000000\n{there}"));
        first.serve();
        second.serve();
        Pair { here: first, there: second, postgres }
    }

    /// `acme` with users of the other node.
    pub(crate) fn with_users<const N: usize>(&self, names: [&str; N]) -> [Login; N] {
        self.here.account("acme");
        names.map(|name| self.here.user(name, "acme", &[("www/site1", "rw")]).on(&self.there))
    }

    /// A live session on the other node ends by something that is done on this one.
    #[track_caller]
    fn ends(&self, login: &Login, arguments: &[&str], input: &str) {
        let gone = || self.there.sessions().iter().all(|s| s.user != login.user);
        assert_eq!(wait_until(PATIENCE, gone), Waiting::Came, "an earlier session is still listed");
        let mut raw = Raw::connect(login);
        assert!(raw.try_stat(b"/").is_some());
        let session = self.there.session_of(&login.user);
        self.here.admin_with(arguments, input);
        let since = Instant::now();
        assert_eq!(wait_until(PATIENCE, || has_ended(session.pid)), Waiting::Came, "{arguments:?}");
        println!("{arguments:?}: gone on the other node {} ms after it was said", since.elapsed().as_millis());
        assert!(raw.try_stat(b"/").is_none(), "a session that ended answers");
    }
}

fn what_is_withdrawn_on_one_node_ends_on_the_other_with_postgres(identity: Identity) {
    what_is_withdrawn_ends_on_the_other(&Pair::start(identity, "", "", Some(Postgres::start())));
}

fn what_is_withdrawn_on_one_node_ends_on_the_other_with_sqlite(identity: Identity) {
    what_is_withdrawn_ends_on_the_other(&Pair::start(identity, "", "", None));
}

/// What the promise is, from the moment that it is said on one node until the last process on the other has gone. Of several
/// rounds the one in the middle counts: the machine does other things too.
const PROMISED: Duration = Duration::from_secs(1);
const ROUNDS: usize = 7;

/// A transfer, a program and what it has left behind, all of one user on the other node. The sibling has the same.
fn everything_of_a_revoked_login_is_gone_in_a_second(identity: Identity) {
    let pair = Pair::start(identity, "", "", Some(Postgres::start()));
    pair.here.account("acme");
    let [bob, eve] = ["bob", "eve"]
        .map(|name| pair.here.user_with(name, "acme", "sftp,exec", &[("www/site1", "rw")]).on(&pair.there));
    let (_siblings, of_eve) = busy(&pair.there, &eve);
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let (clients, mut processes) = busy(&pair.there, &bob);
        let since = Instant::now();
        pair.here.admin(&["user", "disable", "bob"]);
        let gone = || {
            processes.retain(|pid| !has_ended(*pid));
            processes.is_empty()
        };
        assert_eq!(wait_until(PATIENCE, gone), Waiting::Came, "round {round}\n{}", pair.there.log());
        took.push(since.elapsed());
        drop(clients);
        pair.here.admin(&["user", "enable", "bob"]);
    }
    assert!(of_eve.iter().all(|pid| !has_ended(*pid)), "a sibling was disturbed");
    took.sort();
    let (median, slowest) = (took[ROUNDS / 2], took[ROUNDS - 1]);
    let text = |time: Duration| format!("{} ms", time.as_millis());
    let mut figures = Figures::new("revocation", identity);
    figures.row(&["two nodes, PostgreSQL", &ROUNDS.to_string(), &text(median), &text(slowest)]);
    assert!(median < PROMISED, "{took:?}");
}

/// Has a user do things on a node. Answers with the clients, and with all processes that are the user's.
fn busy(node: &Node, login: &Login) -> (Vec<Running>, Vec<u32>) {
    let before: BTreeSet<u32> = descendants(node.pid()).into_iter().map(|(pid, _)| pid).collect();
    let mut programs = ssh(login);
    programs.arg(login.at()).arg("setsid sleep 1000 & nohup sleep 1000 > /dev/null 2>&1 & sleep 1000");
    let mut transfer = ssh(login);
    transfer.args(["-s", &login.at(), "sftp"]);
    let clients = [programs, transfer]
        .map(|mut client| Running::start(client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null())));
    let of_user = || {
        let sessions: Vec<u32> = node.sessions().iter().filter(|s| s.user == login.user).map(|s| s.pid).collect();
        let all = descendants(node.pid()).into_iter().filter(|(pid, _)| !before.contains(pid));
        let programs = all.filter(|(_, name)| name == "sleep" || name == "bash").map(|(pid, _)| pid);
        (sessions.len(), sessions.iter().copied().chain(programs).collect::<Vec<u32>>())
    };
    let all_there = || of_user().0 == 2 && of_user().1.len() >= 5;
    assert_eq!(wait_until(PATIENCE, all_there), Waiting::Came, "{:?}\n{}", of_user(), node.log());
    (clients.into(), of_user().1)
}

/// Several at once, half of them on each node.
fn an_invitation_is_for_one_key_over_all_nodes(identity: Identity) {
    let pair = Pair::start(identity, "", "", Some(Postgres::start()));
    let [bob] = pair.with_users(["bob"]);
    for round in 0..3 {
        let made: serde_json::Value =
            serde_json::from_str(&pair.here.admin(&["invite", "bob", "--json"])).expect("JSON");
        let name = made["login"].as_str().expect("a name");
        let racers = (0..6).map(|n| {
            let node = if n % 2 == 0 { &pair.here } else { &pair.there };
            let login = bob.with_key(&bob.key.with_file_name(format!("racer{round}-{n}"))).named(name).on(node);
            new_key(&login.key);
            std::thread::spawn(move || finish(ssh(&login).args(["-T", &login.at()]), "").status.success())
        });
        let racers: Vec<_> = racers.collect();
        let told: Vec<bool> = racers.into_iter().map(|racer| racer.join().expect("a racer")).collect();
        assert_eq!(told.iter().filter(|is_told| **is_told).count(), 1, "{told:?}");
    }
    let keys: serde_json::Value =
        serde_json::from_str(&pair.there.admin(&["key", "list", "bob", "--json"])).expect("JSON");
    assert_eq!(keys.as_array().expect("a list").iter().filter(|k| k["origin"] == "invite").count(), 3);
}

/// Half of those who come at the same moment come to each node.
fn sessions_are_counted_over_all_nodes(identity: Identity) {
    let mut pair = Pair::start(identity, "database_grace = 3600", "", Some(Postgres::start()));
    let [bob] = pair.with_users(["bob"]);
    pair.here.admin(&["user", "set", "bob", "--max-sessions", "3"]);
    let here = bob.on(&pair.here);
    let (many, barrier) = (10, Arc::new(Barrier::new(10)));
    let comers: Vec<_> = (0..many)
        .map(|n| {
            let (login, barrier) = (if n % 2 == 0 { here.clone() } else { bob.clone() }, barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                Raw::try_connect(&login)
            })
        })
        .collect();
    let come: Vec<_> = comers.into_iter().map(|comer| comer.join().expect("a thread")).collect();
    let (inside, refused): (Vec<_>, Vec<_>) = come.into_iter().partition(Result::is_ok);
    assert_eq!((inside.len(), refused.len()), (3, many - 3), "{refused:?}");
    for refused in refused {
        let said = refused.expect_err("refused");
        assert!(said.contains("bob may have 3 sessions at the same time, and has"), "{said}");
    }
    drop(inside);
    let mut inside = Vec::new();
    let comes_in = |login: &Login, inside: &mut Vec<Raw>| Raw::try_connect(login).map(|raw| inside.push(raw)).is_ok();
    let fills = |login: &Login, inside: &mut Vec<Raw>, many: usize| {
        let all_there = || inside.len() == many || { comes_in(login, inside) && inside.len() == many };
        assert_eq!(wait_until(PATIENCE, all_there), Waiting::Came, "nobody gets the place");
    };
    fills(&here, &mut inside, 3);
    let is_full = |login: &Login| Raw::try_connect(login).is_err();
    assert!(is_full(&bob), "the other node counts its own alone");
    // Control starts anew without forgetting them, and counts them once.
    let control = pair.here.control_pid();
    kill(control);
    assert_eq!(wait_until(PATIENCE, || pair.here.control_pid_now().is_some_and(|pid| pid != control)), Waiting::Came);
    assert_eq!(wait_until(PATIENCE, || pair.here.sessions().len() == 3), Waiting::Came);
    assert_eq!(
        wait_until(PATIENCE, || is_full(&bob)),
        Waiting::Came,
        "those of a control that was killed are forgotten"
    );
    drop(inside.pop());
    fills(&bob, &mut inside, 3);
    assert!(is_full(&here) && is_full(&bob));
    // A node that dies says nothing; its sessions count for some seconds more.
    let began = Instant::now();
    pair.here.end(Signal::SIGKILL);
    drop(inside.drain(..2));
    fills(&bob, &mut inside, 3);
    println!("those of a node that died do not count any more after {} ms", began.elapsed().as_millis());
    assert!(is_full(&bob));
    // One that is stopped leaves none behind: this node counts again by itself, and the first finds three places.
    pair.here.serve();
    drop(inside);
    let mut inside = Vec::new();
    fills(&bob, &mut inside, 3);
    assert!(is_full(&here));
    pair.there.end(Signal::SIGTERM);
    let told = Raw::try_connect(&here).map(drop);
    assert!(told.is_ok(), "those of a node that was stopped count: {told:?}");
    // While the database is away each counts by itself, and nobody waits for it.
    let first = Raw::connect(&here);
    pair.postgres.as_mut().expect("a server").stop();
    let tells = || pair.here.admin(&["status"]).contains("has been away for");
    assert_eq!(wait_until(PATIENCE, tells), Waiting::Came, "nobody is told");
    let others = [Raw::connect(&here), Raw::connect(&here)];
    assert!(is_full(&here));
    drop((first, others));
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().expect("a process id"));
    nix::sys::signal::kill(pid, Signal::SIGKILL).expect("end control");
}

fn what_is_revoked_on_one_node_ends_on_the_other(identity: Identity) {
    let pair = Pair::start(identity, "", "", Some(Postgres::start()));
    let [bob] = pair.with_users(["bob"]);
    let clients = bob.key.parent().expect("a directory").to_owned();
    let (authority, laptop) = (clients.join("authority"), bob.with_key(&clients.join("laptop")));
    [&authority, &laptop.key].into_iter().for_each(|key| new_key(key));
    let mut sign = std::process::Command::new("ssh-keygen");
    finish(sign.args(["-q", "-I", "x", "-n", "bob", "-z", "5", "-s"]).arg(&authority).arg(laptop.public_key()), "")
        .ok();
    let public = authority.with_extension("pub");
    pair.here.admin(&["ca", "add", "--account", "acme", "--file", public.to_str().expect("a plain path")]);
    let is_in = || Raw::try_connect(&laptop).is_ok();
    assert_eq!(wait_until(PATIENCE, is_in), Waiting::Came, "the other node has not heard of the authority");
    pair.ends(&laptop, &["ca", "revoke", "--ca", "1", "--serial", "5"], "");
    assert!(!is_in());
    pair.here.admin(&["ca", "unrevoke", "1"]);
    assert!(is_in());
    pair.ends(&laptop, &["ca", "remove", "1"], "");
    assert!(!is_in());
}

fn what_is_withdrawn_ends_on_the_other(pair: &Pair) {
    let [bob, eve] = pair.with_users(["bob", "eve"]);
    let mut sibling = Raw::connect(&eve);
    pair.ends(&bob, &["user", "disable", "bob"], "");
    assert!(!finish(&mut sftp(&bob), "ls\n").status.success(), "a disabled user is let in");
    pair.here.admin(&["user", "enable", "bob"]);
    pair.ends(&bob, &["grant", "add", "bob", "www/site1", "--mode", "ro"], "");
    pair.here.admin(&["grant", "add", "bob", "www/site2", "--mode", "rw"]);
    pair.ends(&bob, &["grant", "remove", "bob", "www/site2"], "");
    pair.ends(&bob, &["key", "remove", "bob", &fingerprint(&pair.here)], "");
    pair.here.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    pair.ends(&bob.with_password("correct horse"), &["passwd", "bob", "--stdin"], "battery staple");
    pair.ends(&bob.with_password("battery staple"), &["user", "remove", "bob"], "");
    // What gives, and what is about others, disturbs nobody.
    pair.here.admin(&["grant", "add", "eve", "www/site2", "--mode", "rw"]);
    assert!(sibling.try_stat(b"/").is_some(), "a sibling was disturbed");
    drop(sibling);
    let gone = || pair.there.sessions().is_empty();
    assert_eq!(wait_until(PATIENCE, gone), Waiting::Came, "a session is still listed");
    pair.ends(&eve, &["account", "remove", "acme", "--with-users"], "");
}

fn fingerprint(node: &Node) -> String {
    let text = node.admin(&["key", "list", "bob", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON of bob's keys");
    json[0]["fingerprint"].as_str().expect("a fingerprint").to_owned()
}

/// One node may serve from memory, the other may not.
fn while_the_database_is_away_last_known_facts_serve_those_who_may(identity: Identity) {
    let grace = ["database_grace = 3600", "database_grace = 0"];
    let mut pair = Pair::start(identity, grace[0], grace[1], Some(Postgres::start()));
    let [bob, eve, kim] = pair.with_users(["bob", "eve", "kim"]);
    for login in [&bob, &eve] {
        finish(&mut sftp(&login.on(&pair.here)), "ls\n").ok();
        finish(&mut sftp(login), "ls\n").ok();
    }
    // By the other node, so that this one has only heard of it.
    let mut live = Raw::connect(&bob.on(&pair.here));
    let eves = Raw::connect(&eve.on(&pair.here));
    let session = pair.here.session_of("eve");
    pair.there.admin(&["user", "disable", "eve"]);
    assert_eq!(wait_until(PATIENCE, || has_ended(session.pid)), Waiting::Came);
    drop(eves);
    pair.postgres.as_mut().expect("a server").stop();
    for node in [&pair.here, &pair.there] {
        let tells = || node.admin(&["status"]).contains("has been away for");
        assert_eq!(wait_until(PATIENCE, tells), Waiting::Came, "nobody is told: {}", node.admin(&["status"]));
        assert!(node.log().contains("the database is away"), "{}", node.log());
    }
    assert!(live.try_stat(b"/").is_some(), "a live session ended with the database");
    finish(&mut sftp(&bob.on(&pair.here)), "ls\n").ok();
    for (refused, why) in [(eve.on(&pair.here), "revoked"), (kim.on(&pair.here), "never seen")] {
        let said = finish(&mut sftp(&refused), "ls\n").err();
        assert!(said.contains("Permission denied"), "{why}: {said}");
    }
    let gives_up = || pair.there.log().contains("nobody is let in");
    assert_eq!(wait_until(PATIENCE, gives_up), Waiting::Came, "{}", pair.there.log());
    // Where nothing may be served from memory, clients read why they are refused.
    let said = finish(&mut sftp(&bob), "ls\n").err();
    assert!(said.contains("the server cannot look up its users at the moment; try again later"), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    pair.postgres.as_mut().expect("a server").resume();
    let answers = |node: &Node| node.admin(&["status"]).contains("answers");
    let back = || answers(&pair.here) && answers(&pair.there);
    assert_eq!(wait_until(PATIENCE, back), Waiting::Came, "the database is not found again");
    finish(&mut sftp(&kim.on(&pair.here)), "ls\n").ok();
    let quiet = || !finish(&mut sftp(&kim), "ls\n").stderr.contains("cannot look up");
    assert_eq!(wait_until(PATIENCE, quiet), Waiting::Came, "clients are told still");
    let session = pair.here.session_of("bob");
    pair.there.admin(&["user", "disable", "bob"]);
    assert_eq!(wait_until(PATIENCE, || has_ended(session.pid)), Waiting::Came, "it does not listen again");
}
