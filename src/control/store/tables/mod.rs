//! Every table as data: what is taken out of a database and put into another one, column by column.
//!
//! Whoever adds a table or a column adds it here, or says in `LEFT_OUT` why it stays behind; a test compares both with the
//! schema. Rows of a file come from outside: each text is read as what it stands for before anything is written.

mod merge;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::control::hashes;
use crate::domain::{
    AccountName, BanOrigin, Block, Cpu, DirectoryMode, FileMode, ForcedCommand, HomePath, Hours, Linger, Logins,
    Memory, Mode, NamePatterns, Network, Permits, Principals, Processes, RelPath, ScopePaths, Services, SessionLimits,
    Shell, Sources, Terminals, Umask, Uploads, UserName, View,
};

pub(in crate::control) use merge::{Conflict, Merge, Merged};

/// A value as the database keeps it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::control) enum Cell {
    Null,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub(in crate::control) enum Kind {
    /// Text that reads as something, and how that is written.
    Text(fn(&str) -> Result<String, String>),
    /// A number between two others.
    Number(i64, i64),
    /// Bytes, at most so many.
    Bytes(usize),
    /// A row of `accounts` by its name.
    Account,
    /// A row of `users` by its name.
    User,
}

/// What stands in a column about which nothing is said.
#[derive(Debug, Clone, Copy)]
pub(in crate::control) enum Unsaid {
    /// Something has to be said.
    Refused,
    Null,
    Text(&'static str),
    Number(i64),
    /// The time.
    Now,
}

/// One column.
#[derive(Debug, Clone, Copy)]
pub(in crate::control) struct Column {
    pub(in crate::control) name: &'static str,
    pub(in crate::control) kind: Kind,
    pub(in crate::control) unsaid: Unsaid,
    /// Whether it says what happened rather than what is so: two rows that differ in it say the same.
    is_history: bool,
}

/// One table.
#[derive(Debug)]
pub(in crate::control) struct Table {
    pub(in crate::control) name: &'static str,
    pub(in crate::control) columns: &'static [Column],
    /// By what two rows are the same one.
    key: &'static [&'static str],
    /// In which order its rows are taken out.
    order: &'static str,
}

/// A row, with a cell for each column of its table.
pub(in crate::control) type Row = Vec<Cell>;

/// Rows by the names of their tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::control) struct Dump(pub(in crate::control) BTreeMap<&'static str, Vec<Row>>);

impl Table {
    /// The place of a column.
    pub(in crate::control) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// A row of which only some cells are said.
    pub(in crate::control) fn row(&self, said: impl IntoIterator<Item = (&'static str, Cell)>, now: i64) -> Row {
        let mut said: BTreeMap<&str, Cell> = said.into_iter().collect();
        let cell = |column: &Column| said.remove(column.name).unwrap_or_else(|| column.unsaid(now));
        self.columns.iter().map(cell).collect()
    }

    /// What a row is known by, for people.
    pub(in crate::control) fn name_of(&self, row: &Row) -> String {
        let cells = self.key.iter().filter_map(|name| row.get(self.column(name)?));
        let words: Vec<String> = cells.map(Cell::shown).collect();
        words.join(" ")
    }
}

impl Column {
    pub(in crate::control) fn unsaid(&self, now: i64) -> Cell {
        match self.unsaid {
            Unsaid::Refused | Unsaid::Null => Cell::Null,
            Unsaid::Text(text) => Cell::Text(text.to_owned()),
            Unsaid::Number(number) => Cell::Number(number),
            Unsaid::Now => Cell::Number(now),
        }
    }

