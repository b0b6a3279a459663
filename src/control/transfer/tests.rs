//! What is taken out of one database is the same in another, and nothing gets in that an operator could not have put there.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::config::Ids;
use crate::control::store::tables::{Cell, Column, Kind, Row};
use crate::control::store::testing::{Fresh, on_postgres, on_sqlite};
use crate::control::store::{Changes, Presented, Store};
use crate::domain::{ClaimedName, KeyBlob, Mode};

/// Values by table and column; of others that can be said about more than one way a test has to know one.
fn sample(table: &str, column: &str) -> &'static [&'static str] {
    match (table, column) {
        (_, "status") => &["active", "disabled"],
        (_, "max_memory") => &["512M", "25%"],
        (_, "max_processes") => &["200"],
        (_, "max_cpu") => &["150%"],
        (_, "session_limits") => &["", "sessions=3", "sessions=1 lasting=3600 idle=60 bandwidth=10M"],
        ("authorities", "fingerprint") => &["SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ"],
        ("authorities", "algorithm") => &["ssh-ed25519"],
        ("authorities", "label") => &["", "ca"],
        ("authorities", "principals") => &["", "ops\nweb"],
        ("bans", "block") => &["192.0.2.0/24", "2001:db8::/64"],
        ("bans", "name") => &["", "mallory"],
        ("bans", "origin") => &["operator", "penalty"],
        ("bans", "reason") => &["", "it's noisy"],
        (_, "hours") => &["mon-fri 08:00-18:00", "daily 22:00-06:00 in Europe/Paris"],
        (_, "sources") => &["", "192.0.2.0/24", "10.0.0.0/8,!10.0.0.1"],
        ("users", "services") => &["sftp", "sftp,shell", "rsync", "sftp,exec,forward-local"],
        ("users", "view") => &["host", "rooted"],
        ("users", "uploads") => &["direct", "atomic"],
        ("users", "umask") => &["0022", "0077"],
        ("users", "file_mode") => &["0640"],
        ("users", "directory_mode") => &["2770"],
        ("users", "deny_names") => &["", "*.php\n.htaccess", "quote's \"name\""],
        ("users", "network") => &["own", "host"],
        ("users", "permit_open" | "permit_listen") => &["any", "none", "db:3306,127.0.0.1:*"],
        ("users", "shell") => &["/bin/bash"],
        ("users", "terminals") => &["allowed", "refused"],
        ("users", "logins") => &["", "publickey", "publickey,password+totp"],
        ("users", "own_keys") => &["refused", "taken"],
        ("public_keys", "origin") => &["operator", "invite", "own"],
        ("refused_keys", "fingerprint") => &["SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ"],
        ("users", "principals") => &["", "ops", "ops\nweb"],
        ("public_keys" | "authorities", "scope_command") => &["borg serve", "echo \"$SSH_ORIGINAL_COMMAND\""],
        ("public_keys" | "authorities", "scope_open" | "scope_listen") => &["none", "db:3306,localhost:*"],
        ("revocations", "kind") => &["key", "sha1", "id", "serials"],
        ("revocations", "authority") => &["", "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ"],
        ("users", "last_from") => &["192.0.2.7", "2001:db8::1"],
        ("public_keys", "label") => &["", "laptop", "ü ' \" \\ ;--"],
        ("public_keys" | "authorities", "scope_paths") => &["www", "logs\nwww/releases"],
        ("public_keys" | "authorities", "scope_mode") => &["ro", "upload"],
        ("public_keys" | "authorities", "scope_services") => &["sftp"],
        ("passwords", "hash") => {
            &["$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/", "$1$xy$PyqBeJVhgjyPhe/YVnpmY."]
        }
        ("authenticators", "secret") => &["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"],
        ("recovery_codes", "hash") => &["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        _ => &[],
    }
}

fn random_cell(rng: &mut StdRng, table: &str, column: &Column) -> Cell {
    let may_be_null = column.read(&Cell::Null).is_ok();
    if may_be_null && rng.random_bool(0.5) {
        return Cell::Null;
    }
    match column.kind {
        Kind::Number(least, most) => Cell::Number(rng.random_range(least..=most.min(1 << 40))),
        _ => match sample(table, column.name) {
            [] if may_be_null => Cell::Null,
            [] => panic!("say in `sample` what {table}.{} may be", column.name),
            some => Cell::from(some[rng.random_range(0..some.len())]),
        },
    }
}

/// A row with these cells and random ones beside them.
fn random_row(rng: &mut StdRng, name: &str, said: &[(&str, Cell)]) -> Row {
    let table = table(name).expect("a table");
    let cell = |column: &Column| match said.iter().find(|(name, _)| *name == column.name) {
        Some((_, cell)) => cell.clone(),
        None => random_cell(rng, name, column),
    };
    table.columns.iter().map(cell).collect()
}

fn random_key(rng: &mut StdRng) -> (KeyBlob, String) {
    let mut wire = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    wire.extend(rng.random::<[u8; 32]>());
    let blob = KeyBlob::new(wire).expect("a key");
    let (fingerprint, _) = crate::control::keys::look_at(&blob).expect("a key");
    (blob, fingerprint)
}

/// Accounts with users that have everything there is.
fn random_dump(seed: u64) -> Dump {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut dump = Dump::default();
    let mut add = |table: &'static str, row: Row| dump.0.entry(table).or_default().push(row);
    for n in 0..rng.random_range(0..4) {
        let value = format!("lost laptop {n}, 'quoted'");
        add("revocations", random_row(&mut rng, "revocations", &[("value", value.as_str().into())]));
    }
    if rng.random_bool(0.5) {
        add("bans", random_row(&mut rng, "bans", &[]));
        add("authorities", random_row(&mut rng, "authorities", &[("account", Cell::Null), ("login", Cell::Null)]));
    }
    for a in 0..rng.random_range(0..3) {
        let account = format!("account-{a}");
        let home = format!("/srv/{account} with 'quotes'");
        add(
            "accounts",
            random_row(&mut rng, "accounts", &[("name", account.as_str().into()), ("home", home.as_str().into())]),
        );
        if rng.random_bool(0.5) {
            let said = [("account", account.as_str().into()), ("login", Cell::Null)];
            add("authorities", random_row(&mut rng, "authorities", &said));
        }
        for u in 0..rng.random_range(0..4) {
            let user = format!("user-{a}.{u}");
            let name = Cell::from(user.as_str());
            let mut said =
                vec![("name", name.clone()), ("account", account.as_str().into()), ("forced_command", Cell::Null)];
            if rng.random_bool(0.3) {
                said.truncate(2);
                said.extend([("services", "exec,shell".into()), ("forced_command", "borg serve".into())]);
            }
            add("users", random_row(&mut rng, "users", &said));
            for path in ["www", "logs/ü'x", "www/config", "in"] {
                let modes: &[Mode] =
                    if path == "www/config" { &[Mode::Ro, Mode::Hidden] } else { &[Mode::Rw, Mode::Ro] };
                let mode = modes[rng.random_range(0..modes.len())];
                if rng.random_bool(0.6) {
                    let said = [("login", name.clone()), ("path", path.into()), ("mode", mode.as_str().into())];
                    add("grants", random_row(&mut rng, "grants", &said));
                }
            }
            if rng.random_bool(0.3) {
                let said = [("account", Cell::Null), ("login", name.clone())];
                add("authorities", random_row(&mut rng, "authorities", &said));
            }
            for _ in 0..rng.random_range(0..3) {
                let (blob, fingerprint) = random_key(&mut rng);
                let said = [
                    ("login", name.clone()),
                    ("fingerprint", fingerprint.as_str().into()),
                    ("algorithm", "ssh-ed25519".into()),
                    ("encoded", Cell::Bytes(blob.as_bytes().to_vec())),
                ];
                add("public_keys", random_row(&mut rng, "public_keys", &said));
            }
            for table in TABLES
                .iter()
                .filter(|t| !["accounts", "users", "grants", "public_keys", "revocations"].contains(&t.name))
            {
                let is_users = matches!(table.columns[0].kind, Kind::User);
                if is_users && rng.random_bool(0.7) {
                    let row = random_row(&mut rng, table.name, &[(table.columns[0].name, name.clone())]);
                    add(table.name, row);
                }
            }
        }
    }
    dump
}

async fn exported(store: &Store) -> Vec<u8> {
    let mut file = Vec::new();
    let mut document = document::Writer::begin(&mut file).expect("written");
    store.each_row(|table, row| document.row(table, &row)).await.expect("read").expect("written");
    document.end().expect("written");
    file
}

async fn open(fresh: &Fresh) -> Store {
    Store::open(&fresh.database).await.expect("a database")
}

async fn merged(store: &Store, file: &[u8]) -> Merged {
    let mut dump = document::read(file, 1).expect("an export");
    let wrong = check::problems(&mut dump, Ids::default());
    assert!(wrong.is_empty(), "{wrong:?}");
    store.merge(&dump, Merge::Kept).await.expect("merged")
}

/// Over SQLite to PostgreSQL and back: what comes out is what went in, byte by byte.
#[tokio::test]
async fn what_goes_from_one_database_to_another_and_back_is_the_same() {
    let mut sizes = Vec::new();
    for seed in 0..12 {
        let (lite, server, back) = (on_sqlite(), on_postgres(), on_sqlite());
        let dump = random_dump(seed);
        let (lite, server, back) = (open(&lite).await, open(&server).await, open(&back).await);
        let first = lite.merge(&dump, Merge::Kept).await.expect("merged");
        assert!(first.conflicts.is_empty());
        let one = exported(&lite).await;
        // Tables whose rows have no order of their own come out in that of their keys.
        let mut read = document::read(&*one, 1).expect("an export");
        let mut said = dump.clone();
        for rows in read.0.values_mut().chain(said.0.values_mut()) {
            rows.sort();
        }
        said.0.retain(|_, rows| !rows.is_empty());
        assert_eq!(read, said, "seed {seed}");
        merged(&server, &one).await;
        let two = exported(&server).await;
        merged(&back, &two).await;
        let three = exported(&back).await;
        assert_eq!(String::from_utf8_lossy(&one), String::from_utf8_lossy(&two), "seed {seed}");
        assert_eq!(one, three, "seed {seed}");
        let again = merged(&server, &three).await;
        assert!(again.added.is_empty() && again.conflicts.is_empty(), "{again:?}");
        sizes.push(one.len());
        for store in [lite, server, back] {
            store.close().await;
        }
    }
    assert!(sizes.iter().max() > Some(&4_000), "{sizes:?}");
}

/// A dump in which every column says something, so that none could be forgotten.
#[test]
fn random_databases_say_something_in_every_column() {
    let dumps: Vec<Dump> = (0..12).map(random_dump).collect();
    for table in TABLES {
        for (at, column) in table.columns.iter().enumerate() {
            let mut rows = dumps.iter().flat_map(|dump| dump.0.get(table.name).into_iter().flatten());
            assert!(rows.any(|row| row[at] != column.unsaid(0)), "{}.{}", table.name, column.name);
        }
    }
}

const BOB: &str = r#"{"format": "enclos-export", "version": 1, "tables": {
    "accounts": [{"name": "acme", "uid": 5001, "gid": 5001, "home": "/srv/acme"}],
    "users": [{"account": "acme", "name": "bob", "services": "sftp"}],
    "grants": [{"login": "bob", "path": "www", "mode": "rw"}],
    "passwords": [{"login": "bob", "hash": "$1$xy$PyqBeJVhgjyPhe/YVnpmY."}]}}"#;

