//! Bans by operators: of addresses, names, and one from the other; on the node, and on others that share its database.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::stranger::{Attempt, Shown, address, attempt, guess, knock, run};
use super::{PATIENCE, node_with};
use crate::harness::{Identity, Login, Raw, Waiting, finish, has_ended, sftp, wait_until};
use crate::nodes::Pair;
use crate::nodes::postgres::Postgres;

as_root_and_rootless!(
    a_banned_address_is_turned_away_and_its_sessions_end,
    a_banned_name_is_refused_whatever_it_shows,
    bans_are_told_to_every_node_with_postgres,
    bans_are_told_to_every_node_with_sqlite,
    what_is_written_in_the_log_is_found_by_the_fail2ban_filter,
);

fn logs_in(login: &Login) -> bool {
    finish(&mut sftp(login), "ls\n").status.success()
}

fn a_banned_address_is_turned_away_and_its_sessions_end(identity: Identity) {
    let (mut node, bob, eve) = node_with(identity, "");
    let mut sibling = Raw::connect(&eve.from("127.0.0.2"));
    let mut raw = Raw::connect(&bob.from("127.0.0.67"));
    let session = node.session_of("bob");
    node.admin(&["ban", "add", "127.0.0.64/26", "--for", "2h", "--reason", "scans us"]);
    assert_eq!(wait_until(PATIENCE, || has_ended(session.pid)), Waiting::Came, "{}", node.log());
    assert!(raw.try_stat(b"/").is_none() && sibling.try_stat(b"/").is_some());
    let sentence = knock(address(99), node.port()).expect_err("somebody is let in");
    assert!(sentence.contains("Not allowed at this time: your address is banned here"), "{sentence}");
    assert!(node.log().contains("ban on 127.0.0.64/26: scans us"), "{}", node.log());
    assert!(logs_in(&bob.from("127.0.0.63")), "a neighbour is banned");
    let list = node.admin(&["ban", "list"]);
    assert!(list.contains("127.0.0.64/26") && list.contains("operator") && list.contains("scans us"), "{list}");
    let json: serde_json::Value = serde_json::from_str(&node.admin(&["ban", "list", "--json"])).expect("JSON");
    assert_eq!(json[0]["reason"], "scans us");
    // It is kept.
    node.end(nix::sys::signal::Signal::SIGTERM);
    node.serve();
    assert!(knock(address(99), node.port()).is_err());
    node.admin(&["ban", "remove", "127.0.0.64/26"]);
    assert!(knock(address(99), node.port()).is_ok());
    // The shortest way to lock oneself out, and mistakes.
    let refusal = |arguments: &[&str]| finish(&mut node.enclos(arguments), "").err();
    assert!(refusal(&["ban", "add", "0.0.0.0/0"]).contains("would ban everybody"));
    assert!(refusal(&["ban", "add"]).contains("name an address"));
    assert!(refusal(&["ban", "add", "192.0.2.7/24"]).contains("the network is 192.0.2.0/24"));
    assert!(refusal(&["ban", "add", "192.0.2.7", "--for", "soon"]).contains("write 90s, 15m, 2h, 7d or 2w"));
    // One that ends, ends.
    node.admin(&["ban", "add", "127.0.0.70", "--for", "2s"]);
    assert!(knock(address(70), node.port()).is_err());
    assert_eq!(wait_until(PATIENCE, || knock(address(70), node.port()).is_ok()), Waiting::Came);
}

