//! What a client sees of its grants: one or several, at their host paths or as `/`, one in another, and what is taken out.

mod drop_box;
mod links;
mod nested;
mod swapped;

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Identity, Login, Node, Raw, Reply, finish, open, sftp, status};

as_root_and_rootless!(
    host_paths_are_the_hosts,
    the_way_to_a_grant_shows_nothing_else,
    a_view_is_chosen_per_user,
    grants_of_one_name_need_another_view,
    moving_between_grants_says_what_to_do,
);

/// An account with a few files, and a node that serves it.
pub(super) struct Site {
    pub(super) node: Node,
    pub(super) home: PathBuf,
}

impl Site {
    pub(super) fn new(identity: Identity) -> Site {
        let node = Node::start(identity);
        let home = node.account("acme");
        let site = Site { node, home };
        for (path, text) in [
            ("www/site1/index.html", "<h1>"),
            ("www/site1/config/app.ini", "key = 1"),
            ("www/site1/config/secret.ini", "password = 2"),
            ("www/site1/private/deep/note", "hush"),
            ("www/site2/index.html", "<h2>"),
            ("logs/access.log", "GET /"),
        ] {
            site.file(path, text);
        }
        site
    }

    /// A file of the account's, with the directories that lead to it.
    pub(super) fn file(&self, path: &str, text: &str) {
        let full = self.home.join(path);
        fs::create_dir_all(full.parent().expect("lies in the home")).expect("directories");
        fs::write(&full, text).expect("a file");
        self.node.own(&self.home);
    }

    pub(super) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.home.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub(super) fn user(&self, name: &str, grants: &[(&str, &str)]) -> Login {
        self.node.user(name, "acme", grants)
    }

    pub(super) fn user_seeing(&self, name: &str, view: &str, grants: &[(&str, &str)]) -> Login {
        let login = self.user(name, grants);
        self.node.admin(&["user", "set", name, "--view", view]);
        login
    }

    /// A path in the account as its own programs write it.
    pub(super) fn on_host(&self, path: &str) -> String {
        self.home.join(path).to_str().expect("a plain path").to_owned()
    }
}

/// The names of a directory without its dots, in order.
#[track_caller]
pub(super) fn names(raw: &mut Raw, path: impl AsRef<[u8]>) -> Vec<String> {
    let listed = raw.names(path.as_ref()).unwrap_or_else(|e| panic!("{:?}: {e:?}", path.as_ref().escape_ascii()));
    let mut names: Vec<String> = listed.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect();
    names.retain(|name| name != "." && name != "..");
    names.sort();
    names
}

/// The sentence of a refusal.
#[track_caller]
pub(super) fn refusal(reply: &Reply) -> (u32, &str) {
    match reply {
        Reply::Status(code, sentence) if *code != status::OK => (*code, sentence),
        other => panic!("not refused: {other:?}"),
    }
}

pub(super) const NEW: u32 = open::WRITE | open::CREATE | open::TRUNCATE;

fn host_paths_are_the_hosts(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user_seeing("host", "host", &[("www/site1", "rw"), ("logs", "ro")]);
    let mut raw = Raw::connect(&login);
    let start = raw.realpath(b".");
    assert_eq!(
        start,
        Reply::Names(vec![(site.on_host("www/site1").into_bytes(), Default::default())]),
        "the first grant"
    );
    assert_eq!(raw.contents(site.on_host("www/site1/index.html").as_bytes()).expect("granted"), b"<h1>");
    assert!(raw.put(site.on_host("www/site1/new").as_bytes(), b"new", NEW).is_success());
    assert_eq!(site.text("www/site1/new"), "new");
    let refused = raw.put(site.on_host("logs/new").as_bytes(), b"new", NEW);
    assert!(refusal(&refused).1.contains("read-only"), "{refused:?}");
    let said = finish(&mut sftp(&login), &format!("pwd\ncd {}\nls\n", site.on_host("logs"))).ok();
    assert!(said.contains(&site.on_host("www/site1")) && said.contains("access.log"), "{said}");
}

fn the_way_to_a_grant_shows_nothing_else(identity: Identity) {
    let site = Site::new(identity);
    let mut raw = Raw::connect(&site.user_seeing("host", "host", &[("www/site1", "rw"), ("logs", "ro")]));
    assert_eq!(names(&mut raw, site.on_host("")), ["logs", "www"]);
    assert_eq!(names(&mut raw, site.on_host("www")), ["site1"]);
    let mut way = Path::new(&site.home).parent();
    while let Some(directory) = way {
        let path = directory.to_str().expect("a plain path");
        assert_eq!(names(&mut raw, path).len(), 1, "{path}");
        assert!(!raw.mkdir(format!("{path}/new").as_bytes()).is_success(), "{path}");
        assert!(!raw.put(format!("{path}/new").as_bytes(), b"", NEW).is_success(), "{path}");
        way = directory.parent();
    }
    for path in [site.on_host("www/site2/index.html"), site.on_host("private"), "/etc/passwd".to_owned()] {
        assert_eq!(raw.stat(path.as_bytes()).code(), Some(status::NO_SUCH_FILE), "{path}");
    }
    for granted in [site.on_host("www/site1"), site.on_host("www"), site.on_host("")] {
        assert!(!raw.rename(granted.as_bytes(), b"/moved").is_success(), "{granted}");
        assert!(!raw.rmdir(granted.as_bytes()).is_success(), "{granted}");
    }
}

fn a_view_is_chosen_per_user(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("bob", &[("www/site1", "rw")]);
    let start = |login: &Login| Raw::connect(login).realpath(b".");
    let at = |path: &str| Reply::Names(vec![(path.as_bytes().to_vec(), Default::default())]);
    assert_eq!(start(&login), at("/"));
    site.node.admin(&["user", "set", "bob", "--view", "host"]);
    assert_eq!(start(&login), at(&site.on_host("www/site1")));
    site.node.admin(&["user", "set", "bob", "--view", "default"]);
    assert_eq!(start(&login), at("/"));
}

fn grants_of_one_name_need_another_view(identity: Identity) {
    let site = Site::new(identity);
    site.file("old/site1/index.html", "<h0>");
    let login = site.user_seeing("both", "host", &[("www/site1", "ro")]);
    site.node.admin(&["grant", "add", "both", "old/site1", "--mode", "ro"]);
    let mut raw = Raw::connect(&login);
    assert_eq!(raw.contents(site.on_host("old/site1/index.html").as_bytes()).expect("granted"), b"<h0>");
    let refused = finish(&mut site.node.enclos(&["user", "set", "both", "--view", "rooted"]), "").err();
    assert!(refused.contains("site1"), "{refused}");
}

fn moving_between_grants_says_what_to_do(identity: Identity) {
    let site = Site::new(identity);
    let mut raw = Raw::connect(&site.user("both", &[("www/site1", "rw"), ("www/site2", "rw")]));
    for answer in [
        raw.rename(b"/site1/index.html", b"/site2/moved.html"),
        raw.extended("posix-rename@openssh.com", &[b"/site1/index.html", b"/site2/moved.html"]),
        raw.extended("hardlink@openssh.com", &[b"/site1/index.html", b"/site2/linked.html"]),
    ] {
        assert!(refusal(&answer).1.contains("another granted directory"), "{answer:?}");
    }
    assert_eq!(names(&mut raw, b"/"), ["site1", "site2"]);
}
