//! Public keys with scopes, terms and the options of `authorized_keys`.

use std::fs;
use std::process::Command;

use super::{REVOKED, in_seconds, is_let_in, key_after, key_with, number_of};
use crate::harness::{Identity, Login, Node, Raw, Waiting, finish, has_ended, sftp, ssh, wait_until};

as_root_and_rootless!(
    keys_of_every_kind_open_the_door,
    security_keys_open_the_door,
    three_keys_of_one_user_reach_three_things,
    a_key_with_a_scope_has_a_home_and_a_cell_of_its_own,
    a_key_opens_only_its_services,
    a_key_is_good_only_from_its_addresses,
    a_user_and_an_account_are_good_only_from_their_addresses,
    what_has_expired_opens_nothing,
    a_session_ends_when_its_key_expires,
    a_longer_life_is_granted_while_the_session_lives,
    narrowing_a_key_ends_its_sessions_and_nobody_elses,
    restrictions_in_front_of_a_key_hold,
    forced_sftp_is_all_that_such_a_key_gets,
    a_forced_command_is_all_that_such_a_key_runs,
    places_of_a_key_are_all_that_it_forwards_to,
);

/// OpenSSH's own client with a token that has no device: `scripts/token.c`.
fn security_keys_open_the_door(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let token = node.dir().join("clients/token.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/credentials/scripts/token.c");
    let mut compiler = Command::new("cc");
    finish(compiler.args(["-shared", "-fPIC", "-o"]).arg(&token).args([source, "-lcrypto"]), "").ok();
    let enrol = |kind: &str, name: &str| {
        let login = bob.with_key(&bob.key.with_file_name(name));
        let mut keygen = Command::new("ssh-keygen");
        finish(keygen.args(["-q", "-N", "", "-t", kind, "-w"]).arg(&token).arg("-f").arg(&login.key), "").ok();
        login
    };
    let provider = format!("SecurityKeyProvider={}", token.display());
    let opens = |login: &Login| {
        let mut client = ssh(login);
        client.args(["-o", &provider, "-s"]).arg(login.at()).arg("sftp");
        finish(&mut client, "").status.success()
    };
    for kind in ["ed25519-sk", "ecdsa-sk"] {
        let (login, other) = (enrol(kind, kind), enrol(kind, &format!("{kind}-other")));
        let public = fs::read_to_string(login.public_key()).expect("the public half");
        node.admin_with(&["key", "add", "bob", "--file", "-"], &public);
        assert!(opens(&login), "{kind}: {}", node.log());
        assert!(!opens(&other), "{kind}: one that was not added");
    }
}

fn three_keys_of_one_user_reach_three_things(identity: Identity) {
    let (node, laptop) = Node::with_bob(identity);
    let site = node.home("acme").join("www/site1");
    fs::create_dir(site.join("releases")).expect("a directory");
    fs::write(site.join("index.html"), "home page").expect("a file");
    node.own(&node.home("acme"));
    let deploy = key_with(&node, &laptop, "deploy", &["--scope-grant", "www/site1/releases/"]);
    let backup = key_with(&node, &laptop, "backup", &["--scope-mode", "ro"]);
    let local = node.dir().join("local");
    fs::write(&local, "from here").expect("a file");
    let put = |at: &str| format!("put {} {at}\n", local.display());

    finish(&mut sftp(&laptop), &put("by-laptop")).ok();
    finish(&mut sftp(&deploy), &put("by-deploy")).ok();
    assert!(site.join("releases/by-deploy").exists(), "the key's view begins at its scope");
    let seen = finish(&mut sftp(&deploy), "ls -1 /\n").ok();
    assert!(!seen.contains("index.html") && seen.contains("by-deploy"), "{seen}");
    assert!(!finish(&mut sftp(&deploy), "get ../index.html /dev/null\n").status.success());
    finish(&mut sftp(&backup), "get index.html /dev/null\n").ok();
    let refused = finish(&mut sftp(&backup), &put("by-backup"));
    assert!(!refused.status.success() && !site.join("by-backup").exists(), "{refused:?}");
    assert!(!finish(&mut sftp(&backup), "rm index.html\n").status.success());
    assert!(!finish(&mut sftp(&backup), "chmod 600 index.html\n").status.success());
}

