//! Users of a host's own database: four queries of the operator's, which read and never write. Such users are found by name
//! like ours and have no row here.
//!
//! Trusts: the queries, which the operator wrote. What they answer is data from outside: each value is read as what it stands
//! for, and checked as a command's would be. The name of a login is bound to `$1` and never becomes part of a query.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, AssertSqlSafe, Column as _, Row as _, TypeInfo as _, ValueRef as _};

use super::facts::Known;
use super::tables::{Cell, Kind, table};
use super::{Bell, StoreError, connect, now};
use crate::config::{Database, Ids, UsersFrom};
use crate::control::hours::opening;
use crate::control::keys::ParsedKey;
use crate::control::operation::{OperationError, accounts, grants, programs};
use crate::domain::{
    AccountFacts, AccountId, ForwardPolicy, Grant, GrantId, HomePath, KeyBlob, KeyFacts, Limits, Linger, Mode, OwnKeys,
    ProgramPolicy, RelPath, Services, Status, Terms, Timestamp, UploadPolicy, UserFacts, UserId, UserName,
};

/// Most connections to it; a look-up asks up to three questions at once.
const MOST_CONNECTIONS: u32 = 4;
/// Longest that a look-up takes. A client that logs in waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it is left alone when it did not answer.
const REST: Duration = Duration::from_secs(1);
/// Most rows of an answer that are looked at.
const MOST_ROWS: usize = 256;

/// The host's database and what it is asked.
#[derive(Debug)]
pub(in crate::control) struct Foreign {
    pool: AnyPool,
    from: UsersFrom,
    ids: Ids,
    /// When it last did not answer.
    failed: Mutex<Option<Instant>>,
}

/// Why somebody cannot be looked up there.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// It does not answer.
    #[error("ask the host's database {database} ({query})")]
    Query {
        /// Which database.
        database: Database,
        /// Which setting of the configuration.
        query: &'static str,
        /// Why not.
        source: sqlx::Error,
    },
    /// It takes too long.
    #[error("the host's database {database} does not answer in time")]
    Late {
        /// Which database.
        database: Database,
    },
    /// What it answers makes no user.
    #[error("{query} of {user}: {what}")]
    Wrong {
        /// Which setting of the configuration.
        query: &'static str,
        /// Whose.
        user: String,
        /// What is wrong.
        what: String,
    },
}

impl ForeignError {
    /// Whether it is not there to be asked.
    pub(in crate::control) fn is_away(&self) -> bool {
        match self {
            ForeignError::Query { source, .. } => super::is_away(source),
            ForeignError::Late { .. } => true,
            ForeignError::Wrong { .. } => false,
        }
    }
}

type Result<T> = std::result::Result<T, ForeignError>;

/// A row by the names of its columns.
type Fields = BTreeMap<String, Cell>;

impl Foreign {
    /// Makes ready to ask; connections are made when somebody is looked up.
    pub(in crate::control) fn new(from: &UsersFrom, ids: Ids) -> std::result::Result<Foreign, StoreError> {
        let failed = |source| StoreError::Open { database: from.database.clone(), source };
        let pool = AnyPoolOptions::new().max_connections(MOST_CONNECTIONS).acquire_timeout(PATIENCE);
        let pool = match &from.database {
            Database::Server(_) => pool.after_connect(|connection, _| {
                let read_only = "SET default_transaction_read_only = on";
                Box::pin(async move { sqlx::raw_sql(read_only).execute(connection).await.map(drop) })
            }),
            Database::File(_) => pool,
        };
        let options = connect::read_only(&from.database).map_err(failed)?;
        Ok(Foreign { pool: pool.connect_lazy_with(options), from: from.clone(), ids, failed: Mutex::default() })
    }

    /// Who is behind a name there, and whether a key is theirs. What is no name is nobody's, and takes as long to find out.
    ///
    /// A database that has just not answered is left alone for a moment, so that nobody waits for it who is not in it.
    pub(in crate::control) async fn known(
        &self,
        name: Option<&UserName>,
        key: Option<&KeyBlob>,
    ) -> Result<Option<Known>> {
        let late = || ForeignError::Late { database: self.from.database.clone() };
        if self.failed().is_some_and(|then| then.elapsed() < REST) {
            return Err(late());
        }
        let nobody = "-".to_owned();
        let text = name.map_or(nobody, |name| name.as_str().to_owned());
        let found =
            tokio::time::timeout(PATIENCE, self.look_up(&text, name, key)).await.unwrap_or_else(|_| Err(late()));
        *self.failed() = found.as_ref().err().filter(|error| error.is_away()).map(|_| Instant::now());
        found
    }

    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Longest until a change is noticed.
    pub(in crate::control) fn poll(&self) -> Duration {
        self.from.poll
    }

