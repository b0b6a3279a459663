//! What was written in the configuration, then what it means: one settings type per role.
//!
//! Runs in: whatever process starts the node, and the command line. Trusts: the operator, whose mistakes are answered
//! with what would have been right.

mod abuse;
mod database;
mod meaning;
mod read;
mod settings;
mod system_users;
mod users_from;
mod written;

pub use abuse::{AdmissionSettings, BadStartups, Penalties, ProxyProtocol, SourceBlock, Startups};
pub use database::{Database, ServerUrl};
pub use read::{ConfigError, DEFAULT_FILE, load};
pub use settings::{
    AuditPlace, AuditSettings, ControlSettings, Ids, LogFormat, MonitorSettings, Node, Paths, SessionSettings,
};
pub use system_users::{is_taken, system_user};
pub use users_from::UsersFrom;
pub use written::Written;
