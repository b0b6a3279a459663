//! Rows of what is not believed any more: keys, and certificates of an authority.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Change, Store, StoreError, now};
use crate::control::certificates::{Digests, Parsed};
use crate::control::outcome::{RevocationView, Revoked};

impl Store {
    /// Revokes something. Says whether it was not revoked before.
    pub(crate) async fn revoke(&self, change: &mut Change, what: &Revoked) -> Result<bool, StoreError> {
        let none = String::new;
        let (kind, authority, value, from, to) = match what.clone() {
            Revoked::Key { fingerprint } => ("key", none(), fingerprint, 0, 0),
            Revoked::KeySha1 { digest } => ("sha1", none(), digest, 0, 0),
            Revoked::KeyId { authority, key_id } => ("id", authority.unwrap_or_default(), key_id, 0, 0),
            Revoked::Serials { authority, from, to } => {
                ("serials", authority.unwrap_or_default(), none(), ordered(from), ordered(to))
            }
        };
        let done = sqlx::query(
            "INSERT INTO revocations (kind, authority, value, from_serial, to_serial, created) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(kind)
        .bind(authority)
        .bind(value)
        .bind(from)
        .bind(to)
        .bind(now())
        .execute(&mut **change)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Believes again what was revoked by this row. Says whether there was one.
    pub(crate) async fn unrevoke(&self, change: &mut Change, id: i64) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM revocations WHERE id = $1").bind(id).execute(&mut **change).await?;
        Ok(done.rows_affected() > 0)
    }

    /// All that was revoked, oldest first.
    pub(crate) async fn revocations(&self) -> Result<Vec<RevocationView>, StoreError> {
        let rows =
            sqlx::query("SELECT id, kind, authority, value, from_serial, to_serial FROM revocations ORDER BY id");
        rows.fetch_all(&self.pool).await?.iter().map(view).collect()
    }

    /// Whether a certificate, its key or its authority is revoked.
    pub(crate) async fn is_revoked(&self, certificate: &Parsed) -> Result<bool, StoreError> {
        let Digests { sha256, sha1 } = &certificate.subject;
        let serial = ordered(certificate.serial());
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT id FROM revocations WHERE (value IN ($1, $2) AND kind || '' = 'key') \
             OR (value IN ($3, $4) AND kind || '' = 'sha1') \
             OR (value = $5 AND kind || '' = 'id' AND authority IN ('', $2)) \
             OR (kind = 'serials' AND authority IN ('', $2) AND from_serial <= $6 AND to_serial >= $6) LIMIT 1",
        )
        .bind(sha256)
        .bind(&certificate.authority.sha256)
        .bind(sha1)
        .bind(&certificate.authority.sha1)
        .bind(certificate.key_id())
        .bind(serial)
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.is_some())
    }
}

/// A serial number as a number with a sign, in the same order.
fn ordered(serial: u64) -> i64 {
    (serial ^ (1 << 63)).cast_signed()
}

/// And back.
fn serial(ordered: i64) -> u64 {
    ordered.cast_unsigned() ^ (1 << 63)
}

fn view(row: &AnyRow) -> Result<RevocationView, StoreError> {
    let kind: String = row.try_get("kind")?;
    let value: String = row.try_get("value")?;
    let authority = Some(row.try_get::<String, _>("authority")?).filter(|authority| !authority.is_empty());
    let number = |column| Ok::<_, StoreError>(serial(row.try_get(column)?));
    let what = match kind.as_str() {
        "key" => Revoked::Key { fingerprint: value },
        "sha1" => Revoked::KeySha1 { digest: value },
        "id" => Revoked::KeyId { authority, key_id: value },
        "serials" => Revoked::Serials { authority, from: number("from_serial")?, to: number("to_serial")? },
        _ => return Err(StoreError::Row { what: "kind of revocation", text: kind }),
    };
    Ok(RevocationView { id: row.try_get("id")?, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_keep_their_order() {
        let mut numbers = [0, 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX];
        assert!(numbers.is_sorted_by_key(|n| ordered(*n)));
        numbers.iter_mut().for_each(|n| *n = serial(ordered(*n)));
        assert_eq!(numbers, [0, 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX]);
    }
}
