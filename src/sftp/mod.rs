//! SFTP, version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions (its PROTOCOL, section 4).
//!
//! Owns: packets, the handle table, and one file for each family of requests. Runs in: sessions, in place: bytes in,
//! bytes out, no runtime inside. Trusts: nobody; every packet is the client's. What a request may touch is decided by
//! [`files::Root`] and the kernel behind it, never here.

mod answer;
mod attributes;
mod checksum;
mod codes;
mod directories;
mod engine;
mod extended;
mod failure;
mod handles;
mod jobs;
mod journal;
mod long_name;
mod names;
mod open_files;
mod reader;

pub use engine::{Broken, Engine, LinkOrder, Settings, Totals};
pub use journal::Journal;

#[cfg(doc)]
use crate::files;
