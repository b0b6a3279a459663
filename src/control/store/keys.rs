//! Rows of public keys.

use sqlx::Row;

use super::{Change, Store, StoreError, now};
use crate::control::keys::ParsedKey;
use crate::domain::{KeyId, UserId};

/// A stored key, as it is listed.
#[derive(Debug, Clone)]
pub(crate) struct StoredKey {
    /// Its row.
    pub id: KeyId,
    /// `SHA256:` and base64.
    pub fingerprint: String,
    /// Its algorithm.
    pub algorithm: String,
    /// Its comment.
    pub label: String,
}

impl Store {
    /// Adds a key.
    pub(crate) async fn add_key(&self, change: &mut Change, user: UserId, key: &ParsedKey) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO public_keys (login, fingerprint, algorithm, encoded, label, created) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(user.0)
        .bind(&key.fingerprint)
        .bind(&key.algorithm)
        .bind(key.blob.as_bytes())
        .bind(&key.label)
        .bind(now())
        .execute(&mut **change)
        .await?;
        Ok(())
    }

    /// Keys of a user, oldest first.
    pub(crate) async fn keys(&self, user: UserId) -> Result<Vec<StoredKey>, StoreError> {
        let rows =
            sqlx::query("SELECT id, fingerprint, algorithm, label FROM public_keys WHERE login = $1 ORDER BY id")
                .bind(user.0)
                .fetch_all(&self.pool)
                .await?;
        rows.iter()
            .map(|row| {
                Ok(StoredKey {
                    id: KeyId(row.try_get("id")?),
                    fingerprint: row.try_get("fingerprint")?,
                    algorithm: row.try_get("algorithm")?,
                    label: row.try_get("label")?,
                })
            })
            .collect()
    }

    /// Removes a key.
    pub(crate) async fn remove_key(&self, change: &mut Change, id: KeyId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM public_keys WHERE id = $1").bind(id.0).execute(&mut **change).await?;
        Ok(())
    }
}
