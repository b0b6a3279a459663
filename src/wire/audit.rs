//! What goes on record, on its way from the monitor to control. The monitor says whose it is and when; of what a session
//! reports it passes on what is typed and bounded.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{EndReason, Event};
use crate::domain::{AccountName, ClaimedName, ConnId, Deed, Factor, Factors, KeyBlob, UserName};

/// What a client did, in the order in which it did it. From a session to the monitor, and on to control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deeds {
    /// The deeds.
    pub deeds: Vec<Deed>,
    /// How many more there were that found no room.
    pub lost: u64,
}

/// Whose a connection is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When the monitor was started, in seconds since 1970: connections are counted from then on.
    pub run: u64,
    /// Its number.
    pub conn: ConnId,
    /// The client's address.
    pub peer: SocketAddr,
    /// Who is in, once somebody is.
    pub holder: Option<Box<Holder>>,
}

/// Who is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The account.
    pub account: AccountName,
    /// The user.
    pub user: UserName,
    /// All that was shown.
    pub shown: Factors,
    /// The fingerprint and the label of the key.
    pub key: Option<(String, String)>,
}

/// One thing for the record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    /// When the monitor knew of it, in milliseconds since 1970.
    pub at: i64,
    /// Whose it is; `None` for the node's own.
    pub stamp: Option<Stamp>,
    /// What happened.
    pub what: Noted,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Noted {
    /// Clients are let in.
    Started,
    /// The node was told to stop.
    Stopped,
    /// Somebody is in.
    LoggedIn,
    /// Somebody was not let in.
    Denied {
        /// The name typed.
        user: ClaimedName,
        /// What was shown.
        factor: Factor,
        /// The key that was shown.
        key: Option<KeyBlob>,
        /// The reason, as the log has it.
        why: String,
    },
    /// A connection with a login ended.
    Ended {
        /// How long it lasted.
        seconds: u64,
        /// Why.
        why: Why,
    },
    /// What the session reports.
    Reported(Event),
    /// What the session's client did.
    Did(Deeds),
    /// The session said what it must not, and was ended.
    Broke {
        /// What it did.
        what: String,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// By its client, or for want of one.
    Client,
    /// It was told to.
    Told(EndReason),
    /// Its process failed.
    Broken,
}
