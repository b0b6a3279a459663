//! How long a login waits for the database, with a million users in it: `cargo bench --bench lookup [-- USERS]`.
//!
//! Both databases are filled by themselves, in temporary places. What is timed is the whole look-up of a claim with a key,
//! through control's own code: 20,000 of users taken at random and 5,000 of names that are nobody's.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

#[path = "../postgres/mod.rs"]
mod postgres;

use std::path::Path;
use std::time::{Duration, Instant};

use enclos::config::{self, ControlSettings};
use enclos::control::{Operation, client};
use enclos::domain::{ClaimedName, KeyBlob};
use sqlx::AssertSqlSafe;

const KNOWN: usize = 20_000;
const UNKNOWN: usize = 5_000;

/// Rows of so many users in `accounts` of a hundred each: two grants and a key for everybody, a password for every other.
const ROWS: [&str; 6] = [
    "INSERT INTO accounts (id, name, uid, gid, home, status, created) SELECT n, 'account-' || n, 5000 + n, 5000 + n, \
     '/srv/account-' || n, 'active', 1 FROM numbers WHERE n <= {accounts}",
    "INSERT INTO users (id, account, name, services, status, created) SELECT n, 1 + n % {accounts}, 'user-' || n, 'sftp', \
     'active', 1 FROM numbers",
    "INSERT INTO grants (login, path, mode, created) SELECT n, 'www/site-' || n, 'rw', 1 FROM numbers",
    "INSERT INTO grants (login, path, mode, created) SELECT n, 'logs', 'ro', 1 FROM numbers",
    "INSERT INTO public_keys (login, fingerprint, algorithm, encoded, label, created) SELECT n, 'SHA256:' || n, \
     'ssh-ed25519', {key}, 'laptop', 1 FROM numbers",
    "INSERT INTO passwords (login, hash, changed) SELECT n, '$1$xy$PyqBeJVhgjyPhe/YVnpmY.', 1 FROM numbers WHERE n % 2 = 0",
];

fn main() {
    let users = std::env::args().find_map(|word| word.parse::<usize>().ok()).unwrap_or(1_000_000);
    let directory = tempfile::tempdir().expect("a directory");
    println!("| database | users | rows in | known: p50 | p99 | longest | nobody: p50 | p99 |");
    println!("|---|---|---|---|---|---|---|---|");
    let file = directory.path().join("lookup.sqlite");
    let sqlite = settings(directory.path(), &file.display().to_string());
    measure("SQLite", &sqlite, &format!("sqlite://{}", file.display()), users, "CAST('key-' || n AS BLOB)");
    let server = postgres::Postgres::start();
    let postgres = settings(directory.path(), &server.url());
    measure("PostgreSQL 15", &postgres, &server.url(), users, "convert_to('key-' || n, 'UTF8')");
}

/// Those of a node that would use a database.
fn settings(directory: &Path, database: &str) -> ControlSettings {
    let file = directory.join("enclos.toml");
    std::fs::write(&file, format!("database = {database:?}\n")).expect("a file");
    let state = directory.join("state");
    config::load(Some(&file), Some(&state)).expect("a configuration").control
}

fn measure(name: &str, settings: &ControlSettings, url: &str, users: usize, key: &str) {
    // Makes the tables.
    client::Doer::Alone(settings).operate(Operation::AccountList, 0).expect("a database");
    let since = Instant::now();
    fill(url, users, key);
    let filled = since.elapsed();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut number = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % users as u64).expect("small") + 1
    };
    let claim = |name: String, n: usize| {
        let key = KeyBlob::new(format!("key-{n}").into_bytes()).expect("a key");
        (ClaimedName::new(&name).expect("a name"), key)
    };
    let known: Vec<_> = (0..KNOWN).map(|_| number()).map(|n| claim(format!("user-{n}"), n)).collect();
    let nobody: Vec<_> = (0..UNKNOWN).map(|_| number()).map(|n| claim(format!("nobody-{n}"), n)).collect();
    let known = times(settings, &known, true);
    let nobody = times(settings, &nobody, false);
    println!(
        "| {name} | {users} | {:.0} s | {:.3} ms | {:.3} ms | {:.3} ms | {:.3} ms | {:.3} ms |",
        filled.as_secs_f64(),
        at(&known, 0.5),
        at(&known, 0.99),
        at(&known, 1.0),
        at(&nobody, 0.5),
        at(&nobody, 0.99)
    );
}

fn times(settings: &ControlSettings, claims: &[(ClaimedName, KeyBlob)], found: bool) -> Vec<Duration> {
    let mut times: Vec<Duration> = client::time_lookups(settings, claims)
        .expect("look-ups")
        .into_iter()
        .map(|(time, is_found)| {
            assert_eq!(is_found, found, "the wrong thing is measured");
            time
        })
        .collect();
    times.sort();
    times
}

fn at(times: &[Duration], part: f64) -> f64 {
    let last = times.len() - 1;
    times[((last as f64) * part) as usize].as_secs_f64() * 1000.0
}

fn fill(url: &str, users: usize, key: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        sqlx::any::install_default_drivers();
        let pool = sqlx::any::AnyPoolOptions::new().max_connections(1).connect(url).await.expect("the database");
        let numbers = format!(
            "CREATE TABLE numbers AS WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {users}) SELECT n FROM c"
        );
        let accounts = (users / 100).max(1).to_string();
        let rows = ROWS.map(|rows| rows.replace("{accounts}", &accounts).replace("{key}", key));
        let mut transaction = pool.begin().await.expect("a transaction");
        for statement in [numbers].iter().chain(&rows).chain(&["DROP TABLE numbers".to_owned()]) {
            sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *transaction).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
        }
        transaction.commit().await.expect("committed");
        sqlx::query("ANALYZE").execute(&pool).await.expect("statistics");
        pool.close().await;
    });
}
