//! Passwords by the hashes that hosts already have.

use std::process::Command;

use super::is_let_in;
use crate::harness::{Identity, Node, finish};

as_root_and_rootless!(
    every_hash_that_hosts_have_opens_the_door,
    a_hash_is_replaced_when_its_password_is_typed,
    a_hash_that_cannot_be_judged_is_refused,
);

/// What crypt(3) of this host makes of a password.
fn crypt(password: &str, setting: &str) -> String {
    let mut perl = Command::new("perl");
    finish(perl.args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, setting]), "").ok()
}

fn openssl(password: &str, kind: &str) -> String {
    finish(Command::new("openssl").args(["passwd", kind, "-salt", "saltsalt", password]), "").ok()
}

fn every_hash_that_hosts_have_opens_the_door(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let password = "Pässwörd 1";
    let hashes = [
        crypt(password, "$y$j9T$F5Jx5fExrKuPp53xLKQ..1"),
        crypt(password, "$2b$06$abcdefghijklmnopqrstuu"),
        crypt(password, "$6$saltsalt"),
        crypt(password, "$5$saltsalt"),
        crypt(password, "$1$saltsalt"),
        openssl(password, "-apr1"),
        openssl(password, "-6"),
    ];
    for hash in hashes {
        node.admin_with(&["passwd", "bob", "--hash"], &hash);
        assert!(!is_let_in(&bob.with_password("Passwort 1")), "{hash}");
        assert!(!is_let_in(&bob.with_password(hash.trim())), "{hash}: the hash is no password");
        assert!(is_let_in(&bob.with_password(password)), "{hash}");
        assert!(is_let_in(&bob.with_password(password)), "{hash}: by its new hash");
    }
}

fn a_hash_is_replaced_when_its_password_is_typed(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--hash", "--stdin"], &crypt("secret", "$5$saltsalt"));
    assert!(!is_let_in(&bob.with_password("wrong")));
    assert!(!node.log().contains("hashed anew"));
    assert!(is_let_in(&bob.with_password("secret")));
    assert!(is_let_in(&bob.with_password("secret")));
    assert_eq!(node.log().matches("hashed anew").count(), 1, "{}", node.log());
    assert!(!node.log().contains("$5$"), "a hash stands in the log");
}

fn a_hash_that_cannot_be_judged_is_refused(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin_with(&["passwd", "bob", "--stdin"], "secret");
    for (hash, part) in [("$9$what", "of no kind that is known"), ("!", "locked"), ("$6$salt$short", "no whole hash")] {
        let said = finish(&mut node.enclos(&["passwd", "bob", "--hash"]), hash);
        assert!(!said.status.success() && said.stderr.contains(part), "{said:?}");
        assert!(!said.stderr.contains("what") && !said.stderr.contains("short"), "the hash is shown: {said:?}");
    }
    assert!(is_let_in(&bob.with_password("secret")), "the password stays as it was");
}
