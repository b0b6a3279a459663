//! Where the configuration is read from: one TOML file, `conf.d/*.toml` beside it, and `ENCLOS_…` in the environment,
//! each overriding the one before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;
use toml::{Table, Value};

use super::settings::Node;
use super::written::{KEYS, Written, takes};

/// Read when no file is named, if it exists.
pub const DEFAULT_FILE: &str = "/etc/enclos/enclos.toml";

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

/// Where each setting that was written stands.
pub(super) type Origins = BTreeMap<String, String>;

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
            ("binds = [\"/etc/mysql\"]", "binds must be a list of directories of the host"),
            ("binds = [\"/var/lib\"]", "binds must not show the node's own state"),
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
