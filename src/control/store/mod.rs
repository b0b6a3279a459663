//! The database. The only place with SQL; queries are written so that SQLite and PostgreSQL read them alike.
//!
//! Trusts what it stored itself, but checks it again on the way out: a row that does not parse is an error, not a guess.

mod accounts;
mod audit;
mod authenticators;
mod authorities;
mod bans;
mod changes;
mod connect;
mod facts;
mod foreign;
mod grants;
mod invitations;
mod keys;
mod limits;
#[cfg(test)]
mod migrated;
mod own_keys;
mod programs;
mod revocations;
mod seats;
pub(super) mod tables;
mod terms;
#[cfg(test)]
pub(super) mod testing;
mod users;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{Any, AnyPool, Transaction};

use crate::config::{Database, Ids, UsersFrom};

pub use audit::{AuditPage, AuditQuery};
pub(super) use audit::{AuditRow, Stored};
pub(super) use authorities::Domain;
pub(super) use changes::{About, Bell, Changes};
pub(super) use facts::{Known, Presented};
pub use foreign::ForeignError;
pub(super) use foreign::{Foreign, is_foreign, rows_of};
pub(super) use grants::Rights;
pub(super) use invitations::NewInvitation;
pub(super) use keys::StoredKey;

/// Why the database cannot be used. The text says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("open the database {database}")]
    Open {
        /// Which.
        database: Database,
        /// Why not.
        source: sqlx::Error,
    },
    /// It is not of a version that we know.
    #[error("bring the database up to date; was it made by a newer release?")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A query failed.
    #[error("ask the database")]
    Query(#[from] sqlx::Error),
    /// A host's own database cannot be used.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// A row holds what was never written by us.
    #[error("the database holds a {what} that makes no sense: {text:?}")]
    Row {
        /// What it should be.
        what: &'static str,
        /// What it is.
        text: String,
    },
}

impl StoreError {
    /// Whether the database is not there to be asked, rather than that something is wrong with the question or the answer.
    pub(super) fn is_away(&self) -> bool {
        matches!(self, StoreError::Query(error) if is_away(error))
    }
}

fn is_away(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls};
    match error {
        Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed => true,
        // Connection exceptions, and a server that is being started or shut down (PostgreSQL, appendix A).
        Database(error) => error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P")),
        _ => false,
    }
}

/// An open database.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pool: AnyPool,
    database: Database,
    about: About,
    noting: Option<std::sync::Arc<AuditRow>>,
    foreign: Option<Arc<Foreign>>,
}

/// A change that is made as a whole or not at all.
pub(super) type Change = Transaction<'static, Any>;

impl Store {
    /// Opens the database, making it and bringing it up to date as needed.
    pub(super) async fn open(database: &Database) -> Result<Store, StoreError> {
        let pool = connect::connect(database).await?;
        connect::migrations(database).run(&pool).await.map_err(StoreError::Migrate)?;
        Ok(Store { pool, database: database.clone(), about: About::Anyone, noting: None, foreign: None })
    }

    /// The same database, and beside it the users of a host's own.
    pub(super) fn with_users_from(self, from: Option<&UsersFrom>, ids: Ids) -> Result<Store, StoreError> {
        let foreign = from.map(|from| Foreign::new(from, ids)).transpose()?.map(Arc::new);
        Ok(Store { foreign, ..self })
    }

    /// The host's own database, if there is one.
    pub(super) fn foreign(&self) -> Option<&Arc<Foreign>> {
        self.foreign.as_ref()
    }

    /// Begins a change, once every other is made: changes are made one after the other.
    pub(super) async fn change(&self) -> Result<Change, StoreError> {
        let mut change = self.pool.begin().await?;
        self.record(&mut change).await?;
        Ok(change)
    }

    /// Waits until everything is written, and closes.
    pub(super) async fn close(self) {
        self.pool.close().await;
    }
}

pub(super) fn now() -> i64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Reads a column back into the type it was written from.
fn parse<T: std::str::FromStr>(what: &'static str, text: String) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Row { what, text })
}

fn status(text: String) -> Result<crate::domain::Status, StoreError> {
    use crate::domain::Status;
    match text.as_str() {
        "active" => Ok(Status::Active),
        "disabled" => Ok(Status::Disabled),
        _ => Err(StoreError::Row { what: "status", text }),
    }
}

fn id_number(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::Row { what: "user id", text: number.to_string() })
}
