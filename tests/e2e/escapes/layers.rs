//! A test of the tests: each layer of confinement is left out, one by one, in a build that can do without (feature
//! `weaken`), and some attack of the matrix has to notice. Where one layer covers for another, the attacks that count are
//! those that succeed without both and fail without the other alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::clients::{self, Attacker, Client, Connection};
use super::forwards::{self, Tunnel};
use super::loot::Loot;
use super::programs::{self, Canary};
use super::table::{Column, Protocol};
use super::world::{Kind, Place, View, World};
use super::{captured, packets};
use crate::harness::{Identity, Node, installed};

#[path = "../../../src/weaken.rs"]
#[expect(dead_code, unreachable_pub, reason = "what asks for layers is in the server")]
mod weaken;

use weaken::Layer;

/// From where a missing layer is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sight {
    /// SFTP packets, with this kind of grant.
    Packets(Kind),
    /// Programs, with this kind of grant.
    Programs(Kind),
    /// Programs on the host's network.
    OnHostNetwork,
    /// A captured session, with this kind of grant.
    Captured(Kind),
    /// Commands of a login that may start `rsync` and no shell.
    OtherCommands,
    /// Forwards to places that are not permitted.
    NotPermitted,
}

/// The first process of a weakened cell is told in its environment what to leave out, which this row notices.
const FIRST: &str = "x42_the_first_process";

/// How a layer is seen to be missing, and which others cover for it.
fn case(layer: Layer) -> (Sight, &'static [Layer]) {
    use Layer::*;
    match layer {
        GrantedPath => (Sight::Packets(Kind::Rw), &[]),
        ReadOnlyMount => (Sight::Captured(Kind::Ro), &[]),
        Covers => (Sight::Programs(Kind::Nested), &[]),
        NoSetId => (Sight::Programs(Kind::Rw), &[]),
        NoDevices => (Sight::Programs(Kind::Rw), &[]),
        NoExec => (Sight::Programs(Kind::Nested), &[]),
        EmptyRoot => (Sight::Captured(Kind::Rw), &[]),
        OwnRoot => (Sight::Programs(Kind::Rw), &[]),
        ReadOnlyRoot => (Sight::Programs(Kind::Rw), &[ShellLandlock, Privileges]),
        Beneath => (Sight::Packets(Kind::Rw), &[EmptyRoot, SessionLandlock]),
        SessionLandlock => (Sight::Captured(Kind::Upload), &[]),
        ShellLandlock => (Sight::OnHostNetwork, &[]),
        SessionSeccomp => (Sight::Captured(Kind::Rw), &[]),
        ShellSeccomp => (Sight::Programs(Kind::Rw), &[]),
        Privileges => (Sight::Captured(Kind::Rw), &[]),
        OwnUid => (Sight::Programs(Kind::Rw), &[PidNamespace, ShellLandlock]),
        PidNamespace => (Sight::Programs(Kind::Rw), &[]),
        IpcNamespace => (Sight::Programs(Kind::Rw), &[]),
        NetNamespace => (Sight::Programs(Kind::Rw), &[]),
        HiddenProcesses => (Sight::Programs(Kind::Rw), &[PidNamespace]),
        MaskedProc => (Sight::Programs(Kind::Rw), &[]),
        Limits => (Sight::Programs(Kind::Rw), &[]),
        Descriptors => (Sight::Captured(Kind::Rw), &[]),
        PlainModes => (Sight::Packets(Kind::Rw), &[]),
        RegularFiles => (Sight::Packets(Kind::Rw), &[]),
        DropBoxes => (Sight::Packets(Kind::Upload), &[]),
        Variables => (Sight::Programs(Kind::Rw), &[]),
        AskedPrograms => (Sight::OtherCommands, &[StartedPrograms]),
        StartedPrograms => (Sight::OtherCommands, &[AskedPrograms]),
        Permits => (Sight::NotPermitted, &[]),
    }
}

mod with_root_only {
    mod as_root {
        use super::super::*;

        #[test]
        fn every_layer_is_noticed_when_it_is_missing() {
            let mut site = Site::new(Identity::root());
            let mut lines = String::new();
            let mut unnoticed = Vec::new();
            for layer in Layer::ALL {
                let (_, covers) = case(*layer);
                let noticed = site.noticed(*layer);
                let names = |layers: &[Layer]| {
                    layers.iter().map(|l| format!("`{}`", l.as_str())).collect::<Vec<_>>().join(", ")
                };
                let all: Vec<&str> = noticed.iter().copied().collect();
                writeln!(lines, "{}|{}|{}|{}", layer.as_str(), layer.text().trim(), names(covers), all.join("; "))
                    .expect("a String takes every write");
                if noticed.is_empty() {
                    unnoticed.push(layer.as_str());
                }
            }
            let rows = installed().join("rows/escapes");
            fs::create_dir_all(&rows).expect("a place for rows");
            fs::write(rows.join("layers"), &lines).expect("write the table");
            assert!(unnoticed.is_empty(), "no attack notices that these are missing: {unnoticed:?}\n{lines}");
        }
    }
}

