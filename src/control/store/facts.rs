//! Everything that bears on one claim, in one query: a login waits for it.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::terms::{KEY_TERMS, scope_of, terms_of};
use super::users::{account_of, columns_of_account, columns_of_user, user_of};
use super::{Store, StoreError, parse};
use crate::control::certificates::{Digests, Parsed};
use crate::domain::{
    AccountFacts, AuthorityFacts, ClaimedName, Grant, GrantId, KeyBlob, KeyFacts, UserFacts, UserName,
};

/// What is shown for a name, as far as rows say something about it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Presented<'a> {
    /// Nothing that has a row of its own.
    Nothing,
    /// A key.
    Key(&'a KeyBlob),
    /// A certificate.
    Certificate(&'a Parsed),
}

/// A user that a claim names.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Its account.
    pub account: AccountFacts,
    /// The user.
    pub user: UserFacts,
    /// What it may reach, in the order in which it was given.
    pub grants: Vec<Grant>,
    /// The key that was asked about, if it is the user's.
    pub key: Option<KeyFacts>,
    /// Who is said to have signed the certificate that was asked about, if that is somebody who speaks for the user.
    pub authority: Option<AuthorityFacts>,
    /// Whether the one or the other was revoked, for everybody.
    pub is_revoked: bool,
    /// The hash of the user's password.
    pub password: Option<String>,
    /// The latest change when it was so.
    pub change: i64,
}

/// One row for each grant, and one row for a user without any.
///
/// Revocations are found by their value: what is joined to the kind keeps SQLite from going through all of a kind, which its
/// planner prefers where it has no statistics, and of which there may be very many.
const KNOWN: &str = concat!(
    "SELECT ",
    columns_of_user!(),
    ", ",
    columns_of_account!(),
    ", g.id AS grant_id, g.path, g.mode, g.no_exec, k.fingerprint, k.label, \
    k.expires AS key_expires, k.sources AS key_sources, k.session_limits AS key_session_limits, k.hours AS key_hours, \
    k.scope_paths, k.scope_mode, k.scope_services, k.no_terminal, k.scope_command, k.scope_open, k.scope_listen, p.hash, \
    (SELECT COUNT(*) FROM revocations r WHERE (r.value = $3 AND r.kind || '' = 'sha1') \
    OR (r.value = $4 AND r.kind || '' = 'key')) AS revocations, \
    (SELECT latest FROM change_count WHERE id = 1) AS change \
    FROM users u JOIN accounts a ON a.id = u.account \
    LEFT JOIN grants g ON g.login = u.id \
    LEFT JOIN public_keys k ON k.login = u.id AND k.encoded = $2 \
    LEFT JOIN passwords p ON p.login = u.id \
    WHERE u.name = $1 ORDER BY g.id"
);

impl Store {
    /// Who is behind a name, and whether a key is theirs. What is no name is nobody's, and takes the same query to find
    /// out.
    ///
    /// Where a host has users of its own both databases are asked at the same time, for everybody: how long it takes says
    /// nothing of who is in which.
    pub(crate) async fn known(&self, name: &ClaimedName, shown: Presented<'_>) -> Result<Option<Known>, StoreError> {
        let Some(foreign) = self.foreign() else { return self.ours(name, shown).await };
        let wanted = name.as_unchecked_str().parse::<UserName>().ok();
        let key = if let Presented::Key(key) = shown { Some(key) } else { None };
        let (ours, theirs) = tokio::join!(self.ours(name, shown), foreign.known(wanted.as_ref(), key));
        match (ours?, theirs) {
            (Some(ours), _) => Ok(Some(ours)),
            (None, theirs) => match theirs? {
                Some(theirs) => Ok(Some(self.vetted(theirs, shown).await?)),
                None => Ok(None),
            },
        }
    }

