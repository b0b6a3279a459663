//! Databases of earlier releases, opened by this one: everything that was in them is there and means the same.

use std::borrow::Cow;

use sqlx::migrate::Migrator;

use super::connect::{connect, migrations};
use super::testing::{on_postgres, on_sqlite};
use super::{Presented, Store};
use crate::config::Database;
use crate::domain::{
    ClaimedName, Grant, GrantId, KeyBlob, Mode, ProgramPolicy, Service, Services, Status, Terms, View,
};

/// What somebody had stored before the second migration.
const FIRST: &str = "
    INSERT INTO accounts VALUES (1, 'acme', 5001, 5002, '/srv/acme', 'active', 100);
    INSERT INTO users VALUES (1, 1, 'bob', 'sftp', 'active', 100), (2, 1, 'eve', 'sftp', 'disabled', 100);
    INSERT INTO grants VALUES (1, 1, 'www/site1', 'rw', 100), (2, 1, 'logs', 'ro', 100);
    INSERT INTO public_keys VALUES (1, 1, 'SHA256:x', 'ssh-ed25519', {key}, 'laptop', 100);
    INSERT INTO passwords VALUES (1, '$argon2id$x', 100);";

/// A database as it was after the first `version` migrations, with rows.
async fn left_by(version: i64, rows: &'static str, database: &Database) {
    let pool = connect(database).await.expect("a database");
    let earlier = migrations(database).iter().filter(|migration| migration.version <= version).cloned().collect();
    let then = Migrator { migrations: Cow::Owned(earlier), ..Migrator::DEFAULT };
    then.run(&pool).await.expect("the migrations of then");
    // The one thing that cannot be written alike.
    let key = if matches!(database, Database::File(_)) { "X'0102'" } else { "'\\x0102'" };
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows.replace("{key}", key))).execute(&pool).await.expect("rows");
    pool.close().await;
}

#[tokio::test]
async fn the_first_releases_database_means_the_same_on_sqlite() {
    the_first_releases_means_the_same(&on_sqlite().database).await;
}

#[tokio::test]
async fn the_first_releases_database_means_the_same_on_postgres() {
    the_first_releases_means_the_same(&on_postgres().database).await;
}

/// What was left by the first migration alone, and the same after any that came later.
#[tokio::test]
async fn a_database_of_any_version_is_brought_up_to_date_on_both() {
    for fresh in [on_sqlite, on_postgres] {
        let latest = migrations(&fresh().database).iter().map(|m| m.version).max().expect("a migration");
        for version in 0..=latest {
            let fresh = fresh();
            left_by(version, "", &fresh.database).await;
            Store::open(&fresh.database).await.expect("brought up to date").close().await;
        }
    }
}

async fn the_first_releases_means_the_same(path: &Database) {
    left_by(1, FIRST, path).await;
    let store = Store::open(path).await.expect("brought up to date");
    let name = ClaimedName::new("bob").expect("a name");
    let key = KeyBlob::new(vec![1, 2]).expect("a key");
    let known = store.known(&name, Presented::Key(&key)).await.expect("a query").expect("bob is there");
    assert_eq!((known.account.uid, known.account.gid), (5001, 5002));
    assert_eq!((known.user.status, known.user.services), (Status::Active, Services::NONE.with(Service::Sftp)));
    assert_eq!((known.user.view, known.user.view()), (None, View::Rooted));
    assert_eq!((known.user.programs, known.user.last_login), (ProgramPolicy::default(), None));
    let grant =
        |id, path: &str, mode| Grant { id: GrantId(id), path: path.parse().expect("a path"), mode, no_exec: false };
    assert_eq!(known.grants, [grant(1, "www/site1", Mode::Rw), grant(2, "logs", Mode::Ro)]);
    assert_eq!((&known.account.terms, &known.user.terms), (&Terms::default(), &Terms::default()));
    assert!(known.user.logins.is_unsaid() && !known.user.has_authenticator);
    let key = known.key.as_ref().expect("his key");
    assert!(key.scope.is_whole() && key.terms == Terms::default());
    assert_eq!(
        (known.key.expect("his key").label.as_str(), known.password.as_deref()),
        ("laptop", Some("$argon2id$x"))
    );
    store.close().await;
    Store::open(path).await.expect("opens again").close().await;
}
