//! Authenticators, recovery codes, and what has to be shown together.

use std::process::Command;

use super::{REVOKED, is_let_in};
use crate::harness::{Identity, Login, Node, Raw, Waiting, finish, has_ended, installed, ssh, wait_until};

as_root_and_rootless!(
    a_key_and_a_code_open_the_door_together,
    a_password_and_a_code_open_the_door_together,
    a_code_opens_the_door_once,
    a_second_connection_is_not_asked_for_a_code,
    a_recovery_code_is_good_once,
    whoever_guesses_codes_has_to_wait,
    an_authenticator_ends_sessions_that_showed_no_code,
    ways_in_are_what_was_said,
    what_was_proven_for_one_user_is_nothing_for_another,
);

const KEY: &str = "PreferredAuthentications=publickey,keyboard-interactive";
const PASSWORD: &str = "PreferredAuthentications=password,keyboard-interactive";
const BOTH: &str = "PreferredAuthentications=publickey,password";
const CODE: &str = "PreferredAuthentications=keyboard-interactive";

/// What a user's app holds.
pub(crate) struct App {
    secret: String,
    recovery: Vec<String>,
}

impl App {
    pub(crate) fn of(node: &Node, user: &str) -> App {
        let json: serde_json::Value =
            serde_json::from_str(&node.admin(&["totp", "enrol", user, "--json"])).expect("JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        App {
            secret: text(&json["secret"]),
            recovery: json["recovery_codes"].as_array().expect("a list").iter().map(text).collect(),
        }
    }

    /// The code of this step, or of one that follows: each can be used once, and in order only.
    pub(crate) fn code(&self, later: u32) -> String {
        let program = "import base64, hashlib, hmac, struct, sys, time\n\
            step = int(time.time()) // 30 + int(sys.argv[2])\n\
            mac = hmac.new(base64.b32decode(sys.argv[1]), struct.pack('>Q', step), hashlib.sha1).digest()\n\
            at = mac[-1] & 15\n\
            print('%06d' % ((struct.unpack('>I', mac[at:at + 4])[0] & 0x7fffffff) % 1000000))";
        let mut python = Command::new("python3");
        finish(python.args(["-c", program, &self.secret, &later.to_string()]), "").ok().trim().to_owned()
    }
}

fn a_key_and_a_code_open_the_door_together(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let app = App::of(&node, "bob");
    assert!(!is_let_in(&bob), "the key alone");
    assert!(!is_let_in(&bob.answering(CODE, &app.code(0))), "the code alone");
    assert!(!is_let_in(&bob.answering(KEY, "")), "no code");
    assert!(!is_let_in(&bob.answering(KEY, "000000x")), "no code at all");
    let login = bob.answering(KEY, &app.code(0));
    let mut command = ssh(&login);
    let said = finish(command.args(["-v", "-s", &bob.at(), "sftp"]), "");
    assert!(said.stderr.contains("Authenticated using \"publickey\" with partial success"), "{said:?}");
    assert!(said.stderr.contains("using \"keyboard-interactive\""), "{said:?}");
    assert!(!node.log().contains(&app.secret), "the secret stands in the log");
}

fn a_password_and_a_code_open_the_door_together(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    let app = App::of(&node, "bob");
    assert!(!is_let_in(&bob.with_password("correct horse")));
    assert!(!is_let_in(&bob.answering(PASSWORD, &format!("correct horsf\n{}", app.code(0)))));
    assert!(is_let_in(&bob.answering(PASSWORD, &format!("correct horse\n{}", app.code(0)))));
}

fn a_code_opens_the_door_once(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    let app = App::of(&node, "bob");
    let code = app.code(0);
    assert!(is_let_in(&bob.answering(KEY, &code)));
    let again = |code: &str| bob.answering(PASSWORD, &format!("correct horse\n{code}"));
    assert!(!is_let_in(&again(&code)), "a code was taken twice");
    assert!(is_let_in(&again(&app.code(1))));
}