/// What the backup's programs leave in their home, the laptop's shell would run.
fn a_key_with_a_scope_has_a_home_and_a_cell_of_its_own(identity: Identity) {
    let node = Node::start(identity);
    let home = node.account("acme");
    let laptop = node.user_with("dev", "acme", "sftp,exec", &[("www/site1", "rw")]);
    let backup = key_with(&node, &laptop, "backup", &["--scope-mode", "ro"]);
    let run = |login: &Login, line: &str| finish(ssh(login).arg(laptop.at()).arg(line), "");
    run(&laptop, "echo laptop > ~/mine").ok();
    let refused = run(&backup, "echo x > ~/mine.txt; cat ~/mine; touch x");
    assert!(!refused.status.success() && !refused.stdout.contains("laptop"), "{refused:?}");
    assert!(!home.join("www/site1/x").exists(), "a key to read has written");
    let mine = run(&laptop, "ls -A ~").ok();
    assert_eq!(mine.trim(), "mine", "the two share a home");
    assert_eq!(run(&backup, "cat ~/mine.txt").ok().trim(), "x", "the key's own home stays");
}

fn a_key_opens_only_its_services(identity: Identity) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "sftp,exec", &[("www/site1", "rw")]);
    let files = key_with(&node, &dev, "files", &["--services", "sftp"]);
    finish(ssh(&dev).arg(dev.at()).arg("true"), "").ok();
    assert!(!finish(ssh(&files).arg(dev.at()).arg("true"), "").status.success());
    assert!(is_let_in(&files));
}

fn a_key_is_good_only_from_its_addresses(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    assert!(is_let_in(&key_with(&node, &bob, "here", &["--from", "127.0.0.0/8"])));
    assert!(!is_let_in(&key_with(&node, &bob, "there", &["--from", "192.0.2.0/24"])));
    assert!(is_let_in(&key_after(&node, &bob, "any", "from=\"192.0.2.7,127.0.*\"")));
    assert!(!is_let_in(&key_after(&node, &bob, "but", "from=\"!127.0.0.1,127.0.0.0/8\"")));
}

fn a_user_and_an_account_are_good_only_from_their_addresses(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    for command in [["user", "set", "bob"], ["account", "set", "acme"]] {
        let mut raw = Raw::connect(&bob);
        let session = node.session_of("bob");
        let set = |from: &str| node.admin(&[&command[..], &["--from", from]].concat());
        set("127.0.0.1,192.0.2.0/24");
        assert!(raw.stat(b"/").is_success() && is_let_in(&bob), "what it still meets disturbs nobody");
        set("192.0.2.0/24");
        assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came, "{command:?}");
        assert!(!is_let_in(&bob), "{command:?}");
        set("none");
        assert!(is_let_in(&bob), "{command:?}");
    }
}

fn what_has_expired_opens_nothing(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    assert!(is_let_in(&key_with(&node, &bob, "good", &["--expires", &in_seconds(3600)])));
    assert!(!is_let_in(&key_with(&node, &bob, "late", &["--expires", &in_seconds(-1)])));
    assert!(!is_let_in(&key_after(&node, &bob, "old", "expiry-time=\"20200101Z\"")));
    for command in [["user", "set", "bob"], ["account", "set", "acme"]] {
        let mut raw = Raw::connect(&bob);
        assert!(raw.stat(b"/").is_success());
        let session = node.session_of("bob");
        node.admin(&[&command[..], &["--expires", &in_seconds(-1)]].concat());
        assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came, "{command:?}");
        assert!(!is_let_in(&bob), "{command:?}");
        node.admin(&[&command[..], &["--expires", "none"]].concat());
        assert!(is_let_in(&bob), "{command:?}");
    }
}

