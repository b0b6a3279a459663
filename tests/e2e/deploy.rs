//! What lies in `deploy/` works: the unit is one that systemd takes, and starts what there is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Identity, Node, finish};

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn lines_of(unit: &str, key: &str) -> Vec<String> {
    unit.lines().filter_map(|l| Some(l.strip_prefix(key)?.strip_prefix('=')?.to_owned())).collect()
}

#[test]
fn systemd_takes_the_unit() {
    let unit = fs::read_to_string(deployed("enclos.service")).expect("the unit");
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("enclos.service");
    // The binary is not installed where tests run.
    fs::write(&copy, unit.replace("/usr/bin/enclos", env!("CARGO_BIN_EXE_enclos"))).expect("a copy");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&copy);
    let ended = finish(&mut verify, "");
    assert!(ended.status.success(), "{ended:?}");
    let complaints: Vec<&str> = ended.stderr.lines().filter(|l| l.contains("enclos.service")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn the_unit_starts_commands_that_exist() {
    let unit = fs::read_to_string(deployed("enclos.service")).expect("the unit");
    let commands: Vec<String> = ["ExecStartPre", "ExecStart"].iter().flat_map(|key| lines_of(&unit, key)).collect();
    assert!(commands.iter().any(|c| c.ends_with(" serve")), "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(words[0], "/usr/bin/enclos", "{command}");
        // With --help clap reads every option and subcommand and does nothing.
        finish(Command::new(env!("CARGO_BIN_EXE_enclos")).args(&words[1..]).arg("--help"), "").ok();
    }
}

/// A node that would lack a capability under systemd would start here and fail there.
#[test]
fn the_unit_leaves_the_capabilities_that_the_monitor_keeps() {
    let unit = fs::read_to_string(deployed("enclos.service")).expect("the unit");
    let bounding = lines_of(&unit, "CapabilityBoundingSet").join(" ");
    for needed in [
        "CAP_SYS_ADMIN",
        "CAP_SYS_CHROOT",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_KILL",
        "CAP_DAC_READ_SEARCH",
        "CAP_NET_ADMIN",
        "CAP_NET_BIND_SERVICE",
    ] {
        assert!(bounding.contains(needed), "{needed} is missing in {bounding:?}");
    }
}

as_root_and_rootless!(the_sample_configuration_is_a_good_one);

fn the_sample_configuration_is_a_good_one(identity: Identity) {
    let node = Node::prepare(identity);
    fs::copy(deployed("enclos.toml"), node.config()).expect("a copy");
    node.admin(&["check-config"]);
}
