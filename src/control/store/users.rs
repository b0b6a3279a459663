//! Rows of users and their passwords.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::limits::{ACCOUNT_LIMITS, LIMITS, limits_of};
use super::programs::{last_login_of, programs_of};
use super::terms::{ACCOUNT_TERMS, TERMS, terms_of};
use super::{Change, Store, StoreError, id_number, now, parse, status};
use crate::control::outcome::UserView;
use crate::domain::{
    AccountFacts, AccountId, AccountName, ByteCount, ForwardPolicy, Services, Status, UploadPolicy, UserFacts, UserId,
    UserName, View,
};

/// The columns that [`user_of`] reads, of users by the letter u.
macro_rules! columns_of_user {
    () => {
        "u.id, u.name, u.services, u.status, u.view, u.expires, u.sources, u.session_limits, u.hours, u.logins, \
         u.principals, u.own_keys, \
         (SELECT COUNT(*) FROM authenticators t WHERE t.login = u.id) AS authenticators, \
         u.uploads, u.umask, u.file_mode, u.directory_mode, u.deny_names, u.max_file_size, \
         u.network, u.permit_open, u.permit_listen, u.shell, u.forced_command, u.terminals, u.linger, \
         u.last_login, u.last_from, u.max_memory, u.max_processes, u.max_cpu"
    };
}
pub(super) use columns_of_user;

/// The columns that [`account_of`] reads beside them, of the user's account by the letter a.
macro_rules! columns_of_account {
    () => {
        "a.id AS account_id, a.name AS account_name, a.uid, a.gid, a.home, a.status AS account_status, \
         a.expires AS account_expires, a.sources AS account_sources, a.session_limits AS account_session_limits, \
         a.hours AS account_hours, a.max_memory AS account_memory, a.max_processes AS account_processes, \
         a.max_cpu AS account_cpu"
    };
}
pub(super) use columns_of_account;

/// What is listed of users, with what is asked of them still to come.
const LISTED: &str = concat!(
    "SELECT ",
    columns_of_user!(),
    ", a.name AS account_name, \
     (SELECT COUNT(*) FROM public_keys k WHERE k.login = u.id) AS key_count, \
     (SELECT COUNT(*) FROM passwords p WHERE p.login = u.id) AS password_count \
     FROM users u JOIN accounts a ON a.id = u.account"
);

impl Store {
    /// Adds a user to an account.
    pub(crate) async fn add_user(
        &self,
        change: &mut Change,
        account: AccountId,
        name: &UserName,
        services: Services,
        view: Option<View>,
    ) -> Result<UserId, StoreError> {
        let id = sqlx::query_scalar(
            "INSERT INTO users (account, name, services, status, view, created) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
        )
        .bind(account.0)
        .bind(name.as_str())
        .bind(services.to_string())
        .bind(Status::Active.as_str())
        .bind(view.map(View::as_str))
        .bind(now())
        .fetch_one(&mut **change)
        .await?;
        Ok(UserId(id))
    }