    /// Rings when something was changed there.
    pub(in crate::control) fn bell(&self) -> Bell {
        match (&self.from.database, &self.from.notify) {
            (Database::Server(url), Some(channel)) => Bell::on(url, channel),
            _ => Bell::Silent,
        }
    }

    async fn look_up(&self, text: &str, name: Option<&UserName>, key: Option<&KeyBlob>) -> Result<Option<Known>> {
        let users = self.ask("users_query", Some(&self.from.user), text);
        let keys = self.ask("keys_query", self.from.keys.as_deref().filter(|_| key.is_some()), text);
        let secrets = self.ask("secrets_query", self.from.secrets.as_deref(), text);
        let policy = self.ask("policy_query", self.from.policy.as_deref(), text);
        let (users, keys, secrets, policy) = tokio::try_join!(users, keys, secrets, policy)?;
        let Some(name) = name else { return Ok(None) };
        let wrong = |query| move |what: String| ForeignError::Wrong { query, user: name.to_string(), what };
        let row = match users.as_slice() {
            [] => return Ok(None),
            [row] => row,
            _ => return Err(wrong("users_query")("it answers with more than one row".to_owned())),
        };
        let (account, user) = self.user(name, row).map_err(wrong("users_query"))?;
        let grants = match self.from.policy {
            None => vec![Grant { id: GrantId(0), path: here(), mode: Mode::Rw, no_exec: false }],
            Some(_) => grants_of(&account.home, &policy).map_err(wrong("policy_query"))?,
        };
        let check = || {
            accounts::check(self.ids, (account.uid, account.gid), &account.home)?;
            programs::check_forced(&user.name, user.services, &user.programs)?;
            grants::check_all(&user.name, user.view(), &account.home, &grants)
        };
        check().map_err(|error: OperationError| wrong("users_query")(error.to_string()))?;
        let key = key.and_then(|key| keys.iter().find_map(|row| key_of(name, row).filter(|k| k.blob == *key)));
        let password = secrets.iter().find_map(|row| row.values().find_map(Cell::text)).filter(|text| !text.is_empty());
        let password = password.map(crate::control::transfer::digest_of_openssl);
        Ok(Some(Known {
            account,
            user,
            grants,
            key: key.map(key_facts),
            authority: None,
            is_revoked: false,
            password,
            change: 0,
        }))
    }

