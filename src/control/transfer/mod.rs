//! Everything that the database knows, out of it and into it: exports, and imports of those and of what other servers know.
//!
//! Runs in: the command line, which opens the database itself: a whole database is too much for the admin socket. A node that
//! runs hears of it as of any change. Trusts: the database. Files are read as anybody's: each value as what it stands for, all
//! of them against one another, and nothing is written before all of it was looked at.

mod check;
mod document;
mod draft;
mod openssh;
mod proftpd;
mod sftpgo;
mod sql_dump;
mod sshd_config;

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::client::ClientError;
use super::store::Store;
use super::store::tables::{Dump, Merge, Merged, TABLES, table};
use super::{admin_socket, audit};
use crate::config::{ControlSettings, Database};
use crate::domain::{AccountName, HomePath, RelPath, UserName};
use crate::telemetry::Causes;

pub use document::BadDocument;
pub(in crate::control) use draft::below;
pub use openssh::{Files as OpensshFiles, ReadKeys};
pub use proftpd::TableNames;
pub(in crate::control) use proftpd::{hash as digest_of_openssl, key as key_of_any_form};

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
    /// It is of another form.
    #[error("{0}")]
    Form(String),
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
        let store = store.with_users_from(settings.users_from.as_ref(), settings.ids).map_err(refused)?;
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

/// Whose the files are that the users of another server reach, where that server does not say.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    /// The uid and gid that own them.
    pub ids: Option<(u32, u32)>,
    /// One account for all users, and its home; without it each user gets one of its own.
    pub account: Option<(AccountName, HomePath)>,
}

impl Owners {
    /// The account of a user and where in its home the user's directory lies; the account is made.
    fn place(
        &self,
        draft: &mut draft::Draft,
        user: &UserName,
        said: Option<(u32, u32)>,
        home: &HomePath,
    ) -> Result<(AccountName, HomePath, RelPath), String> {
        let no_owner = "nothing says whose its files are; give --uid and --gid";
        let ids = said.or(self.ids).ok_or(no_owner)?;
        if ids.0 == 0 || ids.1 == 0 {
            return Err("an account cannot belong to root, nor to its group".to_owned());
        }
        let (account, of_account) = match &self.account {
            Some((account, of_account)) => (account.clone(), of_account.clone()),
            None => (user.as_str().parse::<AccountName>().map_err(|bad| bad.to_string())?, home.clone()),
        };
        if self.account.is_some() && self.ids.is_some_and(|of_account| of_account != ids) {
            return Err(format!("its files belong to {}:{}, and those of account {account} do not", ids.0, ids.1));
        }
        let path = below(&of_account, home);
        let path = path.ok_or_else(|| format!("{} does not lie in {}", home.as_str(), of_account.as_str()))?;
        draft.account(&account, ids, &of_account);
        Ok((account, of_account, path))
    }
}

/// What is to be carried over from another server: read, and not written yet.
#[derive(Debug)]
pub struct Carried(draft::Draft);

/// Reads the users of OpenSSH and the system.
pub fn read_openssh(files: &OpensshFiles<'_>) -> Carried {
    Carried(openssh::read(files))
}

/// Takes them over.
pub fn openssh(settings: &ControlSettings, read: Carried, dry_run: bool) -> Result<ImportView, TransferError> {
    carry_over(settings, read.0, dry_run)
}

/// Takes over the users of SFTPGo, as its `dumpdata` writes them.
pub fn sftpgo(
    settings: &ControlSettings,
    text: &str,
    owners: &Owners,
    dry_run: bool,
) -> Result<ImportView, TransferError> {
    carry_over(settings, sftpgo::read(text, owners).map_err(TransferError::Form)?, dry_run)
}

/// Reads a text as each of what can be imported, for [`super::decoders`].
pub(super) fn decode(text: &str, owners: &Owners) {
    let mut read = document::read(text.as_bytes(), 0).ok();
    if let Some(dump) = &mut read {
        drop(check::problems(dump, crate::config::Ids { first: 1_879_048_192, count: 65_536 }));
    }
    let of_sftpgo = sftpgo::read(text, owners).ok();
    let names = TableNames { users: "users".to_owned(), keys: "sftpuserkeys".to_owned() };
    let of_proftpd = read_proftpd(&Tables::Dump(text.to_owned()), &names, owners).ok();
    let (one, other) = text.split_at(text.floor_char_boundary(text.len() / 2));
    let keys: &ReadKeys<'_> = &|_, _| Ok(Some(other.to_owned()));
    let of_openssh = read_openssh(&OpensshFiles {
        passwd: format!("bob:x:5000:5000::/srv/bob:/bin/bash\n{one}"),
        shadow: Some(text.to_owned()),
        group: Some(other.to_owned()),
        sshd_config: Some(text.to_owned()),
        keys,
    });
    let drafts = [of_sftpgo, of_proftpd.map(|read| read.0), Some(of_openssh.0)];
    for draft in drafts.into_iter().flatten() {
        drop(draft.rows(0));
    }
}

/// Where ProFTPD's tables are.
#[derive(Debug)]
pub enum Tables {
    /// In the text of an SQL dump.
    Dump(String),
    /// In a database that can be asked.
    Live(Database),
}

/// Reads the users of ProFTPD's mod_sql.
pub fn read_proftpd(from: &Tables, names: &TableNames, owners: &Owners) -> Result<Carried, TransferError> {
    let tables = match from {
        Tables::Dump(text) => proftpd::from_dump(text, names),
        Tables::Live(database) => {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
            runtime.block_on(proftpd::from_database(database, names)).map_err(refused)?
        }
    };
    Ok(Carried(proftpd::read(tables, owners)))
}

/// Takes them over.
pub fn proftpd(settings: &ControlSettings, read: Carried, dry_run: bool) -> Result<ImportView, TransferError> {
    carry_over(settings, read.0, dry_run)
}

fn carry_over(settings: &ControlSettings, draft: draft::Draft, dry_run: bool) -> Result<ImportView, TransferError> {
    let (dump, left_behind) = draft.rows(super::store::now());
    merge(settings, dump, dry_run, left_behind)
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
        let merge = if dry_run { Merge::Tried } else { Merge::Kept };
        let store = &store.noting(audit::of_import(&settings.audit, admin_socket::real_uid(), &dump));
        let view = view(store.merge(&dump, merge).await.map_err(refused)?, dry_run, left_behind);
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
mod foreign_tests;
#[cfg(test)]
mod tests;
