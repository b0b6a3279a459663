//! Everything that the database knows, out of it and into it: exports, and imports of those and of what other servers know.
//!
//! Runs in: the command line, which opens the database itself: a whole database is too much for the admin socket. A node that
//! runs hears of it as of any change. Trusts: the database. Files are read as anybody's: each value as what it stands for, all
//! of them against one another, and nothing is written before all of it was looked at.

mod check;
mod document;

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::client::ClientError;
use super::store::Store;
use super::store::tables::{Dump, Merge, Merged, TABLES, table};
use super::{admin_socket, audit};
use crate::config::ControlSettings;
use crate::telemetry::Causes;

pub use document::BadDocument;

/// Why an import is not made. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The database cannot be used.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file cannot be read as an export.
    #[error("read the export")]
    Document(#[from] BadDocument),
    /// The export cannot be written.
    #[error("write the export")]
    Write(#[source] io::Error),
    /// What is in it cannot be.
    #[error("nothing was imported:\n{}", .0.join("\n"))]
    Wrong(Vec<String>),
}

/// What an import did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportView {
    /// Whether it was only tried.
    pub dry_run: bool,
    /// Rows that are added, by table.
    pub added: Vec<(String, u64)>,
    /// Rows that were there already.
    pub unchanged: Vec<(String, u64)>,
    /// Accounts and users that are added.
    pub new: Vec<String>,
    /// What is there already and says something else. With any, nothing is imported.
    pub conflicts: Vec<String>,
    /// What the other server knew and cannot be carried over, each with its place.
    pub left_behind: Vec<String>,
}

/// Opens the database of a node, whether one runs or not, and does something with it.
fn with_store<T>(
    settings: &ControlSettings,
    work: impl AsyncFnOnce(&Store) -> Result<T, TransferError>,
) -> Result<T, TransferError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    runtime.block_on(async {
        let store = Store::open(&settings.database).await.map_err(refused)?;
        let done = work(&store).await;
        store.close().await;
        done
    })
}

fn refused(error: super::StoreError) -> TransferError {
    TransferError::Client(ClientError::Refused(Causes(&error).to_string()))
}

/// Writes everything as JSON.
pub fn export(settings: &ControlSettings, to: &mut impl Write) -> Result<(), TransferError> {
    with_store(settings, async |store| {
        let mut document = document::Writer::begin(to).map_err(TransferError::Write)?;
        let written = store.each_row(|table, row| document.row(table, &row)).await.map_err(refused)?;
        written.and_then(|()| document.end()).map_err(TransferError::Write)
    })
}

/// Reads an export and puts it into the database.
pub fn import(settings: &ControlSettings, from: impl Read, dry_run: bool) -> Result<ImportView, TransferError> {
    let dump = document::read(from, super::store::now())?;
    merge(settings, dump, dry_run, Vec::new())
}

/// Puts rows into the database, once all of them were looked at.
fn merge(
    settings: &ControlSettings,
    mut dump: Dump,
    dry_run: bool,
    left_behind: Vec<String>,
) -> Result<ImportView, TransferError> {
    let wrong = check::problems(&mut dump, settings.ids);
    if !wrong.is_empty() {
        return Err(TransferError::Wrong(wrong));
    }
    with_store(settings, async |store| {
        let how = if dry_run { Merge::Tried } else { Merge::Kept };
        let store = &store.noting(audit::of_import(&settings.audit, admin_socket::real_uid(), &dump));
        let merged = store.merge(&dump, how).await.map_err(refused)?;
        let view = view(merged, dry_run, left_behind);
        match view.conflicts.is_empty() || dry_run {
            true => Ok(view),
            false => Err(TransferError::Wrong(view.conflicts)),
        }
    })
}

fn view(merged: Merged, dry_run: bool, left_behind: Vec<String>) -> ImportView {
    let counted = |counts: &std::collections::BTreeMap<&'static str, u64>| {
        let rows = TABLES.iter().filter_map(|table| Some((table.name.to_owned(), *counts.get(table.name)?)));
        rows.filter(|(_, count)| *count > 0).collect()
    };
    let one = |table: &str| table.strip_suffix('s').unwrap_or(table).to_owned();
    let conflict = |c: &super::store::tables::Conflict| {
        format!("{} {} is there already and has other {}", one(c.table), c.name, c.differs)
    };
    ImportView {
        dry_run,
        added: counted(&merged.added),
        unchanged: counted(&merged.unchanged),
        new: merged.new.iter().map(|(table, name)| format!("{} {name}", one(table))).collect(),
        conflicts: merged.conflicts.iter().map(conflict).collect(),
        left_behind,
    }
}

#[cfg(test)]
mod tests;
