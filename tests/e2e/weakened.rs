//! The tests of confinement can fail: with the whole account attached in place of the grant, every attack on their
//! list comes back with something.
//!
//! The server for this is built with the feature `weaken`, as an example so that it never takes the place of the real
//! one, and told by a variable what to leave out.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::confinement::attacks;
use crate::confinement::world::World;
use crate::harness::{Identity, Node, Raw};

as_root_and_rootless!(every_attack_succeeds_when_the_whole_account_is_attached);

fn every_attack_succeeds_when_the_whole_account_is_attached(identity: Identity) {
    let weakened = identity.executable(&build());
    let toothless: Vec<&str> = attacks::ALL
        .iter()
        .filter(|(_, attack)| {
            let mut node = Node::prepare(identity);
            node.replace_binary(&weakened, ("ENCLOS_WEAKEN", "bind-home"));
            node.serve();
            let world = World::new(node);
            let got = attack(&mut Raw::connect(world.bob()), &world);
            got.is_empty() && world.harm().is_empty()
        })
        .map(|(name, _)| *name)
        .collect();
    assert!(toothless.is_empty(), "these attacks would not notice a missing confinement: {toothless:?}");
}

/// Builds the weakened server beside the real one, so that everything but this crate is shared.
fn build() -> PathBuf {
    let real = Path::new(env!("CARGO_BIN_EXE_enclos"));
    let profile_dir = real.parent().expect("a target directory");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["build", "--quiet", "--locked", "--features", "weaken", "--example", "enclos-weakened"]);
    if profile_dir.ends_with("release") {
        command.arg("--release");
    }
    command.env("CARGO_TARGET_DIR", profile_dir.parent().expect("a target directory"));
    // What cargo tells a test about itself would make the inner build another one.
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
        command.env_remove(name);
    }
    let built = command.env_remove("LD_LIBRARY_PATH").output().expect("start cargo");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    profile_dir.join("examples/enclos-weakened")
}