fn a_session_ends_when_its_key_expires(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let short = key_with(&node, &bob, "short", &["--expires", &in_seconds(3)]);
    let mut passing = Raw::connect(&short);
    assert!(passing.stat(b"/").is_success());
    let session = node.session_of("bob");
    let mut staying = Raw::connect(&bob);
    assert_eq!(wait_until(REVOKED * 2, || has_ended(session.pid)), Waiting::Came, "the session outlives its key");
    assert!(passing.try_stat(b"/").is_none());
    assert!(staying.stat(b"/").is_success(), "another key's session went with it");
    assert!(!is_let_in(&short));
}

fn a_longer_life_is_granted_while_the_session_lives(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let (kept, short) = (in_seconds(4), in_seconds(4));
    let renewed = key_with(&node, &bob, "renewed", &["--expires", &kept]);
    let passing = key_with(&node, &bob, "passing", &["--expires", &short]);
    let mut stays = Raw::connect(&renewed);
    let number = number_of(&renewed)(&node);
    node.admin(&["key", "set", "bob", &number, "--expires", "none"]);
    let session = node.session_of("bob");
    let mut goes = Raw::connect(&passing);
    assert!(goes.stat(b"/").is_success());
    let ended = || node.sessions().len() == 1;
    assert_eq!(wait_until(REVOKED * 2, ended), Waiting::Came, "the key that was not renewed goes on");
    assert!(stays.stat(b"/").is_success() && !has_ended(session.pid), "the renewed key's session ended");
}

fn narrowing_a_key_ends_its_sessions_and_nobody_elses(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    fs::create_dir(node.home("acme").join("www/site1/in")).expect("a directory");
    node.own(&node.home("acme"));
    let second = key_with(&node, &bob, "second", &[]);
    let number = number_of(&second)(&node);
    let narrowings =
        [["--scope-mode", "ro"], ["--scope-grant", "www/site1/in"], ["--from", "192.0.2.1"], ["--no-terminal", "yes"]];
    let mut other = Raw::connect(&bob);
    let others = node.session_of("bob").pid;
    for [option, value] in narrowings {
        let mut raw = Raw::connect(&second);
        assert!(raw.stat(b"/").is_success());
        let session = node.sessions().into_iter().find(|s| s.pid != others).expect("the second session");
        node.admin(&["key", "set", "bob", &number, option, value]);
        assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came, "{option}");
        assert!(other.stat(b"/").is_success(), "{option}: another key's session went with it");
        node.admin(&["key", "set", "bob", &number, option, if option == "--no-terminal" { "no" } else { "none" }]);
    }
    node.admin(&["key", "set", "bob", &number, "--scope-mode", "ro"]);
    let mut raw = Raw::connect(&second);
    node.admin(&["key", "set", "bob", &number, "--scope-mode", "none"]);
    assert!(raw.stat(b"/").is_success(), "a change that only widens disturbs nobody");
}

fn restrictions_in_front_of_a_key_hold(identity: Identity) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "sftp,exec,shell,forward-local", &[("www/site1", "rw")]);
    let tty = |login: &Login| finish(ssh(login).args(["-tt", &dev.at(), "tty; true"]), "");
    assert!(tty(&dev).ok().contains("/dev/pts/"), "the user itself has terminals");
    for (name, options) in [("one", "restrict"), ("two", "no-pty"), ("three", "pty,RESTRICT")] {
        let said = tty(&key_after(&node, &dev, name, options));
        assert!(!said.stdout.contains("/dev/pts/"), "{options}: {said:?}");
        assert!(said.stderr.contains("PTY allocation request failed"), "{options}: {said:?}");
    }
    assert!(tty(&key_after(&node, &dev, "four", "restrict,pty")).ok().contains("/dev/pts/"));
    let listed = node.admin(&["key", "list", "dev", "--json"]);
    let keys: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(keys[1]["scope"]["services"], "sftp,scp,exec,shell,git,rsync", "{listed}");
}

fn forced_sftp_is_all_that_such_a_key_gets(identity: Identity) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "sftp,exec", &[("www/site1", "rw")]);
    let reader = key_after(&node, &dev, "reader", "restrict,command=\"internal-sftp -R\"");
    assert!(!finish(ssh(&reader).arg(dev.at()).arg("true"), "").status.success());
    finish(&mut sftp(&reader), "ls /\n").ok();
    assert!(!finish(&mut sftp(&reader), "mkdir made\n").status.success());
}

