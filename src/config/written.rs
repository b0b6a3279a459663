//! The configuration as it is written: one TOML file, `conf.d/*.toml` beside it, and `ENCLOS_…` in the environment, each
//! overriding the one before.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use serde::Deserialize;
use toml::{Table, Value};

use super::settings::{ControlSettings, Ids, LogFormat, MonitorSettings, Node, Paths, SessionSettings};
use crate::domain::Layer;

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
    #[error("configuration {} is not TOML: {}", file.display(), source.message())]
    Syntax {
        /// Which.
        file: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
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
    #[error("configuration: {}", source.message())]
    Value {
        /// Which setting and what it takes.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be.
    #[error("configuration: {key} {problem}")]
    Impossible {
        /// The key.
        key: &'static str,
        /// What is wrong and what to write.
        problem: String,
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
    pub listen: Vec<SocketAddr>,
    pub host_keys: Option<PathBuf>,
    pub control_user: String,
    pub uid_first: u32,
    pub uid_count: u32,
    pub require: Vec<Layer>,
    pub login_grace: u64,
    pub max_unauthenticated: usize,
    pub max_connections: usize,
    pub spare_sessions: usize,
    pub max_auth_attempts: usize,
    pub max_hashing: usize,
    pub keepalive_interval: u64,
    pub keepalive_max: usize,
    pub umask: String,
    pub log: LogFormat,
}

/// Every key there is.
const KEYS: [&str; 17] = [
    "state",
    "listen",
    "host_keys",
    "control_user",
    "uid_first",
    "uid_count",
    "require",
    "login_grace",
    "max_unauthenticated",
    "max_connections",
    "spare_sessions",
    "max_auth_attempts",
    "max_hashing",
    "keepalive_interval",
    "keepalive_max",
    "umask",
    "log",
];

impl Default for Written {
    fn default() -> Self {
        let ids = Ids::default();
        Written {
            state: DEFAULT_STATE.into(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 2222))],
            host_keys: None,
            control_user: "enclos-control".to_owned(),
            uid_first: ids.first,
            uid_count: ids.count,
            require: Vec::new(),
            login_grace: 120,
            max_unauthenticated: 100,
            max_connections: 4096,
            spare_sessions: 2,
            max_auth_attempts: 6,
            max_hashing: 2,
            keepalive_interval: 60,
            keepalive_max: 3,
            umask: "0022".to_owned(),
            log: LogFormat::Text,
        }
    }
}

/// Reads the configuration. A named `file` must exist; `state` overrides what is written in it.
pub fn load(file: Option<&Path>, state: Option<&Path>) -> Result<Node, ConfigError> {
    let environment = std::env::vars().filter_map(|(name, value)| {
        let key = name.strip_prefix("ENCLOS_")?.to_ascii_lowercase();
        KEYS.contains(&key.as_str()).then_some((key, value))
    });
    read(file, state, environment)?.mean()
}

fn read(
    file: Option<&Path>,
    state: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Written, ConfigError> {
    let mut table = Table::new();
    for file in files(file)? {
        table.extend(read_file(&file)?);
    }
    table.extend(environment.map(|(key, text)| {
        // `ENCLOS_LISTEN='["[::]:22"]'` is a list, `ENCLOS_STATE=/srv/enclos` is text.
        let value = text.parse::<Value>().unwrap_or(Value::String(text));
        (key, value)
    }));
    if let Some(state) = state {
        table.insert("state".to_owned(), Value::String(state.to_string_lossy().into_owned()));
    }
    Written::deserialize(Value::Table(table)).map_err(|source| ConfigError::Value { source: Box::new(source) })
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
    let table: Table =
        text.parse().map_err(|source| ConfigError::Syntax { file: file.to_owned(), source: Box::new(source) })?;
    match table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => {
            Err(ConfigError::UnknownKey { origin: file.display().to_string(), key: key.clone(), nearest: nearest(key) })
        }
        None => Ok(table),
    }
}

fn nearest(key: &str) -> Option<String> {
    let distance = |known: &&str| strsim::damerau_levenshtein(key, known);
    KEYS.iter().min_by_key(|k| distance(k)).filter(|k| distance(k) <= 3).map(|k| (*k).to_owned())
}

