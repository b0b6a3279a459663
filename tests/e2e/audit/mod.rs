//! The audit trail: what happens is on record, by whom and where, and nothing in it harms a terminal or tells a secret.

mod deeds;
mod failures;

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Identity, Login, Node, Raw, Waiting, finish, installed, new_key, sftp, ssh, wait_until};

/// Longest from what happened to its line.
const WRITTEN: Duration = Duration::from_secs(20);

as_root_and_rootless!(
    a_login_and_its_end_are_on_record_with_the_key_and_the_address,
    refusals_say_why_and_names_cannot_write_to_a_terminal,
    a_change_of_policy_is_on_record_with_who_made_it,
    what_was_changed_while_the_server_was_down_is_on_record,
    the_last_lines_are_written_when_the_server_stops,
    a_session_that_is_killed_says_who_told_it,
    an_import_is_on_record,
    operators_find_what_they_look_for,
    what_happens_is_followed,
);

/// All events in the file of a node.
pub(super) fn events(node: &Node) -> Vec<Value> {
    let text = fs::read_to_string(node.state().join("audit/audit.jsonl")).unwrap_or_default();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "a control character: {text:?}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"))).collect()
}

/// Waits for an event of a kind for which something holds.
pub(crate) fn await_event(node: &Node, kind: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    let waited = wait_until(WRITTEN, || {
        found = events(node).into_iter().find(|event| event["kind"] == kind && holds(event));
        found.is_some()
    });
    assert_eq!(waited, Waiting::Came, "no {kind} in {:#?}", events(node));
    found.expect("just found")
}

fn of_bob(event: &Value) -> bool {
    event["user"] == "bob"
}

fn fingerprint(login: &Login) -> String {
    let mut keygen = std::process::Command::new("ssh-keygen");
    let said = finish(keygen.arg("-lf").arg(login.public_key()), "").ok();
    said.split_whitespace().nth(1).expect("a fingerprint").to_owned()
}

fn a_login_and_its_end_are_on_record_with_the_key_and_the_address(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    finish(&mut sftp(&bob), "pwd\n").ok();
    let login = await_event(&node, "login", of_bob);
    let ended = await_event(&node, "session-ended", of_bob);
    assert_eq!((&login["account"], &login["version"]), (&"acme".into(), &1.into()));
    assert!(login["source"].as_str().is_some_and(|source| source.starts_with("127.0.0.1:")), "{login}");
    assert_eq!(login["credential"]["method"], "publickey");
    assert_eq!(login["credential"]["fingerprint"], fingerprint(&bob).as_str());
    assert!(login["credential"]["label"].is_string(), "{login}");
    assert_eq!((&ended["connection"], &ended["why"]), (&login["connection"], &"client".into()));
    for kind in ["sftp-opened", "sftp-closed"] {
        let event = await_event(&node, kind, of_bob);
        assert_eq!((&event["connection"], &event["credential"]), (&login["connection"], &login["credential"]));
    }
    assert!(events(&node).iter().any(|event| event["kind"] == "node-started"));
}

fn refusals_say_why_and_names_cannot_write_to_a_terminal(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let stranger = node.dir().join("clients/stranger");
    new_key(&stranger);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    assert!(Raw::try_connect(&bob.with_password("hunter2-is-wrong")).is_err());
    let wrong = await_event(&node, "login-refused", |event| event["method"] == "password");
    assert_eq!((&wrong["name"], &wrong["why"]), (&"bob".into(), &"wrong password".into()));
    assert!(wrong["user"].is_null(), "nobody is in: {wrong}");
    // OpenSSH's client does not send such a name.
    let hostile = "import paramiko, sys\n\
        transport = paramiko.Transport(('127.0.0.1', int(sys.argv[1])))\n\
        transport.connect(username='\\x1b]0;owned\\x07\\u202ebob', password='x')\n";
    let mut client = std::process::Command::new(installed().join("python/bin/python"));
    let said = finish(client.args(["-c", hostile, &node.port().to_string()]), "").err();
    assert!(said.contains("AuthenticationException"), "{said}");
    await_event(&node, "login-refused", |event| event["name"] == "\\x1b]0;owned\\x07\\u{202e}bob");
    finish(ssh(&bob).arg(bob.at()).arg("id"), "").err();
    let refused = await_event(&node, "refused", of_bob);
    assert_eq!(refused["what"], "running commands");
    let text = fs::read_to_string(node.state().join("audit/audit.jsonl")).expect("the file");
    assert!(!text.contains("hunter2") && !text.contains("correct horse"), "a password is told");
}

fn a_change_of_policy_is_on_record_with_who_made_it(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    node.admin(&["user", "disable", "bob"]);
    let changed = await_event(&node, "policy-changed", |event| event["operation"] == "user-set-status");
    assert_eq!(changed["detail"], serde_json::json!({ "name": "bob", "status": "disabled" }));
    assert_eq!(changed["operator"], identity.operator(), "{changed}");
    assert_eq!(changed["user"], "bob");
    let key = await_event(&node, "policy-changed", |event| event["operation"] == "key-add");
    assert_eq!(key["detail"]["text"], serde_json::json!([fingerprint(&bob)]));
    let password = await_event(&node, "policy-changed", |event| event["operation"] == "passwd");
    assert_eq!(password["detail"]["password"], "(not recorded)");
}