fn a_banned_name_is_refused_whatever_it_shows(identity: Identity) {
    let (node, bob, eve) = node_with(identity, "");
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    let raw = Raw::connect(&bob.from("127.0.0.2"));
    let session = node.session_of("bob");
    node.admin(&["ban", "add", "--user", "bob", "--reason", "left"]);
    assert_eq!(wait_until(PATIENCE, || has_ended(session.pid)), Waiting::Came, "{}", node.log());
    drop(raw);
    let said = finish(&mut sftp(&bob.from("127.0.0.2")), "ls\n").err();
    assert!(said.contains("this name is banned here; ask the operator"), "{said}");
    assert_eq!(guess(address(3), node.port(), "bob", "correct horse"), Attempt::HungUp);
    let key = std::sync::Arc::new(russh::keys::load_secret_key(&bob.key, None).expect("a key"));
    assert_eq!(run(attempt(address(3), node.port(), "bob", Shown::Key(key))), Attempt::HungUp);
    assert!(node.log().contains("login refused: banned"), "{}", node.log());
    assert!(logs_in(&eve.from("127.0.0.3")), "{}", node.log());
    node.admin(&["ban", "remove", "--user", "bob"]);
    node.admin(&["ban", "add", "127.0.0.3", "--user", "bob"]);
    assert!(logs_in(&bob.from("127.0.0.2")) && !logs_in(&bob.from("127.0.0.3")) && logs_in(&eve.from("127.0.0.3")));
}

fn bans_are_told_to_every_node_with_postgres(identity: Identity) {
    bans_are_told_to_every_node(&Pair::start(identity, "", "", Some(Postgres::start())));
}

fn bans_are_told_to_every_node_with_sqlite(identity: Identity) {
    bans_are_told_to_every_node(&Pair::start(identity, "", "", None));
}

fn bans_are_told_to_every_node(pair: &Pair) {
    let [bob] = pair.with_users(["bob"]);
    let mut raw = Raw::connect(&bob.from("127.0.0.5"));
    assert!(raw.try_stat(b"/").is_some());
    let session = pair.there.session_of("bob");
    pair.here.admin(&["ban", "add", "127.0.0.5"]);
    let since = Instant::now();
    assert_eq!(wait_until(PATIENCE, || has_ended(session.pid)), Waiting::Came, "{}", pair.there.log());
    println!("a session on the other node ended {} ms after its address was banned", since.elapsed().as_millis());
    assert!(knock(address(5), pair.there.port()).is_err() && knock(address(5), pair.here.port()).is_err());
    pair.there.admin(&["ban", "remove", "127.0.0.5"]);
    assert!(knock(address(5), pair.there.port()).is_ok());
    let is_open = || knock(address(5), pair.here.port()).is_ok();
    assert_eq!(wait_until(PATIENCE, is_open), Waiting::Came, "{}", pair.here.log());
}

/// Runs fail2ban's own tester on a log.
fn matched(log: &Path, filter: &Path) -> String {
    let mut command = Command::new("fail2ban-regex");
    finish(command.args(["--print-all-matched"]).arg(log).arg(filter), "").ok()
}

fn what_is_written_in_the_log_is_found_by_the_fail2ban_filter(identity: Identity) {
    for format in ["text", "json"] {
        let (node, bob, _) = node_with(identity, &format!("log = \"{format}\""));
        assert_eq!(guess(address(20), node.port(), "bob", "wrong"), Attempt::Denied);
        assert_eq!(guess(address(21), node.port(), "nobody", "wrong"), Attempt::Denied);
        // A name that looks like a line of the log bans nobody else.
        let forged = "x conn=1 peer=127.0.0.99:22 user=bob method=\"password\" reason=wrong password";
        assert_eq!(guess(address(22), node.port(), forged, "wrong"), Attempt::Denied);
        assert_eq!(
            guess(address(22), node.port(), "\n2026-01-01T00:00:00Z  INFO login denied conn=1 peer=127.0.0.99:1 ", "x"),
            Attempt::Denied
        );
        assert!(logs_in(&bob.from("127.0.0.23")));
        let log = node.dir().join("server.log");
        let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fail2ban/filter.d/enclos.conf");
        let report = matched(&log, &filter);
        assert!(report.contains("4 matched"), "{format}:\n{report}\n{}", node.log());
        let mut command = Command::new("fail2ban-regex");
        let found = finish(command.args(["--out", "ip"]).arg(&log).arg(&filter), "").ok();
        let mut found: Vec<&str> = found.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        found.sort_unstable();
        assert_eq!(found, ["127.0.0.20", "127.0.0.21", "127.0.0.22", "127.0.0.22"], "{format}: {}", node.log());
    }
}