    /// The rows that a query answers for a name.
    async fn ask(&self, setting: &'static str, query: Option<&str>, name: &str) -> Result<Vec<Fields>> {
        let Some(query) = query else { return Ok(Vec::new()) };
        let failed = |source| ForeignError::Query { database: self.from.database.clone(), query: setting, source };
        let mut rows = sqlx::query(AssertSqlSafe(query.to_owned())).bind(name.to_owned()).fetch(&self.pool);
        let mut found = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            found.push(fields(&row).map_err(failed)?);
            if found.len() > MOST_ROWS {
                let what = format!("it answers with more than {MOST_ROWS} rows");
                return Err(ForeignError::Wrong { query: setting, user: name.to_owned(), what });
            }
        }
        Ok(found)
    }

    fn user(&self, name: &UserName, row: &Fields) -> std::result::Result<(AccountFacts, UserFacts), String> {
        let mut said = Said(row.clone());
        said.0.remove("name");
        let id =
            |number: i64| u32::try_from(number).map_err(|_| "uid and gid must be ids of users and groups".to_owned());
        let account = AccountFacts {
            id: AccountId(number_of("account", name.as_str())),
            name: said.read("users", "account")?.map_or_else(|| name.as_str().parse().map_err(text_of), Ok)?,
            uid: id(said.number("accounts", "uid")?.ok_or("it has no column uid")?)?,
            gid: id(said.number("accounts", "gid")?.ok_or("it has no column gid")?)?,
            home: said.read::<HomePath>("accounts", "home")?.ok_or("it has no column home")?,
            status: Status::Active,
            terms: Terms::default(),
            limits: Limits::default(),
        };
        let account = AccountFacts { id: AccountId(number_of("account", account.name.as_str())), ..account };
        let hours = said.read("users", "hours")?;
        let user = UserFacts {
            id: UserId(number_of("user", name.as_str())),
            name: name.clone(),
            status: match said.take("users", "status")? {
                Some(Cell::Text(text)) if text == "disabled" => Status::Disabled,
                _ => Status::Active,
            },
            terms: Terms {
                open: opening(hours.as_ref(), Timestamp(now())),
                hours,
                expires: said.number("users", "expires")?.map(Timestamp),
                from: said.read("users", "sources")?.unwrap_or_default(),
                sessions: said.read("users", "session_limits")?.unwrap_or_default(),
            },
            services: said.read::<Services>("users", "services")?.unwrap_or(self.from.services),
            view: said.read("users", "view")?,
            uploads: UploadPolicy {
                uploads: said.read("users", "uploads")?.unwrap_or_default(),
                umask: said.read("users", "umask")?,
                file_mode: said.read("users", "file_mode")?,
                directory_mode: said.read("users", "directory_mode")?,
                deny_names: said.read("users", "deny_names")?.unwrap_or_default(),
                max_file_size: said
                    .number("users", "max_file_size")?
                    .and_then(|n| u64::try_from(n).ok()?.try_into().ok()),
            },
            forwards: ForwardPolicy {
                network: said.read("users", "network")?.unwrap_or_default(),
                permit_open: said.read("users", "permit_open")?.unwrap_or_default(),
                permit_listen: said.read("users", "permit_listen")?.unwrap_or_default(),
            },
            logins: said.read("users", "logins")?.unwrap_or_default(),
            principals: Default::default(),
            own_keys: OwnKeys::Refused,
            has_authenticator: false,
            programs: ProgramPolicy {
                shell: said.read("users", "shell")?,
                forced_command: said.read("users", "forced_command")?,
                terminals: said.read("users", "terminals")?.unwrap_or_default(),
                linger: said.number("users", "linger")?.map(Linger::try_from).transpose().map_err(text_of)?,
            },
            last_login: None,
            limits: Limits::default(),
        };
        match said.0.keys().next() {
            None => Ok((account, user)),
            Some(column) => Err(format!("its column {column:?} means nothing here; leave it away or name it with AS")),
        }
    }
}

