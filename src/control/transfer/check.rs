//! Looks at rows that come from outside, before any of them is written: each value, and all of them together, by the rules
//! that an operator's commands keep.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dump, TABLES, table};
use crate::config::Ids;
use crate::control::keys;
use crate::control::operation::{self, OperationError};
use crate::control::store::tables::{Cell, Kind, Row, Table};
use crate::domain::{Grant, GrantId, HomePath, KeyBlob, ProgramPolicy, Services, UserName, View};

/// Most problems that are told at once.
const MOST: usize = 50;

/// What is wrong, a sentence for each; empty when nothing is, and then each value is written as it is kept.
pub(super) fn problems(dump: &mut Dump, ids: Ids) -> Vec<String> {
    let mut found = Problems::default();
    for table in TABLES {
        values(&mut found, table, dump.0.entry(table.name).or_default());
    }
    // What does not read cannot be compared either.
    if found.said.is_empty() {
        references(&mut found, dump);
        together(&mut found, dump, ids);
    }
    found.told()
}

#[derive(Default)]
struct Problems {
    said: Vec<String>,
    more: usize,
}

impl Problems {
    fn say(&mut self, table: &str, name: &str, what: &dyn std::fmt::Display) {
        if self.said.len() < MOST {
            self.said.push(format!(
                "{table}: {}: {what}",
                name.escape_debug().to_string().chars().take(128).collect::<String>()
            ));
        } else {
            self.more += 1;
        }
    }

    fn told(mut self) -> Vec<String> {
        if self.more > 0 {
            self.said.push(format!("and {} more", self.more));
        }
        self.said
    }
}

fn rows<'a>(dump: &'a Dump, table: &str) -> &'a [Row] {
    dump.0.get(table).map_or(&[], Vec::as_slice)
}

/// Each value as what it stands for, and no row twice.
fn values(found: &mut Problems, table: &Table, rows: &mut [Row]) {
    let mut names = BTreeSet::new();
    for row in rows {
        let said = table.name_of(row);
        for (column, cell) in table.columns.iter().zip(row.iter_mut()) {
            match column.read(cell) {
                Ok(kept) => *cell = kept,
                Err(why) => found.say(table.name, &said, &format!("{}: {why}", column.name)),
            }
        }
        let name = table.name_of(row);
        if !names.insert(name.clone()) {
            found.say(table.name, &name, &"it stands there twice");
        }
    }
}

/// Whoever is referred to has to be in the file as well.
fn references(found: &mut Problems, dump: &Dump) {
    let accounts: BTreeSet<&str> = texts(dump, "accounts", "name").collect();
    let users: BTreeSet<&str> = texts(dump, "users", "name").collect();
    for table in TABLES {
        for row in rows(dump, table.name) {
            for (column, cell) in table.columns.iter().zip(row) {
                let is_there = match (column.kind, cell.text()) {
                    (Kind::Account, Some(name)) => accounts.contains(name),
                    (Kind::User, Some(name)) => users.contains(name),
                    _ => true,
                };
                if !is_there {
                    let name = cell.text().unwrap_or_default();
                    found.say(table.name, &table.name_of(row), &format!("{name} is not in this file"));
                }
            }
        }
    }
}

fn texts<'a>(dump: &'a Dump, name: &str, column: &str) -> impl Iterator<Item = &'a str> {
    let at = table(name).and_then(|table| table.column(column));
    rows(dump, name).iter().filter_map(move |row| row.get(at?)?.text())
}

/// A row by the names of its columns.
struct Named<'a>(&'a Table, &'a Row);

impl Named<'_> {
    fn cell(&self, column: &str) -> Option<&Cell> {
        self.1.get(self.0.column(column)?)
    }

    fn text(&self, column: &str) -> &str {
        self.cell(column).and_then(Cell::text).unwrap_or_default()
    }

    /// What a column reads as; its value has been looked at.
    fn reads<T: std::str::FromStr>(&self, column: &str) -> Option<T> {
        self.cell(column)?.text()?.parse().ok()
    }

    fn number(&self, column: &str) -> i64 {
        match self.cell(column) {
            Some(Cell::Number(number)) => *number,
            _ => 0,
        }
    }
}

fn named<'a>(dump: &'a Dump, name: &str) -> impl Iterator<Item = Named<'a>> {
    let of = table(name);
    rows(dump, name).iter().filter_map(move |row| Some(Named(of?, row)))
}

/// The rules that an operator's commands keep.
fn together(found: &mut Problems, dump: &Dump, ids: Ids) {
    let mut homes: BTreeMap<&str, HomePath> = BTreeMap::new();
    for account in rows(dump, "accounts").iter().filter_map(|row| Some(Named(table("accounts")?, row))) {
        let home = account.reads::<HomePath>("home");
        let id = |column: &str| u32::try_from(account.number(column)).unwrap_or(u32::MAX);
        if let (Some(home), Some(name)) = (home, account.1.first().and_then(Cell::text)) {
            let is_good = operation::accounts::check(ids, (id("uid"), id("gid")), &home);
            is_good.unwrap_or_else(|why| found.say("accounts", name, &why));
            homes.insert(name, home);
        }
    }
    let mut grants = grants(dump);
    for user in named(dump, "users") {
        let of_user = grants.remove(user.text("name")).unwrap_or_default();
        let is_good = homes.get(user.text("account")).map(|home| check_user(&user, home, &of_user));
        is_good.unwrap_or(Ok(())).unwrap_or_else(|why| found.say("users", user.text("name"), &why));
    }
    for key in named(dump, "public_keys") {
        if let Err(why) = check_key(&key) {
            found.say("public_keys", &key.0.name_of(key.1), &why);
        }
    }
}

fn grants(dump: &Dump) -> BTreeMap<String, Vec<Grant>> {
    let mut grants: BTreeMap<String, Vec<Grant>> = BTreeMap::new();
    for row in named(dump, "grants") {
        if let (Some(path), Some(mode)) = (row.reads("path"), row.reads("mode")) {
            let grant = Grant { id: GrantId(0), path, mode, no_exec: row.number("no_exec") != 0 };
            grants.entry(row.text("login").to_owned()).or_default().push(grant);
        }
    }
    grants
}

fn check_user(user: &Named<'_>, home: &HomePath, grants: &[Grant]) -> Result<(), OperationError> {
    let Some(name) = user.reads::<UserName>("name") else { return Ok(()) };
    let services: Services = user.reads("services").unwrap_or(Services::NONE);
    let programs = ProgramPolicy { forced_command: user.reads("forced_command"), ..ProgramPolicy::default() };
    let view = user.reads::<View>("view");
    let view = view.unwrap_or(if services.run_programs() { View::Host } else { View::Rooted });
    operation::programs::check_forced(&name, services, &programs)?;
    operation::grants::check_all(&name, view, home, grants)
}

/// The fingerprint and the algorithm are the key's.
fn check_key(row: &Named<'_>) -> Result<(), String> {
    let Some(Cell::Bytes(bytes)) = row.cell("encoded") else { return Ok(()) };
    let blob = KeyBlob::new(bytes.clone()).map_err(|e| e.to_string())?;
    let (fingerprint, algorithm) = keys::look_at(&blob).map_err(|e| e.to_string())?;
    if fingerprint != row.text("fingerprint") || algorithm != row.text("algorithm") {
        return Err(format!("this is the key {fingerprint} ({algorithm})"));
    }
    Ok(())
}
