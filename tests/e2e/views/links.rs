//! Links that the account's own programs made, with paths of the host.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{NEW, Site, names, refusal};
use crate::harness::{Identity, Raw, Reply, finish, sftp, status};

as_root_and_rootless!(
    a_deploy_tools_current_is_followed,
    a_link_into_another_grant_is_followed,
    a_link_that_leads_out_is_not,
    a_grant_that_is_swapped_is_followed_at_the_next_login,
);

/// The path of a REALPATH answer, or of the refusal.
fn real(raw: &mut Raw, path: &[u8]) -> String {
    match raw.realpath(path) {
        Reply::Names(names) => String::from_utf8_lossy(&names[0].0).into_owned(),
        other => format!("{other:?}"),
    }
}

/// Releases, a shared directory, and links to both by their paths on the host, as Deployer and Capistrano leave them.
fn deployed(site: &Site) {
    site.file("www/site1/releases/2/index.html", "two");
    site.file("www/site1/releases/3/index.html", "three");
    site.file("www/site1/shared/uploads/picture", "png");
    let link = |target: String, at: &str| {
        symlink(target, site.home.join(at)).expect("a link");
        site.node.own(&site.home);
    };
    link(site.on_host("www/site1/releases/3"), "www/site1/current");
    link(site.on_host("www/site1/shared/uploads"), "www/site1/releases/3/uploads");
}

fn a_deploy_tools_current_is_followed(identity: Identity) {
    let site = Site::new(identity);
    deployed(&site);
    for view in ["rooted", "host"] {
        let login = site.user_seeing(&format!("deployer-{view}"), view, &[("www/site1", "rw")]);
        let top = if view == "host" { site.on_host("www/site1") } else { String::new() };
        let at = |path: &str| format!("{top}/{path}").into_bytes();
        let mut raw = Raw::connect(&login);
        assert_eq!(raw.contents(&at("current/index.html")).expect("leads inside"), b"three");
        assert_eq!(raw.contents(&at("current/uploads/picture")).expect("leads inside"), b"png");
        assert_eq!(names(&mut raw, at("current")), ["index.html", "uploads"]);
        assert_eq!(real(&mut raw, &at("current/uploads")), format!("{top}/shared/uploads"));
        assert_eq!(real(&mut raw, &at("current/uploads/new")), format!("{top}/shared/uploads/new"));
        assert!(raw.put(&at("current/uploads/new"), view.as_bytes(), NEW).is_success());
        assert_eq!(site.text("www/site1/shared/uploads/new"), view);
        assert!(raw.mkdir(&at("current/uploads/dir")).is_success());
        assert!(raw.rename(&at("current/uploads/new"), &at("current/uploads/dir/new")).is_success());
        assert!(raw.remove(&at("current/uploads/dir/new")).is_success());
        assert!(raw.rmdir(&at("current/uploads/dir")).is_success());
        assert_eq!(raw.stat(&at("current/missing")).code(), Some(status::NO_SUCH_FILE));
        let kind = |reply: Reply| match reply {
            Reply::Attributes(found) => found.permissions.expect("a mode") & 0o170_000,
            other => panic!("{other:?}"),
        };
        assert_eq!((kind(raw.lstat(&at("current"))), kind(raw.stat(&at("current")))), (0o120_000, 0o040_000));
        let back = site.node.dir().join(format!("back-{view}"));
        let top = String::from_utf8(at("current")).expect("text");
        finish(&mut sftp(&login), &format!("get -r {top} {}\n", back.display())).ok();
        assert_eq!(fs::read_to_string(back.join("index.html")).expect("was fetched"), "three");
    }
}

fn a_link_into_another_grant_is_followed(identity: Identity) {
    let site = Site::new(identity);
    symlink(site.on_host("logs/access.log"), site.home.join("www/site1/log")).expect("a link");
    site.node.own(&site.home);
    let mut raw = Raw::connect(&site.user("both", &[("www/site1", "rw"), ("logs", "ro")]));
    assert_eq!(raw.contents(b"/site1/log").expect("both are granted"), b"GET /");
    assert_eq!(real(&mut raw, b"/site1/log"), "/logs/access.log");
    assert!(refusal(&raw.put(b"/site1/log", b"", NEW)).1.contains("read-only"));
}

fn a_link_that_leads_out_is_not(identity: Identity) {
    let site = Site::new(identity);
    let leads = [
        ("out", site.on_host("www/site2/index.html")),
        ("up", format!("{}/../site2/index.html", site.on_host("www/site1"))),
        ("beside", site.on_host("www/site10")),
        ("loop", site.on_host("www/site1/loop")),
        ("etc", "/etc/passwd".to_owned()),
    ];
    site.file("www/site10", "a neighbour by name");
    for (name, target) in &leads {
        symlink(target, site.home.join("www/site1").join(name)).expect("a link");
    }
    site.node.own(&site.home);
    let mut raw = Raw::connect(&site.user("bob", &[("www/site1", "rw")]));
    for (name, _) in &leads {
        let path = format!("/{name}").into_bytes();
        assert_eq!(raw.stat(&path).code(), Some(status::NO_SUCH_FILE), "{name}");
        assert!(raw.contents(&path).is_err(), "{name}");
        assert!(raw.lstat(&path).is_success(), "{name}: the link itself is there");
        assert!(raw.remove(&path).is_success(), "{name}");
    }
    assert!(Path::new(&site.on_host("www/site2/index.html")).exists());
}

fn a_grant_that_is_swapped_is_followed_at_the_next_login(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("bob", &[("www/site1", "rw")]);
    let mut raw = Raw::connect(&login);
    site.file("www/next/index.html", "<new>");
    fs::rename(site.home.join("www/site1"), site.home.join("www/old")).expect("a deploy");
    fs::rename(site.home.join("www/next"), site.home.join("www/site1")).expect("a deploy");
    assert_eq!(raw.contents(b"/index.html").expect("still open"), b"<h1>", "a live session keeps what it was given");
    assert_eq!(Raw::connect(&login).contents(b"/index.html").expect("granted"), b"<new>");
}
