//! Messages between the processes of a node, and the sockets that carry them.
//!
//! Owns: one enum per direction, their encoding, and descriptor passing. Runs in: every process.
//! Trusts: nobody; a message from a less trusted process is bounded in length before it is decoded, a malformed one
//! is an error that ends that peer, and descriptors that were not asked for are closed.

mod async_link;
mod audit;
mod forwards;
mod link;
mod messages;
mod programs;
mod shared;
mod streams;

pub use async_link::AsyncLink;
pub use audit::{Deeds, Holder, Note, Noted, Stamp, Why};
pub use forwards::{Forward, Forwarded, Origin, Place, Reason, Refusal, Target};
pub use link::{Link, LinkError, MOST_DESCRIPTORS, Received, peer_process};
pub use messages::{
    EndReason, Event, FromControl, FromSession, FromZygote, Granted, HeaderRule, Heading, Notice, Office, Post,
    Question, SessionRecord, ToControl, ToSession, ToZygote, Worth,
};
pub use programs::{Ended, FromCell, FromWorker, NotStarted, Program, Size, Start, Terminal, ToWorker, WorkerOrder};
pub use shared::{make_shared, map_shared, shared_clock};
pub use streams::{read, set_nonblocking, shut_down_writing, write};
