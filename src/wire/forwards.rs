//! What a session and the worker of a shell cell say to one another about forwards.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::domain::{ForwardPolicy, Service};

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
        #[cfg(feature = "weaken")]
        if crate::weaken::off(crate::weaken::Layer::Permits) {
            return Ok(());
        }
        let (is_permitted, what) = match self {
            Target::Port { host, port } => (policy.permit_open.opens(host, *port), "this host and port are"),
            Target::Socket { path } if !path.starts_with('/') => {
                return Err(Refusal::failed("give the whole path of the socket"));
            }
            Target::Socket { path } => (policy.permit_open.has_socket(path), "this socket is"),
        };
        if is_permitted {
            return Ok(());
        }
        let places = &policy.permit_open;
        Err(Refusal::prohibited(format!("{what} not open to this login, which may connect to: {places}")))
    }
}

/// What is to be listened on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A port.
    Port {
        /// As the client says it (RFC 4254, 7.1).
        address: String,
        /// 0 for one that is free.
        port: u16,
    },
    /// A socket in the cell's view.
    Socket {
        /// An absolute path.
        path: String,
    },
    /// A socket of its own, for the client's agent; programs of the session are told of it.
    Agent,
}

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

impl Place {
    /// Whether policy lets it be listened there, and for a port the addresses to listen on.
    pub fn check(&self, policy: &ForwardPolicy) -> Result<Vec<IpAddr>, Refusal> {
        let places = &policy.permit_listen;
        let refusal =
            |what: &str| Refusal::prohibited(format!("{what} not open to this login, which may listen on: {places}"));
        match self {
            Place::Port { address, port } => match places.listens(address, *port) {
                none if none.is_empty() => Err(refusal("listening on this port is")),
                addresses => Ok(addresses),
            },
            Place::Socket { path } if !path.starts_with('/') => {
                Err(Refusal::failed("give the whole path of the socket"))
            }
            Place::Socket { path } if !places.has_socket(path) => Err(refusal("listening on this socket is")),
            Place::Socket { .. } | Place::Agent => Ok(Vec::new()),
        }
    }

    /// The service that a login needs for it.
    pub fn service(&self) -> Service {
        match self {
            Place::Port { .. } | Place::Socket { .. } => Service::ForwardRemote,
            Place::Agent => Service::Agent,
        }
    }
}

/// What a session wants of the worker; it chooses the number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forward {
    /// Connect. Answered by `Connected` or `Refused`.
    Connect(Target),
    /// Listen, and hand over what connects. Answered by `Listening` or `Refused`.
    Listen(Place),
    /// Listen no more.
    End,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forwarded {
    /// It is connected; the socket comes with the message.
    Connected,
    /// It is listened, on this port if it is one.
    Listening {
        /// The port.
        port: u16,
    },
    /// Somebody has connected; the socket comes with the message.
    Accepted {
        /// From where, if it was a port.
        origin: Option<Origin>,
    },
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