fn here() -> RelPath {
    ".".parse().expect("the home itself is a path")
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What a row says, column by column; what is left at the end means nothing.
struct Said(Fields);

impl Said {
    /// A column as it is kept in a table of ours. Nothing and an empty text are nothing said.
    fn take(&mut self, of: &str, column: &str) -> std::result::Result<Option<Cell>, String> {
        let Some(cell) = self.0.remove(column) else { return Ok(None) };
        let known = table(of).and_then(|table| table.columns.get(table.column(column)?));
        let known = known.ok_or_else(|| format!("{column} is not known"))?;
        let cell = match (known.kind, cell) {
            (_, Cell::Null) => return Ok(None),
            (_, Cell::Text(text)) if text.is_empty() => return Ok(None),
            (Kind::Number(..), Cell::Text(text)) => {
                Cell::Number(text.trim().parse().map_err(|_| format!("{column} is no number"))?)
            }
            (Kind::Number(..), cell) => cell,
            (_, Cell::Number(number)) => Cell::Text(number.to_string()),
            (_, cell) => cell,
        };
        known.read(&cell).map(Some).map_err(|why| format!("{column}: {why}"))
    }

    fn read<T: std::str::FromStr>(&mut self, of: &str, column: &str) -> std::result::Result<Option<T>, String> {
        let cell = self.take(of, column)?;
        let read = |text: &str| text.parse::<T>().map_err(|_| format!("{column} cannot be read"));
        cell.as_ref().and_then(Cell::text).map(read).transpose()
    }

    fn number(&mut self, of: &str, column: &str) -> std::result::Result<Option<i64>, String> {
        Ok(match self.take(of, column)? {
            Some(Cell::Number(number)) => Some(number),
            _ => None,
        })
    }
}

/// A row number for somebody without a row: negative, so that it is none of ours, and the same each time.
fn number_of(what: &str, name: &str) -> i64 {
    let digest = Sha256::new().chain_update(what).chain_update([0_u8]).chain_update(name).finalize();
    let bytes = digest.first_chunk::<8>().copied().unwrap_or_default();
    i64::from_be_bytes(bytes) | i64::MIN
}

/// Whether a user has no row here.
pub(in crate::control) fn is_foreign(id: UserId) -> bool {
    id.0 < 0
}

fn fields(row: &AnyRow) -> std::result::Result<Fields, sqlx::Error> {
    let mut fields = Fields::new();
    for column in row.columns() {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        let cell = match (raw.is_null(), raw.type_info().name().to_ascii_uppercase().as_str()) {
            (true, _) => Cell::Null,
            (false, "BOOLEAN" | "BOOL") => Cell::Number(i64::from(row.try_get::<bool, _>(at)?)),
            (false, "SMALLINT") => Cell::Number(row.try_get::<i16, _>(at)?.into()),
            (false, "INTEGER") => Cell::Number(row.try_get::<i32, _>(at)?.into()),
            (false, "BIGINT") => Cell::Number(row.try_get(at)?),
            (false, "BLOB") => Cell::Text(String::from_utf8_lossy(&row.try_get::<Vec<u8>, _>(at)?).into_owned()),
            (false, _) => Cell::Text(row.try_get(at)?),
        };
        fields.insert(column.name().to_ascii_lowercase(), cell);
    }
    Ok(fields)
}

/// A key of a row: its column `key`, or the only one.
fn key_of(user: &UserName, row: &Fields) -> Option<ParsedKey> {
    let text = row.get("key").or_else(|| row.values().next()).and_then(Cell::text)?;
    match crate::control::transfer::key_of_any_form(text) {
        Ok(key) if key.authority.is_none() => Some(key),
        Ok(_) => {
            tracing::warn!(%user, "an authority of certificates in the host's database is not taken");
            None
        }
        Err(why) => {
            tracing::warn!(%user, why, "a key of the host's database is not taken");
            None
        }
    }
}

fn key_facts(key: ParsedKey) -> KeyFacts {
    let ParsedKey { fingerprint, label, scope, terms, .. } = key;
    KeyFacts { home: fingerprint.clone(), fingerprint, certified: None, label, scope, terms }
}

/// Rows with `path`, `mode` and perhaps `no_exec`. A whole path has to lie in the home.
fn grants_of(home: &HomePath, rows: &[Fields]) -> std::result::Result<Vec<Grant>, String> {
    let grant = |row: &Fields| {
        let mut said = Said(row.clone());
        let text =
            said.0.remove("path").and_then(|cell| cell.text().map(str::to_owned)).ok_or("it has no column path")?;
        let path = match text.strip_prefix('/') {
            None => text.parse::<RelPath>().map_err(text_of)?,
            Some(_) => {
                let whole = text.parse::<HomePath>().map_err(text_of)?;
                let below = crate::control::transfer::below(home, &whole);
                below.ok_or_else(|| format!("{text:?} does not lie in {}", home.as_str()))?
            }
        };
        let mode = said.read("grants", "mode")?.ok_or("it has no column mode")?;
        let no_exec = said.number("grants", "no_exec")? == Some(1);
        Ok(Grant { id: GrantId(number_of("grant", path.as_str())), path, mode, no_exec })
    };
    rows.iter().map(grant).collect()
}

/// The rows of a table of another server, some columns of it. The name is an operator's, and has to be a plain one.
pub(in crate::control) async fn rows_of(
    database: &Database,
    table: &str,
    columns: &[&str],
) -> std::result::Result<Vec<BTreeMap<String, String>>, StoreError> {
    let is_plain = table.len() <= 63 && table.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_plain || table.is_empty() {
        return Err(StoreError::Row { what: "name of a table", text: table.chars().take(64).collect() });
    }
    sqlx::any::install_default_drivers();
    let failed = |source| StoreError::Open { database: database.clone(), source };
    let options = connect::read_only(database).map_err(failed)?;
    let pool = AnyPoolOptions::new().max_connections(1).connect_with(options).await.map_err(failed)?;
    let query = format!("SELECT {} FROM \"{table}\"", columns.join(", "));
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&pool).await?;
    pool.close().await;
    let text = |cell: Cell| match cell {
        Cell::Text(text) => Some(text),
        Cell::Number(number) => Some(number.to_string()),
        Cell::Null | Cell::Bytes(_) => None,
    };
    let plain =
        |row: &AnyRow| Ok(fields(row)?.into_iter().filter_map(|(name, cell)| Some((name, text(cell)?))).collect());
    rows.iter().map(plain).collect()
}
