//! What is being carried over from another server: rows of ours, and what has to stay behind.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dump, table};
use crate::control::hashes::Stored;
use crate::control::keys::ParsedKey;
use crate::control::store::tables::Cell;
use crate::domain::{AccountName, HomePath, Mode, RelPath, Services, UserName};

/// Most lines that say what stays behind.
const MOST_LEFT: usize = 100_000;

/// Cells of a row by the names of their columns.
pub(super) type Said = Vec<(&'static str, Cell)>;

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Draft {
    rows: BTreeMap<&'static str, Vec<Said>>,
    keys: BTreeSet<(String, String)>,
    accounts: BTreeSet<String>,
    users: BTreeSet<String>,
    /// What cannot be carried over, each with its place.
    pub(super) left: Vec<String>,
}

impl Draft {
    fn add(&mut self, table: &'static str, said: Said) {
        self.rows.entry(table).or_default().push(said);
    }

    /// Notes what stays behind, and where it stands.
    pub(super) fn leave(&mut self, place: impl std::fmt::Display, what: impl std::fmt::Display) {
        if self.left.len() < MOST_LEFT {
            // A dump is anybody's text.
            let line = format!("{place}: {what}");
            self.left.push(line.chars().take(1024).map(|c| if c.is_control() { ' ' } else { c }).collect());
        }
    }

    /// Adds an account, once.
    pub(super) fn account(&mut self, name: &AccountName, (uid, gid): (u32, u32), home: &HomePath) {
        if self.accounts.insert(name.to_string()) {
            let said = vec![
                ("name", name.as_str().into()),
                ("uid", Cell::Number(uid.into())),
                ("gid", Cell::Number(gid.into())),
                ("home", home.as_str().into()),
            ];
            self.add("accounts", said);
        }
    }

    /// Adds a user; says whether there was none by the name.
    pub(super) fn user(&mut self, name: &UserName, account: &AccountName, services: Services, more: Said) -> bool {
        if !self.users.insert(name.to_string()) {
            return false;
        }
        let mut said = vec![
            ("name", name.as_str().into()),
            ("account", account.as_str().into()),
            ("services", services.to_string().as_str().into()),
        ];
        said.extend(more);
        self.add("users", said);
        true
    }

    pub(super) fn grant(&mut self, user: &UserName, path: &RelPath, mode: Mode) {
        let said =
            vec![("login", user.as_str().into()), ("path", path.as_str().into()), ("mode", mode.as_str().into())];
        self.add("grants", said);
    }

    /// Adds a key, once for each user.
    pub(super) fn key(&mut self, user: &UserName, key: &ParsedKey) {
        if !self.keys.insert((user.to_string(), key.fingerprint.clone())) {
            return;
        }
        if key.authority.is_some() {
            let what = format_args!("{} is an authority of certificates; add it with: enclos ca add", key.fingerprint);
            return self.leave(user, what);
        }
        let scope = &key.scope;
        let text = |text: Option<String>| text.map_or(Cell::Null, Cell::Text);
        let said = vec![
            ("login", user.as_str().into()),
            ("fingerprint", key.fingerprint.as_str().into()),
            ("algorithm", key.algorithm.as_str().into()),
            ("encoded", Cell::Bytes(key.blob.as_bytes().to_vec())),
            ("label", key.label.as_str().into()),
            ("expires", key.terms.expires.map_or(Cell::Null, |end| Cell::Number(end.0))),
            ("sources", Cell::Text(key.terms.from.to_string())),
            ("scope_paths", text(scope.paths.as_ref().map(ToString::to_string))),
            ("scope_mode", text(scope.mode.map(|mode| mode.to_string()))),
            ("scope_services", text(scope.services.map(|services| services.to_string()))),
            ("scope_command", text(scope.forced_command.as_ref().map(ToString::to_string))),
            ("scope_open", text(scope.permit_open.as_ref().map(ToString::to_string))),
            ("scope_listen", text(scope.permit_listen.as_ref().map(ToString::to_string))),
            ("no_terminal", Cell::Number(i64::from(scope.no_terminal))),
        ];
        self.add("public_keys", said);
    }

    /// Adds the hash of a password, or says why it stays behind.
    pub(super) fn password(&mut self, place: impl std::fmt::Display, user: &UserName, hash: &str) {
        match hash.parse::<Stored>() {
            Ok(_) => self.add("passwords", vec![("login", user.as_str().into()), ("hash", hash.into())]),
            Err(why) => self.leave(place, format_args!("the password of {user}: {why}")),
        }
    }

    /// The rows as the database takes them.
    pub(super) fn rows(self, now: i64) -> (Dump, Vec<String>) {
        let mut dump = Dump::default();
        for (name, rows) in self.rows {
            if let Some(table) = table(name) {
                dump.0.insert(table.name, rows.into_iter().map(|said| table.row(said, now)).collect());
            }
        }
        (dump, self.left)
    }
}

/// Where a directory lies in an account's home.
pub(in crate::control) fn below(home: &HomePath, path: &HomePath) -> Option<RelPath> {
    let mut rest = path.components();
    let is_inside = home.components().all(|part| rest.next() == Some(part));
    is_inside.then(|| rest.collect::<Vec<_>>().join("/").parse().ok()).flatten()
}
