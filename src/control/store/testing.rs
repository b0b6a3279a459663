//! Databases for tests: one suite, run on both.

use tempfile::TempDir;

use crate::config::Database;

#[path = "../../../tests/postgres/mod.rs"]
#[expect(dead_code, reason = "only the benchmark of look-ups keeps a cluster")]
mod postgres;

use postgres::Postgres;

/// An empty database that goes when it is dropped.
#[derive(Debug)]
pub(in crate::control) struct Fresh {
    /// What to open.
    pub database: Database,
    _kept: Kept,
}

#[derive(Debug)]
#[expect(dead_code, reason = "kept until it is dropped")]
enum Kept {
    Directory(TempDir),
    Server(Postgres),
}

/// One of SQLite.
pub(in crate::control) fn on_sqlite() -> Fresh {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::File(directory.path().join("a % of ? data.sqlite"));
    Fresh { database, _kept: Kept::Directory(directory) }
}

/// One of PostgreSQL.
pub(in crate::control) fn on_postgres() -> Fresh {
    let server = Postgres::start();
    let database = Database::parse(&server.url()).expect("a URL");
    Fresh { database, _kept: Kept::Server(server) }
}
