//! Rows of grants.

use sqlx::Row;

use super::{Change, Store, StoreError, now, parse};
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