fn what_was_changed_while_the_server_was_down_is_on_record(identity: Identity) {
    let (mut node, _) = Node::with_bob(identity);
    node.end(Signal::SIGTERM);
    node.admin(&["user", "disable", "bob"]);
    let changed = await_event(&node, "policy-changed", |event| event["operation"] == "user-set-status");
    assert_eq!(changed["operator"], identity.operator());
    node.serve();
    node.admin(&["user", "enable", "bob"]);
    await_event(&node, "policy-changed", |event| event["detail"]["status"] == "active");
}

fn the_last_lines_are_written_when_the_server_stops(identity: Identity) {
    let (mut node, bob) = Node::with_bob(identity);
    let raw = Raw::connect(&bob);
    node.end(Signal::SIGTERM);
    drop(raw);
    let events = events(&node);
    let ended = events.iter().find(|event| event["kind"] == "session-ended").expect("the session ended");
    assert_eq!((&ended["user"], &ended["why"]), (&"bob".into(), &"shutdown".into()));
    assert!(events.iter().any(|event| event["kind"] == "node-stopped"), "{events:#?}");
}

fn a_session_that_is_killed_says_who_told_it(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let _raw = Raw::connect(&bob);
    node.admin(&["user", "disable", "bob"]);
    assert_eq!(await_event(&node, "session-ended", of_bob)["why"], "revoked");
}

fn an_import_is_on_record(identity: Identity) {
    let (node, _) = Node::with_bob(identity);
    let export = node.admin(&["export", "-"]);
    node.admin_with(&["import", "--dry-run", "-"], &export);
    node.admin_with(&["import", "-"], &export);
    let imports = await_searched(&node, &["--kind", "policy-changed"], |found| !found.is_empty());
    let imports: Vec<_> = imports.iter().filter(|event| event["operation"] == "import").collect();
    assert_eq!(imports.len(), 1, "{imports:#?}");
    assert_eq!((&imports[0]["operator"], &imports[0]["detail"]["users"]), (&identity.operator().into(), &1.into()));
}

/// What `enclos audit --json` with these arguments tells.
fn searched(node: &Node, arguments: &[&str]) -> Vec<Value> {
    let text = node.admin(&[&["audit", "--json"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Waits until the database has what the file has.
pub(super) fn await_searched(node: &Node, arguments: &[&str], holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    let waited = wait_until(WRITTEN, || {
        found = searched(node, arguments);
        holds(&found)
    });
    assert_eq!(waited, Waiting::Came, "{arguments:?} found {found:#?}");
    found
}

fn operators_find_what_they_look_for(identity: Identity) {
    let (mut node, bob) = Node::with_bob(identity);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    for login in [&bob, &eve] {
        finish(&mut sftp(login), "pwd\n").ok();
    }
    let kinds = ["--kind", "login,session-ended"];
    let both = await_searched(&node, &kinds, |found| found.len() == 4);
    let of_bob = searched(&node, &[&kinds[..], &["--user", "bob"]].concat());
    assert!(of_bob.len() == 2 && of_bob.iter().all(|event| event["user"] == "bob"), "{of_bob:#?}");
    assert_eq!(searched(&node, &[&kinds[..], &["--account", "acme"]].concat()), both);
    assert!(searched(&node, &[&kinds[..], &["--account", "other"]].concat()).is_empty());
    assert!(searched(&node, &["--until", "2020-01-01"]).is_empty());
    assert_eq!(searched(&node, &[&kinds[..], &["--since", "1h"]].concat()), both);
    assert_eq!(searched(&node, &[&kinds[..], &["--limit", "1"]].concat()), both[3..]);
    let connection = of_bob[0]["connection"].as_str().expect("a connection");
    let number = connection.rsplit('-').next().expect("a number");
    let of_one = searched(&node, &["--connection", connection]);
    assert_eq!(of_one, searched(&node, &["--connection", number]));
    let kinds: Vec<&str> = of_one.iter().filter_map(|event| event["kind"].as_str()).collect();
    assert_eq!(kinds, ["login", "sftp-opened", "sftp-closed", "session-ended"]);
    let table = node.admin(&["audit", "--user", "bob", "--kind", "login"]);
    assert!(table.contains(" bob 127.0.0.1:") && table.contains(" login connection="), "{table}");
    let unknown = finish(&mut node.enclos(&["audit", "--kind", "logon"]), "").err();
    assert!(unknown.contains("login-refused"), "{unknown}");
    // It is the same database that is asked when no node runs.
    let all = searched(&node, &["--kind", "login"]);
    node.end(Signal::SIGTERM);
    assert_eq!(searched(&node, &["--kind", "login"]), all);
}

fn what_happens_is_followed(identity: Identity) {
    use std::io::{BufRead, BufReader};
    let (node, bob) = Node::with_bob(identity);
    let mut command = node.enclos(&["audit", "--json", "--follow", "--kind", "login", "--user", "bob"]);
    let mut following = command.stdout(std::process::Stdio::piped()).spawn().expect("start following");
    let mut lines = BufReader::new(following.stdout.take().expect("was piped")).lines();
    finish(&mut sftp(&bob), "pwd\n").ok();
    let line = lines.next().expect("a line").expect("text");
    assert!(line.contains(r#""kind":"login""#) && line.contains(r#""user":"bob""#), "{line}");
    following.kill().expect("end it");
    following.wait().expect("it ends");
}
