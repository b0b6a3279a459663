//! Everything that bears on one claim, in one query: a login waits for it.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::terms::{scope_of, terms_of};
use super::users::{account_of, user_of};
use super::{Store, StoreError, parse};
use crate::domain::{AccountFacts, ClaimedName, Grant, GrantId, KeyBlob, KeyFacts, KeyId, UserFacts, UserName};

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
    /// The hash of the user's password.
    pub password: Option<String>,
    /// The latest change when it was so.
    pub change: i64,
}

/// One row for each grant, and one row for a user without any.
const KNOWN: &str = "SELECT u.id, u.name, u.services, u.status, u.view, u.expires, u.sources, u.logins, \
    (SELECT COUNT(*) FROM authenticators t WHERE t.login = u.id) AS authenticators, \
    u.uploads, u.umask, u.file_mode, u.directory_mode, u.deny_names, u.max_file_size, u.network, u.permit_open, u.permit_listen, \
    u.shell, u.forced_command, u.terminals, u.last_login, u.last_from, \
    a.id AS account_id, a.name AS account_name, a.uid, a.gid, a.home, a.status AS account_status, \
    a.expires AS account_expires, a.sources AS account_sources, \
    g.id AS grant_id, g.path, g.mode, g.no_exec, k.id AS key_id, k.fingerprint, k.label, \
    k.expires AS key_expires, k.sources AS key_sources, k.scope_paths, k.scope_mode, k.scope_services, \
    k.no_terminal, p.hash, \
    (SELECT latest FROM change_count WHERE id = 1) AS change \
    FROM users u JOIN accounts a ON a.id = u.account \
    LEFT JOIN grants g ON g.login = u.id \
    LEFT JOIN public_keys k ON k.login = u.id AND k.encoded = $2 \
    LEFT JOIN passwords p ON p.login = u.id \
    WHERE u.name = $1 ORDER BY g.id";

impl Store {
    /// Who is behind a name, and whether a key is theirs. What is no name is nobody's, and takes the same query to find
    /// out.
    pub(crate) async fn known(&self, name: &ClaimedName, key: Option<&KeyBlob>) -> Result<Option<Known>, StoreError> {
        let is_name = name.as_unchecked_str().parse::<UserName>().is_ok();
        let rows = sqlx::query(KNOWN)
            .bind(if is_name { name.as_unchecked_str() } else { "" })
            .bind(key.map_or(&[][..], KeyBlob::as_bytes))
            .fetch_all(&self.pool)
            .await?;
        let Some(first) = rows.first() else { return Ok(None) };
        Ok(Some(Known {
            account: account_of(first)?,
            user: user_of(first)?,
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
    let Some(id) = row.try_get::<Option<i64>, _>("key_id")? else { return Ok(None) };
    Ok(Some(KeyFacts {
        id: KeyId(id),
        fingerprint: row.try_get("fingerprint")?,
        label: row.try_get("label")?,
        scope: scope_of(row)?,
        terms: terms_of(row, "key_expires", "key_sources")?,
    }))
}
