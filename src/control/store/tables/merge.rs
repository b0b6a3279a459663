//! Puts rows into a database that may have some of them, or others by the same names: as a whole or not at all.
//!
//! What two databases say of an account is its row; what they say of a user is its row and all that hangs on it. A user that
//! is there already is left alone when both say the same, and is a conflict otherwise: nothing is mixed, so that a key that
//! was taken away here does not come back out of a file. Nor does an authority whose certificates are taken, wherever it would
//! speak for somebody who is there already.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{add, find};
use super::{Cell, Dump, Kind, Row, TABLES, Table};
use crate::control::store::{About, Change, Store, StoreError};

/// What is said differently here and there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::control) struct Conflict {
    /// In which table.
    pub(in crate::control) table: &'static str,
    /// Of whom.
    pub(in crate::control) name: String,
    /// In what.
    pub(in crate::control) differs: String,
}

/// What came of it, or would.
#[derive(Debug, Default)]
pub(in crate::control) struct Merged {
    /// Rows that were added, by table.
    pub(in crate::control) added: BTreeMap<&'static str, u64>,
    /// Rows that were there.
    pub(in crate::control) unchanged: BTreeMap<&'static str, u64>,
    pub(in crate::control) conflicts: BTreeSet<Conflict>,
    /// Accounts and users that were added.
    pub(in crate::control) new: Vec<(&'static str, String)>,
    /// Users that were there.
    known: BTreeSet<String>,
    /// Accounts that were there, in the file or not.
    accounts: BTreeSet<String>,
    /// Whether users are known of another database too.
    has_others: bool,
}

/// Whether the rows are to stay, or only to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Merge {
    Kept,
    Tried,
}

impl Store {
    /// Puts all rows of a dump into the database. With conflicts nothing is.
    pub(in crate::control) async fn merge(&self, dump: &Dump, merge: Merge) -> Result<Merged, StoreError> {
        let mut change = self.about(About::Anyone).change().await?;
        let accounts: Vec<String> = sqlx::query_scalar("SELECT name FROM accounts").fetch_all(&mut *change).await?;
        let accounts = accounts.into_iter().collect();
        let mut merged = Merged { accounts, has_others: self.foreign().is_some(), ..Merged::default() };
        for table in TABLES {
            let rows = dump.0.get(table.name).map_or(&[][..], Vec::as_slice);
            match table.columns.first() {
                Some(first) if matches!(first.kind, Kind::User) => {
                    merged.hang_on_users(&mut change, table, rows).await?;
                }
                _ if table.name == "authorities" => merged.trust(&mut change, table, rows).await?,
                _ => merged.stand_alone(&mut change, table, rows).await?,
            }
        }
        match (merge, merged.conflicts.is_empty()) {
            (Merge::Kept, true) => change.commit().await?,
            _ => change.rollback().await?,
        }
        Ok(merged)
    }
}

/// Whether two rows say the same, whatever happened since, and if not where.
fn difference(table: &Table, one: &Row, other: &Row) -> Option<&'static str> {
    let both = table.columns.iter().zip(one.iter().zip(other));
    both.filter(|(column, _)| !column.is_history).find(|(_, (a, b))| a != b).map(|(column, _)| column.name)
}

fn said(table: &Table, row: &Row) -> Row {
    let cells = table.columns.iter().zip(row).filter(|(column, _)| !column.is_history);
    cells.map(|(_, cell)| cell.clone()).collect()
}

impl Merged {
    async fn stand_alone(
        &mut self,
        change: &mut Change,
        table: &'static Table,
        rows: &[Row],
    ) -> Result<(), StoreError> {
        for row in rows {
            let key: Vec<&Cell> = table.key.iter().filter_map(|name| row.get(table.column(name)?)).collect();
            let name = table.name_of(row);
            match find(change, table, table.key, &key).await?.first() {
                None => {
                    add(change, table, row).await?;
                    *self.added.entry(table.name).or_default() += 1;
                    self.new.push((table.name, name));
                }
                Some(here) => {
                    *self.unchanged.entry(table.name).or_default() += 1;
                    if let Some(column) = difference(table, here, row) {
                        let differs = column.to_owned();
                        self.conflicts.insert(Conflict { table: table.name, name: name.clone(), differs });
                    }
                    if table.name == "users" {
                        self.known.insert(name);
                    }
                }
            }
        }
        Ok(())
    }

    /// Authorities for those who are new; of others it has to be so already.
    async fn trust(&mut self, change: &mut Change, table: &'static Table, rows: &[Row]) -> Result<(), StoreError> {
        let speaks_for_known = |row: &Row, these: &Merged| match (row.first(), row.get(1)) {
            (_, Some(Cell::Text(user))) => these.known.contains(user),
            (Some(Cell::Text(account)), _) => these.accounts.contains(account),
            _ => these.has_others || !these.accounts.is_empty(),
        };
        for row in rows {
            let key: Vec<&Cell> = table.key.iter().filter_map(|name| row.get(table.column(name)?)).collect();
            let name = table.name_of(row);
            let differs = match find(change, table, table.key, &key).await?.first() {
                Some(here) => difference(table, here, row),
                None if speaks_for_known(row, self) => Some("trust: it is not trusted here; see enclos ca add"),
                None => {
                    add(change, table, row).await?;
                    *self.added.entry(table.name).or_default() += 1;
                    self.new.push((table.name, name));
                    continue;
                }
            };
            match differs {
                None => *self.unchanged.entry(table.name).or_default() += 1,
                Some(differs) => {
                    let differs = differs.to_owned();
                    self.conflicts.insert(Conflict { table: table.name, name, differs });
                }
            }
        }
        Ok(())
    }

    async fn hang_on_users(
        &mut self,
        change: &mut Change,
        table: &'static Table,
        rows: &[Row],
    ) -> Result<(), StoreError> {
        let mut of_known: BTreeMap<&str, BTreeSet<Row>> =
            self.known.iter().map(|name| (name.as_str(), BTreeSet::new())).collect();
        let mut added = 0;
        for row in rows {
            let user = row.first().and_then(Cell::text).unwrap_or_default();
            match of_known.get_mut(user) {
                Some(there) => drop(there.insert(said(table, row))),
                None => {
                    add(change, table, row).await?;
                    added += 1;
                }
            }
        }
        for (user, there) in of_known {
            let column = table.columns.first().map_or("", |column| column.name);
            let here = find(change, table, &[column], &[&Cell::from(user)]).await?;
            let here: BTreeSet<Row> = here.iter().map(|row| said(table, row)).collect();
            *self.unchanged.entry(table.name).or_default() += u64::try_from(here.len()).unwrap_or(u64::MAX);
            if here != there {
                let differs = table.name.to_owned();
                self.conflicts.insert(Conflict { table: "users", name: user.to_owned(), differs });
            }
        }
        if added > 0 {
            *self.added.entry(table.name).or_default() += added;
        }
        Ok(())
    }
}
