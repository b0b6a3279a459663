//! Who is held back, and above all who is not.

use std::sync::Arc;

use nix::sys::signal::Signal;
use russh::keys::PrivateKey;

use super::stranger::{Attempt, Shown, address, attempt, await_end, dial, first_line, guess, knock, run};
use super::{PATIENCE, node_with};
use crate::harness::{
    Identity, Login, Node, Waiting, descendants, finish, has_ended, new_key, sftp, signal, ssh, wait_until,
};

as_root_and_rootless!(
    a_password_spray_is_stopped_and_an_operator_can_forgive_it,
    a_thousand_good_logins_are_no_reason_and_a_neighbour_that_guesses_neither,
    keys_that_do_not_match_cost_nothing,
    connections_that_are_not_used_cost_a_stranger_something,
    a_crash_of_its_session_turns_a_source_away,
);

fn logs_in(login: &Login) -> bool {
    finish(&mut sftp(login), "ls\n").status.success()
}

#[track_caller]
fn await_log(node: &Node, part: &str) {
    let waited = wait_until(PATIENCE, || node.log().contains(part));
    assert_eq!(waited, Waiting::Came, "{part:?} is not in the log:\n{}", node.log());
}

/// Guesses until nobody is there to be guessed at; says how many times that was denied.
fn spray(node: &Node, last: u8) -> u32 {
    let mut denied = 0;
    loop {
        match guess(address(last), node.port(), &format!("user{denied}"), "summer2026") {
            Attempt::Denied => denied += 1,
            Attempt::HungUp => return denied,
            Attempt::In => panic!("a guess was right"),
        }
        assert!(denied < 50, "a spray is not stopped:\n{}", node.log());
    }
}

fn a_password_spray_is_stopped_and_an_operator_can_forgive_it(identity: Identity) {
    let (node, bob, _) = node_with(identity, "");
    let denied = spray(&node, 2);
    println!("stopped after {denied} guesses");
    let sentence = knock(address(2), node.port()).expect_err("the door is open");
    assert!(sentence.starts_with("Not allowed at this time: ") && sentence.contains("try again in"), "{sentence:?}");
    await_log(&node, "penalty penalty=127.0.0.2 ");
    assert!(
        node.log().contains("reason=\"unknown user\"") || node.log().contains("reason=unknown user"),
        "{}",
        node.log()
    );
    await_log(&node, "connection turned away peer=127.0.0.2:");
    // Others do not notice.
    assert!(logs_in(&bob.from("127.0.0.3")), "{}", node.log());
    assert!(!logs_in(&bob.from("127.0.0.2")), "somebody is let in from a source that is turned away");
    // An operator sees it and can take it back.
    let is_listed =
        || node.admin(&["ban", "list"]).lines().any(|l| l.starts_with("127.0.0.2 ") && l.contains("penalty"));
    assert_eq!(wait_until(PATIENCE, is_listed), Waiting::Came, "{}", node.admin(&["ban", "list"]));
    node.admin(&["ban", "remove", "127.0.0.2"]);
    assert!(logs_in(&bob.from("127.0.0.2")), "a forgiven source is turned away:\n{}", node.log());
}

fn private_key(login: &Login) -> Arc<PrivateKey> {
    Arc::new(russh::keys::load_secret_key(&login.key, None).expect("a key"))
}

