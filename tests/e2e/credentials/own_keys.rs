//! Keys that users put into their own `authorized_keys`, with the real `ssh-copy-id`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::certificates::Authority;
use super::{REVOKED, in_seconds, is_let_in, key_with, number_of};
use crate::harness::{
    Finished, Identity, Login, Node, Raw, Waiting, finish, has_ended, new_key, sftp, ssh, wait_until,
};

as_root_and_rootless!(
    a_key_that_is_copied_opens_the_door,
    a_key_that_was_taken_back_does_not_come_back_by_its_line,
    a_line_that_goes_takes_its_key_with_it,
    what_an_operator_says_of_a_key_stays,
    whoever_may_do_less_leaves_no_key_behind,
    lines_of_a_user_do_no_more_than_the_user_may,
    only_users_with_a_home_of_their_own_have_own_keys,
);

fn with_dev(identity: Identity) -> (Node, Login) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "sftp,exec,shell", &[("www/site1", "rw")]);
    node.admin(&["user", "set", "dev", "--own-keys", "yes"]);
    (node, dev)
}

fn stranger(like: &Login, name: &str) -> Login {
    let login = like.with_key(&like.key.with_file_name(name));
    new_key(&login.key);
    login
}

fn run(login: &Login, line: &str) -> Finished {
    finish(ssh(login).arg(login.at()).arg(line), "")
}

/// `ssh-copy-id` of one key by another.
fn copy(by: &Login, key: &Login) -> Finished {
    let mut command = Command::new("ssh-copy-id");
    command.args(["-f", "-i"]).arg(key.public_key()).args(by.options()).arg(by.at());
    let home = key.key.parent().expect("a directory");
    fs::create_dir_all(home.join(".ssh")).expect("where it puts what it works with");
    command.env("HOME", home);
    finish(&mut command, "")
}

fn public(of: &Login) -> String {
    fs::read_to_string(of.public_key()).expect("the public half").trim().to_owned()
}

/// Writes the file from a program of this login.
fn write(by: &Login, lines: &str) {
    let line = "mkdir -p ~/.ssh && cat > ~/.ssh/authorized_keys";
    finish(ssh(by).arg(by.at()).arg(line), lines).ok();
}

/// The one that is live, when those of before have gone.
fn the_session(node: &Node) -> crate::harness::Session {
    assert_eq!(wait_until(REVOKED, || node.sessions().len() == 1), Waiting::Came, "not one session");
    node.session_of("dev")
}

fn listed(node: &Node) -> Vec<(String, String)> {
    let keys: serde_json::Value =
        serde_json::from_str(&node.admin(&["key", "list", "dev", "--json"])).expect("JSON of the keys");
    let text = |key: &serde_json::Value, field: &str| key[field].as_str().expect("a text").to_owned();
    keys.as_array().expect("a list").iter().map(|k| (text(k, "origin"), text(k, "label"))).collect()
}

fn what_an_operator_says_of_a_key_stays(identity: Identity) {
    let (node, dev) = with_dev(identity);
    let (laptop, other) = (stranger(&dev, "laptop"), stranger(&dev, "other"));
    write(&dev, &format!("{}\n{}\n", public(&laptop), public(&other)));
    assert_eq!(wait_until(REVOKED, || listed(&node).len() == 3), Waiting::Came, "{}", node.log());
    node.admin(&["key", "set", "dev", &number_of(&laptop)(&node), "--from", "127.0.0.0/8"]);
    write(&dev, "");
    assert!(is_let_in(&laptop), "{}", node.log());
    assert!(!is_let_in(&other));
    let origins: Vec<String> = listed(&node).into_iter().map(|(origin, _)| origin).collect();
    assert_eq!(origins, ["operator", "operator"]);
}

fn a_key_that_is_copied_opens_the_door(identity: Identity) {
    let (node, dev) = with_dev(identity);
    let laptop = stranger(&dev, "laptop");
    copy(&dev, &laptop).ok();
    assert!(is_let_in(&laptop), "{}", node.log());
    let origins: Vec<String> = listed(&node).into_iter().map(|(origin, _)| origin).collect();
    assert_eq!(origins, ["operator", "own"]);
    // By SFTP as well, to the same file.
    let tablet = stranger(&dev, "tablet");
    let file = node.dir().join("file");
    fs::write(&file, format!("{}\n{}\n", public(&laptop), public(&tablet))).expect("a file");
    let home = run(&dev, "echo ~").ok();
    let put = format!("put {} {}/.ssh/authorized_keys\n", file.display(), home.trim());
    finish(&mut sftp(&dev), &put).ok();
    assert!(is_let_in(&tablet) && is_let_in(&laptop), "{}", node.log());
    node.admin(&["user", "set", "dev", "--own-keys", "no"]);
    assert!(!is_let_in(&tablet) && !is_let_in(&laptop) && is_let_in(&dev));
    assert_eq!(listed(&node).len(), 1);
}

