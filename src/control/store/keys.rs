//! Rows of public keys.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::terms::{Credentials, TERMS, narrow, narrowing, scope_of, terms_of};
use super::{Change, Store, StoreError, now, parse};
use crate::control::keys::ParsedKey;
use crate::control::outcome::KeyOrigin;
use crate::domain::{KeyId, Scope, Terms, UserId};

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
    /// Where it comes from.
    pub origin: KeyOrigin,
    /// What it may do of what its user may.
    pub scope: Scope,
    /// When and from where it may be used.
    pub terms: Terms,
}

impl Store {
    /// Adds a key.
    pub(crate) async fn add_key(
        &self,
        change: &mut Change,
        user: UserId,
        key: &ParsedKey,
        origin: KeyOrigin,
    ) -> Result<KeyId, StoreError> {
        let id = sqlx::query_scalar(
            "INSERT INTO public_keys (login, fingerprint, algorithm, encoded, label, origin, created) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        )
        .bind(user.0)
        .bind(&key.fingerprint)
        .bind(&key.algorithm)
        .bind(key.blob.as_bytes())
        .bind(&key.label)
        .bind(origin.as_str())
        .bind(now())
        .fetch_one(&mut **change)
        .await?;
        self.set_key(change, KeyId(id), &key.scope, &key.terms).await?;
        Ok(KeyId(id))
    }

    /// Says what a key may do, when and from where.
    pub(crate) async fn set_key(
        &self,
        change: &mut Change,
        id: KeyId,
        scope: &Scope,
        terms: &Terms,
    ) -> Result<(), StoreError> {
        narrow(change, Credentials::Keys, id.0, scope, terms).await
    }

    /// Keys of a user, oldest first.
    pub(crate) async fn keys(&self, user: UserId) -> Result<Vec<StoredKey>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            narrowing!("k"),
            "k.id, k.fingerprint, k.algorithm, k.label, k.origin FROM public_keys k WHERE k.login = $1 ORDER BY k.id",
        ))
        .bind(user.0)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(stored).collect()
    }

    /// Whether a user has a key, as far as this change sees it.
    pub(crate) async fn has_key(
        &self,
        change: &mut Change,
        user: UserId,
        fingerprint: &str,
    ) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT id FROM public_keys WHERE login = $1 AND fingerprint = $2")
            .bind(user.0)
            .bind(fingerprint)
            .fetch_optional(&mut **change)
            .await?;
        Ok(found.is_some())
    }

    /// A key in its wire form.
    pub(crate) async fn encoded_key(&self, id: KeyId) -> Result<Option<Vec<u8>>, StoreError> {
        let encoded = sqlx::query_scalar("SELECT encoded FROM public_keys WHERE id = $1").bind(id.0);
        Ok(encoded.fetch_optional(&self.pool).await?)
    }

    /// Makes a key the operator's, wherever it came from: it does not go with what a user writes or an invitation said.
    pub(crate) async fn adopt_key(&self, change: &mut Change, id: KeyId) -> Result<(), StoreError> {
        sqlx::query("UPDATE public_keys SET origin = $1 WHERE id = $2")
            .bind(KeyOrigin::Operator.as_str())
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Removes a key.
    pub(crate) async fn remove_key(&self, change: &mut Change, id: KeyId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM public_keys WHERE id = $1").bind(id.0).execute(&mut **change).await?;
        Ok(())
    }
}

fn stored(row: &AnyRow) -> Result<StoredKey, StoreError> {
    Ok(StoredKey {
        id: KeyId(row.try_get("id")?),
        fingerprint: row.try_get("fingerprint")?,
        algorithm: row.try_get("algorithm")?,
        label: row.try_get("label")?,
        origin: parse("origin of a key", row.try_get("origin")?)?,
        scope: scope_of(row)?,
        terms: terms_of(row, TERMS)?,
    })
}
