//! The settings as they are written: their names, what each takes, and what it is when nobody writes it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::abuse::{Penalties, ProxyProtocol, SourceBlock, Startups};
use super::settings::{AuditPlace, Ids, LogFormat};
use crate::domain::{Bind, Block, Layer, VariablePattern};

const DEFAULT_STATE: &str = "/var/lib/enclos";

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
    pub binds: Vec<Bind>,
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
pub(super) const KEYS: [(&str, &str); 48] = [
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
    (
        "binds",
        "a list of directories of the host such as [\"/run/mysqld\", \"/srv/shared/cache:rw\"], each meant for everybody and none of /etc, /tmp and the like",
    ),
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
pub(super) fn takes(key: &str) -> Option<&'static str> {
    KEYS.iter().find(|(known, _)| *known == key).map(|(_, takes)| *takes)
}

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
            binds: Vec::new(),
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
