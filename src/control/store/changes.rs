//! Who was changed, in order, so that every node on this database hears of it: a row in the same transaction as the change
//! itself, and a notification that PostgreSQL delivers when it is committed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::{PgListener, PgPoolOptions};

use super::{AuditRow, Change, Store, StoreError, now, parse};
use crate::config::{Database, ServerUrl};
use crate::domain::{AccountName, UserName};

/// How many changes are kept. A node that was away for longer looks at everybody again.
const KEPT: i64 = 10_000;
/// Longest that listening for notifications may take to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whom a change may take something from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum About {
    /// One user.
    User(UserName),
    /// One user who has another password, or none.
    Password(UserName),
    /// All users of an account.
    Account(AccountName),
    /// Bans, which take nothing from anybody that the database knows of.
    Bans,
    /// Perhaps everybody.
    Anyone,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            About::User(name) => write!(f, "user {name}"),
            About::Password(name) => write!(f, "password {name}"),
            About::Account(name) => write!(f, "account {name}"),
            About::Bans => f.write_str("bans"),
            About::Anyone => f.write_str("anyone"),
        }
    }
}

impl FromStr for About {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(' ') {
            Some(("user", name)) => name.parse().map(About::User).map_err(drop),
            Some(("password", name)) => name.parse().map(About::Password).map_err(drop),
            Some(("account", name)) => name.parse().map(About::Account).map_err(drop),
            _ if text == "bans" => Ok(About::Bans),
            // Of a newer release, perhaps.
            _ => Ok(About::Anyone),
        }
    }
}

/// What was changed since somebody last looked.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::control) enum Changes {
    /// These, in order, each with its number.
    Known(Vec<(i64, About)>),
    /// More than are kept; the last has this number.
    TooMany(i64),
}

impl Store {
    /// The same database, for a change that is about somebody.
    pub(in crate::control) fn about(&self, about: About) -> Store {
        Store { about, ..self.clone() }
    }

    /// The same database, for a change that is on record too.
    pub(in crate::control) fn noting(&self, row: Option<AuditRow>) -> Store {
        Store { noting: row.map(Arc::new), ..self.clone() }
    }

    /// Puts a change on record, first of all: whoever changes something waits here for whoever does so already.
    pub(super) async fn record(&self, change: &mut Change) -> Result<(), StoreError> {
        let counted = "UPDATE change_count SET latest = latest + 1 WHERE id = $1 RETURNING latest";
        let id: i64 = sqlx::query_scalar(counted).bind(1_i64).fetch_one(&mut **change).await?;
        sqlx::query("INSERT INTO changes (id, about, made) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(self.about.to_string())
            .bind(now())
            .execute(&mut **change)
            .await?;
        sqlx::query("DELETE FROM changes WHERE id <= $1").bind(id - KEPT).execute(&mut **change).await?;
        if let Some(row) = &self.noting {
            super::audit::add(change, std::slice::from_ref(row)).await?;
        }
        if matches!(self.database, Database::Server(_)) {
            sqlx::query("NOTIFY enclos_changes").execute(&mut **change).await?;
        }
        Ok(())
    }

    /// The number of the latest change.
    pub(in crate::control) async fn latest_change(&self) -> Result<i64, StoreError> {
        let latest = sqlx::query_scalar("SELECT latest FROM change_count WHERE id = $1").bind(1_i64);
        Ok(latest.fetch_one(&self.pool).await?)
    }

    /// What was changed after one change.
    pub(in crate::control) async fn changes_since(&self, then: i64) -> Result<Changes, StoreError> {
        let rows = sqlx::query("SELECT id, about FROM changes WHERE id > $1 ORDER BY id");
        let rows = rows.bind(then).fetch_all(&self.pool).await?;
        let read = |row: &sqlx::any::AnyRow| Ok((row.try_get("id")?, parse("change", row.try_get("about")?)?));
        let changes = rows.iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
        match (changes.first(), changes.last()) {
            (Some((first, _)), Some((last, _))) if *first != then + 1 => Ok(Changes::TooMany(*last)),
            _ => Ok(Changes::Known(changes)),
        }
    }

    /// What rings when something was changed.
    pub(in crate::control) fn bell(&self) -> Bell {
        match &self.database {
            Database::File(_) => Bell::Silent,
            Database::Server(url) => Bell::on(url, "enclos_changes"),
        }
    }
}

/// Rings when something may have been changed.
pub(in crate::control) enum Bell {
    /// SQLite has no way to tell.
    Silent,
    /// A connection that PostgreSQL tells of it.
    Server {
        /// Where.
        url: ServerUrl,
        /// What is listened to.
        channel: String,
        /// The connection, if there is one.
        listener: Option<PgListener>,
    },
}

impl Bell {
    /// One that a server rings.
    pub(in crate::control) fn on(url: &ServerUrl, channel: &str) -> Bell {
        Bell::Server { url: url.clone(), channel: channel.to_owned(), listener: None }
    }

