//! What rows of users say of their programs, and of the last time they logged in.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::users::maybe;
use super::{Change, Store, StoreError, parse};
use crate::domain::{ForcedCommand, LastLogin, Linger, ProgramPolicy, Services, Shell, Timestamp, UserId, UserName};

impl Store {
    /// Says what a user may open.
    pub(crate) async fn set_user_services(
        &self,
        change: &mut Change,
        id: UserId,
        services: Services,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET services = $1 WHERE id = $2")
            .bind(services.to_string())
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Says how a user's programs are run.
    pub(crate) async fn set_user_programs(
        &self,
        change: &mut Change,
        id: UserId,
        policy: &ProgramPolicy,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET shell = $1, forced_command = $2, terminals = $3, linger = $4 WHERE id = $5")
            .bind(policy.shell.as_ref().map(Shell::as_str))
            .bind(policy.forced_command.as_ref().map(ForcedCommand::to_string))
            .bind(policy.terminals.as_str())
            .bind(policy.linger.map(|linger| i64::from(linger.seconds())))
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Keeps when and from where a user logged in, unless a later time is known.
    pub(crate) async fn note_login(&self, user: &UserName, login: LastLogin) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE users SET last_login = $1, last_from = $2 \
             WHERE name = $3 AND (last_login IS NULL OR last_login < $1)",
        )
        .bind(login.at.0)
        .bind(login.from.to_string())
        .bind(user.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

pub(super) fn programs_of(row: &AnyRow) -> Result<ProgramPolicy, StoreError> {
    Ok(ProgramPolicy {
        shell: maybe(row, "shell")?,
        forced_command: maybe(row, "forced_command")?,
        terminals: parse("word on terminals", row.try_get("terminals")?)?,
        linger: row.try_get::<Option<i64>, _>("linger")?.map(linger).transpose()?,
    })
}

fn linger(seconds: i64) -> Result<Linger, StoreError> {
    Linger::try_from(seconds).map_err(|_| StoreError::Row { what: "time to linger", text: seconds.to_string() })
}

pub(super) fn last_login_of(row: &AnyRow) -> Result<Option<LastLogin>, StoreError> {
    let at = row.try_get::<Option<i64>, _>("last_login")?.map(Timestamp);
    let from = maybe(row, "last_from")?;
    Ok(at.zip(from).map(|(at, from)| LastLogin { at, from }))
}
