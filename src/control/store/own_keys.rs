//! Whether keys are taken that users put into their own `authorized_keys`, and which were taken back.

use super::{Change, Store, StoreError, now};
use crate::control::outcome::KeyOrigin;
use crate::domain::{OwnKeys, UserId};

impl Store {
    /// Says whether a user's own keys are taken.
    pub(crate) async fn set_user_own_keys(
        &self,
        change: &mut Change,
        id: UserId,
        own_keys: OwnKeys,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET own_keys = $1 WHERE id = $2")
            .bind(own_keys.as_str())
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Whether they are taken still, and stay so until this change is made.
    pub(crate) async fn still_takes_own_keys(&self, change: &mut Change, id: UserId) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE users SET own_keys = own_keys WHERE id = $1 AND own_keys = $2")
            .bind(id.0)
            .bind(OwnKeys::Taken.as_str())
            .execute(&mut **change)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes those that came from a user's file.
    pub(crate) async fn remove_own_keys(&self, change: &mut Change, id: UserId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM public_keys WHERE login = $1 AND origin = $2")
            .bind(id.0)
            .bind(KeyOrigin::Own.as_str())
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Takes a key back for good: it does not come back by a user's own file.
    pub(crate) async fn refuse_key(
        &self,
        change: &mut Change,
        id: UserId,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO refused_keys (login, fingerprint, created) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(id.0)
        .bind(fingerprint)
        .bind(now())
        .execute(&mut **change)
        .await?;
        Ok(())
    }

    /// Lets it come back.
    pub(crate) async fn forgive_key(
        &self,
        change: &mut Change,
        id: UserId,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM refused_keys WHERE login = $1 AND fingerprint = $2")
            .bind(id.0)
            .bind(fingerprint)
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Keys of a user that were taken back.
    pub(crate) async fn refused_keys(&self, id: UserId) -> Result<Vec<String>, StoreError> {
        let found = sqlx::query_scalar("SELECT fingerprint FROM refused_keys WHERE login = $1").bind(id.0);
        Ok(found.fetch_all(&self.pool).await?)
    }
}
