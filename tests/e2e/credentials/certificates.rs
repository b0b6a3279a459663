//! OpenSSH certificates, signed by `ssh-keygen -s` and shown by `ssh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{REVOKED, is_let_in, key_with};
use crate::harness::{Identity, Login, Node, Raw, Waiting, finish, has_ended, new_key, sftp, ssh, wait_until};

as_root_and_rootless!(
    a_certificate_of_a_trusted_authority_opens_the_door,
    authorities_of_every_kind_are_taken,
    a_certificate_that_does_not_fit_is_refused_for_its_reason,
    names_say_for_whom_a_certificate_is,
    options_of_a_certificate_hold,
    an_authority_narrows_what_its_certificates_may,
    a_line_of_authorized_keys_may_name_an_authority,
    what_is_revoked_ends_and_comes_back_no_more,
    a_session_ends_with_its_certificate,
    many_keys_without_a_certificate_are_no_hindrance,
);

/// An authority with its key.
pub(super) struct Authority {
    key: PathBuf,
}

impl Authority {
    pub(super) fn new(node: &Node, name: &str) -> Authority {
        let key = node.dir().join("clients").join(name);
        new_key(&key);
        Authority { key }
    }

    fn of_kind(node: &Node, name: &str, kind: &[&str]) -> Authority {
        let key = node.dir().join("clients").join(name);
        finish(Command::new("ssh-keygen").args(["-q", "-N", "", "-f"]).arg(&key).args(kind), "").ok();
        Authority { key }
    }

    pub(super) fn public(&self) -> PathBuf {
        self.key.with_extension("pub")
    }

    fn fingerprint(&self) -> String {
        let said = finish(Command::new("ssh-keygen").args(["-l", "-f"]).arg(self.public()), "").ok();
        said.split_whitespace().nth(1).expect("a fingerprint").to_owned()
    }

    /// Has it trusted.
    pub(super) fn trusted(&self, node: &Node, how: &[&str]) {
        let public = fs::read_to_string(self.public()).expect("the public half");
        node.admin_with(&[&["ca", "add", "--file", "-"], how].concat(), &public);
    }

    /// A new key of a login with a certificate.
    pub(super) fn sign(&self, of: &Login, name: &str, how: &[&str]) -> Login {
        let login = of.with_key(&of.key.with_file_name(name));
        new_key(&login.key);
        self.sign_key(&login.public_key(), &[&["-I", name], how].concat());
        login
    }

    fn sign_key(&self, public: &Path, how: &[&str]) {
        let mut command = Command::new("ssh-keygen");
        finish(command.args(["-q", "-s"]).arg(&self.key).args(how).arg(public), "").ok();
    }
}

fn trusted(node: &Node, how: &[&str]) -> Authority {
    let authority = Authority::new(node, "authority");
    authority.trusted(node, how);
    authority
}

fn run(login: &Login, line: &str) -> crate::harness::Finished {
    finish(ssh(login).arg(login.at()).arg(line), "")
}

fn a_certificate_of_a_trusted_authority_opens_the_door(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    node.admin(&["user", "add", "zoe", "--account", "acme"]);
    let authority = Authority::new(&node, "authority");
    let shown = authority.sign(&bob, "laptop", &["-n", "bob", "-z", "42"]);
    assert!(!is_let_in(&shown), "nobody has said that the authority is trusted");
    for holder in [&["--account", "acme"][..], &["--everybody"], &["--user", "bob"]] {
        authority.trusted(&node, holder);
        let again = finish(
            &mut node.enclos(&[&["ca", "add", "--file", authority.public().to_str().expect("plain")], holder].concat()),
            "",
        );
        assert!(again.stderr.contains("is there already"), "{again:?}");
        finish(&mut sftp(&shown), "ls /\n").ok();
        assert!(!is_let_in(&shown.named("eve")), "{holder:?}: made out to bob");
        assert!(!is_let_in(&shown.named("nobody")));
        let for_eve = authority.sign(&eve, &format!("eve{}", holder.len() + holder[0].len()), &["-n", "eve"]);
        assert_eq!(is_let_in(&for_eve), holder[0] != "--user", "{holder:?}");
        let mut raw = Raw::connect(&shown);
        assert!(raw.stat(b"/").is_success());
        let listed = node.admin(&["session", "list"]);
        assert!(listed.contains(&format!("laptop serial 42 by {}", authority.fingerprint())), "{listed}");
        let session = node.session_of("bob");
        node.admin(&["ca", "remove", &authority.fingerprint()]);
        assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came, "{holder:?}");
        assert!(!is_let_in(&shown));
    }
    let log = node.log();
    assert!(log.contains("certificate of an authority that is not trusted with this user"), "{log}");
}

