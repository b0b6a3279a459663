//! Invitations: one-time names, taken up by `ssh` with whatever key.

use std::process::Command;
use std::thread;

use super::{REVOKED, in_seconds, is_let_in, key_with};
use crate::harness::{Finished, Identity, Login, Node, Waiting, finish, new_key, sftp, ssh, wait_until};

as_root_and_rootless!(
    whoever_is_invited_logs_in_with_the_key_from_then_on,
    an_invitation_is_for_one_key_however_many_come_at_once,
    an_invitation_that_is_over_or_withdrawn_is_none,
    an_invitation_is_for_a_user_who_may_log_in,
    the_key_may_do_what_the_invitation_says,
    passwords_and_certificates_take_up_no_invitation,
    of_several_keys_the_first_is_bound,
    an_invitation_opens_nothing_but_its_letter,
);

/// Somebody with a key that nobody knows.
fn stranger(like: &Login, name: &str) -> Login {
    let login = like.with_key(&like.key.with_file_name(name));
    new_key(&login.key);
    login
}

fn invite(node: &Node, user: &str, options: &[&str]) -> String {
    let json = node.admin(&[&["invite", user, "--json"], options].concat());
    let made: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    made["login"].as_str().expect("a name").to_owned()
}

/// `ssh NAME@host` and nothing else.
fn take_up(login: &Login, name: &str) -> Finished {
    let login = login.named(name);
    finish(ssh(&login).arg("-T").arg(login.at()), "")
}

fn origins(node: &Node, user: &str) -> Vec<String> {
    let keys: serde_json::Value =
        serde_json::from_str(&node.admin(&["key", "list", user, "--json"])).expect("JSON of the keys");
    keys.as_array().expect("a list").iter().map(|k| k["origin"].as_str().expect("an origin").to_owned()).collect()
}