impl Written {
    /// Checks what was written, and says what it means for each role.
    fn mean(self) -> Result<Node, ConfigError> {
        let impossible = |key, problem: &str| Err(ConfigError::Impossible { key, problem: problem.to_owned() });
        if self.listen.is_empty() {
            return impossible("listen", "is empty; give at least one address, for example [\"0.0.0.0:22\"]");
        }
        if !self.state.is_absolute() && self.state.as_os_str().is_empty() {
            return impossible("state", "is empty; give a directory");
        }
        if self.uid_first < 1000 || self.uid_count < 16 || self.uid_first.checked_add(self.uid_count).is_none() {
            return impossible(
                "uid_first",
                "and uid_count must name at least 16 ids from 1000 on that nobody else has",
            );
        }
        if self.login_grace == 0 || self.max_connections == 0 || self.max_unauthenticated == 0 {
            return impossible("login_grace", "and the limits on connections must be above 0");
        }
        if !(1..=20).contains(&self.max_auth_attempts) {
            // The monitor takes 40 claims of one connection for a breach.
            return impossible("max_auth_attempts", "must be between 1 and 20");
        }
        let umask = u32::from_str_radix(&self.umask, 8).ok().filter(|m| *m <= 0o777);
        let Some(umask) = umask else {
            return impossible("umask", "must be an octal number such as \"0022\"");
        };
        let ids = Ids { first: self.uid_first, count: self.uid_count };
        let mut paths = Paths::beneath(&self.state);
        if let Some(keys) = self.host_keys {
            paths.keys = keys;
        }
        Ok(Node {
            monitor: MonitorSettings {
                listen: self.listen,
                paths: paths.clone(),
                ids,
                control_ids: control_ids(&self.control_user, ids),
                require: self.require,
                login_grace: Duration::from_secs(self.login_grace),
                max_unauthenticated: self.max_unauthenticated,
                max_connections: self.max_connections,
                spare_sessions: self.spare_sessions,
            },
            control: ControlSettings { paths, max_hashing: self.max_hashing },
            session: SessionSettings {
                max_auth_attempts: self.max_auth_attempts,
                keepalive_interval: (self.keepalive_interval > 0).then(|| Duration::from_secs(self.keepalive_interval)),
                keepalive_max: self.keepalive_max,
                umask,
            },
            log: self.log,
        })
    }
}

/// The ids of the system user that control runs as; without such a user the first of the node's own.
fn control_ids(user: &str, ids: Ids) -> (u32, u32) {
    match nix::unistd::User::from_name(user) {
        Ok(Some(found)) => (found.uid.as_raw(), found.gid.as_raw()),
        _ => (ids.first, ids.first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Written, ConfigError> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("enclos.toml");
        fs::write(&file, text).expect("a file");
        read(Some(&file), None, std::iter::empty())
    }

    #[test]
    fn the_sample_shows_every_key_with_its_default() {
        let sample = include_str!("../../deploy/enclos.toml");
        let uncommented: String =
            sample.lines().map(|l| l.strip_prefix("#! ").unwrap_or(l)).collect::<Vec<_>>().join("\n");
        let written = read_text(&uncommented).expect("the sample is a configuration");
        assert_eq!(written, Written { host_keys: Some("/var/lib/enclos/keys".into()), ..Written::default() });
        let table: Table = uncommented.parse().expect("TOML");
        assert_eq!(KEYS.iter().filter(|k| !table.contains_key(**k)).count(), 0, "every key is shown");
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
        let written = read(Some(&file), Some(Path::new("/x")), environment).expect("a configuration");
        assert_eq!((written.max_connections, written.spare_sessions, written.login_grace), (1, 2, 3));
        assert_eq!(written.state, Path::new("/x"));
    }

    #[test]
    fn mistakes_are_told_in_a_sentence() {
        for (text, part) in [
            ("listen = []", "listen is empty"),
            ("umask = \"99\"", "umask must be an octal number"),
            ("uid_first = 5", "uid_first"),
            ("max_auth_attempts = 100", "max_auth_attempts"),
        ] {
            let error = read_text(text).and_then(Written::mean).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
        for text in ["listen = 5", "listen = [\"nowhere\"]", "require = [\"magic\"]", "log = \"loud\"", "state = "] {
            read_text(text).expect_err(text);
        }
    }
}
