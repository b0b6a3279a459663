//! Grants inside grants: read-only and hidden parts of what may be written, and the other way round.

use std::fs;
use std::time::Duration;

use super::{NEW, Site, names, refusal};
use crate::harness::{Attributes, Identity, Raw, Reply, Waiting, finish, open, sftp, status, wait_until};

as_root_and_rootless!(
    a_part_may_be_read_only,
    a_part_of_a_read_only_grant_may_be_written,
    what_is_hidden_is_not_there,
    a_file_may_be_a_part,
    what_leads_to_a_part_stays_in_its_place,
    what_is_not_there_needs_no_hiding,
    a_missing_part_is_named,
    taking_away_ends_sessions_and_giving_does_not,
    a_part_that_was_swapped_is_followed_at_the_next_login,
    a_hidden_file_that_is_saved_stays_hidden,
);

const PARTS: &[(&str, &str)] =
    &[("www/site1", "rw"), ("www/site1/config", "ro"), ("www/site1/private/deep", "hidden"), ("logs", "ro")];

fn a_part_may_be_read_only(identity: Identity) {
    let site = Site::new(identity);
    for view in ["rooted", "host"] {
        let name = format!("parts-{view}");
        let mut raw = Raw::connect(&site.user_seeing(&name, view, PARTS));
        let top = if view == "host" { site.on_host("www/site1") } else { "/site1".to_owned() };
        let at = |path: &str| format!("{top}/{path}").into_bytes();
        assert_eq!(raw.contents(&at("config/app.ini")).expect("may be read"), b"key = 1");
        assert!(raw.put(&at("index.html"), b"<h3>", NEW).is_success());
        for (what, answer) in [
            ("write", raw.put(&at("config/app.ini"), b"", open::WRITE)),
            ("cut", raw.put(&at("config/app.ini"), b"", NEW)),
            ("make", raw.put(&at("config/new"), b"", NEW)),
            ("mkdir", raw.mkdir(&at("config/new"))),
            ("remove", raw.remove(&at("config/app.ini"))),
            ("chmod", raw.setstat(&at("config/app.ini"), &mode(0o600))),
            ("chmod of the part", raw.setstat(&at("config"), &mode(0o777))),
            ("replace", raw.extended("posix-rename@openssh.com", &[&at("index.html"), &at("config/app.ini")])),
            ("take out", raw.rename(&at("config/app.ini"), &at("app.ini"))),
        ] {
            assert!(!answer.is_success(), "{what}: {answer:?}");
        }
        assert_eq!(
            (site.text("www/site1/config/app.ini").as_str(), raw.stat(&at("app.ini")).code()),
            ("key = 1", Some(2))
        );
    }
}

fn a_part_of_a_read_only_grant_may_be_written(identity: Identity) {
    let site = Site::new(identity);
    site.file("www/site1/uploads/.keep", "");
    let mut raw = Raw::connect(&site.user("editor", &[("www/site1", "ro"), ("www/site1/uploads", "rw")]));
    assert!(refusal(&raw.put(b"/index.html", b"", NEW)).1.contains("read-only"));
    assert!(raw.put(b"/uploads/picture", b"png", NEW).is_success());
    assert_eq!(site.text("www/site1/uploads/picture"), "png");
}