    /// Waits until it rings, and no longer than a pause: a notification may be lost, and some databases give none.
    pub(in crate::control) async fn wait(&mut self, pause: Duration) {
        let Bell::Server { url, channel, listener } = self else { return tokio::time::sleep(pause).await };
        let Some(listening) = listener else {
            match tokio::time::timeout(PATIENCE, listen(url, channel)).await {
                // What was changed before is looked for at once.
                Ok(Ok(new)) => *listener = Some(new),
                _ => tokio::time::sleep(pause).await,
            }
            return;
        };
        match tokio::time::timeout(pause, listening.recv()).await {
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(_)) => {
                *listener = None;
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn listen(url: &ServerUrl, channel: &str) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_lazy(url.expose())?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(channel).await?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::store::testing::{Fresh, on_postgres, on_sqlite};

    fn bob() -> About {
        About::User("bob".parse().expect("a name"))
    }

    async fn changed(store: &Store, about: About) {
        store.about(about).change().await.expect("a change").commit().await.expect("made");
    }

    async fn changes_are_heard_of_in_order_and_only_when_made(fresh: Fresh) {
        let store = Store::open(&fresh.database).await.expect("a database");
        let then = store.latest_change().await.expect("a number");
        changed(&store, bob()).await;
        drop(store.about(About::Anyone).change().await.expect("one that is never made"));
        changed(&store, About::Password("eve".parse().expect("a name"))).await;
        let heard = store.changes_since(then).await.expect("changes");
        let eve = About::Password("eve".parse().expect("a name"));
        assert_eq!(heard, Changes::Known(vec![(then + 1, bob()), (then + 2, eve)]));
        assert_eq!(store.changes_since(then + 2).await.expect("none"), Changes::Known(Vec::new()));
        sqlx::query("DELETE FROM changes WHERE id = $1").bind(then + 1).execute(&store.pool).await.expect("forgotten");
        assert_eq!(store.changes_since(then).await.expect("changes"), Changes::TooMany(then + 2));
        store.close().await;
    }

    #[tokio::test]
    async fn changes_are_heard_of_in_order_and_only_when_made_on_sqlite() {
        changes_are_heard_of_in_order_and_only_when_made(on_sqlite()).await;
    }

    #[tokio::test]
    async fn changes_are_heard_of_in_order_and_only_when_made_on_postgres() {
        changes_are_heard_of_in_order_and_only_when_made(on_postgres()).await;
    }

    /// Without a notification this would never end.
    #[tokio::test]
    async fn postgres_rings_when_a_change_is_committed() {
        let fresh = on_postgres();
        let store = Store::open(&fresh.database).await.expect("a database");
        let mut bell = store.bell();
        bell.wait(Duration::MAX).await;
        assert!(matches!(bell, Bell::Server { listener: Some(_), .. }), "it does not listen");
        let change = store.about(bob()).change().await.expect("a change");
        let (_, committed) = tokio::join!(bell.wait(Duration::from_secs(86_400)), change.commit());
        committed.expect("made");
    }
}
