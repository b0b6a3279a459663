//! Caps on what has not logged in, under floods.

use std::net::TcpStream;

use super::stranger::{address, dial, first_line, knock};
use super::{PATIENCE, node_with};
use crate::harness::{Identity, Waiting, finish, sftp, wait_until};

as_root_and_rootless!(
    a_flood_from_one_source_leaves_room_for_others,
    a_flood_from_many_sources_is_turned_away_with_a_sentence_and_ends,
);

/// How many were greeted, and what the others read.
fn greeted(flood: &[TcpStream]) -> (usize, Vec<String>) {
    let lines: Vec<String> = flood.iter().map(first_line).collect();
    let (greeted, refused): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.starts_with("SSH-2.0-"));
    (greeted.len(), refused)
}

fn a_flood_from_one_source_leaves_room_for_others(identity: Identity) {
    let (node, bob, _) = node_with(identity, "max_unauthenticated_per_source = 5");
    let flood: Vec<TcpStream> = (0..60).map(|_| dial(address(2), node.port())).collect();
    let (count, refused) = greeted(&flood);
    assert_eq!(count, 5, "{}", node.log());
    let is_told = |line: &String| line.contains("Not allowed at this time: too many connections from your address");
    assert!(refused.iter().all(is_told), "{refused:?}");
    assert!(knock(address(3), node.port()).is_ok());
    finish(&mut sftp(&bob.from("127.0.0.3")), "ls\n").ok();
    // Those that are in the way of others go, and with them what held the source back.
    drop(flood);
    let is_open = || knock(address(2), node.port()).is_ok();
    assert_eq!(wait_until(PATIENCE, is_open), Waiting::Came, "{}", node.log());
    let is_counted = || node.log().contains("more connections turned away count=");
    assert_eq!(wait_until(PATIENCE, is_counted), Waiting::Came, "each is logged:\n{}", node.log());
}

fn a_flood_from_many_sources_is_turned_away_with_a_sentence_and_ends(identity: Identity) {
    let (node, bob, _) = node_with(identity, "max_unauthenticated = \"10:30:20\"");
    let flood: Vec<TcpStream> = (2..102).map(|last| dial(address(last), node.port())).collect();
    let (count, refused) = greeted(&flood);
    println!("{count} of 100 were greeted");
    assert!((10..=20).contains(&count), "{count} were greeted");
    assert!(refused.iter().all(|line| line.contains("Not allowed at this time: the server is busy")), "{refused:?}");
    drop(flood);
    let is_open = || finish(&mut sftp(&bob.from("127.0.0.200")), "ls\n").status.success();
    assert_eq!(wait_until(PATIENCE, is_open), Waiting::Came, "{}", node.log());
}