fn a_thousand_good_logins_are_no_reason_and_a_neighbour_that_guesses_neither(identity: Identity) {
    let (node, bob, eve) = node_with(identity, "");
    let key = private_key(&bob);
    run(async {
        for _ in 0..125 {
            let mut eight = tokio::task::JoinSet::new();
            for _ in 0..8 {
                eight.spawn(attempt(address(4), node.port(), "bob", Shown::Key(key.clone())));
            }
            let came = eight.join_all().await;
            assert!(came.iter().all(|came| *came == Attempt::In), "{came:?}\n{}", node.log());
        }
    });
    assert!(!node.log().contains("penalty"), "{}", node.log());
    // Somebody else behind the same address guesses eve's password.
    let held_back = (0..50).position(|_| guess(address(4), node.port(), "eve", "wrong") == Attempt::HungUp);
    println!("held back after {held_back:?} guesses");
    assert!(held_back.is_some(), "nobody is held back:\n{}", node.log());
    await_log(&node, "login held back");
    assert!(node.log().contains("penalty=\"eve from 127.0.0.4\"") || node.log().contains("penalty=eve from 127.0.0.4"));
    // She reads why; her key and everybody else are as welcome as before.
    let typing = eve.with_password("wrong\nwrong").from("127.0.0.4");
    let said = finish(ssh(&typing).arg(typing.at()).arg("true"), "").err();
    assert!(said.contains("too many failed logins from your address or for this name"), "{said}");
    assert!(logs_in(&eve.from("127.0.0.4")), "a key is held back:\n{}", node.log());
    assert!(logs_in(&bob.from("127.0.0.4")), "a neighbour is held back:\n{}", node.log());
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    assert_eq!(guess(address(4), node.port(), "bob", "correct horse"), Attempt::In, "{}", node.log());
}

fn keys_that_do_not_match_cost_nothing(identity: Identity) {
    let (node, bob, _) = node_with(identity, "");
    let other = node.dir().join("clients/other");
    new_key(&other);
    let other = private_key(&bob.with_key(&other));
    for n in 0..40 {
        let user = if n < 20 { "bob" } else { "nobody" };
        let came = run(attempt(address(6), node.port(), user, Shown::Key(other.clone())));
        assert_eq!(came, Attempt::Denied, "{}", node.log());
    }
    assert!(logs_in(&bob.from("127.0.0.6")), "{}", node.log());
}

fn connections_that_are_not_used_cost_a_stranger_something(identity: Identity) {
    let (node, bob, _) = node_with(identity, "login_grace = 2\nlogin_grace_jitter = 0");
    let looked = (0..50).position(|_| knock(address(7), node.port()).is_err());
    println!("turned away after {looked:?} looks");
    assert!(looked.is_some_and(|looks| looks >= 10), "{}", node.log());
    await_log(&node, "reason=\"no authentication attempted\"");
    let idle: Vec<_> = (0..3).map(|_| dial(address(8), node.port())).collect();
    for stream in &idle {
        assert!(first_line(stream).starts_with("SSH-2.0-"), "{}", node.log());
    }
    for stream in idle {
        await_end(stream);
    }
    await_log(&node, "reason=\"login grace exceeded\"");
    assert!(knock(address(8), node.port()).is_err(), "{}", node.log());
    // Whoever logged in there before is let in whatever else goes on there.
    assert!(logs_in(&bob.from("127.0.0.9")));
    for _ in 0..40 {
        assert!(knock(address(9), node.port()).is_ok(), "{}", node.log());
    }
    assert!(logs_in(&bob.from("127.0.0.9")));
}

fn a_crash_of_its_session_turns_a_source_away(identity: Identity) {
    let (node, bob, _) = node_with(identity, "");
    let stream = dial(address(10), node.port());
    assert!(first_line(&stream).starts_with("SSH-2.0-"));
    // As a fault would: it ends without a word. Those that wait for a connection are hit as well, which is nobody's fault.
    let sessions = descendants(node.pid()).into_iter().filter(|(_, name)| name == "enclos-session");
    let sessions: Vec<u32> = sessions.map(|(pid, _)| pid).collect();
    for pid in &sessions {
        signal(*pid, Signal::SIGKILL);
    }
    // One that was about to end would be given to the next client, and its end taken for that one's doing.
    assert_eq!(wait_until(PATIENCE, || sessions.iter().all(|pid| has_ended(*pid))), Waiting::Came);
    await_end(stream);
    await_log(&node, "reason=\"crash of a session\"");
    assert!(knock(address(10), node.port()).is_err(), "{}", node.log());
    assert!(logs_in(&bob.from("127.0.0.11")), "{}", node.log());
}