fn whoever_is_invited_logs_in_with_the_key_from_then_on(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let printed = node.admin(&["invite", "bob", "--label", "new laptop", "--expires", "12h"]);
    let name = printed.split_whitespace().find_map(|word| word.strip_suffix("@HOST")).expect("a name").to_owned();
    assert!(name.starts_with("invite-") && name.len() == 27, "{printed}");
    let laptop = stranger(&bob, "laptop");
    assert!(!is_let_in(&laptop));
    let said = take_up(&laptop, &name).ok();
    for part in ["belongs to the login bob", &format!("sftp -P {} bob@HOST", node.port()), "www/site1 (rw)", "SHA256:"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    finish(&mut sftp(&laptop), "ls /\n").ok();
    assert_eq!(origins(&node, "bob"), ["operator", "invite"]);
    assert!(node.admin(&["key", "list", "bob"]).contains("new laptop"));
    assert!(node.admin(&["invitation", "list", "bob"]).contains("taken up"));
    let again = take_up(&stranger(&bob, "second"), &name);
    assert!(again.stderr.contains("Permission denied"), "{again:?}");
    assert!(!node.log().contains(&name), "the secret is in the log");
}

fn an_invitation_is_for_one_key_however_many_come_at_once(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let name = invite(&node, "bob", &[]);
    let many: Vec<Login> = (0..6).map(|n| stranger(&bob, &format!("racer{n}"))).collect();
    let racers: Vec<_> = many
        .iter()
        .cloned()
        .map(|login| {
            let name = name.clone();
            thread::spawn(move || take_up(&login, &name).status.success())
        })
        .collect();
    let told: Vec<bool> = racers.into_iter().map(|racer| racer.join().expect("a racer")).collect();
    assert_eq!(told.iter().filter(|is_told| **is_told).count(), 1, "{told:?}\n{}", node.log());
    let let_in: Vec<bool> = many.iter().map(is_let_in).collect();
    assert_eq!(let_in, told, "who was told so is who has it");
    assert_eq!(origins(&node, "bob"), ["operator", "invite"]);
}

fn an_invitation_that_is_over_or_withdrawn_is_none(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let short = invite(&node, "bob", &["--expires", &in_seconds(5)]);
    let over = || node.admin(&["invitation", "list"]).contains("over");
    assert_eq!(wait_until(REVOKED * 4, over), Waiting::Came);
    assert!(!take_up(&stranger(&bob, "late"), &short).status.success());
    let withdrawn = invite(&node, "bob", &[]);
    node.admin(&["invitation", "withdraw", "2"]);
    assert!(!take_up(&stranger(&bob, "second"), &withdrawn).status.success());
    let refused = finish(&mut node.enclos(&["invitation", "withdraw", "2"]), "");
    assert!(refused.stderr.contains("no invitation 2"), "{refused:?}");
    for (time, part) in [("1000d", "within 90 days"), ("2020-01-01", "within 90 days"), ("soon", "not a time")] {
        let refused = finish(&mut node.enclos(&["invite", "bob", "--expires", time]), "");
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    // A name that was guessed is nobody's, like any other.
    assert!(!take_up(&stranger(&bob, "guesser"), "invite-abcdefghij234567abcd").status.success());
    assert_eq!(origins(&node, "bob"), ["operator"]);
    let refused = finish(&mut node.enclos(&["user", "add", "invite-x", "--account", "acme"]), "");
    assert!(refused.stderr.contains("those of invitations"), "{refused:?}");
}

fn an_invitation_is_for_a_user_who_may_log_in(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let name = invite(&node, "bob", &[]);
    let laptop = stranger(&bob, "laptop");
    node.admin(&["user", "disable", "bob"]);
    assert!(!take_up(&laptop, &name).status.success());
    node.admin(&["user", "enable", "bob"]);
    node.admin(&["user", "set", "bob", "--from", "192.0.2.1"]);
    assert!(!take_up(&laptop, &name).status.success());
    node.admin(&["user", "set", "bob", "--from", "none"]);
    let public = laptop.public_key();
    node.admin(&["ca", "revoke", "--file", public.to_str().expect("a plain path")]);
    assert!(!take_up(&laptop, &name).status.success(), "a key that was revoked");
    take_up(&stranger(&bob, "second"), &name).ok();
}

fn the_key_may_do_what_the_invitation_says(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let name = invite(&node, "bob", &["--scope-mode", "ro"]);
    let reader = stranger(&bob, "reader");
    let said = take_up(&reader, &name).ok();
    assert!(said.contains("www/site1 (ro)"), "{said}");
    assert!(!finish(&mut sftp(&reader), "mkdir made\n").status.success());
    finish(&mut sftp(&bob), "mkdir made\n").ok();
}

fn passwords_and_certificates_take_up_no_invitation(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    let name = invite(&node, "bob", &[]);
    assert!(!take_up(&bob.with_password("correct horse"), &name).status.success());
    // Of a key with a certificate the key alone is bound.
    let signer = stranger(&bob, "signer");
    let laptop = stranger(&bob, "laptop");
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-I", "x", "-n", &name, "-s"]).arg(&signer.key).arg(laptop.public_key());
    finish(&mut sign, "").ok();
    take_up(&laptop, &name).ok();
    assert!(is_let_in(&laptop));
}

fn of_several_keys_the_first_is_bound(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let name = invite(&node, "bob", &[]);
    let (first, second) = (stranger(&bob, "first"), stranger(&bob, "second"));
    let with_both = first.named(&name);
    let said = finish(ssh(&with_both).arg("-i").arg(&second.key).args(["-T", &with_both.at()]), "").ok();
    assert!(said.contains("belongs to the login bob"), "{said}");
    assert_eq!([is_let_in(&first), is_let_in(&second)].iter().filter(|is_in| **is_in).count(), 1);
    // Whoever is the user already loses nothing by it.
    let again = invite(&node, "bob", &["--scope-mode", "ro"]);
    let own = key_with(&node, &bob, "own", &[]);
    take_up(&own, &again).ok();
    finish(&mut sftp(&own), "mkdir made\n").ok();
}

fn an_invitation_opens_nothing_but_its_letter(identity: Identity) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "sftp,exec,shell,forward-local", &[("www/site1", "rw")]);
    let take = |what: &str, arguments: &[&str]| {
        let login = stranger(&dev, what).named(&invite(&node, "dev", &[]));
        let mut command = ssh(&login);
        finish(command.args(arguments.iter().map(|a| a.replace("AT", &login.at()))), "")
    };
    let command = take("command", &["AT", "id; touch made"]);
    assert!(command.stdout.contains("belongs to the login dev") && !command.stdout.contains("uid="), "{command:?}");
    let files = take("files", &["-s", "AT", "sftp"]);
    assert!(files.stderr.contains("belongs to the login dev") && files.stdout.is_empty(), "{files:?}");
    let forward = take("forward", &["-W", "127.0.0.1:22", "AT"]);
    assert!(forward.stderr.contains("this was an invitation; log in as dev"), "{forward:?}");
    let terminal = take("terminal", &["-tt", "AT"]);
    assert!(
        terminal.stdout.contains("belongs to the login dev from now on. This invitation is used up.\r\n"),
        "{terminal:?}"
    );
    assert!(!node.home("acme").join("www/site1/made").exists());
    assert_eq!(origins(&node, "dev").len(), 5, "each of them bound its key all the same");
}
