//! `enclos doctor` attacks the cells that it builds, and says of a user what its grants come to on this host.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::harness::{Identity, Node, finish};

as_root_and_rootless!(
    a_cell_for_programs_holds,
    a_user_who_is_well_kept_is_told_of,
    what_leads_out_of_grants_is_warned_of,
    a_user_who_cannot_be_served_is_a_failure,
    while_a_node_serves_it_examines_too,
);

fn a_cell_for_programs_holds(identity: Identity) {
    let node = Node::prepare(identity);
    let said = node.admin(&["doctor"]);
    let row = said.lines().find(|line| line.starts_with("programs ")).expect("a row for programs");
    assert!(row.contains("holds"), "{said}");
    node.write_config("require = [\"programs\", \"seccomp\", \"mount-namespace\"]");
    node.admin(&["doctor"]);
}

fn with_user(identity: Identity) -> (Node, std::path::PathBuf) {
    let node = Node::start(identity);
    let home = node.account("acme");
    node.user("bob", "acme", &[("www/site1", "rw")]);
    (node, home)
}

fn a_user_who_is_well_kept_is_told_of(identity: Identity) {
    let node = Node::start(identity);
    let home = node.account("acme");
    fs::create_dir(home.join("files")).expect("a directory");
    fs::write(home.join("files/one"), "x").expect("a file");
    fs::hard_link(home.join("files/one"), home.join("files/two")).expect("a link inside");
    node.own(&home);
    node.user("bob", "acme", &[("files", "rw")]);
    let said = node.admin(&["doctor", "--user", "bob"]);
    assert!(said.contains("nothing in them leads out") && !said.contains("WARNING"), "{said}");
    let unknown = finish(&mut node.enclos(&["doctor", "--user", "bib"]), "").err();
    assert!(unknown.contains("bib"), "{unknown}");
}

fn what_leads_out_of_grants_is_warned_of(identity: Identity) {
    let (node, home) = with_user(identity);
    let grant = home.join("www/site1");
    fs::write(home.join("private/secret"), "x").expect("a file");
    fs::hard_link(home.join("private/secret"), grant.join("linked-out")).expect("a link");
    fs::write(grant.join("tool"), "x").expect("a file");
    fs::write(grant.join("index.php"), "<?php").expect("a file");
    for pipe in ["pipe", "\u{1b}]0;another title\u{7}"] {
        mknodat(CWD, grant.join(pipe), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    }
    node.own(&home);
    // Giving a file away takes such bits from it.
    fs::set_permissions(grant.join("tool"), fs::Permissions::from_mode(0o4755)).expect("a mode");
    let said = node.admin(&["doctor", "--user", "bob"]);
    for (what, path) in
        [("hard links", "www/site1/linked-out"), ("pipes", "www/site1/pipe"), ("set-user-id", "www/site1/tool")]
    {
        let is_warned = |line: &str| line.starts_with("WARNING") && line.contains(what) && line.contains(path);
        assert!(said.lines().any(is_warned), "{what}: {said}");
    }
    assert!(said.contains("a web server seems to serve"), "{said}");
    // Whoever writes in a grant chooses names; an operator's terminal is not to be written to by them.
    let escaped = r"www/site1/\x1b]0;another title\x07";
    assert!(said.contains(escaped) && !said.contains(['\u{1b}', '\u{7}']), "{said:?}");
    node.admin(&["user", "set", "bob", "--deny-name", "*.php"]);
    let json = node.admin(&["doctor", "--user", "bob", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let warnings = json["warnings"].as_array().expect("a list");
    assert_eq!(warnings.len(), 3, "{json}");
    assert!(json["layers"].is_array() && json["problems"] == serde_json::json!([]), "{json}");
}

fn a_user_who_cannot_be_served_is_a_failure(identity: Identity) {
    let (node, home) = with_user(identity);
    fs::remove_dir(home.join("www/site1")).expect("it goes");
    let ended = finish(&mut node.enclos(&["doctor", "--user", "bob"]), "");
    assert!(!ended.status.success(), "{ended:?}");
    assert!(ended.stdout.contains("PROBLEM") && ended.stdout.contains("does not exist"), "{ended:?}");
}

fn while_a_node_serves_it_examines_too(identity: Identity) {
    let (node, _) = with_user(identity);
    node.admin(&["doctor"]);
    assert!(!node.log().contains("ERROR"), "{}", node.log());
}