fn a_key_that_was_taken_back_does_not_come_back_by_its_line(identity: Identity) {
    let (node, dev) = with_dev(identity);
    let laptop = stranger(&dev, "laptop");
    copy(&dev, &laptop).ok();
    let mut raw = Raw::connect(&laptop);
    assert!(raw.stat(b"/").is_success());
    let session = the_session(&node);
    node.admin(&["key", "remove", "dev", &number_of(&laptop)(&node)]);
    assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came);
    run(&dev, "true").ok();
    assert!(!is_let_in(&laptop), "the line is still there");
    copy(&dev, &laptop).ok();
    assert!(!is_let_in(&laptop), "and once more");
    let file = laptop.public_key();
    node.admin(&["key", "add", "dev", "--file", file.to_str().expect("a plain path")]);
    assert!(is_let_in(&laptop), "unless an operator says so");
}

fn a_line_that_goes_takes_its_key_with_it(identity: Identity) {
    let (node, dev) = with_dev(identity);
    let (laptop, tablet) = (stranger(&dev, "laptop"), stranger(&dev, "tablet"));
    write(&dev, &format!("{}\n{}\n", public(&laptop), public(&tablet)));
    let mut raw = Raw::connect(&laptop);
    assert!(raw.stat(b"/").is_success());
    let session = the_session(&node);
    write(&dev, &format!("{}\n", public(&tablet)));
    assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came, "{}", node.log());
    assert!(!is_let_in(&laptop) && is_let_in(&tablet));
    run(&dev, "rm -r ~/.ssh").ok();
    assert!(!is_let_in(&tablet) && is_let_in(&dev));
}

/// What their programs write is in no home that is looked at, and nobody listens to their sessions either.
fn whoever_may_do_less_leaves_no_key_behind(identity: Identity) {
    let (node, dev) = with_dev(identity);
    let authority = Authority::new(&node, "authority");
    authority.trusted(&node, &["--user", "dev"]);
    let less = [
        key_with(&node, &dev, "reader", &["--scope-mode", "ro"]),
        key_with(&node, &dev, "passing", &["--expires", &in_seconds(3600)]),
        key_with(&node, &dev, "placed", &["--from", "127.0.0.0/8"]),
        authority.sign(&dev, "certified", &["-n", "dev", "-V", "+1h"]),
    ];
    for (number, login) in less.iter().enumerate() {
        let planted = stranger(&dev, &format!("planted{number}"));
        write(login, &format!("{}\n", public(&planted)));
        run(&dev, "true").ok();
        assert!(!is_let_in(&planted), "{:?} has left a key behind", login.key);
        assert!(!run(&dev, "cat ~/.ssh/authorized_keys").status.success(), "{:?}", login.key);
    }
    assert!(listed(&node).iter().all(|(origin, _)| origin == "operator"));
}

fn lines_of_a_user_do_no_more_than_the_user_may(identity: Identity) {
    let (node, dev) = with_dev(identity);
    let (forced, plain) = (stranger(&dev, "forced"), stranger(&dev, "plain"));
    let signer = Authority::new(&node, "authority");
    let signer = fs::read_to_string(signer.public()).expect("the public half");
    let lines = format!(
        "# mine\ncert-authority {signer}\nnonsense\ncommand=\"echo only\" {}\ntunnel=\"1\" {}\n",
        public(&forced),
        public(&plain)
    );
    write(&dev, &lines);
    assert_eq!(run(&forced, "id").ok(), "only\n");
    assert!(!is_let_in(&plain), "an option that cannot be honoured");
    assert!(!node.admin(&["ca", "list"]).contains("user dev"));
    // Links and pipes lead nowhere else and hold up nobody.
    let held = stranger(&dev, "held");
    fs::write(node.home("acme").join("private/keys"), public(&held)).expect("a file of the account's");
    node.own(&node.home("acme"));
    let outside = node.home("acme").join("private/keys");
    for what in [format!("ln -sf {} f", outside.display()), "ln -sf /etc/passwd f".into(), "mkfifo f".into()] {
        run(&dev, &format!("cd ~/.ssh && rm -f authorized_keys f && {what} && mv f authorized_keys")).ok();
        assert!(!is_let_in(&held), "{what}");
    }
    run(&dev, "rm ~/.ssh/authorized_keys").ok();
    let many: String = (0..25).map(|n| public(&stranger(&dev, &format!("many{n}"))) + "\n").collect();
    write(&dev, &many);
    assert_eq!(listed(&node).iter().filter(|(origin, _)| origin == "own").count(), 20);
    write(&dev, &"# long\n".repeat(6000));
    assert_eq!(listed(&node).iter().filter(|(origin, _)| origin == "own").count(), 20, "too long to be looked at");
}

fn only_users_with_a_home_of_their_own_have_own_keys(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let refused = finish(&mut node.enclos(&["user", "set", "bob", "--own-keys", "yes"]), "");
    assert!(refused.stderr.contains("no home of its own"), "{refused:?}");
    let site = node.home("acme").join("www/site1/.ssh");
    let planted = stranger(&bob, "planted");
    fs::create_dir(&site).expect("a directory");
    fs::write(site.join("authorized_keys"), public(&planted)).expect("a file");
    node.own(Path::new(&node.home("acme")));
    finish(&mut sftp(&bob), "ls /\n").ok();
    assert!(!is_let_in(&planted));
    // Nor has somebody of whom nothing was said.
    let dev = node.user_with("dev", "acme", "sftp,exec", &[("www/site1", "rw")]);
    copy(&dev, &planted).ok();
    assert!(!is_let_in(&planted.named("dev")));
}
