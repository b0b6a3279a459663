//! What a user uploads is written as the operator says: under which names, with which permissions, how large.

mod atomic;
mod quotas;
mod space;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::{Identity, Login, Node, Raw, Reply, Waiting, finish, open, sftp, wait_until};

as_root_and_rootless!(
    names_sizes_and_permissions_are_as_the_operator_says,
    a_policy_that_takes_something_away_ends_live_sessions,
    the_owner_stays_whatever_a_client_asks,
);

/// Where bob's files are on disk.
fn site(node: &Node) -> PathBuf {
    node.home("acme").join("www/site1")
}

fn mode(node: &Node, name: &str) -> u32 {
    fs::metadata(site(node).join(name)).expect("it is there").permissions().mode() & 0o7777
}

/// What a batch of commands that fails says.
fn refusal(node: &Node, bob: &Login, commands: &str) -> String {
    finish(sftp(bob).current_dir(node.dir()), commands).err()
}

fn names_sizes_and_permissions_are_as_the_operator_says(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let set = ["user", "set", "bob", "--deny-name", "*.php", "--deny-name", ".htaccess", "--max-file-size", "64K"];
    node.admin(&[&set[..], &["--file-mode", "0640", "--directory-mode", "2750"]].concat());
    fs::write(node.dir().join("a.php"), "<?php").expect("a file");
    fs::write(node.dir().join("large"), vec![7; 65 << 10]).expect("a file");
    finish(sftp(&bob).current_dir(node.dir()), "put a.php a.txt\nmkdir d\nchmod 777 a.txt\nput -p a.php d/b\n").ok();
    assert_eq!([mode(&node, "a.txt"), mode(&node, "d"), mode(&node, "d/b")], [0o640, 0o2750, 0o640]);
    for commands in ["put a.php A.PHP\n", "rename a.txt a.php\n", "ln -s a.txt .htaccess\n", "mkdir x.php\n"] {
        let said = refusal(&node, &bob, commands);
        assert!(said.contains("Permission denied") || said.contains("may not be made"), "{commands}: {said}");
    }
    let mut raw = Raw::connect(&bob);
    match raw.put(b"/x.php", b"x", open::WRITE | open::CREATE) {
        Reply::Status(3, message) => assert!(message.contains("choose another name"), "{message}"),
        other => panic!("{other:?}"),
    }
    refusal(&node, &bob, "put large\n");
    assert!(fs::metadata(site(&node).join("large")).expect("its beginning").len() <= 64 << 10);
    let umask = ["user", "set", "bob", "--umask", "0077", "--file-mode", "none", "--directory-mode", "none"];
    node.admin(&umask);
    finish(sftp(&bob).current_dir(node.dir()), "put a.php e.txt\nmkdir e\n").ok();
    assert_eq!([mode(&node, "e.txt"), mode(&node, "e")], [0o600, 0o700]);
}

fn a_policy_that_takes_something_away_ends_live_sessions(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let mut raw = Raw::connect(&bob);
    assert!(raw.put(b"/a.php", b"x", open::WRITE | open::CREATE).is_success());
    node.admin(&["user", "set", "bob", "--umask", "0077", "--max-file-size", "none"]);
    assert!(raw.put(b"/b.php", b"x", open::WRITE | open::CREATE).is_success(), "nothing was taken away");
    node.admin(&["user", "set", "bob", "--deny-name", "*.php"]);
    let ended = wait_until(Duration::from_secs(20), || node.sessions().is_empty());
    assert_eq!(ended, Waiting::Came, "the session goes on");
    let mut raw = Raw::connect(&bob);
    assert!(!raw.put(b"/c.php", b"x", open::WRITE | open::CREATE).is_success());
}

fn the_owner_stays_whatever_a_client_asks(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    fs::write(node.dir().join("a"), "a").expect("a file");
    let (uid, gid) = identity.account_owner();
    let own = format!("put a\nchown {uid} a\nchgrp {gid} a\n");
    finish(sftp(&bob).current_dir(node.dir()), &own).ok();
    let said = refusal(&node, &bob, "chown 0 a\n");
    assert!(said.contains("Permission denied") || said.contains("always the account"), "{said}");
}
