//! Columns that say when, from where and to what accounts, users and keys are good.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::users::maybe;
use super::{Change, Store, StoreError, parse};
use crate::domain::{AccountId, Scope, Terms, Timestamp, UserId};

impl Store {
    /// Says when and from where an account may be used.
    pub(crate) async fn set_account_terms(
        &self,
        change: &mut Change,
        id: AccountId,
        terms: &Terms,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE accounts SET expires = $1, sources = $2 WHERE id = $3")
            .bind(terms.expires.map(|end| end.0))
            .bind(terms.from.to_string())
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Says when and from where a user may log in.
    pub(crate) async fn set_user_terms(
        &self,
        change: &mut Change,
        id: UserId,
        terms: &Terms,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET expires = $1, sources = $2 WHERE id = $3")
            .bind(terms.expires.map(|end| end.0))
            .bind(terms.from.to_string())
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }
}

/// The terms in two columns.
pub(super) fn terms_of(row: &AnyRow, expires: &str, sources: &str) -> Result<Terms, StoreError> {
    Ok(Terms {
        expires: row.try_get::<Option<i64>, _>(expires)?.map(Timestamp),
        from: parse("list of addresses", row.try_get(sources)?)?,
    })
}

/// The scope of a key.
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
