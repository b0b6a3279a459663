//! What strangers see: the algorithms, as a scanner judges them, and how a host proves that it is itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Identity, Node, finish, sftp};

as_root_and_rootless!(host_certificates_are_shown, a_certificate_that_does_not_fit_is_refused);

/// What ssh-audit warns of, and why it stays.
const WARNINGS: [(&str, &str); 4] = [
    ("curve25519-sha256", "clients without a post-quantum exchange (OpenSSH before 9.9, PuTTY before 0.83)"),
    ("curve25519-sha256@libssh.org", "the same by the name that paramiko knows"),
    ("hmac-sha2-256", "libraries without the etm variants; with strict key exchange it is sound"),
    ("hmac-sha2-512", "the same"),
];

/// What the tests install from PyPI; see tests/run.
fn ssh_audit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-clients/python/bin/ssh-audit")
}

#[test]
fn ssh_audit_finds_nothing_that_has_no_reason() {
    let node = Node::start(Identity::ordinary());
    let mut audit = Command::new(ssh_audit());
    audit.args(["--json", "--skip-rate-test", "-p", &node.port().to_string(), "127.0.0.1"]);
    let found = finish(&mut audit, "").stdout;
    let found: Value = serde_json::from_str(&found).unwrap_or_else(|e| panic!("{e}: {found}"));
    let mut warned = Vec::new();
    for kind in ["kex", "key", "enc", "mac"] {
        for algorithm in found[kind].as_array().unwrap_or_else(|| panic!("no {kind} in {found}")) {
            let name = algorithm["algorithm"].as_str().expect("a name").to_owned();
            assert!(algorithm["notes"]["fail"].is_null(), "{algorithm}");
            if !algorithm["notes"]["warn"].is_null() {
                warned.push(name);
            }
        }
    }
    warned.sort();
    assert_eq!(warned, WARNINGS.map(|(name, _)| name), "each of them needs a reason");
    let first = found["kex"][0]["algorithm"].as_str();
    assert_eq!(first, Some("mlkem768x25519-sha256"), "post-quantum comes first");
    let kex = found["kex"].to_string();
    assert!(kex.contains("kex-strict-s-v00@openssh.com"), "{kex}");
    assert_eq!(found["banner"]["raw"].as_str(), Some("SSH-2.0-Enclos"), "no version, and not OpenSSH's name");
    assert!(found["cves"].as_array().is_none_or(Vec::is_empty), "{}", found["cves"]);
}

/// Signs the host key of a node that does not run.
fn sign(node: &Node, arguments: &[&str]) {
    let keys = node.state().join("keys");
    let ca = node.dir().join("ca");
    if !ca.exists() {
        finish(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&ca), "").ok();
    }
    let public = keys.join("ssh_host_ed25519_key.pub");
    finish(Command::new("ssh-keygen").args(["-q", "-s"]).arg(&ca).args(arguments).arg(&public), "").ok();
    // Readable by the server's user, who may not be the one that signs.
    fs::set_permissions(
        keys.join("ssh_host_ed25519_key-cert.pub"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .expect("let the server read it");
}

fn host_certificates_are_shown(identity: Identity) {
    let (mut node, bob) = Node::with_bob(identity);
    node.end(Signal::SIGTERM);
    sign(&node, &["-h", "-I", "test", "-n", "127.0.0.1"]);
    node.serve();
    // The client knows the authority and no key.
    let authority = fs::read_to_string(node.dir().join("ca.pub")).expect("the authority's key");
    let known = node.dir().join("known_authorities");
    fs::write(&known, format!("@cert-authority * {authority}")).expect("a file");
    finish(&mut sftp(&bob.knowing(&known)), "ls\n").ok();
    // One that knows the key needs no authority.
    let lines = node.admin(&["host-key", "known-hosts", "127.0.0.1"]);
    let known = node.dir().join("known_keys");
    fs::write(&known, &lines).expect("a file");
    finish(&mut sftp(&bob.knowing(&known)), "ls\n").ok();
    says_what_ssh_keygen_says(&node);
}

fn says_what_ssh_keygen_says(node: &Node) {
    let public = node.state().join("keys/ssh_host_ed25519_key.pub");
    let theirs = finish(Command::new("ssh-keygen").args(["-r", "host.example", "-f"]).arg(&public), "").ok();
    let ours = node.admin(&["host-key", "sshfp", "host.example"]);
    let wanted: Vec<&str> = theirs.lines().filter(|line| line.contains("SSHFP 4 2 ")).collect();
    assert_eq!(ours.lines().collect::<Vec<_>>(), wanted);
    let listed = finish(Command::new("ssh-keygen").arg("-lf").arg(&public), "").ok();
    let fingerprint = listed.split_whitespace().nth(1).expect("a fingerprint").to_owned();
    assert!(node.admin(&["host-key", "list"]).contains(&fingerprint));
}

fn a_certificate_that_does_not_fit_is_refused(identity: Identity) {
    let mut node = Node::start(identity);
    node.end(Signal::SIGTERM);
    sign(&node, &["-I", "test", "-n", "bob"]);
    let refused = finish(&mut node.enclos(&["serve"]), "").err();
    assert!(refused.contains("is for a user and not for a host") && refused.contains("ssh-keygen -s"), "{refused}");
    fs::write(node.state().join("keys/ssh_host_ed25519_key-cert.pub"), "nonsense").expect("a file");
    let refused = finish(&mut node.enclos(&["serve"]), "").err();
    assert!(refused.contains("is not a certificate"), "{refused}");
}
