//! Parts of grants that somebody exchanges, spoils or brings into being, before a session has opened anything and after.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{NEW, Site, names, refusal};
use crate::harness::{Attributes, Identity, Login, Raw, Reply, Waiting, open, ssh, status, wait_until};

as_root_and_rootless!(
    what_is_swapped_after_the_login_stays_closed,
    an_upload_that_becomes_whole_does_not_replace_what_came_meanwhile,
    hidden_and_missing_are_not_told_apart,
    what_is_no_directory_leads_to_nothing_hidden,
    a_way_that_was_closed_shuts_nobody_out,
    what_is_on_its_way_to_a_hidden_name_is_nobodys,
);

/// A connection on which nothing has been opened yet.
struct Master {
    ssh: Child,
    control: PathBuf,
}

impl Master {
    fn connect(site: &Site, login: &Login) -> Master {
        let control = site.node.dir().join(format!("control-{}", login.user));
        let mut command = ssh(login);
        command.args(["-N", "-o", "ControlMaster=yes", "-o"]).arg(format!("ControlPath={}", control.display()));
        let ssh = command.arg(login.at()).stdin(Stdio::null()).spawn().expect("start ssh");
        assert_eq!(wait_until(Duration::from_secs(30), || control.exists()), Waiting::Came);
        Master { ssh, control }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        drop(self.ssh.kill());
        drop(self.ssh.wait());
    }
}

/// As an editor saves and a deploy exchanges: something new takes the name in one step.
fn swap(site: &Site, path: &str, inside: &str, text: &str) {
    let at = if inside.is_empty() { "next".to_owned() } else { format!("next/{inside}") };
    site.file(&at, text);
    let place = site.home.join(path);
    if place.is_dir() {
        fs::rename(&place, site.home.join("old")).expect("the old one goes");
    }
    fs::rename(site.home.join("next"), place).expect("the new one comes");
}

fn what_is_swapped_after_the_login_stays_closed(identity: Identity) {
    let site = Site::new(identity);
    site.file("www/site1/.env", "SECRET=1");
    let login = site.user("part", &[("www/site1", "rw"), ("www/site1/.env", "hidden"), ("www/site1/config", "ro")]);
    for (path, inside, read, written) in [
        ("www/site1/.env", "", &b"/.env"[..], &b"/.env"[..]),
        ("www/site1/config", "app.ini", b"/.env", b"/config/app.ini"),
    ] {
        let master = Master::connect(&site, &login);
        swap(&site, path, inside, "SECRET=2");
        match Raw::try_join(&login, &master.control) {
            Err(said) => assert!(said.contains("log in again"), "{said}"),
            Ok(mut raw) => {
                assert_eq!(raw.contents(read), Err(Reply::Status(2, "no such file or directory".into())));
                assert!(!raw.put(written, b"mine", NEW).is_success());
            }
        }
        let mut raw = Raw::connect(&login);
        assert_eq!(names(&mut raw, b"/"), ["config", "index.html", "private"]);
    }
    assert_eq!(site.text("www/site1/config/app.ini"), "SECRET=2");
}

fn an_upload_that_becomes_whole_does_not_replace_what_came_meanwhile(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("part", &[("www/site1", "rw"), ("www/site1/.env", "hidden")]);
    site.node.admin(&["user", "set", "part", "--uploads", "atomic"]);
    let mut raw = Raw::connect(&login);
    let Reply::Handle(handle) = raw.open(b"/.env", NEW) else { panic!("nothing is hidden yet") };
    assert!(raw.write_at(&handle, 0, b"SECRET=mine").is_success());
    site.file("www/site1/.env", "SECRET=theirs");
    let close = [&8_u32.to_be_bytes()[..], &handle].concat();
    assert_eq!(raw.try_ask(4, &close), None, "it came, so the session ends");
    assert_eq!(site.text("www/site1/.env"), "SECRET=theirs");
}

/// Every way to ask for a name, and what is answered to each.
fn asked(raw: &mut Raw, path: &[u8]) -> Vec<(&'static str, Reply)> {
    let any = Attributes { permissions: Some(0o600), ..Attributes::default() };
    vec![
        ("stat", raw.stat(path)),
        ("lstat", raw.lstat(path)),
        ("read", raw.open(path, open::READ)),
        ("write", raw.open(path, open::WRITE)),
        ("read and write", raw.open(path, open::READ | open::WRITE)),
        ("cut", raw.open(path, open::WRITE | open::TRUNCATE)),
        ("list", raw.opendir(path)),
        ("readlink", raw.readlink(path)),
        ("remove", raw.remove(path)),
        ("rmdir", raw.rmdir(path)),
        ("rename", raw.rename(path, b"/taken")),
        ("posix-rename", raw.extended("posix-rename@openssh.com", &[path, b"/taken"])),
        ("hardlink", raw.extended("hardlink@openssh.com", &[path, b"/taken"])),
        ("chmod", raw.setstat(path, &any)),
        ("statvfs", raw.extended("statvfs@openssh.com", &[path])),
    ]
}