async fn known(store: &Store) -> crate::control::store::Known {
    store.known(&ClaimedName::new("bob").expect("a name"), Presented::Nothing).await.expect("asked").expect("bob")
}

async fn conflicts_are_named_and_nothing_is_written(fresh: Fresh) {
    let store = open(&fresh).await;
    let first = merged(&store, BOB.as_bytes()).await;
    assert_eq!((first.added.get("users"), first.new.len()), (Some(&1), 2));
    assert_eq!(known(&store).await.grants.len(), 1);
    let then = store.latest_change().await.expect("a number");
    for (changed, other, differs) in [
        ("5001, \"gid\"", "5002, \"gid\"", "uid"),
        ("\"sftp\"", "\"sftp,shell\"", "services"),
        ("\"www\"", "\"www/site1\"", "grants"),
        ("PyqBeJVhgjyPhe/YVnpmY.", "PyqBeJVhgjyPhe/YVnpmX.", "passwords"),
        ("{\"login\": \"bob\", \"path\": \"www\", \"mode\": \"rw\"}", "", "grants"),
    ] {
        let more = r#""users": [{"account": "acme", "name": "eve", "services": "sftp"}, "#;
        let file = BOB.replace(changed, other).replacen("\"users\": [", more, 1);
        let merged = merged(&store, file.as_bytes()).await;
        let said: Vec<&str> = merged.conflicts.iter().map(|c| c.differs.as_str()).collect();
        assert_eq!(said, [differs]);
        assert_eq!(merged.added.get("users"), Some(&1), "eve would be added");
        assert_eq!(store.user_names().await.expect("names"), ["bob"], "and is not");
    }
    let dump = document::read(BOB.replace("bob", "eve").as_bytes(), 1).expect("an export");
    assert_eq!(store.merge(&dump, Merge::Tried).await.expect("tried").added.get("users"), Some(&1));
    assert_eq!(store.user_names().await.expect("names"), ["bob"]);
    assert_eq!(store.latest_change().await.expect("a number"), then, "nothing was changed");
    store.merge(&dump, Merge::Kept).await.expect("merged");
    assert!(matches!(store.changes_since(then).await.expect("changes"), Changes::Known(list) if list.len() == 1));
    store.close().await;
}

