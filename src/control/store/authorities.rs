//! Rows of authorities whose certificates are taken.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::terms::{Credentials, TERMS, narrow, narrowing, scope_of, terms_of};
use super::users::maybe;
use super::{Change, Store, StoreError, now, parse};
use crate::control::keys::ParsedKey;
use crate::control::outcome::AuthorityView;
use crate::domain::{AccountId, AuthorityFacts, AuthorityId, Principals, UserId};

/// For whom an authority speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domain {
    /// All users of all accounts.
    Everybody,
    /// The users of one account.
    Account(AccountId),
    /// One user.
    User(UserId),
}

impl Store {
    /// Adds an authority.
    pub(crate) async fn add_authority(
        &self,
        change: &mut Change,
        domain: Domain,
        key: &ParsedKey,
        principals: &Principals,
    ) -> Result<AuthorityId, StoreError> {
        let (account, login) = match domain {
            Domain::Everybody => (None, None),
            Domain::Account(id) => (Some(id.0), None),
            Domain::User(id) => (None, Some(id.0)),
        };
        let id = sqlx::query_scalar(
            "INSERT INTO authorities (account, login, fingerprint, algorithm, label, principals, created) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        )
        .bind(account)
        .bind(login)
        .bind(&key.fingerprint)
        .bind(&key.algorithm)
        .bind(&key.label)
        .bind(principals.to_string())
        .bind(now())
        .fetch_one(&mut **change)
        .await?;
        narrow(change, Credentials::Authorities, id, &key.scope, &key.terms).await?;
        Ok(AuthorityId(id))
    }

    /// The authority with this key that speaks for a user: one of the user's own before one of its account, and that before
    /// one for everybody.
    pub(crate) async fn authority_for(
        &self,
        user: UserId,
        account: AccountId,
        fingerprint: &str,
    ) -> Result<Option<AuthorityFacts>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            narrowing!("c"),
            "c.fingerprint, c.principals FROM authorities c WHERE c.fingerprint = $1 AND (c.login = $2 \
             OR (c.login IS NULL AND c.account = $3) OR (c.login IS NULL AND c.account IS NULL)) \
             ORDER BY CASE WHEN c.login IS NOT NULL THEN 0 WHEN c.account IS NOT NULL THEN 1 ELSE 2 END LIMIT 1",
        ))
        .bind(fingerprint)
        .bind(user.0)
        .bind(account.0)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(facts).transpose()
    }

    /// All authorities, oldest first.
    pub(crate) async fn authorities(&self) -> Result<Vec<AuthorityView>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            narrowing!("c"),
            "c.id, c.fingerprint, c.algorithm, c.label, c.principals, a.name AS account_name, u.name AS user_name \
             FROM authorities c LEFT JOIN accounts a ON a.id = c.account LEFT JOIN users u ON u.id = c.login ORDER BY c.id",
        ))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(view).collect()
    }

    /// Whether any is there.
    pub(crate) async fn has_authorities(&self) -> Result<bool, StoreError> {
        let first: Option<i64> =
            sqlx::query_scalar("SELECT id FROM authorities ORDER BY id LIMIT 1").fetch_optional(&self.pool).await?;
        Ok(first.is_some())
    }

    /// Removes one.
    pub(crate) async fn remove_authority(&self, change: &mut Change, id: AuthorityId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM authorities WHERE id = $1").bind(id.0).execute(&mut **change).await?;
        Ok(())
    }

    /// Says by which names certificates may be made out to a user.
    pub(crate) async fn set_user_principals(
        &self,
        change: &mut Change,
        id: UserId,
        principals: &Principals,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET principals = $1 WHERE id = $2")
            .bind(principals.to_string())
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }
}

fn facts(row: &AnyRow) -> Result<AuthorityFacts, StoreError> {
    Ok(AuthorityFacts {
        fingerprint: row.try_get("fingerprint")?,
        principals: parse("list of principals", row.try_get("principals")?)?,
        scope: scope_of(row)?,
        terms: terms_of(row, TERMS)?,
    })
}

fn view(row: &AnyRow) -> Result<AuthorityView, StoreError> {
    let AuthorityFacts { fingerprint, principals, scope, terms } = facts(row)?;
    Ok(AuthorityView {
        id: AuthorityId(row.try_get("id")?),
        account: maybe(row, "account_name")?,
        user: maybe(row, "user_name")?,
        fingerprint,
        algorithm: row.try_get("algorithm")?,
        label: row.try_get("label")?,
        principals,
        scope,
        terms,
    })
}