    /// The cell as it is kept, if it may stand here; the text says why not and shows no secret.
    pub(in crate::control) fn read(&self, cell: &Cell) -> Result<Cell, String> {
        match (self.kind, cell) {
            (_, Cell::Null) if matches!(self.unsaid, Unsaid::Null) => Ok(Cell::Null),
            (_, Cell::Null) => Err("it is missing".to_owned()),
            (Kind::Text(read), Cell::Text(text)) => read(text).map(Cell::Text),
            (Kind::Account, Cell::Text(text)) => reads::<AccountName>(text).map(Cell::Text),
            (Kind::User, Cell::Text(text)) => reads::<UserName>(text).map(Cell::Text),
            (Kind::Number(least, most), Cell::Number(number)) if (least..=most).contains(number) => Ok(cell.clone()),
            (Kind::Number(least, most), Cell::Number(_)) => Err(format!("it is no number from {least} to {most}")),
            (Kind::Bytes(most), Cell::Bytes(bytes)) if !bytes.is_empty() && bytes.len() <= most => Ok(cell.clone()),
            (Kind::Bytes(most), Cell::Bytes(_)) => Err(format!("it has no bytes, or more than {most}")),
            _ => Err("it is of another type".to_owned()),
        }
    }
}

impl Cell {
    /// The text of a cell that has one.
    pub(in crate::control) fn text(&self) -> Option<&str> {
        match self {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Cell::Null => String::new(),
            Cell::Number(number) => number.to_string(),
            Cell::Text(text) => text.clone(),
            Cell::Bytes(bytes) => format!("({} bytes)", bytes.len()),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

/// What a text reads as, written as it is everywhere: one path has one text.
fn reads<T: FromStr<Err: Display> + Display>(text: &str) -> Result<String, String> {
    text.parse::<T>().map(|value| value.to_string()).map_err(|error| error.to_string())
}

/// The text itself, or why not.
fn only(is_good: bool, text: &str, why: &str) -> Result<String, String> {
    if is_good { Ok(text.to_owned()) } else { Err(why.to_owned()) }
}

fn status(text: &str) -> Result<String, String> {
    only(matches!(text, "active" | "disabled"), text, "it is neither active nor disabled")
}

fn services(text: &str) -> Result<String, String> {
    let services: Services = text.parse().map_err(|e: crate::domain::UnknownService| e.to_string())?;
    only(services != Services::NONE, &services.to_string(), "a user needs at least one service")
}

fn terminals(text: &str) -> Result<String, String> {
    let terminals: Terminals = text.parse().map_err(|e: crate::domain::UnknownTerminals| e.to_string())?;
    Ok(terminals.as_str().to_owned())
}

fn hash(text: &str) -> Result<String, String> {
    text.parse::<hashes::Stored>().map_err(|bad| bad.to_string())?;
    Ok(text.to_owned())
}

fn plain(text: &str) -> Result<String, String> {
    let is_plain = text.len() <= 512 && !text.chars().any(char::is_control);
    only(is_plain, text, "it is too long, or has a control character in it")
}

fn origin(text: &str) -> Result<String, String> {
    only(matches!(text, "operator" | "invite" | "own"), text, "it is neither operator, invite nor own")
}

fn own_keys(text: &str) -> Result<String, String> {
    only(matches!(text, "refused" | "taken"), text, "it is neither refused nor taken")
}

fn revoked(text: &str) -> Result<String, String> {
    only(matches!(text, "key" | "sha1" | "id" | "serials"), text, "it is neither key, sha1, id nor serials")
}

fn fingerprint(text: &str) -> Result<String, String> {
    let is_one = text.strip_prefix("SHA256:").is_some_and(|digest| !digest.is_empty() && plain(digest).is_ok());
    only(is_one, text, "it is no fingerprint such as ssh-keygen -l prints")
}

/// The addresses of a ban, which may be on a name alone.
fn block(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { reads::<Block>(text) }
}

/// The name of a ban, which may be on addresses alone.
fn banned_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { reads::<UserName>(text) }
}

fn ban_origin(text: &str) -> Result<String, String> {
    only(text.parse::<BanOrigin>().is_ok(), text, "it is neither operator nor penalty")
}

/// What an authority calls a certificate: anything.
fn key_id(text: &str) -> Result<String, String> {
    only(text.len() <= crate::domain::CertificateBlob::LONGEST, text, "it is too long")
}

fn base32(text: &str) -> Result<String, String> {
    let decoded = data_encoding::BASE32_NOPAD.decode(text.as_bytes());
    let is_good = decoded.is_ok_and(|secret| (10..=64).contains(&secret.len()));
    only(is_good, text, "it is no secret of an authenticator")
}

fn digest(text: &str) -> Result<String, String> {
    let is_hex = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    only(is_hex, text, "it is no SHA-256")
}

const fn column(name: &'static str, kind: Kind, unsaid: Unsaid) -> Column {
    Column { name, kind, unsaid, is_history: false }
}

const fn history(name: &'static str, kind: Kind, unsaid: Unsaid) -> Column {
    Column { name, kind, unsaid, is_history: true }
}

const TIME: Kind = Kind::Number(0, i64::MAX);
const ID: Kind = Kind::Number(1, u32::MAX as i64 - 1);
const FLAG: Kind = Kind::Number(0, 1);
const CREATED: Column = history("created", TIME, Unsaid::Now);
const EXPIRES: Column = column("expires", TIME, Unsaid::Null);
const SOURCES: Column = column("sources", Kind::Text(reads::<Sources>), Unsaid::Text(""));
const SESSION_LIMITS: Column = column("session_limits", Kind::Text(reads::<SessionLimits>), Unsaid::Text(""));
const HOURS: Column = column("hours", Kind::Text(reads::<Hours>), Unsaid::Null);
const SCOPE_PATHS: Column = column("scope_paths", Kind::Text(reads::<ScopePaths>), Unsaid::Null);
const SCOPE_MODE: Column = column("scope_mode", Kind::Text(reads::<Mode>), Unsaid::Null);
const SCOPE_SERVICES: Column = column("scope_services", Kind::Text(reads::<Services>), Unsaid::Null);
const NO_TERMINAL: Column = column("no_terminal", FLAG, Unsaid::Number(0));
const SCOPE_COMMAND: Column = column("scope_command", Kind::Text(reads::<ForcedCommand>), Unsaid::Null);
const SCOPE_OPEN: Column = column("scope_open", Kind::Text(reads::<Permits>), Unsaid::Null);
const SCOPE_LISTEN: Column = column("scope_listen", Kind::Text(reads::<Permits>), Unsaid::Null);
const STATUS: Column = column("status", Kind::Text(status), Unsaid::Text("active"));
const MEMORY: Column = column("max_memory", Kind::Text(reads::<Memory>), Unsaid::Null);
const PROCESSES: Column = column("max_processes", Kind::Text(reads::<Processes>), Unsaid::Null);
const CPU: Column = column("max_cpu", Kind::Text(reads::<Cpu>), Unsaid::Null);
const LOGIN: Column = column("login", Kind::User, Unsaid::Refused);

/// Every table that is taken along, each after those that it leans on.
pub(in crate::control) const TABLES: &[Table] = &[
    Table {
        name: "accounts",
        columns: &[
            column("name", Kind::Text(reads::<AccountName>), Unsaid::Refused),
            column("uid", ID, Unsaid::Refused),
            column("gid", ID, Unsaid::Refused),
            column("home", Kind::Text(reads::<HomePath>), Unsaid::Refused),
            STATUS,
            EXPIRES,
            SOURCES,
            SESSION_LIMITS,
            HOURS,
            MEMORY,
            PROCESSES,
            CPU,
            CREATED,
        ],
        key: &["name"],
        order: "id",
    },
    Table {
        name: "users",
        columns: &[
            column("account", Kind::Account, Unsaid::Refused),
            column("name", Kind::Text(reads::<UserName>), Unsaid::Refused),
            column("services", Kind::Text(services), Unsaid::Refused),
            STATUS,
            column("view", Kind::Text(reads::<View>), Unsaid::Null),
            column("uploads", Kind::Text(reads::<Uploads>), Unsaid::Text("direct")),
            column("umask", Kind::Text(reads::<Umask>), Unsaid::Null),
            column("file_mode", Kind::Text(reads::<FileMode>), Unsaid::Null),
            column("directory_mode", Kind::Text(reads::<DirectoryMode>), Unsaid::Null),
            column("deny_names", Kind::Text(reads::<NamePatterns>), Unsaid::Text("")),
            column("max_file_size", Kind::Number(1, i64::MAX), Unsaid::Null),
            column("network", Kind::Text(reads::<Network>), Unsaid::Text("own")),
            column("permit_open", Kind::Text(reads::<Permits>), Unsaid::Text("any")),
            column("permit_listen", Kind::Text(reads::<Permits>), Unsaid::Text("any")),
            column("shell", Kind::Text(reads::<Shell>), Unsaid::Null),
            column("forced_command", Kind::Text(reads::<ForcedCommand>), Unsaid::Null),
            column("terminals", Kind::Text(terminals), Unsaid::Text("allowed")),
            EXPIRES,
            SOURCES,
            SESSION_LIMITS,
            HOURS,
            column("logins", Kind::Text(reads::<Logins>), Unsaid::Text("")),
            column("principals", Kind::Text(reads::<Principals>), Unsaid::Text("")),
            column("own_keys", Kind::Text(own_keys), Unsaid::Text("refused")),
            MEMORY,
            PROCESSES,
            CPU,
            column("linger", Kind::Number(1, Linger::LONGEST as i64), Unsaid::Null),
            CREATED,
            history("last_login", TIME, Unsaid::Null),
            history("last_from", Kind::Text(reads::<std::net::IpAddr>), Unsaid::Null),
        ],
        key: &["name"],
        order: "id",
    },
    Table {
        name: "grants",
        columns: &[
            LOGIN,
            column("path", Kind::Text(reads::<RelPath>), Unsaid::Refused),
            column("mode", Kind::Text(reads::<Mode>), Unsaid::Refused),
            column("no_exec", FLAG, Unsaid::Number(0)),
            CREATED,
        ],
        key: &["login", "path"],
        order: "id",
    },
    Table {
        name: "public_keys",
        columns: &[
            LOGIN,
            column("fingerprint", Kind::Text(plain), Unsaid::Refused),
            column("algorithm", Kind::Text(plain), Unsaid::Refused),
            column("encoded", Kind::Bytes(crate::domain::KeyBlob::LONGEST), Unsaid::Refused),
            column("label", Kind::Text(plain), Unsaid::Text("")),
            column("origin", Kind::Text(origin), Unsaid::Text("operator")),
            EXPIRES,
            SOURCES,
            SESSION_LIMITS,
            HOURS,
            SCOPE_PATHS,
            SCOPE_MODE,
            SCOPE_SERVICES,
            NO_TERMINAL,
            SCOPE_COMMAND,
            SCOPE_OPEN,
            SCOPE_LISTEN,
            CREATED,
        ],
        key: &["login", "fingerprint"],
        order: "id",
    },
    Table {
        name: "authorities",
        columns: &[
            column("account", Kind::Account, Unsaid::Null),
            column("login", Kind::User, Unsaid::Null),
            column("fingerprint", Kind::Text(fingerprint), Unsaid::Refused),
            column("algorithm", Kind::Text(plain), Unsaid::Refused),
            column("label", Kind::Text(plain), Unsaid::Text("")),
            column("principals", Kind::Text(reads::<Principals>), Unsaid::Text("")),
            EXPIRES,
            SOURCES,
            SESSION_LIMITS,
            HOURS,
            SCOPE_PATHS,
            SCOPE_MODE,
            SCOPE_SERVICES,
            NO_TERMINAL,
            SCOPE_COMMAND,
            SCOPE_OPEN,
            SCOPE_LISTEN,
            CREATED,
        ],
        key: &["account", "login", "fingerprint"],
        order: "id",
    },
    Table {
        name: "bans",
        columns: &[
            column("block", Kind::Text(block), Unsaid::Text("")),
            column("name", Kind::Text(banned_name), Unsaid::Text("")),
            history("origin", Kind::Text(ban_origin), Unsaid::Text("operator")),
            history("reason", Kind::Text(plain), Unsaid::Text("")),
            history("made", TIME, Unsaid::Now),
            history("ends", TIME, Unsaid::Null),
        ],
        key: &["block", "name"],
        order: "id",
    },
    Table {
        name: "revocations",
        columns: &[
            column("kind", Kind::Text(revoked), Unsaid::Refused),
            column("authority", Kind::Text(plain), Unsaid::Text("")),
            column("value", Kind::Text(key_id), Unsaid::Text("")),
            column("from_serial", Kind::Number(i64::MIN, i64::MAX), Unsaid::Number(0)),
            column("to_serial", Kind::Number(i64::MIN, i64::MAX), Unsaid::Number(0)),
            CREATED,
        ],
        key: &["kind", "authority", "value", "from_serial", "to_serial"],
        order: "id",
    },
    Table {
        name: "refused_keys",
        columns: &[LOGIN, column("fingerprint", Kind::Text(plain), Unsaid::Refused), CREATED],
        key: &["login", "fingerprint"],
        order: "login, fingerprint",
    },
    Table {
        name: "passwords",
        columns: &[LOGIN, column("hash", Kind::Text(hash), Unsaid::Refused), history("changed", TIME, Unsaid::Now)],
        key: &["login"],
        order: "login",
    },
    Table {
        name: "authenticators",
        columns: &[
            LOGIN,
            column("secret", Kind::Text(base32), Unsaid::Refused),
            history("last_step", TIME, Unsaid::Number(0)),
            CREATED,
        ],
        key: &["login"],
        order: "login",
    },
    Table {
        name: "recovery_codes",
        columns: &[LOGIN, column("hash", Kind::Text(digest), Unsaid::Refused)],
        key: &["login", "hash"],
        order: "login, hash",
    },
];

/// Tables, and columns of others (`table.column`), that stay behind, and why.
#[cfg(test)]
const LEFT_OUT: &[(&str, &str)] = &[
    ("accounts.id", "numbers of rows are the database's own"),
    ("users.id", "the same"),
    ("grants.id", "the same"),
    ("public_keys.id", "the same"),
    ("revocations.id", "the same"),
    ("invitations", "each is good once, in the database it was made in"),
    ("authorities.id", "the same"),
    ("bans.id", "the same"),
    ("_sqlx_migrations", "the other database has its own"),
    ("audit", "what happened belongs to the database it happened in; enclos audit prints it"),
    ("change_count", "nodes of this database count by it"),
    ("changes", "nodes of this database have heard of them"),
    ("monitors", "nodes of this database live"),
    ("seats", "sessions on nodes of this database live"),
    ("seat_turns", "nodes of this database take turns by them"),
];

/// A table by its name.
pub(in crate::control) fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}