/// A node that is started again for each set of layers, and what was seen already.
struct Site {
    world: World,
    canary: Canary,
    seen: BTreeMap<(BTreeSet<Layer>, Sight), BTreeSet<&'static str>>,
}

impl Site {
    fn new(identity: Identity) -> Site {
        let mut node = Node::prepare(identity);
        node.replace_binary(&identity.executable(&build()), ("ENCLOS_WEAKEN", ""));
        node.serve();
        let places = [
            (Kind::Rw, View::Rooted),
            (Kind::Ro, View::Rooted),
            (Kind::Upload, View::Rooted),
            (Kind::Nested, View::Rooted),
        ];
        let world = World::new(node, &places);
        let canary = Canary::new(&world.node);
        Site { world, canary, seen: BTreeMap::new() }
    }

    /// The attacks that succeed without a layer, and would not without those alone that cover for it.
    fn noticed(&mut self, layer: Layer) -> BTreeSet<&'static str> {
        let (sight, covers) = case(layer);
        let without_covers = if covers.is_empty() { BTreeSet::new() } else { self.without(covers, sight) };
        let without_all = self.without(&[covers, &[layer]].concat(), sight);
        without_all.difference(&without_covers).copied().collect()
    }

    /// The attacks that succeed without these layers.
    fn without(&mut self, layers: &[Layer], sight: Sight) -> BTreeSet<&'static str> {
        let key = (layers.iter().copied().collect::<BTreeSet<Layer>>(), sight);
        if let Some(seen) = self.seen.get(&key) {
            return seen.clone();
        }
        let node = &mut self.world.node;
        let names: Vec<&str> = key.0.iter().map(|layer| layer.as_str()).collect();
        node.end(Signal::SIGTERM);
        node.set_variable("ENCLOS_WEAKEN", &names.join(","));
        node.serve();
        self.canary.look_at(node);
        let found = self.look(sight);
        self.seen.insert(key, found.clone());
        found
    }

    fn place(&self, kind: Kind) -> &Place {
        self.world.places.iter().find(|place| place.kind == kind).expect("one of each")
    }

    fn look(&self, sight: Sight) -> BTreeSet<&'static str> {
        let world = &self.world;
        // What was left by an attack before is none of this one.
        world.places.iter().for_each(|place| drop(place.harm()));
        let column = |protocol| Column::new(protocol, Identity::root());
        let mut loot = Loot::new(world.node.dir().join("loot"));
        let shared = world.node.dir().join("clients/shared");
        let outcome = |column: Column| column.breaches().collect();
        let of_loot = |what: &'static str, got: &[String]| (!got.is_empty()).then_some(what).into_iter().collect();
        match sight {
            Sight::Packets(kind) => {
                let mut column = column(Protocol::Packets);
                packets(&mut column, self.place(kind));
                outcome(column)
            }
            Sight::Programs(kind) => {
                let mut column = column(Protocol::Exec);
                programs::attack(&mut column, Protocol::Exec, self.place(kind), &self.canary, &[FIRST]);
                outcome(column)
            }
            Sight::OnHostNetwork => {
                let (mut column, place) = (column(Protocol::Exec), self.place(Kind::Rw));
                let network = |of: &str| world.node.admin(&["user", "set", &place.login.user, "--network", of]);
                network("host");
                programs::attack(&mut column, Protocol::Exec, place, &self.canary, &[FIRST, "x74_network"]);
                network("own");
                outcome(column)
            }
            Sight::Captured(kind) => {
                let mut column = column(Protocol::Captured);
                captured::attack(&mut column, world, self.place(kind), &self.canary);
                outcome(column)
            }
            Sight::OtherCommands => {
                let place = self.place(Kind::Rw);
                let connection = Connection::new(&place.direct, &shared);
                place.tidy();
                let (client, connection) = (Client::Rsync, &connection);
                clients::other_commands(&mut Attacker { client, place, connection, loot: &mut loot });
                of_loot("commands inside of names, and other commands", &loot.take())
            }
            Sight::NotPermitted => {
                let place = self.place(Kind::Rw);
                let connection = Connection::new(&place.login, &shared);
                let (node, connection, canary) = (&world.node, &connection, &self.canary);
                forwards::not_permitted(&mut Tunnel { node, place, connection, canary, loot: &mut loot });
                of_loot("a service of the host, beyond what forwards are permitted", &loot.take())
            }
        }
    }
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
