//! What a session and the worker of a shell cell say to one another about forwards.

use serde::{Deserialize, Serialize};

use crate::domain::ForwardPolicy;

/// Where a connection is to lead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// To a port of a host, by the name or address that the client gives.
    Port {
        /// Name or address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// To a socket in the cell's view.
    Socket {
        /// An absolute path.
        path: String,
    },
}

impl Target {
    /// Whether policy lets a connection lead there.
    pub fn check(&self, policy: &ForwardPolicy) -> Result<(), Refusal> {
        let (is_permitted, what) = match self {
            Target::Port { host, port } => (policy.permit_open.opens(host, *port), "this host and port are"),
            Target::Socket { path } => (policy.permit_open.has_socket(path), "this socket is"),
        };
        if is_permitted {
            return Ok(());
        }
        let places = &policy.permit_open;
        Err(Refusal::prohibited(format!("{what} not open to this login, which may connect to: {places}")))
    }
}

/// What a session wants of the worker; it chooses the number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forward {
    /// Connect. Answered by `Connected` or `Refused`.
    Connect(Target),
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forwarded {
    /// It is connected; the socket comes with the message.
    Connected,
    /// It is not.
    Refused(Refusal),
}

/// Why a forward is not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of reason it is.
    pub reason: Reason,
    /// Why, and what to do; for the client.
    pub sentence: String,
}

/// Kinds of reasons (RFC 4254, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// It may not be.
    Prohibited,
    /// It was tried.
    Failed,
    /// There are too many already.
    Shortage,
}

impl Refusal {
    /// It may not be.
    pub fn prohibited(sentence: impl Into<String>) -> Refusal {
        Refusal { reason: Reason::Prohibited, sentence: sentence.into() }
    }

    /// It was tried.
    pub fn failed(sentence: impl Into<String>) -> Refusal {
        Refusal { reason: Reason::Failed, sentence: sentence.into() }
    }

    /// There are too many already.
    pub fn shortage(sentence: impl Into<String>) -> Refusal {
        Refusal { reason: Reason::Shortage, sentence: sentence.into() }
    }
}