fn hidden_and_missing_are_not_told_apart(identity: Identity) {
    let site = Site::new(identity);
    site.file("www/site1/.env", "SECRET=1");
    let grants = [("www/site1", "rw"), ("www/site1/.env", "hidden"), ("www/site1/private", "hidden")];
    let mut wrong = Vec::new();
    for uploads in ["direct", "atomic"] {
        let name = format!("part-{uploads}");
        let login = site.user(&name, &grants);
        site.node.admin(&["user", "set", &name, "--uploads", uploads]);
        for name in [".env", "private", ".nothing"] {
            let link = site.home.join(format!("www/site1/to{name}"));
            if !link.is_symlink() {
                symlink(site.on_host(&format!("www/site1/{name}")), link).expect("a link");
            }
        }
        site.node.own(&site.home);
        let mut raw = Raw::connect(&login);
        for (missing, hidden) in [
            ("/.nothing", "/.env"),
            ("/.nothing", "/private"),
            ("/.nothing/x", "/.env/x"),
            ("/.nothing/x", "/private/deep"),
        ] {
            for (one, other) in asked(&mut raw, missing.as_bytes()).into_iter().zip(asked(&mut raw, hidden.as_bytes()))
            {
                if one != other {
                    wrong.push((uploads, missing.to_owned(), one, hidden.to_owned(), other));
                }
            }
        }
        // Links themselves may be looked at; what counts is what lies behind them.
        for hidden in ["/to.env", "/toprivate"] {
            for what in [open::READ, open::WRITE, open::READ | open::WRITE, open::WRITE | open::TRUNCATE] {
                let (one, other) = (raw.open(b"/to.nothing", what), raw.open(hidden.as_bytes(), what));
                if one != other {
                    wrong.push((
                        uploads,
                        format!("/to.nothing {what}"),
                        ("open", one),
                        hidden.to_owned(),
                        ("open", other),
                    ));
                }
            }
            let (one, other) = (raw.opendir(b"/to.nothing"), raw.opendir(hidden.as_bytes()));
            assert_eq!(one, other);
            let (one, other) = (raw.stat(b"/to.nothing"), raw.stat(hidden.as_bytes()));
            assert_eq!(one, other);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn what_is_no_directory_leads_to_nothing_hidden(identity: Identity) {
    let site = Site::new(identity);
    let login = site.user("part", &[("www/site1", "rw"), ("www/site1/later/on/top", "hidden")]);
    let mut raw = Raw::connect(&site.user("whole", &[("www/site1", "rw")]));
    assert!(raw.put(b"/later", b"a file", NEW).is_success());
    let mut part = Raw::connect(&login);
    assert_eq!(part.contents(b"/later").expect("not hidden itself"), b"a file");
    assert!(raw.remove(b"/later").is_success());
    site.file("www/site1/later/on/top/note", "hush");
    assert_eq!(part.try_stat(b"/later/on/top/note"), None, "it came, so the session ends");
    let mut part = Raw::connect(&login);
    assert_eq!(part.stat(b"/later/on/top/note").code(), Some(status::NO_SUCH_FILE));
}

/// Taking the right to enter from a directory is a common slip, after which no login could see to the part in it.
fn a_way_that_was_closed_shuts_nobody_out(identity: Identity) {
    let site = Site::new(identity);
    let grants = [("www/site1", "rw"), ("www/site1/private/deep", "hidden"), ("www/site1/config", "ro")];
    let login = site.user("part", &grants);
    let mode = |bits| Attributes { permissions: Some(bits), ..Attributes::default() };
    for path in [&b"/private"[..], b"/"] {
        let mut raw = Raw::connect(&login);
        let refused = raw.setstat(path, &mode(0o600));
        assert!(refusal(&refused).1.contains("must be able to enter"), "{refused:?}");
        assert!(raw.setstat(path, &mode(0o700)).is_success());
        assert_eq!(raw.contents(b"/config/app.ini").expect("may be read"), b"key = 1");
    }
    let mut raw = Raw::connect(&login);
    assert!(raw.mkdir(b"/private/mine").is_success());
    assert!(raw.setstat(b"/private/mine", &mode(0o600)).is_success(), "other directories may be closed");
}

/// Somebody else uploads a file that is hidden from us, and that was not there before.
fn what_is_on_its_way_to_a_hidden_name_is_nobodys(identity: Identity) {
    let site = Site::new(identity);
    let writer = site.user("writer", &[("www/site1", "rw")]);
    site.node.admin(&["user", "set", "writer", "--uploads", "atomic"]);
    let part = site.user("part", &[("www/site1", "rw"), ("www/site1/.env", "hidden")]);
    let (mut writing, mut raw) = (Raw::connect(&writer), Raw::connect(&part));
    let Reply::Handle(handle) = writing.open(b"/.env", NEW) else { panic!("cannot upload") };
    assert!(writing.write_at(&handle, 0, b"SECRET=1").is_success());
    let partial =
        fs::read_dir(site.home.join("www/site1")).expect("a directory").map(|e| e.expect("an entry").file_name());
    let partial: Vec<_> = partial.filter(|name| name.to_string_lossy().starts_with(".ht-enclos-upload.")).collect();
    let [partial] = partial.as_slice() else { panic!("not one upload: {partial:?}") };
    let name = partial.to_str().expect("text").as_bytes();
    assert!(!names(&mut raw, b"/").contains(&partial.to_string_lossy().into_owned()));
    let path = [b"/", name].concat();
    for answer in [
        raw.open(&path, open::READ),
        raw.stat(&path),
        raw.rename(&path, b"/mine"),
        raw.extended("hardlink@openssh.com", &[&path, b"/mine"]),
        raw.remove(&path),
    ] {
        assert_eq!(answer.code(), Some(status::NO_SUCH_FILE), "{answer:?}");
    }
    assert!(
        !raw.symlink(name, b"/link").is_success()
            && !raw.symlink(&[b"config/../", name].concat(), b"/link").is_success()
    );
    assert!(raw.contents(b"/link").is_err());
    assert!(writing.close(&handle).is_success());
    assert_eq!(site.text("www/site1/.env"), "SECRET=1");
}
