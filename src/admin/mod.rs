//! How people and programs operate a node: skins over `control`'s operations.
//!
//! Runs in: the process that was started. Trusts: whoever may start it with the rights it needs.

pub mod cli;
