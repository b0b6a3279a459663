//! Forwards of all kinds, with OpenSSH's client: they lead where policy says, begin and end in the cell's network and
//! view, and hold up nothing else.

mod network;

use std::path::PathBuf;

use crate::harness::{Identity, Login, Node};

/// An account, and a node that serves it.
pub(super) struct Site {
    pub(super) node: Node,
    pub(super) home: PathBuf,
}

impl Site {
    pub(super) fn new(identity: Identity) -> Site {
        let node = Node::start(identity);
        let home = node.account("acme");
        Site { node, home }
    }

    /// Somebody with services, and with settings as `enclos user set` takes them.
    pub(super) fn user(&self, name: &str, services: &str, settings: &[&str]) -> Login {
        let login = self.node.user_with(name, "acme", services, &[("www/site1", "rw")]);
        if !settings.is_empty() {
            self.node.admin(&[&["user", "set", name], settings].concat());
        }
        login
    }
}