fn what_is_hidden_is_not_there(identity: Identity) {
    let site = Site::new(identity);
    site.file("www/site1/.env", "SECRET=1");
    let hidden = [("www/site1", "rw"), ("www/site1/private", "hidden"), ("www/site1/.env", "hidden")];
    let login = site.user("part", &hidden);
    let mut raw = Raw::connect(&login);
    assert_eq!(names(&mut raw, b"/"), ["config", "index.html"]);
    for path in [&b"/private"[..], b"/private/deep", b"/private/deep/note", b"/.env", b"/config/../private"] {
        for (what, answer) in [
            ("stat", raw.stat(path)),
            ("lstat", raw.lstat(path)),
            ("read", raw.open(path, open::READ)),
            ("write", raw.open(path, open::WRITE)),
            ("list", raw.opendir(path)),
            ("remove", raw.remove(path)),
            ("rmdir", raw.rmdir(path)),
            ("rename", raw.rename(path, b"/taken")),
            ("hardlink", raw.extended("hardlink@openssh.com", &[path, b"/taken"])),
            ("chmod", raw.setstat(path, &mode(0o777))),
            ("readlink", raw.readlink(path)),
            ("statvfs", raw.extended("statvfs@openssh.com", &[path])),
        ] {
            assert_eq!(answer.code(), Some(status::NO_SUCH_FILE), "{what} {}: {answer:?}", path.escape_ascii());
        }
    }
    for path in [&b"/private/new"[..], b"/private/deep/new"] {
        assert_eq!(raw.put(path, b"", NEW).code(), Some(status::NO_SUCH_FILE));
        assert_eq!(raw.mkdir(path).code(), Some(status::NO_SUCH_FILE));
    }
    for answer in [raw.put(b"/.env", b"", NEW), raw.mkdir(b"/private"), raw.rename(b"/index.html", b"/.env")] {
        assert!(!answer.is_success(), "{answer:?}");
    }
    assert!(raw.symlink(b"private/deep/note", b"/link").is_success());
    assert_eq!(raw.contents(b"/link"), Err(Reply::Status(2, "no such file or directory".into())));
    assert_eq!(
        (site.text("www/site1/.env").as_str(), site.text("www/site1/private/deep/note").as_str()),
        ("SECRET=1", "hush")
    );
    let said = finish(&mut sftp(&login), "ls -la\n").ok();
    assert!(!said.contains("private") && !said.contains(".env"), "{said}");
}

fn a_file_may_be_a_part(identity: Identity) {
    let site = Site::new(identity);
    let mut raw = Raw::connect(&site.user("file", &[("www/site1", "rw"), ("www/site1/config/app.ini", "ro")]));
    assert_eq!(raw.contents(b"/config/app.ini").expect("may be read"), b"key = 1");
    assert!(raw.put(b"/config/secret.ini", b"password = 3", NEW).is_success());
    for answer in [
        raw.put(b"/config/app.ini", b"", NEW),
        raw.remove(b"/config/app.ini"),
        raw.rename(b"/config/app.ini", b"/config/old.ini"),
        raw.extended("posix-rename@openssh.com", &[b"/config/secret.ini", b"/config/app.ini"]),
    ] {
        assert!(!answer.is_success(), "{answer:?}");
    }
    assert_eq!(site.text("www/site1/config/app.ini"), "key = 1");
}

fn what_leads_to_a_part_stays_in_its_place(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("part", PARTS);
    let mut raw = Raw::connect(&login);
    for path in [&b"/site1/private"[..], b"/site1/config"] {
        let answer = raw.rename(path, b"/site1/moved");
        assert!(refusal(&answer).1.contains("in use"), "{answer:?}");
        assert!(!raw.rmdir(path).is_success());
    }
    assert!(!raw.rename(b"/site1", b"/moved").is_success() && !raw.rmdir(b"/site1").is_success());
    assert_eq!(names(&mut raw, b"/site1/private"), Vec::<String>::new());
    assert!(raw.put(b"/site1/private/mine", b"mine", NEW).is_success());
    // Others may move it: the rights go with it, so nothing more is done until the next login.
    fs::rename(site.home.join("www/site1/private"), site.home.join("www/site1/elsewhere")).expect("the owner moves it");
    site.file("www/site1/private/deep/note", "hush again");
    assert_eq!(raw.try_stat(b"/site1/private/deep/note"), None);
    let mut raw = Raw::connect(&login);
    assert_eq!(raw.stat(b"/site1/private/deep/note").code(), Some(status::NO_SUCH_FILE));
}

