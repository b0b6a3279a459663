//! Clients that say what no honest one does. With paramiko, which can be made to say anything: see `scripts/hostile.py`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::node_with;
use super::stranger::{Attempt, Shown, address, attempt, guess, run};
use crate::credentials::App;
use crate::harness::{Identity, Raw, descendants, finish, installed, new_key, sftp};

as_root_and_rootless!(paramiko_says_what_it_must_not_and_is_kept_out, a_flood_of_passwords_does_not_stop_keys);

/// Most memory of one session, in KiB; a debug build's own size comes to it.
const MOST_MEMORY_KIB: u64 = 48 * 1024;

/// Most memory that a process has ever had, in KiB.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn paramiko_says_what_it_must_not_and_is_kept_out(identity: Identity) {
    let (node, bob, eve) = node_with(identity, "");
    let kim = node.user("kim", "acme", &[("www/site1", "rw")]);
    let app = App::of(&node, "kim");
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    let mine = node.dir().join("clients/mine");
    new_key(&mine);
    let mut others = Raw::connect(&eve.from("127.0.0.2"));
    let mut python = Command::new(installed().join("python/bin/python"));
    python.arg("-c").arg(include_str!("scripts/hostile.py")).arg(node.port().to_string());
    python.args([&bob.key, &kim.key, &mine]).arg(app.code(0));
    python.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut hostile = python.spawn().expect("start the attack");
    let mut said = Vec::new();
    let mut lines = BufReader::new(hostile.stdout.take().expect("was piped")).lines();
    for line in lines.by_ref() {
        let line = line.expect("a line");
        // Between any two of its steps somebody else is served.
        assert!(others.try_stat(b"/").is_some(), "a sibling was disturbed after {line:?}:\n{}", node.log());
        if line == "ready" {
            break;
        }
        said.push(line);
    }
    // While the floods are there: others log in, and no session has grown.
    for _ in 0..3 {
        finish(&mut sftp(&eve.from("127.0.0.3")), "ls\n").ok();
        assert!(others.try_stat(b"/").is_some());
    }
    for (pid, name) in descendants(node.pid()) {
        let peak = peak(pid).filter(|_| name == "enclos-session").unwrap_or(0);
        assert!(peak < MOST_MEMORY_KIB, "a session took {peak} KiB");
    }
    hostile.stdin.take().expect("was piped").write_all(b"end\n").expect("tell it to end");
    said.extend(lines.map(|line| line.expect("a line")));
    assert!(hostile.wait().expect("its end").success(), "{said:#?}\n{}", node.log());
    println!("{said:#?}");
    let is_in: Vec<_> = said.iter().filter(|line| line.contains("IN")).collect();
    assert!(is_in.is_empty(), "{is_in:#?}\n{}", node.log());
    let more: Vec<_> = said.iter().filter(|line| line.ends_with(" more")).collect();
    assert_eq!(more, ["the first of two: more"], "{said:#?}");
    assert_eq!(said.len(), 40, "{said:#?}");
    // Nothing of it was a crash, nor taken for one.
    for part in ["crash", "broke the rules", "session failed"] {
        assert!(!node.log().contains(part), "{part:?}:\n{}", node.log());
    }
    // Nothing was changed or used up.
    assert_eq!(guess(address(1), node.port(), "bob", "mine now"), Attempt::Denied);
    assert_eq!(guess(address(1), node.port(), "bob", "correct horse"), Attempt::In);
}

/// More passwords at once than may wait to be judged, without an end, and somebody's key in between.
fn a_flood_of_passwords_does_not_stop_keys(identity: Identity) {
    let settings = "penalties = { failed = 0, unknown_user = 0, no_attempt = 0 }\nmax_unauthenticated = 120";
    let (node, bob, _) = node_with(identity, settings);
    node.admin_with(&["passwd", "eve", "--stdin"], "correct horse");
    let key = std::sync::Arc::new(russh::keys::load_secret_key(&bob.key, None).expect("a key"));
    let control = node.control_pid();
    run(async {
        let mut flood = tokio::task::JoinSet::new();
        let another = |n: u8| {
            attempt(
                address(2 + n % 100),
                node.port(),
                if n.is_multiple_of(2) { "eve" } else { "none" },
                Shown::Password("wrong"),
            )
        };
        for n in 0..90 {
            flood.spawn(another(n));
        }
        let mut judged = 0_u8;
        for _ in 0..10 {
            // One more for each that has ended, so that they never are fewer.
            while let Some(ended) = flood.try_join_next() {
                assert_ne!(ended.expect("an attempt"), Attempt::In);
                judged = judged.saturating_add(1);
                flood.spawn(another(judged));
            }
            assert_eq!(attempt(address(200), node.port(), "bob", Shown::Key(key.clone())).await, Attempt::In);
            assert!(!flood.is_empty(), "the flood was over before the key was looked at");
        }
        flood.abort_all();
    });
    let peak = peak(control).expect("control runs");
    println!("control took at most {peak} KiB");
    assert!(peak < 160 * 1024, "control took {peak} KiB");
    assert_eq!(node.control_pid(), control, "control ended meanwhile");
}