async fn nobody_is_trusted_with_those_who_are_there_already(fresh: Fresh) {
    let store = open(&fresh).await;
    merged(&store, BOB.as_bytes()).await;
    let authority = |whose: &str, name: &str| {
        let row = format!(
            r#""authorities": [{{{whose}"fingerprint": "SHA256:x", "algorithm": "ssh-ed25519"}}], "passwords""#
        );
        BOB.replace("\"passwords\"", &row).replace("bob", name)
    };
    for whose in ["", r#""account": "acme", "#, r#""login": "bob", "#] {
        let merged = merged(&store, authority(whose, "bob").as_bytes()).await;
        let said: Vec<_> = merged.conflicts.iter().map(|conflict| (conflict.table, &conflict.differs[..5])).collect();
        assert_eq!(said, [("authorities", "trust")], "{whose}");
    }
    assert!(store.authorities().await.expect("a list").is_empty());
    let of_new = merged(&store, authority(r#""login": "bob", "#, "eve").as_bytes()).await;
    assert_eq!((of_new.added.get("authorities"), of_new.conflicts.len()), (Some(&1), 0));
    let again = merged(&store, authority(r#""login": "bob", "#, "eve").as_bytes()).await;
    assert!(again.added.is_empty() && again.conflicts.is_empty(), "{again:?}");
    store.close().await;
}

#[tokio::test]
async fn nobody_is_trusted_with_those_who_are_there_already_on_sqlite() {
    nobody_is_trusted_with_those_who_are_there_already(on_sqlite()).await;
}

#[tokio::test]
async fn nobody_is_trusted_with_those_who_are_there_already_on_postgres() {
    nobody_is_trusted_with_those_who_are_there_already(on_postgres()).await;
}

#[tokio::test]
async fn conflicts_are_named_and_nothing_is_written_on_sqlite() {
    conflicts_are_named_and_nothing_is_written(on_sqlite()).await;
}

#[tokio::test]
async fn conflicts_are_named_and_nothing_is_written_on_postgres() {
    conflicts_are_named_and_nothing_is_written(on_postgres()).await;
}

fn problems(file: &str) -> String {
    match document::read(file.as_bytes(), 1) {
        Ok(mut dump) => check::problems(&mut dump, Ids::default()).join("\n"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_file_gets_nothing_in_that_an_operator_could_not() {
    assert_eq!(problems(BOB), "");
    let ids = Ids::default();
    for (changed, other, said) in [
        ("\"uid\": 5001", "\"uid\": 0", "uid: it is no number from 1"),
        ("\"uid\": 5001", "\"uid\": -1", "uid: it is no number from 1"),
        ("\"uid\": 5001", &format!("\"uid\": {}", ids.first), "this node's own processes"),
        ("/srv/acme", "/", "the whole host"),
        ("/srv/acme", "/srv/../etc", "contains '..'"),
        ("/srv/acme", "srv", "is relative"),
        ("/srv/acme", "/srv/a\\u0000b", "control character"),
        ("\"www\"", "\"../other\"", "contains '..'"),
        ("\"www\"", "\"/etc\"", "begins with '/'"),
        ("\"name\": \"bob\"", "\"name\": \"bob'; DROP TABLE users; --\"", "users: "),
        ("\"name\": \"bob\"", "\"name\": \"\"", "users: "),
        ("\"account\": \"acme\"", "\"account\": \"other\"", "other is not in this file"),
        ("\"login\": \"bob\", \"path\"", "\"login\": \"eve\", \"path\"", "eve is not in this file"),
        ("\"services\": \"sftp\"", "\"services\": \"\"", "at least one service"),
        ("\"services\": \"sftp\"", "\"services\": \"sftp\", \"forced_command\": \"date\"", "would never be run"),
        ("$1$xy$PyqBeJVhgjyPhe/YVnpmY.", "secret", "of no kind that is known"),
        ("\"mode\": \"rw\"", "\"mode\": \"rwx\"", "is not known"),
        ("\"mode\": \"rw\"}", "\"mode\": \"rw\"}, {\"login\": \"bob\", \"path\": \"./www/\", \"mode\": \"ro\"}", "www"),
        (
            "\"mode\": \"rw\"}",
            "\"mode\": \"rw\"}, {\"login\": \"bob\", \"path\": \"www/in\", \"mode\": \"upload\"}",
            "would lie inside",
        ),
        ("\"version\": 1", "\"version\": 2", "its version is 2"),
        ("enclos-export", "export", "have to stand before"),
        ("\"grants\"", "\"grunts\"", "there is no table \"grunts\""),
        ("\"path\"", "\"paths\"", "paths of grants is not known"),
        ("\"uid\": 5001", "\"uid\": 5001, \"uid\": 5002", "stands there twice"),
        ("\"uid\": 5001", "\"uid\": \"5001\"", "invalid type"),
        ("{\"account\"", "{\"name\": \"eve\"}, {\"account\"", "account: it is missing"),
    ] {
        let file = BOB.replacen(changed, other, 1);
        let told = problems(&file);
        assert!(told.contains(said), "{other}: {told:?}");
    }
    let foreign = r#""public_keys": [{"login": "bob", "fingerprint": "SHA256:x", "algorithm": "ssh-ed25519",
        "encoded": "AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti"}], "passwords""#;
    assert!(problems(&BOB.replace("\"passwords\"", foreign)).contains("this is the key SHA256:UCUiLr7"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(document::read(&*bytes, 1));
    }

    /// A good file with some bytes exchanged is refused or read, and what is read is looked at.
    #[test]
    fn a_damaged_file_is_answered(at in prop::collection::vec((0..BOB.len(), any::<u8>()), 1..8)) {
        let mut bytes = BOB.as_bytes().to_vec();
        for (place, byte) in at {
            bytes[place] = byte;
        }
        if let Ok(mut dump) = document::read(&*bytes, 1) {
            check::problems(&mut dump, Ids::default());
        }
    }
}