fn what_is_not_there_needs_no_hiding(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("part", &[("www/site1", "rw"), ("www/site1/later/on", "hidden")]);
    let mut raw = Raw::connect(&login);
    assert_eq!(names(&mut raw, b"/"), ["config", "index.html", "private"]);
    site.file("www/site1/later/on/note", "hush");
    assert_eq!(raw.try_stat(b"/later/on/note"), None, "it came, so the session ends");
    let mut raw = Raw::connect(&login);
    assert_eq!(names(&mut raw, b"/later"), Vec::<String>::new());
    assert_eq!(raw.stat(b"/later/on/note").code(), Some(status::NO_SUCH_FILE));
}

fn a_missing_part_is_named(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("part", &[("www/site1", "rw"), ("www/site1/gone", "ro")]);
    let said = finish(&mut sftp(&login), "ls\n").err();
    assert!(said.contains("www/site1/gone") && said.contains("does not exist"), "{said}");
}

fn taking_away_ends_sessions_and_giving_does_not(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("part", &[("www/site1", "rw"), ("www/site1/config", "ro")]);
    let mut raw = Raw::connect(&login);
    site.node.admin(&["grant", "remove", "part", "www/site1/config"]);
    site.node.admin(&["grant", "add", "part", "logs", "--mode", "ro"]);
    assert!(raw.stat(b"/index.html").is_success(), "giving more ends nothing");
    site.node.admin(&["grant", "add", "part", "www/site1/config", "--mode", "hidden"]);
    let ended = wait_until(Duration::from_secs(30), || raw.try_stat(b"/index.html").is_none());
    assert_eq!(ended, Waiting::Came, "taking away ends the session");
    let mut raw = Raw::connect(&login);
    assert_eq!(names(&mut raw, b"/site1"), ["index.html", "private"]);
    assert_eq!(names(&mut raw, b"/logs"), ["access.log"]);
}

fn a_part_that_was_swapped_is_followed_at_the_next_login(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("part", &[("www/site1", "rw"), ("www/site1/config", "ro")]);
    let mut raw = Raw::connect(&login);
    site.file("www/next/app.ini", "key = 2");
    fs::rename(site.home.join("www/site1/config"), site.home.join("www/old")).expect("a deploy");
    fs::rename(site.home.join("www/next"), site.home.join("www/site1/config")).expect("a deploy");
    assert_eq!(raw.try_stat(b"/config/app.ini"), None, "the new directory has no rights of its own yet");
    assert_eq!(site.text("www/site1/config/app.ini"), "key = 2");
    let mut raw = Raw::connect(&login);
    assert_eq!(raw.contents(b"/config/app.ini").expect("may be read"), b"key = 2");
    assert!(refusal(&raw.put(b"/config/app.ini", b"", NEW)).1.contains("read-only"));
}

/// An editor saves by writing a new file and renaming it over the old one.
fn a_hidden_file_that_is_saved_stays_hidden(identity: Identity) {
    let site = Site::new(identity);
    site.file("www/site1/.env", "SECRET=1");
    let login = site.user("part", &[("www/site1", "rw"), ("www/site1/.env", "hidden")]);
    let mut raw = Raw::connect(&login);
    let Reply::Handle(open) = raw.open(b"/index.html", open::READ) else { panic!("cannot open") };
    site.file("www/site1/.env.tmp", "SECRET=2");
    fs::rename(site.home.join("www/site1/.env.tmp"), site.home.join("www/site1/.env")).expect("the editor saves");
    assert_eq!(raw.read(&open, 0, 100), Reply::Data(b"<h1>".to_vec()), "open files go on");
    assert_eq!(raw.try_ask(3, &[&[0, 0, 0, 5][..], b"/.env", &[0, 0, 0, 1, 0, 0, 0, 0]].concat()), None);
    let mut raw = Raw::connect(&login);
    assert_eq!(raw.open(b"/.env", open::READ).code(), Some(status::NO_SUCH_FILE));
    let said = finish(&mut sftp(&login), "get .env\n").err();
    assert!(!said.contains("SECRET"), "{said}");
}

fn mode(bits: u32) -> Attributes {
    Attributes { permissions: Some(bits), ..Attributes::default() }
}
