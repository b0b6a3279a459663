//! Enclos: an SSH server for shared accounts.
//!
//! A stranger connects, claims to be somebody, proves it, and is given one part of one account and nothing else. Every
//! room takes one value from the room before and hands on a narrower one:
//!
//! ```text
//! Peer  ->  Claim  ->  Principal  ->  Plan  ->  Root  ->  Handle
//! ```
//!
//! | value | made only in | process |
//! |---|---|---|
//! | `Peer` | [`monitor`] (admission) | monitor |
//! | [`domain::Claim`] | [`session`] (login) | session |
//! | [`authority::Principal`] | [`authority`] | monitor |
//! | `Plan` | [`cell`] (plan) | monitor |
//! | `Root` | [`files`] | session |
//! | `Handle` | [`sftp`] | session |
//!
//! Processes of a node, one binary, a role each:
//!
//! - **monitor**: root, one thread, no runtime. Owns the listening sockets and every privilege; reads no network byte.
//! - **control**: unprivileged; the database, verdicts on secrets, the admin socket.
//! - **zygote**: forks sessions from prepared memory; an empty root and an empty network.
//! - **session**: one per connection; SSH, then SFTP in place. Born with nothing; its grants are attached from outside.
//! - **shell zygote**, forked when the first program is asked for: forks shell cells from a template of the host's programs.
//! - **worker**: the first process of a shell cell, one per principal; starts its programs, and knows nothing else.

pub mod admin;
pub mod authority;
pub mod cell;
pub mod config;
pub mod control;
pub mod domain;
pub mod files;
pub mod monitor;
pub mod session;
pub mod sftp;
pub mod sys;
pub mod telemetry;
#[cfg(feature = "weaken")]
pub mod weaken;
pub mod wire;
pub mod worker;
