//! How long a login waits for the database, with a million users in it: `cargo bench --bench lookup [-- USERS]`.
//!
//! Both databases are filled by themselves, in temporary places. Filling takes minutes and measuring seconds, so they can be
//! done apart: `-- fill DIR [USERS]` keeps both databases in a directory, `-- measure DIR` asks them and writes the figures
//! into tests/results/lookup.md. What is timed is the whole look-up of a claim with a key, through control's own code:
//! 20,000 of users taken at random and 5,000 of names that are nobody's.
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

const TITLE: &str =
    "| database | users | known: p50 | p99 | longest | nobody: p50 | p99 |\n|---|---|---|---|---|---|---|\n";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().expect("a number of users");
    match words.as_slice() {
        ["fill", directory, rest @ ..] => {
            fill_both(Path::new(directory), rest.first().map_or(1_000_000, |users| number(users)));
        }
        ["measure", directory] => {
            let figures = measure_both(Path::new(directory));
            let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/results/lookup.md");
            std::fs::write(page, format!("{HEADING}{figures}")).expect("the page");
        }
        rest => {
            let directory = tempfile::tempdir().expect("a directory");
            fill_both(directory.path(), rest.first().map_or(1_000_000, |users| number(users)));
            measure_both(directory.path());
        }
    }
}

const HEADING: &str = "# How long a login waits for the database\n\nWritten by `cargo bench --bench lookup -- measure`. One look-up is \
    all that is asked about a claim with a key:\nuser, account, two grants, key, password, revocations. 20,000 of users at \
    random, 5,000 of names that are nobody's,\none after the other, the databases as they are set up for the tests.\n\n";

/// Fills both, and keeps them in a directory with the number of users.
fn fill_both(directory: &Path, users: usize) {
    std::fs::create_dir_all(directory).expect("a directory");
    let file = directory.join("lookup.sqlite");
    let since = Instant::now();
    fill(&settings(directory, &file.display().to_string()), &format!("sqlite://{}", file.display()), users, SQLITE_KEY);
    println!("SQLite filled in {:.0} s", since.elapsed().as_secs_f64());
    let (mut server, since) = (postgres::Postgres::start(), Instant::now());
    fill(&settings(directory, &server.url()), &server.url(), users, POSTGRES_KEY);
    println!("PostgreSQL filled in {:.0} s", since.elapsed().as_secs_f64());
    server.keep(&directory.join("postgres"));
    std::fs::write(directory.join("users"), users.to_string()).expect("the number");
}

/// Asks both; the figures as a table.
fn measure_both(directory: &Path) -> String {
    let users = std::fs::read_to_string(directory.join("users")).expect("a directory that was filled");
    let users = users.parse().expect("a number");
    let file = directory.join("lookup.sqlite");
    let mut figures = TITLE.to_owned();
    figures += &measure("SQLite", &settings(directory, &file.display().to_string()), users);
    let server = postgres::Postgres::kept(&directory.join("postgres"));
    figures += &measure("PostgreSQL 15", &settings(directory, &server.url()), users);
    print!("{figures}");
    figures
}

const SQLITE_KEY: &str = "CAST('key-' || n AS BLOB)";
const POSTGRES_KEY: &str = "convert_to('key-' || n, 'UTF8')";

/// Those of a node that would use a database.
fn settings(directory: &Path, database: &str) -> ControlSettings {
    let file = directory.join("enclos.toml");
    std::fs::write(&file, format!("database = {database:?}\n")).expect("a file");
    let state = directory.join("state");
    config::load(Some(&file), Some(&state)).expect("a configuration").control
}

fn measure(name: &str, settings: &ControlSettings, users: usize) -> String {
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
    format!(
        "| {name} | {users} | {:.3} ms | {:.3} ms | {:.3} ms | {:.3} ms | {:.3} ms |\n",
        at(&known, 0.5),
        at(&known, 0.99),
        at(&known, 1.0),
        at(&nobody, 0.5),
        at(&nobody, 0.99)
    )
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

fn fill(settings: &ControlSettings, url: &str, users: usize, key: &str) {
    // Makes the tables.
    client::Doer::Alone(settings).operate(Operation::AccountList, 0).expect("a database");
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
