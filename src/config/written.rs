//! The configuration as it is written: one TOML file, `conf.d/*.toml` beside it, and `ENCLOS_…` in the environment, each
//! overriding the one before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use serde::Deserialize;
use toml::{Table, Value};

use super::abuse::{AdmissionSettings, Penalties, ProxyProtocol, SourceBlock, Startups};
use super::database::Database;
use super::settings::{
    AuditPlace, AuditSettings, ControlSettings, Ids, LogFormat, MonitorSettings, Node, Paths, SessionSettings,
};
use super::system_users::system_user;
use super::users_from::UsersFrom;
use crate::domain::{Block, Cpu, Layer, Limits, Memory, Processes, VariablePattern};

/// Read when no file is named, if it exists.
pub const DEFAULT_FILE: &str = "/etc/enclos/enclos.toml";
const DEFAULT_STATE: &str = "/var/lib/enclos";

/// Why a configuration was not taken. The text says where and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {} cannot be read: {source}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML.
    #[error("{}: line {line} is not TOML: {problem}", file.display())]
    Syntax {
        /// Which.
        file: PathBuf,
        /// Where in it, counted from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// A key that means nothing.
    #[error("{origin}: there is no setting {key:?}{}", hint(.nearest.as_deref()))]
    UnknownKey {
        /// File or environment.
        origin: String,
        /// The key.
        key: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A value of the wrong kind.
    #[error("{origin}: {key} must be {takes}, not {found}")]
    Value {
        /// File or environment.
        origin: String,
        /// The key.
        key: String,
        /// What to write.
        takes: &'static str,
        /// What is written.
        found: String,
    },
    /// A value that cannot be.
    #[error("{origin}: {key} {problem}")]
    Impossible {
        /// File or environment.
        origin: String,
        /// The key.
        key: &'static str,
        /// What is wrong and what to write.
        problem: &'static str,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!("; did you mean {n:?}?"))
}

/// All settings, as the file spells them. Absent ones have their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "deploy/enclos.toml documents every key")]
pub struct Written {
    pub state: PathBuf,
    pub database: Option<String>,
    pub database_grace: u64,
    pub users_database: String,
    pub users_query: String,
    pub keys_query: String,
    pub secrets_query: String,
    pub policy_query: String,
    pub users_services: String,
    pub users_poll: u64,
    pub users_notify: String,
    pub listen: Vec<SocketAddr>,
    pub host_keys: Option<PathBuf>,
    pub control_user: String,
    pub uid_first: u32,
    pub uid_count: u32,
    pub require: Vec<Layer>,
    pub login_grace: u64,
    pub login_grace_jitter: u64,
    pub max_unauthenticated: Startups,
    pub max_unauthenticated_per_source: Startups,
    pub penalties: Penalties,
    pub source_block: SourceBlock,
    pub exempt_sources: Vec<Block>,
    pub proxy_protocol: ProxyProtocol,
    pub max_connections: usize,
    pub spare_sessions: usize,
    pub max_auth_attempts: usize,
    pub max_hashing: usize,
    pub keepalive_interval: u64,
    pub keepalive_max: usize,
    pub umask: String,
    pub accept_env: Vec<VariablePattern>,
    pub motd: PathBuf,
    pub control_group: String,
    pub user_memory: String,
    pub user_processes: u32,
    pub user_cpu: String,
    pub account_memory: String,
    pub account_processes: u32,
    pub account_cpu: String,
    pub log: LogFormat,
    pub node: Option<String>,
    pub audit: Vec<AuditPlace>,
    pub audit_file_size: u64,
    pub audit_days: u32,
    pub audit_rows: u32,
}

/// Every key there is, and what it takes.
const KEYS: [(&str, &str); 47] = [
    ("state", "a directory such as \"/var/lib/enclos\""),
    (
        "database",
        "a file such as \"/var/lib/enclos/db/control.sqlite\" or a URL such as \"postgres://enclos@db.example/enclos\"",
    ),
    ("database_grace", "a number of seconds such as 300, or 0 for not at all"),
    ("users_database", "a file of SQLite, a URL such as \"postgres://reader@db.example/hosting\", or \"\" for none"),
    ("users_query", "an SQL query such as \"SELECT uid, gid, homedir AS home FROM users WHERE userid = $1\""),
    ("keys_query", "an SQL query such as \"SELECT key FROM sftpuserkeys WHERE name = $1\", or \"\" for none"),
    ("secrets_query", "an SQL query such as \"SELECT passwd FROM users WHERE userid = $1\", or \"\" for none"),
    ("policy_query", "an SQL query such as \"SELECT path, mode FROM folders WHERE login = $1\", or \"\" for none"),
    ("users_services", "a list of services in one text such as \"sftp\" or \"sftp,shell\""),
    ("users_poll", "a number of seconds such as 2"),
    ("users_notify", "the name of a channel such as \"users_changed\", or \"\" for none"),
    ("listen", "a list of addresses with ports such as [\"127.0.0.1:2222\"]"),
    ("host_keys", "a directory such as \"/var/lib/enclos/keys\""),
    ("control_user", "the name of a system user such as \"enclos-control\""),
    ("uid_first", "a user id such as 1879048192"),
    ("uid_count", "a number such as 65536"),
    ("require", "a list of layers such as [\"landlock\"] (`enclos doctor` names them all)"),
    ("login_grace", "a number of seconds such as 120"),
    ("login_grace_jitter", "a number of seconds such as 4, or 0 for none"),
    ("max_unauthenticated", "a number such as 100, or begin:rate:full in quotes such as \"50:30:100\""),
    ("max_unauthenticated_per_source", "a number such as 40, or begin:rate:full in quotes such as \"20:30:40\""),
    (
        "penalties",
        "seconds for some of failed, unknown_user, no_attempt, grace, crash, refused, begin, name_begin, longest, trust, and \
         most, such as { failed = 5 }",
    ),
    ("source_block", "bits that addresses of one source have in common, such as { ipv4 = 32, ipv6 = 64 }"),
    ("exempt_sources", "a list of addresses or networks such as [\"192.0.2.0/24\"]"),
    ("proxy_protocol", "the addresses of balancers such as { from = [\"192.0.2.7\"], required = true }"),
    ("max_connections", "a number such as 4096"),
    ("spare_sessions", "a number such as 2"),
    ("max_auth_attempts", "a number such as 6"),
    ("max_hashing", "a number such as 2"),
    ("keepalive_interval", "a number of seconds such as 60, or 0 for never"),
    ("keepalive_max", "a number such as 3"),
    ("umask", "an octal number in quotes such as \"0022\""),
    ("accept_env", "a list of names or patterns such as [\"DEPLOY_*\"]"),
    ("motd", "a file such as \"/etc/motd\", or \"\" for none"),
    ("control_group", "the path of a control group such as \"/enclos\", or \"\" for the node's own"),
    ("user_memory", "an amount such as \"2G\" or \"50%\", or \"none\""),
    ("user_processes", "a number such as 512, or 0 for no limit"),
    ("user_cpu", "a part of a processor such as \"150%\", or \"none\""),
    ("account_memory", "an amount such as \"2G\" or \"75%\", or \"none\""),
    ("account_processes", "a number such as 4096, or 0 for no limit"),
    ("account_cpu", "a part of a processor such as \"150%\", or \"none\""),
    ("log", "\"text\" or \"json\""),
    ("node", "a name such as \"web1\""),
    ("audit", "a list of places such as [\"file\", \"database\", \"log\"], or [] for nowhere"),
    ("audit_file_size", "a number of MiB such as 64"),
    ("audit_days", "a number of days such as 90"),
    ("audit_rows", "a number such as 500000"),
];

/// What a key takes, if it is one.
fn takes(key: &str) -> Option<&'static str> {
    KEYS.iter().find(|(known, _)| *known == key).map(|(_, takes)| *takes)
}

/// Where each setting that was written stands.
type Origins = BTreeMap<String, String>;

impl Default for Written {
    fn default() -> Self {
        let ids = Ids::default();
        Written {
            state: DEFAULT_STATE.into(),
            database: None,
            database_grace: 300,
            users_database: String::new(),
            users_query: String::new(),
            keys_query: String::new(),
            secrets_query: String::new(),
            policy_query: String::new(),
            users_services: "sftp".to_owned(),
            users_poll: 2,
            users_notify: String::new(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 2222))],
            host_keys: None,
            control_user: "enclos-control".to_owned(),
            uid_first: ids.first,
            uid_count: ids.count,
            require: Vec::new(),
            login_grace: 120,
            login_grace_jitter: 4,
            max_unauthenticated: Startups { begin: 50, rate: 30, full: 100 },
            max_unauthenticated_per_source: Startups::at(40),
            penalties: Penalties::default(),
            source_block: SourceBlock::default(),
            exempt_sources: Vec::new(),
            proxy_protocol: ProxyProtocol::default(),
            max_connections: 4096,
            spare_sessions: 2,
            max_auth_attempts: 6,
            max_hashing: 2,
            keepalive_interval: 60,
            keepalive_max: 3,
            umask: "0022".to_owned(),
            accept_env: Vec::new(),
            motd: "/etc/motd".into(),
            control_group: String::new(),
            user_memory: "50%".to_owned(),
            user_processes: 512,
            user_cpu: "none".to_owned(),
            account_memory: "75%".to_owned(),
            account_processes: 4096,
            account_cpu: "none".to_owned(),
            log: LogFormat::Text,
            node: None,
            audit: vec![AuditPlace::File, AuditPlace::Database],
            audit_file_size: 64,
            audit_days: 90,
            audit_rows: 500_000,
        }
    }
}