fn authorities_of_every_kind_are_taken(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    for (name, kind) in [
        ("rsa", &["-t", "rsa", "-b", "2048"][..]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
    ] {
        let authority = Authority::of_kind(&node, name, kind);
        authority.trusted(&node, &["--account", "acme"]);
        assert!(is_let_in(&authority.sign(&bob, &format!("by-{name}"), &["-n", "bob"])), "{name}: {}", node.log());
        // And keys of every kind may be signed.
        let login = bob.with_key(&bob.key.with_file_name(format!("of-{name}")));
        finish(Command::new("ssh-keygen").args(["-q", "-N", "", "-f"]).arg(&login.key).args(kind), "").ok();
        authority.sign_key(&login.public_key(), &["-I", "x", "-n", "bob"]);
        assert!(is_let_in(&login), "{name}: {}", node.log());
    }
    let weak = Authority::of_kind(&node, "weak", &["-t", "rsa", "-b", "1024"]);
    let public = weak.public();
    let refused =
        finish(&mut node.enclos(&["ca", "add", "--everybody", "--file", public.to_str().expect("plain")]), "");
    assert!(refused.stderr.contains("RSA keys need at least 2048 bits"), "{refused:?}");
}

fn a_certificate_that_does_not_fit_is_refused_for_its_reason(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let authority = trusted(&node, &["--account", "acme"]);
    let rsa = Authority::of_kind(&node, "rsa", &["-t", "rsa", "-b", "2048"]);
    rsa.trusted(&node, &["--account", "acme"]);
    let with = |name: &str, how: &[&str], reason: &str, by: &Authority| {
        let shown = by.sign(&bob, name, how);
        assert!(!is_let_in(&shown), "{name} is let in");
        let log = node.log();
        assert!(log.contains(reason), "{name}: {reason:?} is not in the log:\n{log}");
    };
    with("alice", &["-n", "alice"], "made out to none of the names", &authority);
    with("nobody", &[], "made out to none of the names", &authority);
    let critical = "critical option \\\"fast@example.org\\\", which is not known";
    let critical = if node.log().contains("\\\"") { critical.to_owned() } else { critical.replace('\\', "") };
    with("fast", &["-n", "bob", "-O", "critical:fast@example.org=1"], &critical, &authority);
    with("pin", &["-n", "bob", "-O", "verify-required"], "verify-required", &authority);
    with("away", &["-n", "bob", "-O", "source-address=192.0.2.0/24"], "may not be used from this address", &authority);
    with("sha1", &["-n", "bob", "-t", "ssh-rsa"], "certificate signed with SHA-1", &rsa);
    // The library itself refuses the first two, before anybody is asked, and OpenSSH's client does not show the third.
    for how in [["-V", "20200101:20200102"], ["-V", "+1d:+2d"], ["-h", "-q"]] {
        let name = how.concat().replace(':', "-");
        assert!(!is_let_in(&authority.sign(&bob, &name, &[&["-n", "bob"], &how[..]].concat())), "{how:?} is let in");
    }
    assert!(is_let_in(&authority.sign(
        &bob,
        "good",
        &["-n", "bob", "-V", "-1d:+1d", "-O", "source-address=127.0.0.0/8"]
    )));
    // A key of its own does not become good by a certificate of somebody else's, and stays good.
    let stranger = Authority::new(&node, "stranger");
    stranger.sign_key(&bob.public_key(), &["-I", "x", "-n", "bob"]);
    assert!(is_let_in(&bob), "the key that bob has, behind a certificate that is worth nothing");
}

fn names_say_for_whom_a_certificate_is(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let authority = trusted(&node, &["--account", "acme", "--principal", "deployers", "--principal", "ops"]);
    let of = |name: &str, names: &str| authority.sign(&bob, name, &["-n", names]);
    let (deployer, both, named) = (of("deployer", "deployers"), of("both", "x,ops,bob-only"), of("named", "bob"));
    assert!(is_let_in(&deployer) && is_let_in(&both) && !is_let_in(&named));
    let mut raw = Raw::connect(&deployer);
    assert!(raw.stat(b"/").is_success());
    let session = node.session_of("bob");
    node.admin(&["user", "set", "bob", "--principal", "bob-only"]);
    assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came, "the name is not enough any more");
    assert!(!is_let_in(&deployer) && is_let_in(&both));
    node.admin(&["user", "set", "bob", "--principal", "none"]);
    assert!(is_let_in(&deployer));
}

