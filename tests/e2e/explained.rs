//! `enclos explain` says what is so: what it says of random logins is what they meet.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Identity, Login, Node, Numbers, Raw, finish, new_key, open, sftp};

as_root_and_rootless!(what_is_explained_is_what_a_login_meets, the_rule_that_decides_is_named);

/// Logins with two keys each, and so many times the questions of [`Tree::PLACES`].
const USERS: usize = 40;

const NEW: u32 = open::WRITE | open::CREATE | open::TRUNCATE;

/// The directories of an account, a file in each.
struct Tree {
    places: Vec<String>,
}

impl Tree {
    fn make(home: &Path) -> Tree {
        let mut places = vec![String::new()];
        for depth in 0..3 {
            let outer = places.iter().filter(|p| p.split('/').filter(|c| !c.is_empty()).count() == depth);
            let inner: Vec<String> = outer.flat_map(|p| ["a", "b"].map(|name| format!("{p}{name}/"))).collect();
            places.extend(inner);
        }
        for place in &places {
            fs::create_dir_all(home.join(place)).expect("a directory");
            fs::write(home.join(place).join("f"), "text").expect("a file");
        }
        Tree { places }
    }
}

fn pick<'a>(numbers: &mut Numbers, of: &[&'a str]) -> &'a str {
    let count = u64::try_from(of.len()).expect("few");
    of[usize::try_from(numbers.next() % count).expect("few")]
}

fn path(numbers: &mut Numbers) -> String {
    let depth = 1 + numbers.next() % 3;
    (0..depth).map(|_| pick(numbers, &["a", "b"])).collect::<Vec<_>>().join("/")
}

/// A user with random grants, seen at the paths of the host. What cannot be granted is not.
fn random_user(node: &Node, numbers: &mut Numbers, name: &str) -> Login {
    let mut add = vec!["user", "add", name, "--account", "acme", "--view", "host"];
    if numbers.next().is_multiple_of(3) {
        add.extend(["--deny-name", "*.php"]);
    }
    node.admin(&add);
    for _ in 0..=numbers.next() % 4 {
        let (path, mode) = (path(numbers), pick(numbers, &["rw", "rw", "ro", "upload", "hidden"]));
        finish(&mut node.enclos(&["grant", "add", name, &path, "--mode", mode]), "");
    }
    let login = Login::new(node, name);
    node.admin(&["key", "add", name, "--file", login.public_key().to_str().expect("a plain path")]);
    login
}

/// Another key with a random scope, if there is anything in it.
fn narrower(node: &Node, numbers: &mut Numbers, login: &Login) -> Option<Login> {
    let key = login.key.with_file_name(format!("{}-narrow", login.user));
    new_key(&key);
    let narrow = login.with_key(&key);
    let public = key.with_extension("pub");
    let path = path(numbers);
    let mut add = vec!["key", "add", &login.user, "--file", public.to_str().expect("a plain path")];
    match numbers.next() % 3 {
        0 => add.extend(["--scope-mode", pick(numbers, &["ro", "upload"])]),
        1 => add.extend(["--scope-grant", &path]),
        _ => add.extend(["--scope-grant", &path, "--scope-mode", pick(numbers, &["ro", "upload"])]),
    }
    let added = finish(&mut node.enclos(&add), "");
    added.status.success().then_some(narrow)
}

/// What is said of each question, in their order.
fn explained(node: &Node, login: &Login, arguments: &[String]) -> Vec<(bool, String)> {
    let key = login.public_key();
    let mut words =
        vec!["explain", &login.user, "--from", "127.0.0.1", "--json", "--key", key.to_str().expect("plain")];
    words.extend(arguments.iter().map(String::as_str));
    let said: Value = serde_json::from_str(&node.admin(&words)).expect("JSON");
    assert_eq!(said["login"]["allowed"], true, "{said}");
    let answers = said["answers"].as_array().expect("answers");
    answers
        .iter()
        .map(|answer| (answer["verdict"]["allowed"].as_bool().expect("a word"), answer["verdict"].to_string()))
        .collect()
}

