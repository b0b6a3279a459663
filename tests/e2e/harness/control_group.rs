//! Control groups of a test's own, for its node to make others in.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use super::identity::Identity;
use super::node::Node;

/// One in each tree that bounds something, removed when it goes: after its node, which has groups in these.
#[derive(Debug)]
pub(crate) struct ControlGroup {
    name: String,
}

/// Where a node of an ordinary user is started: the kernel lets it start others only in groups beside its own.
const OWN: &str = "own";

/// Directories of the trees that there are.
fn trees() -> Vec<PathBuf> {
    let modern = Path::new("/sys/fs/cgroup");
    if modern.join("cgroup.controllers").exists() {
        return vec![modern.to_owned()];
    }
    ["memory", "pids", "cpu"].iter().map(|name| modern.join(name)).filter(|tree| tree.exists()).collect()
}

impl ControlGroup {
    /// Made by root, for a node of its own or for one of an ordinary user.
    pub(crate) fn of(node: &Node) -> ControlGroup {
        let group = ControlGroup { name: format!("enclos-e2e-{}-{}", std::process::id(), node.port()) };
        for place in group.places() {
            fs::create_dir(&place).expect("a control group");
            if let Identity::Ordinary(uid) = node.identity() {
                give(&place, uid);
                fs::create_dir(place.join(OWN)).expect("a control group");
            }
        }
        group
    }

    /// The line of the configuration that names it.
    pub(crate) fn setting(&self) -> String {
        format!("control_group = \"/{}\"", self.name)
    }

    /// Where it is.
    pub(crate) fn places(&self) -> impl Iterator<Item = PathBuf> {
        trees().into_iter().map(|tree| tree.join(&self.name))
    }

    /// Where the node writes itself into to be started in it, if it must.
    pub(crate) fn entrances(&self) -> Vec<PathBuf> {
        self.places().map(|place| place.join(OWN).join("cgroup.procs")).filter(|procs| procs.exists()).collect()
    }

    /// How many groups of the node's there are in it.
    pub(crate) fn groups_inside(&self) -> usize {
        let directories = |place: PathBuf| {
            fs::read_dir(place).into_iter().flatten().flatten().filter(|e| e.path().is_dir() && e.file_name() != OWN)
        };
        self.places().flat_map(directories).count()
    }
}

/// What systemd gives with `Delegate=yes`.
fn give(place: &Path, uid: u32) {
    chown(place, Some(uid), Some(uid)).expect("give a control group away");
    for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"] {
        if place.join(file).exists() {
            chown(place.join(file), Some(uid), Some(uid)).expect("give a control group away");
        }
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // In a tree that bounds nothing the node makes groups too, to end by.
        let others = ["unified", "systemd"].map(|tree| Path::new("/sys/fs/cgroup").join(tree).join(&self.name));
        for place in self.places().chain(others) {
            drop(fs::remove_dir(place.join(OWN)));
            drop(fs::remove_dir(place));
        }
    }
}
