//! Who gets in, who does not, and what either learns.

use std::time::Duration;

use crate::harness::{
    Identity, Login, Node, Raw, Waiting, finish, has_ended, new_key, ssh, status_uid, time_to_refuse, wait_until,
};

/// Longest from a revocation to the last process gone. The goal is 50 ms; the rest is patience with a busy machine.
const REVOKED: Duration = Duration::from_secs(5);

as_root_and_rootless!(
    a_session_greets_first,
    a_key_opens_the_door,
    a_password_opens_the_door,
    a_mistyped_password_may_be_typed_again,
    a_key_that_was_not_added_opens_nothing,
    a_wrong_password_and_an_unknown_user_are_told_the_same,
    an_impossible_name_is_told_the_same,
    a_removed_key_is_refused_at_the_next_login,
    an_added_key_is_taken_at_the_next_login,
    a_grant_that_was_taken_away_is_gone_at_the_next_login,
    a_disabled_user_is_refused_and_its_live_sessions_end,
    a_removed_user_is_refused_and_its_live_sessions_end,
    the_sessions_of_others_outlive_a_revocation,
    a_session_is_listed_while_it_lives,
    a_user_with_sftp_gets_neither_shell_nor_command,
    what_was_changed_while_the_server_was_down_holds_when_it_is_up,
);

fn is_let_in(login: &Login) -> bool {
    Raw::try_connect(login).is_ok()
}

/// What OpenSSH's client says of a refusal, after the name that it was given.
fn refusal(login: &Login) -> String {
    let said = Raw::try_connect(login).err().unwrap_or_else(|| panic!("{:?} was let in", login.user));
    said.split_once("@127.0.0.1: ").map_or(said.clone(), |(_, rest)| rest.to_owned())
}

/// Some clients, and everything that looks whether a server is up, wait for the server's greeting before their own.
fn a_session_greets_first(identity: Identity) {
    let (node, _) = Node::with_bob(identity);
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", node.port())).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set a limit");
    let mut greeting = [0; 8];
    std::io::Read::read_exact(&mut stream, &mut greeting).expect("a greeting, without having sent one");
    assert_eq!(&greeting, b"SSH-2.0-");
}

fn a_key_opens_the_door(identity: Identity) {
    let (_node, bob) = Node::with_bob(identity);
    assert!(is_let_in(&bob));
}

fn a_password_opens_the_door(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    assert!(is_let_in(&bob.with_password("correct horse")));
    assert!(!is_let_in(&bob.with_password("correct horsf")));
    assert!(!is_let_in(&bob.with_password("")));
    assert!(is_let_in(&bob), "the key is taken as before");
}

fn a_mistyped_password_may_be_typed_again(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    assert!(is_let_in(&bob.with_password("correct hrose\ncorrect horse")), "there was no second try");
}

fn a_key_that_was_not_added_opens_nothing(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let stranger = node.dir().join("clients/stranger");
    new_key(&stranger);
    assert!(!is_let_in(&bob.with_key(&stranger)));
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    assert!(!is_let_in(&bob.with_key(&eve.key)), "another user's key opened bob's door");
}

fn a_wrong_password_and_an_unknown_user_are_told_the_same(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.user("keyed", "acme", &[("www/site2", "rw")]);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    let wrong = refusal(&bob.with_password("wrong"));
    assert!(wrong.contains("Permission denied"), "{wrong}");
    assert_eq!(refusal(&bob.named("nobody-at-all").with_password("wrong")), wrong);
    assert_eq!(refusal(&bob.named("keyed").with_password("wrong")), wrong, "a user without a password");
    let stranger = node.dir().join("clients/stranger");
    new_key(&stranger);
    let wrong = refusal(&bob.with_key(&stranger));
    assert_eq!(refusal(&bob.named("nobody-at-all").with_key(&stranger)), wrong);
    node.admin(&["user", "disable", "bob"]);
    assert_eq!(refusal(&bob), wrong, "a disabled user with its own key");
}

fn an_impossible_name_is_told_the_same(identity: Identity) {
    let (_node, bob) = Node::with_bob(identity);
    let unknown = refusal(&bob.named("nobody-at-all").with_password("wrong"));
    for name in ["../etc", "a b", "UPPER", "é", &"n".repeat(200)] {
        assert_eq!(refusal(&bob.named(name).with_password("wrong")), unknown, "{name:?}");
    }
}