/// Reads the configuration. A named `file` must exist; `state` overrides what is written in it.
///
/// Variables `ENCLOS_...` that are no setting are left alone: container managers make such names of their own.
pub fn load(file: Option<&Path>, state: Option<&Path>) -> Result<Node, ConfigError> {
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        let key = name.to_str()?.strip_prefix("ENCLOS_")?.to_ascii_lowercase();
        takes(&key).is_some().then(|| (key, value.to_string_lossy().into_owned()))
    });
    let (written, origins) = read(file, state, environment)?;
    written.mean(&origins)
}

fn read(
    file: Option<&Path>,
    state: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(Written, Origins), ConfigError> {
    let mut gathered = Gathered::default();
    for file in files(file)? {
        for (key, value) in read_file(&file)? {
            gathered.add(key, value, file.display().to_string())?;
        }
    }
    for (key, text) in environment {
        // `ENCLOS_LISTEN='["[::]:22"]'` is a list, `ENCLOS_STATE=/srv/enclos` is text.
        let value = text.parse::<Value>().unwrap_or(Value::String(text));
        let origin = format!("ENCLOS_{} in the environment", key.to_ascii_uppercase());
        gathered.add(key, value, origin)?;
    }
    let Gathered { mut written, mut origins, .. } = gathered;
    if let Some(state) = state {
        written.state = state.to_owned();
        origins.insert("state".to_owned(), "--state".to_owned());
    }
    Ok((written, origins))
}

/// What was read so far.
#[derive(Default)]
struct Gathered {
    table: Table,
    written: Written,
    origins: Origins,
}

impl Gathered {
    /// Takes one setting more. What was read before is good, so if the whole is not now, it is for this one.
    fn add(&mut self, key: String, value: Value, origin: String) -> Result<(), ConfigError> {
        let Some(takes) = takes(&key) else {
            return Err(ConfigError::UnknownKey { origin, nearest: nearest(&key), key });
        };
        let found = value.to_string().replace(char::is_control, " ").chars().take(80).collect();
        self.table.insert(key.clone(), value);
        match Written::deserialize(Value::Table(self.table.clone())) {
            Ok(written) => self.written = written,
            Err(_) => return Err(ConfigError::Value { origin, key, takes, found }),
        }
        self.origins.insert(key, origin);
        Ok(())
    }
}

/// The main file and what lies in `conf.d` beside it, in the order of names.
fn files(named: Option<&Path>) -> Result<Vec<PathBuf>, ConfigError> {
    let main = match named {
        Some(file) => file.to_owned(),
        None if Path::new(DEFAULT_FILE).exists() => DEFAULT_FILE.into(),
        None => return Ok(Vec::new()),
    };
    let directory = main.parent().unwrap_or(Path::new(".")).join("conf.d");
    let mut parts = match fs::read_dir(&directory) {
        Ok(entries) => entries.filter_map(|e| Some(e.ok()?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(ConfigError::Unreadable { file: directory, source }),
    };
    parts.retain(|part| part.extension().is_some_and(|e| e == "toml"));
    parts.sort();
    parts.insert(0, main);
    Ok(parts)
}

fn read_file(file: &Path) -> Result<Table, ConfigError> {
    let text = fs::read_to_string(file).map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        ConfigError::Syntax {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            problem: error.message().replace(char::is_control, " "),
        }
    })
}

fn nearest(key: &str) -> Option<String> {
    let distance = |known: &str| strsim::damerau_levenshtein(key, known);
    let (known, _) = KEYS.iter().min_by_key(|(known, _)| distance(known))?;
    (distance(known) <= 3).then(|| (*known).to_owned())
}

impl Written {
    /// Checks what was written, and says what it means for each role.
    fn mean(self, origins: &Origins) -> Result<Node, ConfigError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Written, ConfigError> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("enclos.toml");
        fs::write(&file, text).expect("a file");
        Ok(read(Some(&file), None, std::iter::empty())?.0)
    }

    fn load_text(text: &str) -> Result<Node, ConfigError> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("enclos.toml");
        fs::write(&file, text).expect("a file");
        let (written, origins) = read(Some(&file), None, std::iter::empty())?;
        written.mean(&origins)
    }

    #[test]
    fn the_sample_shows_every_key_with_its_default() {
        let sample = include_str!("../../deploy/enclos.toml");
        let uncommented: String =
            sample.lines().map(|l| l.strip_prefix("#! ").unwrap_or(l)).collect::<Vec<_>>().join("\n");
        let written = read_text(&uncommented).expect("the sample is a configuration");
        let shown = Written {
            host_keys: Some("/var/lib/enclos/keys".into()),
            database: Some("/var/lib/enclos/db/control.sqlite".into()),
            node: Some("web1".into()),
            ..Written::default()
        };
        assert_eq!(written, shown);
        let table: Table = uncommented.parse().expect("TOML");
        assert_eq!(KEYS.iter().filter(|(key, _)| !table.contains_key(*key)).count(), 0, "every key is shown");
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_right_one() {
        let error = read_text("lisen = [\"127.0.0.1:1\"]").expect_err("misspelt").to_string();
        assert!(error.contains("did you mean \"listen\"?"), "{error}");
    }

    #[test]
    fn later_sources_override_earlier_ones() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("enclos.toml");
        fs::write(&file, "max_connections = 1\nspare_sessions = 1\nlogin_grace = 1").expect("a file");
        fs::create_dir(directory.path().join("conf.d")).expect("a directory");
        fs::write(directory.path().join("conf.d/10.toml"), "spare_sessions = 2\nlogin_grace = 2").expect("a file");
        let environment = [("login_grace".to_owned(), "3".to_owned())].into_iter();
        let (written, origins) = read(Some(&file), Some(Path::new("/x")), environment).expect("a configuration");
        assert_eq!((written.max_connections, written.spare_sessions, written.login_grace), (1, 2, 3));
        assert_eq!(written.state, Path::new("/x"));
        assert!(origins["spare_sessions"].ends_with("conf.d/10.toml"), "{origins:?}");
        assert_eq!(origins["login_grace"], "ENCLOS_LOGIN_GRACE in the environment");
    }

    /// Every sentence stands on one line and names the file, the key and what to write.
    #[test]
    fn mistakes_are_told_in_a_sentence() {
        for (text, part) in [
            ("listen = []", "listen is empty; give at least one address"),
            ("umask = \"99\"", "umask must be an octal number"),
            ("control_group = \"enclos\"", "control_group must be a path from the root"),
            ("control_group = \"/a/../b\"", "control_group must be a path from the root"),
            ("user_memory = \"1K\"", "user_memory must be at least"),
            ("account_processes = 2", "account_processes must be from 8"),
            ("user_cpu = \"fast\"", "user_cpu must be from"),
            ("uid_first = 5", "uid_first and uid_count must name"),
            ("max_auth_attempts = 0", "max_auth_attempts must be above 0"),
            ("max_auth_attempts = 100", "max_auth_attempts must be at most 20"),
            ("state = \"\"", "state is empty; give a directory"),
            ("database = \"mysql://x/y\"", "database must be a file by its whole path"),
            ("users_query = \"SELECT 1 WHERE $1 = ''\"", "users_query needs users_database"),
            ("users_database = \"mysql://x/y\"", "users_database must be a file"),
            ("users_database = \"/srv/x/db\"\nusers_query = \"SELECT 1\"", "users_query must ask for $1"),
            (
                "users_database = \"/srv/x/db\"\nusers_query = \"SELECT $1\"\nusers_services = \"ftp\"",
                "users_services must be",
            ),
            ("users_database = \"/srv/x/db\"\nusers_query = \"SELECT $1\"\nusers_poll = 0", "users_poll must be"),
            ("listen = 5", "listen must be a list of addresses with ports such as [\"127.0.0.1:2222\"], not 5"),
            ("listen = [\"nowhere\"]", "not [\"nowhere\"]"),
            ("require = [\"magic\"]", "require must be a list of layers"),
            ("login_grace = \"2m\"", "login_grace must be a number of seconds such as 120, not \"2m\""),
            ("node = \"a b\"", "node must be a name of at most 64"),
            ("audit = [\"nowhere\"]", "audit must be a list of places such as"),
            ("audit_days = 0", "audit_days and audit_rows must be above 0"),
            ("audit_file_size = 0", "audit_file_size must be at least 1"),
            ("max_connections = -1", "max_connections must be a number"),
            ("log = \"\"\"lo\nud\"\"\"", "log must be \"text\" or \"json\""),
            ("umask = \"0022\"\nstate = ", "line 2 is not TOML"),
        ] {
            let error = load_text(text).expect_err(text).to_string();
            assert!(error.contains(part) && error.contains("enclos.toml: "), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_relative_state_is_found_wherever_a_process_goes() {
        let node = load_text("state = \"here\"\nhost_keys = \"there\"").expect("a configuration");
        assert!(node.control.paths.database().is_absolute() && node.monitor.paths.keys.is_absolute());
    }
}
