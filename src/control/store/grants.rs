//! Rows of grants.

use sqlx::Row;

use super::{Change, Store, StoreError, now, parse};
use crate::domain::{Grant, GrantId, Mode, RelPath, UserId};

impl Store {
    /// Adds a grant.
    pub(crate) async fn add_grant(
        &self,
        change: &mut Change,
        user: UserId,
        path: &RelPath,
        mode: Mode,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO grants (login, path, mode, created) VALUES ($1, $2, $3, $4)")
            .bind(user.0)
            .bind(path.as_str())
            .bind(mode.as_str())
            .bind(now())
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Grants of a user, in the order in which they were given.
    pub(crate) async fn grants(&self, user: UserId) -> Result<Vec<Grant>, StoreError> {
        let rows = sqlx::query("SELECT id, path, mode FROM grants WHERE login = $1 ORDER BY id")
            .bind(user.0)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Grant {
                    id: GrantId(row.try_get("id")?),
                    path: parse("path", row.try_get("path")?)?,
                    mode: parse("mode", row.try_get("mode")?)?,
                })
            })
            .collect()
    }

    /// Changes the rights of a grant.
    pub(crate) async fn set_grant_mode(&self, change: &mut Change, id: GrantId, mode: Mode) -> Result<(), StoreError> {
        sqlx::query("UPDATE grants SET mode = $1 WHERE id = $2")
            .bind(mode.as_str())
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
