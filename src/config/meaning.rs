//! What the written settings mean: checked as a whole, and split into one settings type per role.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::abuse::AdmissionSettings;
use super::database::Database;
use super::read::{ConfigError, Origins};
use super::settings::{AuditPlace, AuditSettings, ControlSettings, Ids, MonitorSettings, Node, Paths, SessionSettings};
use super::system_users::system_user;
use super::users_from::UsersFrom;
use super::written::Written;
use crate::domain::{Bind, Cpu, Limits, Memory, Processes};

impl Written {
    /// Checks what was written, and says what it means for each role.
    pub(super) fn mean(self, origins: &Origins) -> Result<Node, ConfigError> {
        let impossible = |(key, problem)| {
            let origin = origins.get(key).map_or("configuration", String::as_str).to_owned();
            ConfigError::Impossible { origin, key, problem }
        };
        self.check().map_err(impossible)?;
        let umask = octal(&self.umask).map_err(impossible)?;
        let ids = Ids { first: self.uid_first, count: self.uid_count };
        let state = absolute("state", &self.state).map_err(impossible)?;
        let mut paths = Paths::beneath(&state);
        if let Some(keys) = &self.host_keys {
            paths.keys = absolute("host_keys", keys).map_err(impossible)?;
        }
        let database = database(self.database.as_deref(), &paths).map_err(impossible)?;
        let audit = AuditSettings {
            node: node_name(self.node.as_deref()).map_err(impossible)?,
            to_file: self.audit.contains(&AuditPlace::File),
            to_log: self.audit.contains(&AuditPlace::Log),
            to_database: self.audit.contains(&AuditPlace::Database),
            file_size: self.audit_file_size.saturating_mul(1024 * 1024),
            days: self.audit_days.into(),
            rows: self.audit_rows.into(),
        };
        let users_from = UsersFrom::of(&self).map_err(impossible)?;
        let motd = match self.motd.as_os_str().is_empty() {
            true => None,
            false => Some(absolute("motd", &self.motd).map_err(impossible)?),
        };
        let user_limits = limits(
            ("user_memory", &self.user_memory),
            ("user_processes", self.user_processes),
            ("user_cpu", &self.user_cpu),
        );
        let account_limits = limits(
            ("account_memory", &self.account_memory),
            ("account_processes", self.account_processes),
            ("account_cpu", &self.account_cpu),
        );
        let (user_limits, account_limits) = (user_limits.map_err(impossible)?, account_limits.map_err(impossible)?);
        Ok(Node {
            monitor: MonitorSettings {
                listen: self.listen,
                paths: paths.clone(),
                database: database.clone(),
                users_database: users_from.as_ref().map(|from| from.database.clone()),
                ids,
                control_ids: control_ids(&self.control_user, ids),
                require: self.require,
                admission: AdmissionSettings {
                    login_grace: Duration::from_secs(self.login_grace),
                    login_grace_jitter: Duration::from_secs(self.login_grace_jitter),
                    unauthenticated: self.max_unauthenticated,
                    unauthenticated_per_source: self.max_unauthenticated_per_source,
                    max_connections: self.max_connections,
                    source_block: self.source_block,
                    exempt: self.exempt_sources,
                    penalties: self.penalties,
                    proxy_protocol: self.proxy_protocol,
                },
                spare_sessions: self.spare_sessions,
                binds: binds(self.binds, &state).map_err(impossible)?,
                control_group: control_group(&self.control_group).map_err(impossible)?,
                user_limits,
                account_limits,
            },
            control: ControlSettings {
                paths,
                database,
                database_grace: Duration::from_secs(self.database_grace),
                users_from,
                ids,
                max_hashing: self.max_hashing,
                audit,
            },
            session: SessionSettings {
                max_auth_attempts: self.max_auth_attempts,
                keepalive_interval: (self.keepalive_interval > 0).then(|| Duration::from_secs(self.keepalive_interval)),
                keepalive_max: self.keepalive_max,
                umask,
                accept_env: self.accept_env,
                motd,
            },
            log: self.log,
        })
    }

