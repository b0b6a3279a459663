//! Columns that say what programs of accounts and users may take.

use sqlx::any::AnyRow;

use super::users::maybe;
use super::{Change, Store, StoreError};
use crate::domain::{AccountId, Limits, UserId};

impl Store {
    /// Says what a user's programs may take.
    pub(crate) async fn set_user_limits(
        &self,
        change: &mut Change,
        id: UserId,
        limits: &Limits,
    ) -> Result<(), StoreError> {
        set(change, "UPDATE users SET max_memory = $1, max_processes = $2, max_cpu = $3 WHERE id = $4", id.0, limits)
            .await
    }

    /// Says what the programs of all users of an account may take together.
    pub(crate) async fn set_account_limits(
        &self,
        change: &mut Change,
        id: AccountId,
        limits: &Limits,
    ) -> Result<(), StoreError> {
        set(change, "UPDATE accounts SET max_memory = $1, max_processes = $2, max_cpu = $3 WHERE id = $4", id.0, limits)
            .await
    }
}

async fn set(change: &mut Change, statement: &'static str, id: i64, limits: &Limits) -> Result<(), StoreError> {
    sqlx::query(statement)
        .bind(limits.memory.map(|memory| memory.to_string()))
        .bind(limits.processes.map(|processes| processes.to_string()))
        .bind(limits.cpu.map(|cpu| cpu.to_string()))
        .bind(id)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// The limits in three columns.
pub(super) fn limits_of(row: &AnyRow, columns: [&'static str; 3]) -> Result<Limits, StoreError> {
    let [memory, processes, cpu] = columns;
    Ok(Limits { memory: maybe(row, memory)?, processes: maybe(row, processes)?, cpu: maybe(row, cpu)? })
}

/// Where they stand in a row of an account or a user.
pub(super) const LIMITS: [&str; 3] = ["max_memory", "max_processes", "max_cpu"];

/// Where they stand for the account in a row of one of its users.
pub(super) const ACCOUNT_LIMITS: [&str; 3] = ["account_memory", "account_processes", "account_cpu"];
