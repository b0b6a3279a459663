//! Rows of authenticators and recovery codes.

use sqlx::Row;

use super::{Change, Store, StoreError, now};
use crate::domain::{Logins, UserId};

/// What is known of a user's authenticator.
#[derive(Clone)]
pub(crate) struct Authenticator {
    /// In base32.
    pub secret: String,
    /// The last step whose code was taken.
    pub last_step: i64,
}

impl Store {
    /// A user's authenticator.
    pub(crate) async fn authenticator(&self, user: UserId) -> Result<Option<Authenticator>, StoreError> {
        let row = sqlx::query("SELECT secret, last_step FROM authenticators WHERE login = $1")
            .bind(user.0)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok(Authenticator { secret: row.try_get("secret")?, last_step: row.try_get("last_step")? }))
            .transpose()
    }

    /// Gives a user an authenticator, with the hashes of its recovery codes.
    pub(crate) async fn add_authenticator(
        &self,
        change: &mut Change,
        user: UserId,
        secret: &str,
        recovery: &[String],
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO authenticators (login, secret, last_step, created) VALUES ($1, $2, 0, $3)")
            .bind(user.0)
            .bind(secret)
            .bind(now())
            .execute(&mut **change)
            .await?;
        for hash in recovery {
            sqlx::query("INSERT INTO recovery_codes (login, hash) VALUES ($1, $2)")
                .bind(user.0)
                .bind(hash)
                .execute(&mut **change)
                .await?;
        }
        Ok(())
    }

    /// Takes a user's authenticator and its recovery codes away.
    pub(crate) async fn remove_authenticator(&self, change: &mut Change, user: UserId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM authenticators WHERE login = $1").bind(user.0).execute(&mut **change).await?;
        sqlx::query("DELETE FROM recovery_codes WHERE login = $1").bind(user.0).execute(&mut **change).await?;
        Ok(())
    }

    /// Takes the code of a step, once: whether nobody had taken it or a later one.
    pub(crate) async fn take_step(&self, user: UserId, step: i64) -> Result<bool, StoreError> {
        let taken = sqlx::query("UPDATE authenticators SET last_step = $1 WHERE login = $2 AND last_step < $1")
            .bind(step)
            .bind(user.0)
            .execute(&self.pool)
            .await?;
        Ok(taken.rows_affected() == 1)
    }

    /// Takes a recovery code, once.
    pub(crate) async fn take_recovery_code(&self, user: UserId, hash: &str) -> Result<bool, StoreError> {
        let taken = sqlx::query("DELETE FROM recovery_codes WHERE login = $1 AND hash = $2")
            .bind(user.0)
            .bind(hash)
            .execute(&self.pool)
            .await?;
        Ok(taken.rows_affected() == 1)
    }

    /// Says what a user has to show together.
    pub(crate) async fn set_user_logins(
        &self,
        change: &mut Change,
        user: UserId,
        logins: &Logins,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET logins = $1 WHERE id = $2")
            .bind(logins.to_string())
            .bind(user.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }
}
