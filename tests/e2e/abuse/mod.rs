//! Against those who guess, those who take up room, and those who are banned; and for those who share an address with them.
//!
//! Addresses 127.0.0.2 and on are different sources; 127.0.0.1, from where the tests look after the server, is exempt.

mod bans;
mod caps;
mod hostile;
mod penalties;
mod proxied;
pub(crate) mod stranger;

use std::time::Duration;

use crate::harness::{Identity, Login, Node};

/// Longest until something is there or gone, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with `bob` and `eve` of one account, and more settings, that penalises all but the tests' own address.
fn node_with(identity: Identity, settings: &str) -> (Node, Login, Login) {
    let mut node = Node::prepare(identity);
    node.write_config(&format!("exempt_sources = [\"127.0.0.1\"]\n{settings}"));
    node.serve();
    node.account("acme");
    let bob = node.user("bob", "acme", &[("www/site1", "rw")]);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    (node, bob, eve)
}
