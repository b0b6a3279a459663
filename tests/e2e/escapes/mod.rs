//! Nothing that was not granted can be had: the list of escapes as a matrix of attack, protocol, grant, view and node.
//!
//! One test fills one column, in all places ([`world`]), with all attacks ([`list`]) that its protocol can express; for
//! those that it cannot the table has a reason. The matrix is written to `tests/results/escapes.md` by `tests/run`.

mod captured;
mod clients;
mod elsewhere;
mod files;
mod forwards;
mod layers;
mod list;
mod loot;
mod programs;
mod race;
mod requests;
mod table;
mod world;

use std::ptr::fn_addr_eq;

use crate::harness::{Identity, Node, Raw, finish};
use clients::{Attacker, ByClient, Client, Connection};
use forwards::Tunnel;
use loot::Loot;
use programs::Canary;
use table::{Column, Means, Protocol};
use world::{Kind, Place, View, World};

as_root_and_rootless!(
    packets_find_nothing,
    sftp_finds_nothing,
    scp_finds_nothing,
    old_scp_finds_nothing,
    rsync_finds_nothing,
    git_finds_nothing,
    forwards_find_nothing,
    commands_find_nothing,
    shells_find_nothing,
    without_a_cell_programs_find_it,
);

fn packets_find_nothing(identity: Identity) {
    let world = World::whole(identity);
    let mut column = Column::new(Protocol::Packets, identity);
    for place in &world.places {
        packets(&mut column, place);
    }
    column.close();
}

/// Has everything attempted from a place that packets can say.
fn packets(column: &mut Column, place: &Place) {
    let mut raw = Raw::connect(&place.login).watched_by(world::leak);
    for attack in list::ALL.iter().filter(|attack| attack.grants.contains(&place.kind)) {
        let Ok(Means::Packets(does)) = attack.by(Protocol::Packets) else { continue };
        place.tidy();
        let mut got = does(&mut raw, place);
        got.extend(raw.caught());
        got.extend(place.harm());
        column.saw(attack, place, got);
    }
}

fn sftp_finds_nothing(identity: Identity) {
    client_finds_nothing(identity, Client::Sftp);
}

fn scp_finds_nothing(identity: Identity) {
    client_finds_nothing(identity, Client::Scp);
}

fn old_scp_finds_nothing(identity: Identity) {
    client_finds_nothing(identity, Client::OldScp);
}

fn rsync_finds_nothing(identity: Identity) {
    client_finds_nothing(identity, Client::Rsync);
}

fn git_finds_nothing(identity: Identity) {
    client_finds_nothing(identity, Client::Git);
}

fn client_finds_nothing(identity: Identity, client: Client) {
    let world = World::whole(identity);
    let mut column = Column::new(client.protocol(), identity);
    let mut loot = Loot::new(world.node.dir().join("loot"));
    for place in &world.places {
        let connection = Connection::new(&place.direct, &world.node.dir().join("clients/shared"));
        let mut done: Vec<(ByClient, Vec<String>)> = Vec::new();
        for attack in list::ALL.iter().filter(|attack| attack.grants.contains(&place.kind)) {
            let Ok(Means::Clients(_, does)) = attack.by(client.protocol()) else { continue };
            let got = match done.iter().find(|(other, _)| fn_addr_eq(*other, does)) {
                Some((_, got)) => got.clone(),
                None => {
                    place.tidy();
                    does(&mut Attacker { client, place, connection: &connection, loot: &mut loot });
                    let got = [loot.take(), place.harm()].concat();
                    done.push((does, got.clone()));
                    got
                }
            };
            column.saw(attack, place, got);
        }
    }
    column.close();
}