fn options_of_a_certificate_hold(identity: Identity) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "sftp,exec,shell,forward-local", &[("www/site1", "rw")]);
    let authority = trusted(&node, &["--account", "acme"]);
    let of = |name: &str, how: &[&str]| authority.sign(&dev, name, &[&["-n", "dev"], how].concat());
    let tty = |login: &Login| finish(ssh(login).args(["-tt", &dev.at(), "tty; true"]), "");

    let whole = of("whole", &[]);
    assert!(tty(&whole).ok().contains("/dev/pts/"));
    run(&whole, "echo laptop > ~/mine").ok();
    assert_eq!(run(&dev, "cat ~/mine").ok().trim(), "laptop", "with all extensions it is the user's own login");

    let bare = of("bare", &["-O", "clear"]);
    assert!(!tty(&bare).stdout.contains("/dev/pts/"), "no terminal is permitted");
    let refused = finish(ssh(&bare).args(["-W", "127.0.0.1:1", &dev.at()]), "");
    assert!(refused.stderr.contains("forward-local") || refused.stderr.contains("not open"), "{refused:?}");
    assert!(!run(&bare, "cat ~/mine").status.success(), "a home of its own");

    let forced = of("forced", &["-O", "force-command=echo forced: $SSH_ORIGINAL_COMMAND"]);
    assert_eq!(run(&forced, "id").ok().trim(), "forced: id");
    node.admin(&["user", "set", "dev", "--forced-command", "echo other"]);
    assert!(!is_let_in(&forced), "two commands are one too many");
    assert!(node.log().contains("two commands are forced"), "{}", node.log());
    node.admin(&["user", "set", "dev", "--forced-command", "none"]);

    let files = of("files", &["-O", "force-command=internal-sftp"]);
    assert!(!run(&files, "id").status.success());
    finish(&mut sftp(&files), "ls /\n").ok();
}

fn an_authority_narrows_what_its_certificates_may(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let site = node.home("acme").join("www/site1");
    fs::write(site.join("index.html"), "home page").expect("a file");
    node.own(&node.home("acme"));
    let authority = trusted(&node, &["--account", "acme", "--scope-mode", "ro"]);
    let reader = authority.sign(&bob, "reader", &["-n", "bob"]);
    finish(&mut sftp(&reader), "get index.html /dev/null\n").ok();
    assert!(!finish(&mut sftp(&reader), "rm index.html\n").status.success());
    // The authority of the user alone counts before that of its account.
    authority.trusted(&node, &["--user", "bob", "--from", "192.0.2.1"]);
    assert!(!is_let_in(&reader));
}

fn a_line_of_authorized_keys_may_name_an_authority(identity: Identity) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "sftp,exec", &[("www/site1", "rw")]);
    let authority = Authority::new(&node, "authority");
    let public = fs::read_to_string(authority.public()).expect("the public half");
    let line = format!("cert-authority,principals=\"ops,web\",command=\"echo by-line\" {public}");
    node.admin_with(&["key", "add", "dev", "--file", "-"], &line);
    let shown = authority.sign(&dev, "shown", &["-n", "ops"]);
    assert_eq!(run(&shown, "id").ok().trim(), "by-line");
    assert!(!is_let_in(&authority.sign(&dev, "named", &["-n", "dev"])));
    assert!(!is_let_in(&dev.with_key(&authority.key)), "an authority's key is none of the user's");
    let refused =
        finish(&mut node.enclos(&["key", "add", "dev", "--file", "-"]), &format!("principals=\"x\" {public}"));
    assert!(refused.stderr.contains("not marked cert-authority"), "{refused:?}");
    let forced = authority.sign(&dev, "forced", &["-n", "ops", "-O", "force-command=echo by-certificate"]);
    assert!(!is_let_in(&forced), "two commands are one too many");
}

