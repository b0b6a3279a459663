//! What a connection's programs are told about it, and by the node: the message of the day, the variables that a client may
//! set, and where the connection comes from and leads to.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::domain::{VariablePattern, is_harmless};

/// Most of a message of the day that is shown.
const LONGEST_MOTD: u64 = 16 * 1024;

/// What all connections of a node share.
#[derive(Clone, Debug)]
pub(super) struct Customs {
    motd: Arc<str>,
    accept_env: Arc<[VariablePattern]>,
}

/// What one connection has.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    customs: Customs,
    /// The client's address and ours.
    ends: Option<(SocketAddr, SocketAddr)>,
}

impl Customs {
    /// Reads the message of the day from a file, if there is one.
    pub(super) fn new(motd: Option<&Path>, accept_env: &[VariablePattern]) -> Customs {
        let mut bytes = Vec::new();
        let read = motd.map_or(Ok(0), |path| {
            std::fs::File::open(path).and_then(|file| file.take(LONGEST_MOTD).read_to_end(&mut bytes))
        });
        if let Err(error) = read.as_ref()
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the message of the day cannot be read");
        }
        Customs { motd: String::from_utf8_lossy(&bytes).into(), accept_env: accept_env.into() }
    }

    /// A connection between two addresses, where they are known.
    pub(super) fn of_connection(&self, ends: Option<(SocketAddr, SocketAddr)>) -> Surroundings {
        Surroundings { customs: self.clone(), ends }
    }
}

impl Surroundings {
    /// The message of the day.
    pub(super) fn motd(&self) -> &str {
        &self.customs.motd
    }

    /// Whether a client may set a variable. Those that begin with `SSH_` are ours to set.
    pub(super) fn accepts(&self, name: &str) -> bool {
        let is_accepted = || self.customs.accept_env.iter().any(|pattern| pattern.matches(name));
        !name.starts_with("SSH_") && (is_harmless(name) || is_accepted())
    }

    /// The port that the client has connected to.
    pub(super) fn port(&self) -> Option<u16> {
        self.ends.map(|(_, local)| local.port())
    }

    /// `SSH_CLIENT` and `SSH_CONNECTION`.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let Some((peer, local)) = self.ends else { return Vec::new() };
        let (from, to) = (peer.ip().to_canonical(), local.ip().to_canonical());
        let (from_port, to_port) = (peer.port(), local.port());
        vec![
            ("SSH_CLIENT".to_owned(), format!("{from} {from_port} {to_port}")),
            ("SSH_CONNECTION".to_owned(), format!("{from} {from_port} {to} {to_port}")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_sets_what_is_harmless_and_what_the_node_lets_through() {
        let patterns = ["FOO_*".parse().expect("a pattern"), "*_X".parse().expect("a pattern")];
        let around = Customs::new(None, &patterns).of_connection(None);
        for name in ["LANG", "LC_ALL", "FOO_BAR", "MY_X"] {
            assert!(around.accepts(name), "{name}");
        }
        for name in ["LD_PRELOAD", "SSH_CONNECTION", "SSH_X", "foo_bar", "PATH"] {
            assert!(!around.accepts(name), "{name}");
        }
    }

    #[test]
    fn programs_are_told_where_a_connection_comes_from() {
        let ends = ("[::ffff:192.0.2.1]:4000".parse().expect("one"), "192.0.2.2:22".parse().expect("one"));
        let variables = Customs::new(None, &[]).of_connection(Some(ends)).variables();
        let values: Vec<&str> = variables.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["192.0.2.1 4000 22", "192.0.2.1 4000 192.0.2.2 22"]);
    }
}
