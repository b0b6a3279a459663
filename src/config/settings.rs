//! The settings of each role, complete and checked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::abuse::AdmissionSettings;
use super::database::Database;
use super::users_from::UsersFrom;
use crate::domain::{Bind, Layer, Limits, VariablePattern};

/// Everything a node was told.
#[derive(Debug, Clone)]
pub struct Node {
    /// For the monitor.
    pub monitor: MonitorSettings,
    /// For control.
    pub control: ControlSettings,
    /// For every session.
    pub session: SessionSettings,
    /// How logs are written.
    pub log: LogFormat,
}

/// Where a node keeps its things, all beneath one state directory unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The state directory.
    pub state: PathBuf,
    /// The directory of the host keys; readable by root only.
    pub keys: PathBuf,
}

impl Paths {
    /// The default layout of a state directory.
    pub fn beneath(state: &Path) -> Paths {
        Paths { state: state.to_owned(), keys: state.join("keys") }
    }

    /// The directory of the database, owned by control.
    pub fn database_dir(&self) -> PathBuf {
        self.state.join("db")
    }

    /// The database, unless another is named.
    pub fn database(&self) -> PathBuf {
        self.database_dir().join("control.sqlite")
    }

    /// The directory of the admin socket, owned by control.
    pub fn run_dir(&self) -> PathBuf {
        self.state.join("run")
    }

    /// The file by which the monitors of this directory share ids and numbers of connections.
    pub fn ids(&self) -> PathBuf {
        self.state.join("ids")
    }

    /// The directory of the audit trail, owned by control.
    pub fn audit_dir(&self) -> PathBuf {
        self.state.join("audit")
    }

    /// The file of the audit trail.
    pub fn audit_file(&self) -> PathBuf {
        self.audit_dir().join("audit.jsonl")
    }

    /// The admin socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.run_dir().join("admin.sock")
    }

    /// The admin socket of a monitor that has left the service and finishes what it has begun.
    pub fn leaving_socket(&self, pid: u32) -> PathBuf {
        self.run_dir().join(format!("leaving-{pid}.sock"))
    }

    /// Whether a name in the run directory is that of such a socket.
    pub fn is_leaving_socket(name: &str) -> bool {
        name.strip_prefix("leaving-")
            .and_then(|rest| rest.strip_suffix(".sock"))
            .is_some_and(|pid| pid.parse::<u32>().is_ok())
    }
}

/// The ids that this node may give to its processes. No file on disk ever belongs to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The first id; control's own where no system user is named.
    pub first: u32,
    /// How many there are.
    pub count: u32,
}

impl Ids {
    /// Whether an id is one of them.
    pub fn contains(self, id: u32) -> bool {
        id.checked_sub(self.first).is_some_and(|offset| offset < self.count)
    }
}

impl Default for Ids {
    /// 65,536 ids from 0x70000000 on, which neither distributions nor container managers give out
    /// (systemd's UIDS-GIDS page lists the range as unused).
    fn default() -> Self {
        Ids { first: 0x7000_0000, count: 65_536 }
    }
}

/// What the monitor needs to know.
#[derive(Debug, Clone)]
pub struct MonitorSettings {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Where things are.
    pub paths: Paths,
    /// Where control's database is.
    pub database: Database,
    /// Where the users of a host's own database are.
    pub users_database: Option<Database>,
    /// Ids for sessions.
    pub ids: Ids,
    /// User and group id of control when the node runs as root.
    pub control_ids: (u32, u32),
    /// Layers without which the node must not start.
    pub require: Vec<Layer>,
    /// Who may come to the door, and for how long.
    pub admission: AdmissionSettings,
    /// Sessions kept ready before their connection arrives.
    pub spare_sessions: usize,
    /// Where in the trees of control groups this node may make its own; its own group unless named.
    pub control_group: Option<String>,
    /// Directories of the host that cells show.
    pub binds: Vec<Bind>,
    /// What programs of a user may take, where nothing else is said of the user.
    pub user_limits: Limits,
    /// What programs of an account may take together, where nothing else is said of the account.
    pub account_limits: Limits,
}

/// What control needs to know.
#[derive(Debug, Clone)]
pub struct ControlSettings {
    /// Where things are.
    pub paths: Paths,
    /// The database.
    pub database: Database,
    /// For how long last known facts are served while the database is away.
    pub database_grace: Duration,
    /// Users of a host's own database, if any.
    pub users_from: Option<UsersFrom>,
    /// Ids that no account may have, because processes of the node have them.
    pub ids: Ids,
    /// Most passwords hashed at the same time; each takes 19 MiB.
    pub max_hashing: usize,
    /// Where the audit trail is kept.
    pub audit: AuditSettings,
}

/// Where the audit trail is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// The name of this node in it.
    pub node: String,
    /// Whether it is written to the file.
    pub to_file: bool,
    /// Whether it is written to the log.
    pub to_log: bool,
    /// Whether it is written to the database.
    pub to_database: bool,
    /// Size in bytes at which the file is put aside.
    pub file_size: u64,
    /// Days that records stay in the database.
    pub days: i64,
    /// Most records in the database.
    pub rows: i64,
}

/// A place where the audit trail can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditPlace {
    /// A file of the node.
    File,
    /// The control database.
    Database,
    /// The log.
    Log,
}

/// What every session needs to know.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Failed attempts after which a client is disconnected.
    pub max_auth_attempts: usize,
    /// A connection that says nothing for this long is asked whether it is alive (`keepalive@openssh.com`).
    pub keepalive_interval: Option<Duration>,
    /// Unanswered questions after which it is ended.
    pub keepalive_max: usize,
    /// Permission bits that new files and directories never get.
    pub umask: u32,
    /// Variables that a client may set beyond those that are harmless.
    pub accept_env: Vec<VariablePattern>,
    /// The message of the day; `None` for none.
    pub motd: Option<PathBuf>,
}

/// How log lines are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
