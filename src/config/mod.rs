//! What was written in the configuration, then what it means: one settings type per role.
//!
//! Runs in: whatever process starts the node, and the CLI. Trusts: the operator, whose mistakes are answered with the
//! nearest thing that would have been right.

mod settings;

pub use settings::{ControlSettings, Ids, LogFormat, MonitorSettings, Node, Paths, SessionSettings};
