//! Enclos: an SSH server for shared accounts.
//!
//! (in the making)

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
pub mod wire;
pub mod worker;