fn forwards_find_nothing(identity: Identity) {
    let world = World::whole(identity);
    let canary = Canary::new(&world.node);
    let mut column = Column::new(Protocol::Forward, identity);
    let mut loot = Loot::new(world.node.dir().join("loot"));
    for place in &world.places {
        let connection = Connection::new(&place.login, &world.node.dir().join("clients/shared"));
        for attack in list::ALL {
            let Ok(Means::Forward(does)) = attack.by(Protocol::Forward) else { continue };
            place.tidy();
            let (node, canary, loot) = (&world.node, &canary, &mut loot);
            does(&mut Tunnel { node, place, connection: &connection, canary, loot });
            column.saw(attack, place, [loot.take(), place.harm()].concat());
        }
    }
    column.close();
}

mod with_root_only {
    mod as_root {
        use super::super::*;

        /// Whoever captures a process has to be root, or to own it; a session is nobody's.
        #[test]
        fn captured_sessions_find_nothing() {
            for identity in [Identity::root(), Identity::ordinary()] {
                let world = World::whole(identity);
                let canary = Canary::new(&world.node);
                let mut column = Column::new(Protocol::Captured, identity);
                for place in &world.places {
                    captured::attack(&mut column, &world, place, &canary);
                }
                column.close();
            }
        }
    }
}

fn commands_find_nothing(identity: Identity) {
    programs_find_nothing(identity, Protocol::Exec);
}

fn shells_find_nothing(identity: Identity) {
    programs_find_nothing(identity, Protocol::Shell);
}

fn programs_find_nothing(identity: Identity, protocol: Protocol) {
    let world = World::whole(identity);
    let canary = Canary::new(&world.node);
    let mut column = Column::new(protocol, identity);
    // Programs see paths of the host in either view; on a terminal one of them is enough.
    for place in world.places.iter().filter(|place| protocol == Protocol::Exec || place.view == View::Host) {
        programs::attack(&mut column, protocol, place, &canary, &[]);
    }
    // What belongs to a network is seen by whoever shares it: its lists, its localhost.
    let place = &world.places[0];
    world.node.admin(&["user", "set", &place.login.user, "--network", "host"]);
    programs::attack(&mut column, protocol, place, &canary, &["x74_network"]);
    column.close();
}

/// Rows that must show a breach where there is no cell: they can fail.
const SHOWN_OUTSIDE: &[&str] = &[
    "x01_x02_x19_x20_paths_outside",
    "x03_x04_links",
    "x04_planted_links",
    "x05_x06_x09_writes",
    "x08_x22_x39_attributes",
    "x13_x14_exchanged",
    "x17_moved_out",
    "x18_the_grant_itself",
    "x20_processes_in_proc",
    "x21_names_beside",
    "x23_what_is_there",
    "x33_x34_set_ids",
    "x40_signals",
    "x41_memory_of_others",
    "x43_x44_sockets",
    "x45_shared_memory",
    "x46_x47_keys_and_the_kernels_lists",
    "x50_x51_x53_mounts",
    "x52_x54_x55_the_kernels_insides",
    "x56_sockets_of_other_kinds",
    "x58_terminals",
    "x68_secrets_of_the_host",
    "x72_read_only_grants",
    "x74_network",
    "x76_leases_and_projects",
];

fn without_a_cell_programs_find_it(identity: Identity) {
    let world = World::new(Node::start(identity), &[(Kind::Nested, View::Host)]);
    let canary = Canary::new(&world.node);
    let place = &world.places[0];
    place.tidy();
    let mut outside = programs::as_account(identity);
    let facts = canary.facts(place).to_string();
    outside.args(["-c", programs::ATTACKS, "attack", &facts]).args(SHOWN_OUTSIDE);
    let shown = finish(&mut outside, "").ok();
    let missed: Vec<&str> =
        shown.lines().filter(|line| line.ends_with(" held") || line.contains("row failed")).collect();
    assert!(
        missed.is_empty() && shown.lines().count() == SHOWN_OUTSIDE.len(),
        "not shown outside:\n{}",
        missed.join("\n")
    );
    assert!(!place.harm().is_empty(), "no harm was done");
}
