//! Rows of bans.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Change, Store, StoreError, now, parse};
use crate::domain::{Ban, BanOrigin, Banned, Timestamp};

/// Most bans that are read; the newest count. Each is some hundred bytes in every node.
const MOST: i64 = 20_000;

impl Store {
    /// Adds a ban, or says anew until when and why. What an operator said is not taken back by a penalty.
    pub(in crate::control) async fn add_ban(&self, change: &mut Change, ban: &Ban) -> Result<(), StoreError> {
        let operators_stay = match ban.origin {
            BanOrigin::Operator => "",
            BanOrigin::Penalty => " WHERE bans.origin = 'penalty' OR bans.ends <= excluded.made",
        };
        let add = format!(
            "INSERT INTO bans (block, name, origin, reason, made, ends) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (block, name) DO UPDATE SET origin = excluded.origin, reason = excluded.reason, \
             made = excluded.made, ends = excluded.ends{operators_stay}"
        );
        let (block, name) = columns(&ban.who);
        sqlx::query(sqlx::AssertSqlSafe(add))
            .bind(block)
            .bind(name)
            .bind(ban.origin.as_str())
            .bind(&ban.reason)
            .bind(now())
            .bind(ban.ends.map(|end| end.0))
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Removes a ban; says whether there was one.
    pub(in crate::control) async fn remove_ban(&self, change: &mut Change, who: &Banned) -> Result<bool, StoreError> {
        let (block, name) = columns(who);
        let removed = sqlx::query("DELETE FROM bans WHERE block = $1 AND name = $2").bind(block).bind(name);
        Ok(removed.execute(&mut **change).await?.rows_affected() > 0)
    }

    /// Forgets bans that are over.
    pub(in crate::control) async fn forget_old_bans(&self, change: &mut Change) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM bans WHERE ends <= $1").bind(now()).execute(&mut **change).await?;
        Ok(())
    }

    /// All bans that are not over, newest first.
    pub(in crate::control) async fn bans(&self) -> Result<Vec<Ban>, StoreError> {
        let rows = sqlx::query(
            "SELECT block, name, origin, reason, ends FROM bans WHERE ends IS NULL OR ends > $1 \
             ORDER BY made DESC, id DESC LIMIT $2",
        )
        .bind(now())
        .bind(MOST)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(ban).collect()
    }
}

fn columns(who: &Banned) -> (String, String) {
    let block = who.block().map_or_else(String::new, |block| block.to_string());
    (block, who.user().map_or_else(String::new, |user| user.to_string()))
}

fn ban(row: &AnyRow) -> Result<Ban, StoreError> {
    let (block, name): (String, String) = (row.try_get("block")?, row.try_get("name")?);
    let parsed_block = if block.is_empty() { None } else { Some(parse("banned address", block.clone())?) };
    let parsed_name = if name.is_empty() { None } else { Some(parse("banned name", name)?) };
    Ok(Ban {
        who: Banned::of(parsed_block, parsed_name).ok_or(StoreError::Row { what: "ban", text: block })?,
        ends: row.try_get::<Option<i64>, _>("ends")?.map(Timestamp),
        reason: row.try_get("reason")?,
        origin: parse("origin of a ban", row.try_get("origin")?)?,
    })
}