fn a_forced_command_is_all_that_such_a_key_runs(identity: Identity) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "sftp,exec,shell", &[("www/site1", "rw")]);
    let run = |login: &Login, line: &str| finish(ssh(login).arg(dev.at()).arg(line), "");
    let forced = key_after(&node, &dev, "forced", "command=\"echo only \\\"$SSH_ORIGINAL_COMMAND\\\"\"");
    assert_eq!(run(&forced, "rm -rf x").ok(), "only rm -rf x\n");
    assert!(!finish(&mut sftp(&forced), "ls\n").status.success(), "sftp is what is forced as well");
    assert_eq!(run(&dev, "echo mine").ok(), "mine\n", "the user's other keys run what they like");
    // Its number and another command: the session of before ends.
    let by_option = key_with(&node, &dev, "option", &["--forced-command", "echo by option"]);
    assert_eq!(run(&by_option, "id").ok(), "by option\n");
    node.admin(&["key", "set", "dev", &number_of(&by_option)(&node), "--forced-command", "none"]);
    assert_eq!(run(&by_option, "echo free").ok(), "free\n");
    node.admin(&["user", "set", "dev", "--forced-command", "echo of the user"]);
    assert!(!is_let_in(&forced), "two commands are one too many");
    node.admin(&["user", "add", "files", "--account", "acme", "--service", "sftp"]);
    let public = fs::read_to_string(dev.public_key()).expect("the public half");
    let refused =
        finish(&mut node.enclos(&["key", "add", "files", "--file", "-"]), &format!("command=\"date\" {public}"));
    assert!(refused.stderr.contains("exec"), "{refused:?}");
}

fn places_of_a_key_are_all_that_it_forwards_to(identity: Identity) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "exec,forward-local,forward-remote", &[("www/site1", "rw")]);
    let open = |login: &Login, place: &str| finish(ssh(login).args(["-W", place, &dev.at()]), "").stderr;
    let listen = |login: &Login, port: &str| {
        let place = format!("{port}:127.0.0.1:1");
        finish(ssh(login).args(["-o", "ExitOnForwardFailure=yes", "-R", &place, &dev.at(), "true"]), "")
    };
    let some = key_after(&node, &dev, "some", "permitopen=\"localhost:1\",permitlisten=\"10022\"");
    let is_refused_by_policy = |said: &str| said.contains("prohibited");
    assert!(!is_refused_by_policy(&open(&some, "127.0.0.1:1")), "{}", open(&some, "127.0.0.1:1"));
    assert!(is_refused_by_policy(&open(&some, "127.0.0.1:2")), "{}", open(&some, "127.0.0.1:2"));
    assert!(!is_refused_by_policy(&open(&dev, "127.0.0.1:2")), "the user's other keys connect where they like");
    listen(&some, "10022").ok();
    assert!(!listen(&some, "10023").status.success());
    listen(&dev, "10023").ok();
    // A key gives nothing that its user has not.
    node.admin(&["user", "set", "dev", "--permit-open", "localhost:2"]);
    assert!(is_refused_by_policy(&open(&some, "127.0.0.1:1")) && is_refused_by_policy(&open(&some, "127.0.0.1:2")));
}

/// OpenSSH's client shows an RSA key only where the server has named an algorithm for it.
fn keys_of_every_kind_open_the_door(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let kinds = [["rsa", "2048"], ["rsa", "3072"], ["ecdsa", "256"], ["ecdsa", "384"], ["ecdsa", "521"]];
    for [kind, bits] in kinds {
        let login = bob.with_key(&bob.key.with_file_name(format!("{kind}{bits}")));
        let mut keygen = Command::new("ssh-keygen");
        finish(keygen.args(["-q", "-N", "", "-t", kind, "-b", bits, "-f"]).arg(&login.key), "").ok();
        let public = fs::read_to_string(login.public_key()).expect("the public half");
        node.admin_with(&["key", "add", "bob", "--file", "-"], &public);
        assert!(is_let_in(&login), "{kind} {bits}: {}", node.log());
    }
}
