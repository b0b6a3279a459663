//! Control: what is known of accounts, users, grants and credentials, and who may change it.
//!
//! Owns: the database, verdicts on secrets, the admin socket, and the list of live sessions. Runs in: a process without
//! privilege that the monitor forks, and, while no node runs, the command line. Trusts: its database, the monitor, and
//! whoever may open the admin socket (root, or the user that the node runs as). It touches no file of any account.

mod admin_socket;
mod audit;
mod bans;
mod certificates;
pub mod client;
mod codes;
pub mod decoders;
mod expiry;
mod following;
mod foreign;
pub mod hashes;
mod hours;
mod key_options;
mod keys;
mod krl;
mod operation;
mod outcome;
mod passwords;
mod remembered;
mod seats;
mod self_service;
mod serve;
mod sessions;
mod state;
mod store;
pub mod times;
pub mod transfer;
mod turns;

pub use crate::authority::{Answer, Limited, Verdict};
pub use operation::{Asked, CaHolder, Operation, OperationError, WhatToRevoke};
pub use outcome::{
    AccountView, AuthenticatorView, AuthorityView, ChangedPath, EventView, ExplanationView, GrantView, InvitationView,
    KeyOrigin, KeyView, Outcome, RevocationView, Revoked, SessionView, UserView,
};
pub use serve::serve;
pub use state::{StateError, prepare_state};
pub use store::ForeignError;
pub use store::{AuditPage, AuditQuery, StoreError};

/// Why control cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime could not be started.
    #[error("start the runtime of control")]
    Runtime(#[source] std::io::Error),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The admin socket cannot be made.
    #[error("listen on the admin socket {}", path.display())]
    Socket {
        /// Where.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The monitor cannot be told who is banned.
    #[error("tell the monitor who is banned")]
    Bans(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The monitor is gone or says what makes no sense.
    #[error("talk to the monitor")]
    Monitor(#[from] crate::wire::LinkError),
}