fn a_second_connection_is_not_asked_for_a_code(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    let app = App::of(&node, "bob");
    let mut first = Raw::connect(&bob.answering(KEY, &app.code(0)));
    assert!(first.stat(b"/").is_success());
    assert!(is_let_in(&bob), "the second connection is asked");
    assert!(!is_let_in(&bob.with_password("correct horse")), "another credential of the same user is not asked");
    node.admin(&["passwd", "bob", "--remove"]);
    assert!(first.stat(b"/").is_success(), "the key has nothing to do with the password");
    assert!(!is_let_in(&bob), "something was withdrawn, and nothing is asked");
    assert!(is_let_in(&bob.answering(KEY, &app.code(1))));
}

fn a_recovery_code_is_good_once(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    let app = App::of(&node, "bob");
    assert_eq!(app.recovery.len(), 10);
    let code = &app.recovery[3];
    assert!(is_let_in(&bob.answering(KEY, &code.to_lowercase())));
    assert!(!is_let_in(&bob.answering(PASSWORD, &format!("correct horse\n{code}"))));
    assert!(is_let_in(&bob.answering(PASSWORD, &format!("correct horse\n{}", app.recovery[4]))));
}

fn whoever_guesses_codes_has_to_wait(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let app = App::of(&node, "bob");
    for _ in 0..5 {
        assert!(!is_let_in(&bob.answering(KEY, "no code")));
    }
    assert!(!is_let_in(&bob.answering(KEY, &app.code(0))), "codes can be guessed without end");
    assert!(node.log().contains("too many wrong codes"), "{}", node.log());
}

fn an_authenticator_ends_sessions_that_showed_no_code(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    let (mut raw, mut others) = (Raw::connect(&bob), Raw::connect(&eve));
    let session = node.session_of("bob");
    let app = App::of(&node, "bob");
    assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came);
    assert!(raw.try_stat(b"/").is_none() && others.stat(b"/").is_success());
    let mut with_code = Raw::connect(&bob.answering(KEY, &app.code(0)));
    node.admin(&["totp", "remove", "bob"]);
    assert!(with_code.stat(b"/").is_success(), "a change that only widens disturbs nobody");
    assert!(is_let_in(&bob));
    let refused = finish(&mut node.enclos(&["totp", "remove", "bob"]), "");
    assert!(refused.stderr.contains("bob has no authenticator"), "{refused:?}");
}

fn ways_in_are_what_was_said(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    node.admin(&["user", "set", "bob", "--login", "publickey+password"]);
    assert!(!is_let_in(&bob) && !is_let_in(&bob.with_password("correct horse")));
    assert!(is_let_in(&bob.answering(BOTH, "correct horse")));
    assert!(!is_let_in(&bob.answering(BOTH, "wrong")));
    let app = App::of(&node, "bob");
    node.admin(&["user", "set", "bob", "--login", "publickey", "--login", "password+totp"]);
    assert!(is_let_in(&bob), "a key for machines");
    assert!(!is_let_in(&bob.with_password("correct horse")));
    assert!(is_let_in(&bob.answering(PASSWORD, &format!("correct horse\n{}", app.code(0)))));
    node.admin(&["user", "set", "bob", "--login", "publickey+totp"]);
    assert!(!is_let_in(&bob.with_password("correct horse")), "a way that is none any more");
    let refused = finish(&mut node.enclos(&["user", "set", "bob", "--login", "totp"]), "");
    assert!(refused.stderr.contains("totp alone is not enough"), "{refused:?}");
    node.admin(&["totp", "remove", "bob"]);
    node.admin(&["user", "set", "bob", "--login", "none"]);
    assert!(is_let_in(&bob) && is_let_in(&bob.with_password("correct horse")));
}

/// With paramiko, which says what it is told to: bob's key, then eve's name with eve's own code.
fn what_was_proven_for_one_user_is_nothing_for_another(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    let (bobs, eves) = (App::of(&node, "bob"), App::of(&node, "eve"));
    let program = include_str!("scripts/switch_user.py");
    let mut python = Command::new(installed().join("python/bin/python"));
    let port = node.port().to_string();
    python.args(["-c", program, &port, bob.key.to_str().expect("a plain path"), &bobs.code(0), &eves.code(0)]);
    let said = finish(&mut python, "").ok();
    assert_eq!(said.trim(), "bob: more\neve: refused\nanybody: refused\nbob: in", "{}", node.log());
    assert!(is_let_in(&Login::answering(&eve, KEY, &eves.code(0))), "eve's code was used up by bob");
}
