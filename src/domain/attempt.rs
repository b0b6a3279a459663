//! Something that a login may try, for asking what would come of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{RelPath, Service};

/// One thing that a login may try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", content = "of", rename_all = "kebab-case")]
pub enum Attempt {
    /// Reading a file, or listing a directory, below the account's home.
    Read(RelPath),
    /// Making or writing one.
    Write(RelPath),
    /// Opening a service.
    Service(Service),
    /// Having a connection made (RFC 4254, 7.2).
    Forward {
        /// To this host, by the name that a client gives.
        host: String,
        /// And this port.
        port: u16,
    },
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attempt::Read(path) => write!(f, "read {path}"),
            Attempt::Write(path) => write!(f, "write {path}"),
            Attempt::Service(service) => write!(f, "service {service}"),
            Attempt::Forward { host, port } if host.contains(':') => write!(f, "forward [{host}]:{port}"),
            Attempt::Forward { host, port } => write!(f, "forward {host}:{port}"),
        }
    }
}