/// Interleaved, medians, loosely compared: a machine that also does other things must not decide this.
#[test]
fn a_wrong_password_and_an_unknown_user_take_the_same_time() {
    let (node, _) = Node::with_bob(Identity::ordinary());
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    node.user("keyed", "acme", &[("www/site2", "rw")]);
    node.user("off", "acme", &[("www/site2", "rw")]);
    node.admin_with(&["passwd", "off", "--stdin"], "correct horse");
    node.admin(&["user", "disable", "off"]);
    let cases = [
        ("bob", "wrong"),
        ("nobody-at-all", "wrong"),
        ("../etc", "wrong"),
        ("keyed", "wrong"),
        ("off", "correct horse"),
    ];
    let mut times: [Vec<Duration>; 5] = Default::default();
    for _ in 0..9 {
        for (times, (user, password)) in times.iter_mut().zip(cases) {
            times.push(time_to_refuse(node.port(), user, password));
        }
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    println!("median time to refuse: {:?}", cases.iter().zip(medians).collect::<Vec<_>>());
    let (fastest, slowest) = (medians.iter().min().expect("five"), medians.iter().max().expect("five"));
    assert!(*slowest < *fastest * 3, "the time tells who exists: {:?}", cases.iter().zip(medians).collect::<Vec<_>>());
}

fn a_removed_key_is_refused_at_the_next_login(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    assert!(is_let_in(&bob));
    let keys: serde_json::Value =
        serde_json::from_str(&node.admin(&["key", "list", "bob", "--json"])).expect("JSON of bob's keys");
    let keys = keys.get("value").unwrap_or(&keys);
    let fingerprint = keys[0].get("fingerprint").and_then(|f| f.as_str()).expect("a fingerprint").to_owned();
    node.admin(&["key", "remove", "bob", &fingerprint]);
    assert!(!is_let_in(&bob));
}

fn an_added_key_is_taken_at_the_next_login(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let second = node.dir().join("clients/second");
    new_key(&second);
    assert!(!is_let_in(&bob.with_key(&second)));
    let public = second.with_extension("pub");
    node.admin(&["key", "add", "bob", "--file", public.to_str().expect("a plain path")]);
    assert!(is_let_in(&bob.with_key(&second)));
}

fn a_grant_that_was_taken_away_is_gone_at_the_next_login(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin(&["grant", "add", "bob", "www/site2", "--mode", "rw"]);
    assert!(Raw::connect(&bob).stat(b"/site2").is_success());
    node.admin(&["grant", "remove", "bob", "www/site2"]);
    assert!(!Raw::connect(&bob).stat(b"/site2").is_success());
    node.admin(&["grant", "remove", "bob", "www/site1"]);
    assert!(Raw::try_connect(&bob).is_err(), "a user without a grant was served something");
}

fn a_disabled_user_is_refused_and_its_live_sessions_end(identity: Identity) {
    revoked_by(identity, &["user", "disable", "bob"]);
}

fn a_removed_user_is_refused_and_its_live_sessions_end(identity: Identity) {
    revoked_by(identity, &["user", "remove", "bob"]);
}

fn revoked_by(identity: Identity, command: &[&str]) {
    let (node, bob) = Node::with_bob(identity);
    let mut raw = Raw::connect(&bob);
    assert!(raw.stat(b"/").is_success());
    let session = node.session_of("bob");
    node.admin(command);
    assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came, "the session outlives {command:?}");
    assert!(raw.try_stat(b"/").is_none(), "the connection outlives its process");
    assert!(!is_let_in(&bob));
    assert!(node.sessions().is_empty());
}

fn the_sessions_of_others_outlive_a_revocation(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    let (raw_bob, mut raw_eve) = (Raw::connect(&bob), Raw::connect(&eve));
    let session = node.session_of("bob");
    node.admin(&["user", "disable", "bob"]);
    assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came);
    assert!(raw_eve.stat(b"/").is_success(), "another user's session went with it");
    assert!(is_let_in(&eve));
    drop(raw_bob);
}

fn a_session_is_listed_while_it_lives(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    assert!(node.sessions().is_empty());
    let mut raw = Raw::connect(&bob);
    assert!(raw.stat(b"/").is_success());
    let session = node.session_of("bob");
    assert_eq!(status_uid(session.pid), Some(session.uid), "the list and the kernel differ");
    if identity == Identity::Root {
        let (account, _) = identity.account_owner();
        assert!(session.uid != account && session.uid != 0, "the session has uid {}", session.uid);
        let second = Raw::connect(&bob);
        let uids: std::collections::BTreeSet<u32> = node.sessions().iter().map(|s| s.uid).collect();
        assert_eq!(uids.len(), 2, "two connections share a uid");
        drop(second);
    }
    drop(raw);
    assert_eq!(wait_until(REVOKED, || node.sessions().is_empty()), Waiting::Came);
    assert!(has_ended(session.pid));
}

fn a_user_with_sftp_gets_neither_shell_nor_command(identity: Identity) {
    let (_node, bob) = Node::with_bob(identity);
    for arguments in [&["true"][..], &["-tt"], &["-W", "127.0.0.1:22"], &["-s", "no-such-subsystem"]] {
        let mut command = ssh(&bob);
        match arguments {
            ["-W", target] => command.args(["-W", target]).arg(bob.at()),
            ["-tt"] => command.arg("-tt").arg(bob.at()),
            ["-s", name] => command.arg("-s").arg(bob.at()).arg(name),
            command_line => command.arg(bob.at()).args(command_line),
        };
        let ended = finish(&mut command, "");
        assert!(!ended.status.success(), "{arguments:?}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
    }
}

fn what_was_changed_while_the_server_was_down_holds_when_it_is_up(identity: Identity) {
    let (mut node, bob) = Node::with_bob(identity);
    assert!(node.end(nix::sys::signal::Signal::SIGTERM).success());
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    node.admin(&["user", "disable", "bob"]);
    node.serve();
    assert!(is_let_in(&eve));
    assert!(!is_let_in(&bob));
}