    fn check(&self) -> Result<(), Problem> {
        if self.listen.is_empty() {
            return Err(("listen", "is empty; give at least one address, for example [\"0.0.0.0:22\"]"));
        }
        if self.uid_first < 1000 || self.uid_count < 16 || self.uid_first.checked_add(self.uid_count).is_none() {
            return Err(("uid_first", "and uid_count must name at least 16 ids from 1000 on that nobody else has"));
        }
        let above_zero: [(_, u64); 4] = [
            ("login_grace", self.login_grace),
            ("max_connections", self.max_connections as u64),
            ("max_auth_attempts", self.max_auth_attempts as u64),
            ("max_hashing", self.max_hashing as u64),
        ];
        if self.source_block.ipv4 > 32
            || self.source_block.ipv6 > 128
            || self.source_block.ipv4 == 0
            || self.source_block.ipv6 == 0
        {
            return Err(("source_block", "must have 1 to 32 bits for ipv4 and 1 to 128 for ipv6"));
        }
        if self.penalties.most == 0 {
            return Err(("penalties", "must keep at least one source (most = 1)"));
        }
        match above_zero.into_iter().find(|(_, number)| *number == 0) {
            Some((key, _)) => Err((key, "must be above 0, or nobody could log in")),
            None if self.audit_file_size == 0 => Err(("audit_file_size", "must be at least 1 (MiB)")),
            None if self.audit_days == 0 || self.audit_rows == 0 => Err((
                "audit_days",
                "and audit_rows must be above 0; to keep no audit trail in the database leave it out of audit",
            )),
            // The monitor takes 40 claims of one connection for a breach.
            None if self.max_auth_attempts > 20 => Err(("max_auth_attempts", "must be at most 20")),
            None => Ok(()),
        }
    }
}

/// A key, and what is wrong with its value.
pub(super) type Problem = (&'static str, &'static str);

fn octal(umask: &str) -> Result<u32, Problem> {
    let bits = u32::from_str_radix(umask, 8).ok().filter(|bits| *bits <= 0o777);
    bits.ok_or(("umask", "must be an octal number such as \"0022\""))
}

fn database(written: Option<&str>, paths: &Paths) -> Result<Database, Problem> {
    let Some(written) = written else { return Ok(Database::File(paths.database())) };
    let problem = (
        "database",
        "must be a file by its whole path in a directory of its own, or a URL that begins with postgres://",
    );
    Database::parse(written).ok_or(problem)
}

/// The name of this node, by which its events are told from those of others: the host's, unless another is given.
fn node_name(written: Option<&str>) -> Result<String, Problem> {
    let of_host = || fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    let is_name = |name: &str| {
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    match written {
        Some(name) if is_name(name) => Ok(name.to_owned()),
        Some(_) => Err(("node", "must be a name of at most 64 letters, digits, dots, - and _")),
        None => Ok(of_host().ok().filter(|name| is_name(name)).unwrap_or_else(|| "localhost".to_owned())),
    }
}

/// Nothing of the node's own is shown.
fn binds(written: Vec<Bind>, state: &Path) -> Result<Vec<Bind>, Problem> {
    match written.iter().any(|bind| bind.overlaps(&state.to_string_lossy())) {
        true => Err(("binds", "must not show the node's own state directory")),
        false => Ok(written),
    }
}

/// A group by its path from the root of the tree.
fn control_group(written: &str) -> Result<Option<String>, Problem> {
    let problem = ("control_group", "must be a path from the root of the control groups such as \"/enclos\", or \"\"");
    let is_path =
        written.strip_prefix('/').is_some_and(|path| !path.split('/').any(|part| matches!(part, "" | "." | "..")));
    match written {
        "" => Ok(None),
        path if is_path => Ok(Some(path.to_owned())),
        _ => Err(problem),
    }
}

fn limits(
    (memory_key, memory): (&'static str, &str),
    (processes_key, processes): (&'static str, u32),
    (cpu_key, cpu): (&'static str, &str),
) -> Result<Limits, Problem> {
    const NONE: &str = "none";
    let memory = (memory != NONE).then(|| memory.parse::<Memory>()).transpose();
    let processes = (processes != 0).then(|| processes.to_string().parse::<Processes>()).transpose();
    let cpu = (cpu != NONE).then(|| cpu.parse::<Cpu>()).transpose();
    Ok(Limits {
        memory: memory.map_err(|_| {
            (memory_key, "must be at least \"16M\", or a part of the machine's such as \"50%\", or \"none\"")
        })?,
        processes: processes.map_err(|_| (processes_key, "must be from 8 to 4000000, or 0 for no limit"))?,
        cpu: cpu.map_err(|_| (cpu_key, "must be from \"5%\" to \"100000%\" of one processor, or \"none\""))?,
    })
}

/// Processes of a node leave the directory they were started in.
fn absolute(key: &'static str, path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path).map_err(|_| (key, "is empty; give a directory"))
}

/// The ids of the system user that control runs as; without such a user the first of the node's own.
fn control_ids(user: &str, ids: Ids) -> (u32, u32) {
    system_user(user).unwrap_or((ids.first, ids.first))
}