fn what_is_revoked_ends_and_comes_back_no_more(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let authority = trusted(&node, &["--account", "acme"]);
    let list = node.dir().join("list");
    let (by_krl, spec) = (authority.sign(&bob, "by-krl", &["-n", "bob", "-z", "77"]), node.dir().join("spec"));
    fs::write(&spec, "serial: 70-79\n").expect("what is revoked");
    let mut keygen = Command::new("ssh-keygen");
    finish(keygen.args(["-q", "-k", "-f"]).arg(&list).arg("-s").arg(authority.public()).arg(&spec), "").ok();
    let by_serial = authority.sign(&bob, "by-serial", &["-n", "bob", "-z", "5"]);
    let by_id = authority.sign(&bob, "by-id", &["-n", "bob"]);
    let by_key = authority.sign(&bob, "by-key", &["-n", "bob"]);
    let by_itself = authority.sign(&bob, "by-itself", &["-n", "bob", "-z", "6"]);
    let plain = key_with(&node, &bob, "plain", &[]);
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let certificate = by_itself.key.with_file_name("by-itself-cert.pub");
    let ca = authority.fingerprint();
    let cases = [
        (&by_serial, vec!["--serial".to_owned(), "5".into(), "--ca".into(), ca.clone()]),
        (&by_id, vec!["--id".to_owned(), "by-id".into(), "--ca".into(), "1".into()]),
        (&by_key, vec!["--file".to_owned(), text(&by_key.public_key())]),
        (&by_itself, vec!["--file".to_owned(), text(&certificate)]),
        (&plain, vec!["--file".to_owned(), text(&plain.public_key())]),
        (&by_krl, vec!["--krl".to_owned(), text(&list)]),
    ];
    let mut others = Raw::connect(&bob);
    let kept = node.session_of("bob").pid;
    for (login, how) in &cases {
        let mut raw = Raw::connect(login);
        assert!(raw.stat(b"/").is_success());
        let session = node.sessions().into_iter().find(|s| s.pid != kept).expect("the session");
        let how: Vec<&str> = how.iter().map(String::as_str).collect();
        node.admin(&[&["ca", "revoke"][..], &how].concat());
        assert_eq!(wait_until(REVOKED, || has_ended(session.pid)), Waiting::Came, "{how:?}");
        assert!(!is_let_in(login), "{how:?}");
        assert!(others.stat(b"/").is_success(), "{how:?}: a session that rests on something else went with it");
    }
    let listed: serde_json::Value =
        serde_json::from_str(&node.admin(&["ca", "revoked", "--json"])).expect("JSON of what is revoked");
    assert_eq!(listed.as_array().expect("a list").len(), cases.len(), "{listed}");
    let first = listed[0]["id"].to_string();
    node.admin(&["ca", "unrevoke", &first]);
    assert!(is_let_in(&by_serial), "{listed}");
    // The authority's own key takes all of its certificates with it.
    node.admin(&["ca", "revoke", "--file", &text(&authority.public())]);
    assert!(!is_let_in(&by_serial) && is_let_in(&bob));
    let refused = finish(&mut node.enclos(&["ca", "revoke", "--krl", &text(&spec)]), "");
    assert!(refused.stderr.contains("no key revocation list"), "{refused:?}");
}

fn a_session_ends_with_its_certificate(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let authority = trusted(&node, &["--account", "acme"]);
    let passing = authority.sign(&bob, "passing", &["-n", "bob", "-V", "-1m:+8s"]);
    let mut raw = Raw::connect(&passing);
    assert!(raw.stat(b"/").is_success());
    let session = node.session_of("bob");
    let mut staying = Raw::connect(&bob);
    assert_eq!(wait_until(REVOKED * 4, || has_ended(session.pid)), Waiting::Came, "it outlives its certificate");
    assert!(staying.stat(b"/").is_success(), "another session went with it");
}

/// An offer of a certificate cannot be told from one of its key, so clients are let sign a few times for nothing.
fn many_keys_without_a_certificate_are_no_hindrance(identity: Identity) {
    let mut node = Node::prepare(identity);
    node.write_config("max_auth_attempts = 20");
    node.serve();
    node.account("acme");
    let bob = node.user("bob", "acme", &[("www/site1", "rw")]);
    trusted(&node, &["--everybody"]);
    let mut command = Command::new("ssh");
    let options = bob.options();
    let identity_file = options.iter().position(|o| o.starts_with("IdentityFile=")).expect("the key");
    let mut before = options.clone();
    before.drain(identity_file - 1..=identity_file);
    command.args(before);
    for n in 0..12 {
        let key = bob.key.with_file_name(format!("unknown{n}"));
        new_key(&key);
        command.arg("-i").arg(&key);
    }
    command.arg("-i").arg(&bob.key).args(["-s", &bob.at(), "sftp"]);
    let tried = finish(&mut command, "");
    assert!(tried.status.success(), "{tried:?}\n{}", node.log());
    assert!(!node.log().contains("login denied"), "keys that were only offered are held against the client");
}
