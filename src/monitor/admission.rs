//! Who may talk to us at all. Makes `Peer`, the first value of the journey.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::net::SendFlags;

use crate::domain::ConnId;

/// An accepted connection that may talk to us.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its number.
    pub(super) conn: ConnId,
    /// Where it comes from, as the kernel says.
    pub(super) address: SocketAddr,
    /// When its client must have logged in.
    pub(super) deadline: Instant,
}

/// The caps on connections.
#[derive(Debug)]
pub(super) struct Admission {
    /// Most that have not logged in.
    pub(super) max_unauthenticated: usize,
    /// Most in all.
    pub(super) max_connections: usize,
}

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// That have not logged in, with or without a session.
    pub(super) unauthenticated: usize,
    /// In all.
    pub(super) connections: usize,
}

impl Admission {
    /// Why one more may not come in; `None` when it may.
    pub(super) fn refusal(&self, load: Load) -> Option<&'static str> {
        if load.connections >= self.max_connections {
            Some("too many connections")
        } else if load.unauthenticated >= self.max_unauthenticated {
            Some("too many connections that have not logged in")
        } else {
            None
        }
    }
}

/// Tells a client that it may not come in, in the words that OpenSSH uses before any banner, and hangs up. A client that
/// does not take them at once goes without.
pub(super) fn turn_away(socket: OwnedFd) {
    let told = rustix::net::send(&socket, b"Not allowed at this time\r\n", SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    tracing::debug!(told = told.is_ok(), "turned away");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cap_holds_by_itself() {
        let admission = Admission { max_unauthenticated: 2, max_connections: 3 };
        assert!(admission.refusal(Load { unauthenticated: 1, connections: 2 }).is_none());
        assert!(admission.refusal(Load { unauthenticated: 2, connections: 2 }).is_some());
        assert!(admission.refusal(Load { unauthenticated: 0, connections: 3 }).is_some());
    }
}