    /// Somebody of the host's own database, with what ours says of everybody: what was revoked, and whose certificates are
    /// taken.
    async fn vetted(&self, known: Known, shown: Presented<'_>) -> Result<Known, StoreError> {
        let (authority, is_revoked) = match shown {
            Presented::Nothing => (None, false),
            Presented::Key(key) => {
                let digests = Digests::of(key.as_bytes());
                let revoked = "SELECT COUNT(*) FROM revocations WHERE (value = $1 AND kind || '' = 'sha1') OR (value = $2 AND kind || '' = 'key')";
                let count = sqlx::query_scalar::<_, i64>(revoked).bind(digests.sha1).bind(digests.sha256);
                (None, count.fetch_one(&self.pool).await? > 0)
            }
            Presented::Certificate(shown) => {
                let authority = self.authority_for(known.user.id, known.account.id, &shown.authority.sha256).await?;
                (authority, self.is_revoked(shown).await?)
            }
        };
        Ok(Known { authority, is_revoked, ..known })
    }

    /// The same, of users that have a row here.
    async fn ours(&self, name: &ClaimedName, shown: Presented<'_>) -> Result<Option<Known>, StoreError> {
        let key = if let Presented::Key(key) = shown { key.as_bytes() } else { &[] };
        let digests = Digests::of(key);
        let is_name = name.as_unchecked_str().parse::<UserName>().is_ok();
        let rows = sqlx::query(KNOWN)
            .bind(if is_name { name.as_unchecked_str() } else { "" })
            .bind(key)
            .bind(digests.sha1)
            .bind(digests.sha256)
            .fetch_all(&self.pool)
            .await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let (account, user) = (account_of(first)?, user_of(first)?);
        let (authority, is_revoked) = match shown {
            Presented::Certificate(shown) => {
                let authority = self.authority_for(user.id, account.id, &shown.authority.sha256).await?;
                (authority, self.is_revoked(shown).await?)
            }
            _ => (None, first.try_get::<i64, _>("revocations")? > 0),
        };
        Ok(Some(Known {
            account,
            user,
            authority,
            is_revoked,
            grants: rows.iter().filter_map(|row| grant_of(row).transpose()).collect::<Result<_, _>>()?,
            key: key_of(first)?,
            password: first.try_get("hash")?,
            change: first.try_get("change")?,
        }))
    }
}

fn grant_of(row: &AnyRow) -> Result<Option<Grant>, StoreError> {
    let Some(id) = row.try_get::<Option<i64>, _>("grant_id")? else { return Ok(None) };
    Ok(Some(Grant {
        id: GrantId(id),
        path: parse("path", row.try_get("path")?)?,
        mode: parse("mode", row.try_get("mode")?)?,
        no_exec: row.try_get::<i64, _>("no_exec")? != 0,
    }))
}

fn key_of(row: &AnyRow) -> Result<Option<KeyFacts>, StoreError> {
    let Some(fingerprint) = row.try_get::<Option<String>, _>("fingerprint")? else { return Ok(None) };
    Ok(Some(KeyFacts {
        home: fingerprint.clone(),
        fingerprint,
        certified: None,
        label: row.try_get("label")?,
        scope: scope_of(row)?,
        terms: terms_of(row, KEY_TERMS)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::store::testing::on_sqlite;

    /// However much there is of anything, a login goes along indexes that lead to its own rows, also where nobody has ever
    /// gathered statistics.
    #[tokio::test]
    async fn a_look_up_goes_through_no_table() {
        let fresh = on_sqlite();
        let store = Store::open(&fresh.database).await.expect("a database");
        let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {KNOWN}")));
        let rows = plan.bind("bob").bind(&b"key"[..]).bind("sha1").bind("sha256").fetch_all(&store.pool).await;
        let steps: Vec<String> =
            rows.expect("a plan").iter().map(|row| row.try_get("detail").expect("a step")).collect();
        assert!(steps.iter().all(|step| !step.starts_with("SCAN")), "{steps:#?}");
        let of_revocations: Vec<&String> = steps.iter().filter(|step| step.starts_with("SEARCH r ")).collect();
        assert_eq!(of_revocations.len(), 2, "{steps:#?}");
        assert!(of_revocations.iter().all(|step| step.contains("revocations_by_value (value=?)")), "{steps:#?}");
        store.close().await;
    }
}
