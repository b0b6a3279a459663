//! Columns that say when, from where and to what accounts, users and credentials are good: the same in each table that has
//! them.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::users::maybe;
use super::{Change, Store, StoreError, now, parse};
use crate::control::hours::opening;
use crate::domain::{AccountId, Mode, Scope, Terms, Timestamp, UserId};

/// A table whose rows are credentials, or are going to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Credentials {
    Keys,
    Authorities,
    Invitations,
}

impl Credentials {
    fn table(self) -> &'static str {
        match self {
            Credentials::Keys => "public_keys",
            Credentials::Authorities => "authorities",
            Credentials::Invitations => "invitations",
        }
    }
}

/// The columns of a credential that [`scope_of`] and [`terms_of`] read, of a table by its letter, with others to come.
macro_rules! narrowing {
    ($of:literal) => {
        narrowing!(
            $of,
            "expires" "sources" "session_limits" "hours" "scope_paths" "scope_mode" "scope_services" "no_terminal"
            "scope_command" "scope_open" "scope_listen"
        )
    };
    ($of:literal, $($column:literal)+) => {
        concat!($($of, ".", $column, ", "),+)
    };
}
pub(super) use narrowing;

/// Where the terms stand in a row of what they are about.
pub(super) const TERMS: [&str; 4] = ["expires", "sources", "session_limits", "hours"];

/// Where those of the account stand in a row of one of its users.
pub(super) const ACCOUNT_TERMS: [&str; 4] =
    ["account_expires", "account_sources", "account_session_limits", "account_hours"];

/// Where those of a key stand in such a row.
pub(super) const KEY_TERMS: [&str; 4] = ["key_expires", "key_sources", "key_session_limits", "key_hours"];

impl Store {
    /// Says when and from where an account may be used.
    pub(crate) async fn set_account_terms(
        &self,
        change: &mut Change,
        id: AccountId,
        terms: &Terms,
    ) -> Result<(), StoreError> {
        set_terms(change, "accounts", id.0, terms).await
    }

    /// Says when and from where a user may log in.
    pub(crate) async fn set_user_terms(
        &self,
        change: &mut Change,
        id: UserId,
        terms: &Terms,
    ) -> Result<(), StoreError> {
        set_terms(change, "users", id.0, terms).await
    }
}

async fn set_terms(change: &mut Change, table: &'static str, id: i64, terms: &Terms) -> Result<(), StoreError> {
    let update =
        format!("UPDATE {table} SET expires = $1, sources = $2, session_limits = $3, hours = $4 WHERE id = $5");
    sqlx::query(AssertSqlSafe(update))
        .bind(terms.expires.map(|end| end.0))
        .bind(terms.from.to_string())
        .bind(terms.sessions.to_string())
        .bind(terms.hours.as_ref().map(ToString::to_string))
        .bind(id)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// Says what a credential is good for, when and from where.
pub(super) async fn narrow(
    change: &mut Change,
    credentials: Credentials,
    id: i64,
    scope: &Scope,
    terms: &Terms,
) -> Result<(), StoreError> {
    set_terms(change, credentials.table(), id, terms).await?;
    let update = format!(
        "UPDATE {} SET scope_paths = $1, scope_mode = $2, scope_services = $3, no_terminal = $4, scope_command = $5, \
         scope_open = $6, scope_listen = $7 WHERE id = $8",
        credentials.table()
    );
    sqlx::query(AssertSqlSafe(update))
        .bind(scope.paths.as_ref().map(ToString::to_string))
        .bind(scope.mode.map(Mode::as_str))
        .bind(scope.services.map(|services| services.to_string()))
        .bind(i64::from(scope.no_terminal))
        .bind(scope.forced_command.as_ref().map(ToString::to_string))
        .bind(scope.permit_open.as_ref().map(ToString::to_string))
        .bind(scope.permit_listen.as_ref().map(ToString::to_string))
        .bind(id)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// The terms in their columns, with what their hours come to now.
pub(super) fn terms_of(row: &AnyRow, columns: [&'static str; 4]) -> Result<Terms, StoreError> {
    let [expires, sources, sessions, hours] = columns;
    let hours = maybe(row, hours)?;
    Ok(Terms {
        expires: row.try_get::<Option<i64>, _>(expires)?.map(Timestamp),
        from: parse("list of addresses", row.try_get(sources)?)?,
        sessions: parse("limits of sessions", row.try_get(sessions)?)?,
        open: opening(hours.as_ref(), Timestamp(now())),
        hours,
    })
}

/// The scope of a credential.
pub(super) fn scope_of(row: &AnyRow) -> Result<Scope, StoreError> {
    Ok(Scope {
        paths: maybe(row, "scope_paths")?,
        mode: maybe(row, "scope_mode")?,
        services: maybe(row, "scope_services")?,
        no_terminal: row.try_get::<i64, _>("no_terminal")? != 0,
        forced_command: maybe(row, "scope_command")?,
        permit_open: maybe(row, "scope_open")?,
        permit_listen: maybe(row, "scope_listen")?,
    })
}
