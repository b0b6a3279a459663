//! Rows of invitations.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::terms::{Credentials, TERMS, narrow, narrowing, scope_of, terms_of};
use super::{Change, Store, StoreError, now, parse};
use crate::control::keys::ParsedKey;
use crate::control::outcome::InvitationView;
use crate::domain::{InvitationFacts, InvitationId, KeyBlob, Scope, Terms, Timestamp, UserId, UserName};

/// For how long one is kept that is over, so that the list says what became of it.
const KEPT: i64 = 30 * 86_400;

/// One as it is made.
#[derive(Debug)]
pub(crate) struct NewInvitation<'a> {
    /// SHA-256 of the secret, in hexadecimal digits: the secret is random, so that is enough.
    pub hash: &'a str,
    /// What the key will be labelled.
    pub label: &'a str,
    /// When it ends.
    pub expires: Timestamp,
    /// What the key may do of what the user may.
    pub scope: &'a Scope,
    /// When and from where.
    pub terms: &'a Terms,
}

/// One that a claim names, as far as the key is concerned that takes it up.
#[derive(Debug, Clone)]
pub(crate) struct Invited {
    /// Whose.
    pub user: UserName,
    /// Itself.
    pub facts: InvitationFacts,
    /// What the key will be labelled.
    pub label: String,
}

impl Store {
    /// Makes one, and forgets those that have long been over.
    pub(crate) async fn add_invitation(
        &self,
        change: &mut Change,
        user: UserId,
        new: &NewInvitation<'_>,
    ) -> Result<InvitationId, StoreError> {
        sqlx::query("DELETE FROM invitations WHERE ends < $1").bind(now() - KEPT).execute(&mut **change).await?;
        let id = sqlx::query_scalar(
            "INSERT INTO invitations (login, hash, label, ends, created) VALUES ($1, $2, $3, $4, $5) RETURNING id",
        )
        .bind(user.0)
        .bind(new.hash)
        .bind(new.label)
        .bind(new.expires.0)
        .bind(now())
        .fetch_one(&mut **change)
        .await?;
        narrow(change, Credentials::Invitations, id, new.scope, new.terms).await?;
        Ok(InvitationId(id))
    }

    /// The one with this secret.
    pub(crate) async fn invitation(&self, hash: &str) -> Result<Option<Invited>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            narrowing!("i"),
            "i.id, u.name, i.label, i.ends, i.redeemed FROM invitations i JOIN users u ON u.id = i.login WHERE i.hash = $1",
        ))
        .bind(hash)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(invited).transpose()
    }

    /// Gives it to a key, once: whether nobody had taken it up before, and it had not ended. Other nodes that do so at the
    /// same moment find it given.
    pub(crate) async fn redeem(
        &self,
        change: &mut Change,
        id: InvitationId,
        key: &ParsedKey,
    ) -> Result<Option<UserId>, StoreError> {
        let login: Option<i64> = sqlx::query_scalar(
            "UPDATE invitations SET redeemed = $1, fingerprint = $2 \
             WHERE id = $3 AND redeemed IS NULL AND ends > $1 RETURNING login",
        )
        .bind(now())
        .bind(&key.fingerprint)
        .bind(id.0)
        .fetch_optional(&mut **change)
        .await?;
        Ok(login.map(UserId))
    }

    /// Whether this key has taken it up.
    pub(crate) async fn is_redeemed_by(&self, id: InvitationId, fingerprint: &str) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT id FROM invitations WHERE id = $1 AND fingerprint = $2")
            .bind(id.0)
            .bind(fingerprint)
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.is_some())
    }

    /// All of them, oldest first, or those of one user.
    pub(crate) async fn invitations(&self, user: Option<UserId>) -> Result<Vec<InvitationView>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            narrowing!("i"),
            "i.id, u.name, i.label, i.ends, i.redeemed, i.fingerprint FROM invitations i JOIN users u ON u.id = i.login WHERE ($1 = 0 OR i.login = $1) ORDER BY i.id",
        ))
        .bind(user.map_or(0, |id| id.0))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(view).collect()
    }

    /// Withdraws one. Says whether there was one that could still be taken up.
    pub(crate) async fn remove_invitation(&self, change: &mut Change, id: InvitationId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM invitations WHERE id = $1 AND redeemed IS NULL")
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Whether a key was revoked, for everybody.
    pub(crate) async fn is_key_revoked(&self, key: &KeyBlob) -> Result<bool, StoreError> {
        let digests = crate::control::certificates::Digests::of(key.as_bytes());
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT id FROM revocations WHERE (value = $1 AND kind || '' = 'key') OR (value = $2 AND kind || '' = 'sha1') LIMIT 1",
        )
        .bind(digests.sha256)
        .bind(digests.sha1)
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.is_some())
    }
}

fn invited(row: &AnyRow) -> Result<Invited, StoreError> {
    Ok(Invited {
        user: parse("user name", row.try_get("name")?)?,
        facts: InvitationFacts {
            id: InvitationId(row.try_get("id")?),
            expires: Timestamp(row.try_get("ends")?),
            is_redeemed: row.try_get::<Option<i64>, _>("redeemed")?.is_some(),
            scope: scope_of(row)?,
            terms: terms_of(row, TERMS)?,
        },
        label: row.try_get("label")?,
    })
}

fn view(row: &AnyRow) -> Result<InvitationView, StoreError> {
    let Invited { user, facts, label } = invited(row)?;
    Ok(InvitationView {
        id: facts.id,
        user,
        label,
        ends: facts.expires,
        login: None,
        redeemed: row.try_get::<Option<i64>, _>("redeemed")?.map(Timestamp),
        fingerprint: row.try_get("fingerprint")?,
        scope: facts.scope,
        terms: facts.terms,
    })
}