/// Asks for everything and tries everything; how many questions there were.
fn compare(node: &Node, home: &Path, tree: &Tree, login: &Login, turn: usize) -> usize {
    let read: Vec<String> = tree.places.iter().map(|p| format!("{p}f")).collect();
    let write: Vec<String> =
        tree.places.iter().flat_map(|p| [format!("{p}new-{turn}"), format!("{p}new-{turn}.php")]).collect();
    let asked = read.iter().map(|p| ["--read".to_owned(), p.clone()]);
    let asked =
        asked.chain(write.iter().map(|p| ["--write".to_owned(), home.join(p).to_str().expect("plain").to_owned()]));
    let said = explained(node, login, &asked.flatten().collect::<Vec<_>>());
    assert_eq!(said.len(), read.len() + write.len());
    let Ok(mut raw) = Raw::try_connect(login) else {
        assert!(
            said.iter().all(|(allowed, _)| !allowed),
            "{}: there is no view, and this is said: {said:?}",
            login.user
        );
        return said.len();
    };
    for (path, (allowed, why)) in read.iter().chain(&write).zip(&said) {
        let at = home.join(path);
        let at = at.to_str().expect("plain").as_bytes();
        let is_done = match path.ends_with("/f") || path == "f" {
            true => raw.contents(at).is_ok(),
            false => raw.put(at, b"new", NEW).is_success(),
        };
        let grants = || node.admin(&["grant", "list", &login.user]);
        let keys = || node.admin(&["key", "list", &login.user]);
        assert_eq!(is_done, *allowed, "{} {path}: {why}\n{}{}", login.key.display(), grants(), keys());
    }
    said.len()
}

fn what_is_explained_is_what_a_login_meets(identity: Identity) {
    let node = Node::start(identity);
    let home = node.account("acme");
    let tree = Tree::make(&home);
    node.own(&home);
    let mut numbers = Numbers::new(0xe0_c105);
    let (mut asked, mut narrow) = (0, 0);
    for turn in 0..USERS {
        let login = random_user(&node, &mut numbers, &format!("user-{turn}"));
        asked += compare(&node, &home, &tree, &login, 2 * turn);
        if let Some(login) = narrower(&node, &mut numbers, &login) {
            narrow += 1;
            asked += compare(&node, &home, &tree, &login, 2 * turn + 1);
        }
    }
    assert!(asked > 2_000 && narrow > 5, "{asked} questions, {narrow} keys with a scope");
}

fn the_rule_that_decides_is_named(identity: Identity) {
    let node = Node::start(identity);
    let home = node.account("acme");
    fs::create_dir_all(home.join("www/site1/config")).expect("a directory");
    fs::write(home.join("www/site1/config/app.ini"), "key = 1").expect("a file");
    node.own(&home);
    let bob =
        node.user("bob", "acme", &[("www/site1", "rw"), ("www/site1/config", "ro"), ("www/site1/.env", "hidden")]);
    node.admin(&["user", "set", "bob", "--deny-name", "*.php", "--view", "rooted"]);
    let asked = ["www/site1/x", "www/site1/x.php", "www/site1/config/app.ini", "www/site1/.env", "private/x"];
    let arguments: Vec<String> = asked.iter().flat_map(|path| ["--write".to_owned(), (*path).to_owned()]).collect();
    let said = explained(&node, &bob, &arguments);
    let rules = ["grant", "deny-names", "grant", "grant", "grants"];
    for ((path, rule), (allowed, why)) in asked.iter().zip(rules).zip(&said) {
        assert!(why.contains(&format!("\"rule\":\"{rule}\"")), "{path}: {why}");
        let at = path.strip_prefix("www/site1/").unwrap_or("../private/x");
        let tried = finish(&mut sftp(&bob), &format!("put {} {at}\n", bob.public_key().display()));
        assert_eq!(tried.status.success(), *allowed, "{path}: {tried:?}");
    }
    assert!(said[2].1.contains("www/site1/config (ro)"), "{}", said[2].1);
    let key = bob.public_key();
    let key = key.to_str().expect("a plain path");
    let ask = |more: &[&str]| {
        node.admin(
            &[&["explain", "bob", "--key", key, "--from", "127.0.0.1", "--service", "sftp,shell"], more].concat(),
        )
    };
    let told = ask(&["--read", "www/site1/config/app.ini"]);
    assert!(
        told.contains("service shell                  denied") && told.contains("bob has only the services sftp"),
        "{told}"
    );
    node.admin(&["user", "set", "bob", "--expires", "2020-01-01", "--from", "192.0.2.0/24"]);
    assert!(ask(&[]).contains("user-expires") && ask(&["--at", "2019-12-31"]).contains("user-from"), "{}", ask(&[]));
    assert!(Raw::try_connect(&bob).is_err());
    node.admin(&["account", "disable", "acme"]);
    assert!(ask(&[]).contains("account-status"), "{}", ask(&[]));
    let refused =
        finish(&mut node.enclos(&["explain", "bob", "--password", "--from", "::1", "--read", "/etc/passwd"]), "");
    let refused = refused.err();
    assert!(refused.contains("does not lie in the home of account acme"), "{refused}");
}