    /// One user with its account.
    pub(crate) async fn user(&self, name: &str) -> Result<Option<(AccountFacts, UserFacts)>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            columns_of_user!(),
            ", ",
            columns_of_account!(),
            " FROM users u JOIN accounts a ON a.id = u.account WHERE u.name = $1",
        ))
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| Ok((account_of(&row)?, user_of(&row)?))).transpose()
    }

    /// A page of all users, or of those of one account, by name. Their grants are left out.
    pub(crate) async fn users(
        &self,
        account: Option<&AccountName>,
        after: Option<&UserName>,
        most: u32,
    ) -> Result<Vec<UserView>, StoreError> {
        let after = after.map_or("", UserName::as_str);
        // Two queries: the one walks along the names, the other along those of an account.
        let rows = match account {
            None => {
                let all = "WHERE u.name > $1 ORDER BY u.name LIMIT $2";
                sqlx::query(sqlx::AssertSqlSafe(format!("{LISTED} {all}"))).bind(after)
            }
            Some(account) => {
                let of = "WHERE u.account = (SELECT id FROM accounts WHERE name = $1) AND u.name > $2 ORDER BY u.name LIMIT $3";
                sqlx::query(sqlx::AssertSqlSafe(format!("{LISTED} {of}"))).bind(account.as_str()).bind(after)
            }
        };
        rows.bind(i64::from(most)).fetch_all(&self.pool).await?.iter().map(view).collect()
    }

    /// One user as it is listed.
    pub(crate) async fn user_view(&self, name: &UserName) -> Result<Option<UserView>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{LISTED} WHERE u.name = $1"))).bind(name.as_str());
        row.fetch_optional(&self.pool).await?.as_ref().map(view).transpose()
    }

    /// How many users an account has.
    pub(crate) async fn user_count(&self, account: AccountId) -> Result<u32, StoreError> {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM users WHERE account = $1").bind(account.0);
        id_number(count.fetch_one(&self.pool).await?)
    }

    /// Names of users, for "did you mean". Among many nobody looks for the nearest.
    pub(crate) async fn user_names(&self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT name FROM users ORDER BY name LIMIT 20000").fetch_all(&self.pool).await?)
    }

    /// Removes a user with its grants and credentials.
    pub(crate) async fn remove_user(&self, change: &mut Change, id: UserId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM users WHERE id = $1").bind(id.0).execute(&mut **change).await?;
        Ok(())
    }

    /// Says how a user sees its grants; `None` for as its services suggest.
    pub(crate) async fn set_user_view(
        &self,
        change: &mut Change,
        id: UserId,
        view: Option<View>,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET view = $1 WHERE id = $2")
            .bind(view.map(View::as_str))
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Says how what a user uploads is written.
    pub(crate) async fn set_user_uploads(
        &self,
        change: &mut Change,
        id: UserId,
        policy: &UploadPolicy,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE users SET uploads = $1, umask = $2, file_mode = $3, directory_mode = $4, deny_names = $5, \
             max_file_size = $6 WHERE id = $7",
        )
        .bind(policy.uploads.as_str())
        .bind(policy.umask.map(|mode| mode.to_string()))
        .bind(policy.file_mode.map(|mode| mode.to_string()))
        .bind(policy.directory_mode.map(|mode| mode.to_string()))
        .bind(policy.deny_names.to_string())
        .bind(policy.max_file_size.and_then(|size| i64::try_from(size.get()).ok()))
        .bind(id.0)
        .execute(&mut **change)
        .await?;
        Ok(())
    }

    /// Says what a user may forward, and in which network.
    pub(crate) async fn set_user_forwards(
        &self,
        change: &mut Change,
        id: UserId,
        policy: &ForwardPolicy,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET network = $1, permit_open = $2, permit_listen = $3 WHERE id = $4")
            .bind(policy.network.as_str())
            .bind(policy.permit_open.to_string())
            .bind(policy.permit_listen.to_string())
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Lets a user log in, or not.
    pub(crate) async fn set_user_status(
        &self,
        change: &mut Change,
        id: UserId,
        status: Status,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET status = $1 WHERE id = $2")
            .bind(status.as_str())
            .bind(id.0)
            .execute(&mut **change)
            .await?;
        Ok(())
    }

    /// Keeps another hash of the same password, unless it was changed meanwhile.
    pub(crate) async fn replace_hash(&self, id: UserId, old: &str, new: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE passwords SET hash = $1 WHERE login = $2 AND hash = $3")
            .bind(new)
            .bind(id.0)
            .bind(old)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Keeps the hash of a password, or forgets it.
    pub(crate) async fn set_password(
        &self,
        change: &mut Change,
        id: UserId,
        hash: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM passwords WHERE login = $1").bind(id.0).execute(&mut **change).await?;
        if let Some(hash) = hash {
            sqlx::query("INSERT INTO passwords (login, hash, changed) VALUES ($1, $2, $3)")
                .bind(id.0)
                .bind(hash)
                .bind(now())
                .execute(&mut **change)
                .await?;
        }
        Ok(())
    }
}

pub(super) fn user_of(row: &AnyRow) -> Result<UserFacts, StoreError> {
    Ok(UserFacts {
        id: UserId(row.try_get("id")?),
        name: parse("user name", row.try_get("name")?)?,
        status: status(row.try_get("status")?)?,
        terms: terms_of(row, TERMS)?,
        services: parse("list of services", row.try_get("services")?)?,
        view: maybe(row, "view")?,
        uploads: UploadPolicy {
            uploads: parse("way of writing uploads", row.try_get("uploads")?)?,
            umask: maybe(row, "umask")?,
            file_mode: maybe(row, "file_mode")?,
            directory_mode: maybe(row, "directory_mode")?,
            deny_names: parse("list of names", row.try_get("deny_names")?)?,
            max_file_size: row.try_get::<Option<i64>, _>("max_file_size")?.map(size).transpose()?,
        },
        forwards: ForwardPolicy {
            network: parse("network", row.try_get("network")?)?,
            permit_open: parse("list of places", row.try_get("permit_open")?)?,
            permit_listen: parse("list of places", row.try_get("permit_listen")?)?,
        },
        logins: parse("list of ways in", row.try_get("logins")?)?,
        principals: parse("list of principals", row.try_get("principals")?)?,
        own_keys: parse("word on own keys", row.try_get("own_keys")?)?,
        has_authenticator: row.try_get::<i64, _>("authenticators")? > 0,
        programs: programs_of(row)?,
        limits: limits_of(row, LIMITS)?,
        last_login: last_login_of(row)?,
    })
}

/// What a column that may say nothing says.
pub(super) fn maybe<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> Result<Option<T>, StoreError> {
    row.try_get::<Option<String>, _>(column)?.map(|text| parse(column, text)).transpose()
}

fn size(number: i64) -> Result<ByteCount, StoreError> {
    let size = u64::try_from(number).ok().and_then(|number| ByteCount::try_from(number).ok());
    size.ok_or_else(|| StoreError::Row { what: "size", text: number.to_string() })
}

pub(super) fn account_of(row: &AnyRow) -> Result<AccountFacts, StoreError> {
    Ok(AccountFacts {
        id: AccountId(row.try_get("account_id")?),
        name: parse("account name", row.try_get("account_name")?)?,
        uid: id_number(row.try_get("uid")?)?,
        gid: id_number(row.try_get("gid")?)?,
        home: parse("home", row.try_get("home")?)?,
        status: status(row.try_get("account_status")?)?,
        terms: terms_of(row, ACCOUNT_TERMS)?,
        limits: limits_of(row, ACCOUNT_LIMITS)?,
    })
}

fn view(row: &AnyRow) -> Result<UserView, StoreError> {
    let user = user_of(row)?;
    Ok(UserView {
        view: user.view(),
        uploads: user.uploads,
        forwards: user.forwards,
        terms: user.terms,
        logins: user.logins,
        principals: user.principals,
        own_keys: user.own_keys,
        totp: user.has_authenticator,
        programs: user.programs,
        limits: user.limits,
        name: user.name,
        account: parse("account name", row.try_get("account_name")?)?,
        services: user.services,
        status: user.status,
        grants: Vec::new(),
        keys: id_number(row.try_get("key_count")?)?,
        password: row.try_get::<i64, _>("password_count")? > 0,
    })
}
