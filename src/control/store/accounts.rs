//! Rows of accounts.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::limits::{LIMITS, limits_of};
use super::terms::{TERMS, terms_of};
use super::{Change, Store, StoreError, id_number, now, parse, status};
use crate::control::outcome::AccountView;
use crate::domain::{AccountFacts, AccountId, AccountName, Status};

impl Store {
    /// Adds an account.
    pub(crate) async fn add_account(&self, change: &mut Change, account: &AccountView) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO accounts (name, uid, gid, home, status, created) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(account.name.as_str())
            .bind(i64::from(account.uid))
            .bind(i64::from(account.gid))
            .bind(account.home.as_str())
            .bind(account.status.as_str())
            .bind(now())
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// All accounts, by name.
    pub(crate) async fn accounts(&self) -> Result<Vec<AccountView>, StoreError> {
        let rows = sqlx::query(
            "SELECT a.name, a.uid, a.gid, a.home, a.status, a.expires, a.sources, a.session_limits, a.hours, a.max_memory, a.max_processes, a.max_cpu, \
             (SELECT COUNT(*) FROM users u WHERE u.account = a.id) AS users FROM accounts a ORDER BY a.name",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(view).collect()
    }

    /// One account.
    pub(crate) async fn account(&self, name: &AccountName) -> Result<Option<AccountFacts>, StoreError> {
        let row = sqlx::query(
            "SELECT id, name, uid, gid, home, status, expires, sources, session_limits, hours, max_memory, max_processes, max_cpu \
             FROM accounts WHERE name = $1",
        )
        .bind(name.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| facts(&row)).transpose()
    }

    /// Removes an account with all its users.
    pub(crate) async fn remove_account(&self, change: &mut Change, id: AccountId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM accounts WHERE id = $1").bind(id.0).execute(&mut **change).await?;
        Ok(())
    }

    /// Lets the users of an account log in, or not.
    pub(crate) async fn set_account_status(
        &self,
        change: &mut Change,
        id: AccountId,
        status: Status,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE accounts SET status = $1 WHERE id = $2")
            .bind(status.as_str())
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }
}

fn view(row: AnyRow) -> Result<AccountView, StoreError> {
    Ok(AccountView {
        name: parse("account name", row.try_get("name")?)?,
        uid: id_number(row.try_get("uid")?)?,
        gid: id_number(row.try_get("gid")?)?,
        home: parse("home", row.try_get("home")?)?,
        status: status(row.try_get("status")?)?,
        terms: terms_of(&row, TERMS)?,
        limits: limits_of(&row, LIMITS)?,
        users: id_number(row.try_get("users")?)?,
    })
}

fn facts(row: &AnyRow) -> Result<AccountFacts, StoreError> {
    Ok(AccountFacts {
        id: AccountId(row.try_get("id")?),
        name: parse("account name", row.try_get("name")?)?,
        uid: id_number(row.try_get("uid")?)?,
        gid: id_number(row.try_get("gid")?)?,
        home: parse("home", row.try_get("home")?)?,
        status: status(row.try_get("status")?)?,
        terms: terms_of(row, TERMS)?,
        limits: limits_of(row, LIMITS)?,
    })
}
