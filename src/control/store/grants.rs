//! Rows of grants.

use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Change, Store, StoreError, now, parse};
use crate::control::outcome::{GrantView, UserView};
use crate::domain::{Grant, GrantId, Mode, RelPath, UserId};

/// What may be done where a grant leads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rights {
    /// Reading, writing.
    pub mode: Mode,
    /// Whether programs there may not be run.
    pub no_exec: bool,
}

impl Store {
    /// Adds a grant.
    pub(crate) async fn add_grant(
        &self,
        change: &mut Change,
        user: UserId,
        path: &RelPath,
        rights: Rights,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO grants (login, path, mode, no_exec, created) VALUES ($1, $2, $3, $4, $5)")
            .bind(user.0)
            .bind(path.as_str())
            .bind(rights.mode.as_str())
            .bind(i64::from(rights.no_exec))
            .bind(now())
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Grants of a user, in the order in which they were given.
    pub(crate) async fn grants(&self, user: UserId) -> Result<Vec<Grant>, StoreError> {
        let rows = sqlx::query("SELECT id, path, mode, no_exec FROM grants WHERE login = $1 ORDER BY id")
            .bind(user.0)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Grant {
                    id: GrantId(row.try_get("id")?),
                    path: parse("path", row.try_get("path")?)?,
                    mode: parse("mode", row.try_get("mode")?)?,
                    no_exec: row.try_get::<i64, _>("no_exec")? != 0,
                })
            })
            .collect()
    }

    /// Gives users that stand beside one another in the order of names their grants, in the order in which they were given.
    pub(crate) async fn add_grants(&self, users: &mut [UserView]) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (users.first(), users.last()) else { return Ok(()) };
        let between = "SELECT u.name, a.name AS account, g.path, g.mode, g.no_exec FROM grants g JOIN users u ON u.id = g.login \
            JOIN accounts a ON a.id = u.account WHERE u.name >= $1 AND u.name <= $2 ORDER BY u.name, g.id";
        let rows = sqlx::query(between).bind(first.name.to_string()).bind(last.name.to_string());
        let mut rows = rows.fetch(&self.pool);
        let mut users = users.iter_mut().peekable();
        while let Some(row) = rows.try_next().await? {
            let grant = view(&row)?;
            while users.next_if(|user| user.name < grant.user).is_some() {}
            if let Some(user) = users.peek_mut().filter(|user| user.name == grant.user) {
                user.grants.push(grant);
            }
        }
        Ok(())
    }

    /// All grants of all users.
    pub(crate) async fn all_grants(&self) -> Result<Vec<GrantView>, StoreError> {
        let all = "SELECT u.name, a.name AS account, g.path, g.mode, g.no_exec FROM grants g JOIN users u ON u.id = g.login \
            JOIN accounts a ON a.id = u.account ORDER BY u.name, g.id";
        sqlx::query(all).fetch_all(&self.pool).await?.iter().map(view).collect()
    }

    /// Changes the rights of a grant.
    pub(crate) async fn set_grant_rights(
        &self,
        change: &mut Change,
        id: GrantId,
        rights: Rights,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE grants SET mode = $1, no_exec = $2 WHERE id = $3")
            .bind(rights.mode.as_str())
            .bind(i64::from(rights.no_exec))
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Removes a grant.
    pub(crate) async fn remove_grant(&self, change: &mut Change, id: GrantId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM grants WHERE id = $1").bind(id.0).execute(&mut **change).await?;
        Ok(())
    }
}

fn view(row: &AnyRow) -> Result<GrantView, StoreError> {
    Ok(GrantView {
        user: parse("user name", row.try_get("name")?)?,
        account: parse("account name", row.try_get("account")?)?,
        path: parse("path", row.try_get("path")?)?,
        mode: parse("mode", row.try_get("mode")?)?,
        no_exec: row.try_get::<i64, _>("no_exec")? != 0,
    })
}
