//! Somebody with programs in a cell, and others of the account around them, go for what was not granted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Site, run, told};
use crate::harness::{Identity, Login, Node, Raw, Waiting, finish, wait_until};

as_root_and_rootless!(
    what_is_replaced_under_a_nested_grant_ends_the_cell,
    programs_see_no_drop_box,
    a_captured_worker_is_not_heard,
    the_servers_program_stays_as_it_is,
);

/// A program that runs until its cell ends; whoever holds it does not know when that is.
fn stays_until<T>(login: &Login, ends: impl FnOnce() -> T) -> Waiting {
    let mut staying = run(login, "echo here; exec sleep 1000").stdout(Stdio::piped()).spawn().expect("start");
    let mut said = [0; 5];
    std::io::Read::read_exact(staying.stdout.as_mut().expect("piped"), &mut said).expect("it runs");
    ends();
    let ended = wait_until(Duration::from_secs(20), || staying.try_wait().expect("our own child").is_some());
    drop(staying.kill());
    staying.wait().expect("our own child");
    ended
}

/// As an editor saves and as a deploy exchanges, by somebody who is not in the cell.
fn what_is_replaced_under_a_nested_grant_ends_the_cell(identity: Identity) {
    let site = Site::new(identity);
    let write = |path: &str, text: &str| {
        let path = site.site().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
        site.node.own(&site.home);
    };
    write(".env", "SECRET=1");
    write("config/app.ini", "key=1");
    let grants =
        [("www/site1", "rw"), ("www/site1/.env", "hidden"), ("www/site1/later", "hidden"), ("www/site1/config", "ro")];
    let part = site.user("part", "exec", &grants);
    let at = |path: &str| site.site().join(path);
    let rename = |from: &Path, to: &Path| fs::rename(from, to).expect("renamed");
    let look = "cat .env later; echo mine > config/app.ini; true";
    let saves = || {
        write("new", "SECRET=2");
        rename(&at("new"), &at(".env"));
    };
    let exchanges = || {
        write("next/app.ini", "key=2");
        rename(&at("config"), &at("old"));
        rename(&at("next"), &at("config"));
    };
    let comes = || write("later", "SECRET=3");
    let happenings: [(&str, &dyn Fn()); 3] =
        [("saved", &saves), ("exchanged", &exchanges), ("written for the first time", &comes)];
    for (how, happens) in happenings {
        assert_eq!(stays_until(&part, happens), Waiting::Came, "the cell lives on with what was {how}");
        assert_eq!(told(&part, look), "", "after something was {how}");
    }
    assert_eq!(fs::read_to_string(at("config/app.ini")).expect("a file"), "key=2");
    // What happens beside them ends nothing.
    let beside =
        || (write("config/other", "x"), write("index.html", "y"), finish(&mut run(&part, "touch z; rm z"), ""));
    let mut staying = run(&part, "exec sleep 1000").spawn().expect("start");
    assert_eq!(wait_until(Duration::from_secs(20), || told(&part, "pgrep -c sleep; true") == "1\n"), Waiting::Came);
    beside();
    assert_eq!(told(&part, "pgrep -c sleep; true"), "1\n");
    staying.kill().expect("our own child");
    staying.wait().expect("our own child");
}

/// Nobody lists or reads it, and what others put there stays: rights that the kernel has for no program.
fn programs_see_no_drop_box(identity: Identity) {
    let site = Site::new(identity);
    let inbox = site.home.join("in");
    fs::create_dir_all(inbox.join("public")).expect("a directory");
    fs::write(inbox.join("other.txt"), "somebody else's").expect("a file");
    site.node.own(&site.home);
    let only = site.user("only", "sftp,exec", &[("in", "upload")]);
    let both = site.user("both", "exec", &[("in", "upload"), ("in/public", "ro"), ("www/site1", "rw")]);
    for login in [&only, &both] {
        for attempt in ["stat", "cat", "rm", "ls -d", "chmod 0"] {
            let ended = finish(&mut run(login, &format!("{attempt} {}/other.txt", inbox.display())), "");
            assert!(!ended.status.success() && ended.stdout.is_empty(), "{}: {attempt}: {ended:?}", login.user);
        }
        finish(&mut run(login, &format!("cd {} && echo mine > other.txt", inbox.display())), "");
    }
    assert_eq!(fs::read_to_string(inbox.join("other.txt")).expect("a file"), "somebody else's");
    assert_eq!(told(&only, "pwd"), "/home/only\n");
    assert_eq!(told(&both, &format!("ls {}", inbox.display())), "public\n");
}

/// A program of Python, in the cell.
fn python(login: &Login, script: &str, arguments: &str) -> String {
    finish(&mut run(login, &format!("python3 - {arguments}")), script).ok()
}

const CAPTURED: &str = include_str!("scripts/captured.py");

/// What a script of ours says about `name`.
fn answer(said: &str, name: &str) -> i64 {
    let of_name = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    of_name.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("nothing about {name}: {said}"))
}

/// The worker runs beside the user's programs with the same id, so they can have it say and send what they like.
fn a_captured_worker_is_not_heard(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let said = python(&dev, CAPTURED, "message 1");
    assert_eq!(answer(&said, "obeys"), 1);
    assert!(answer(&said, "eventfd") > 2);
    let broken_pipe = -32;
    assert_eq!((answer(&said, "descriptor"), answer(&said, "plain")), (broken_pipe, broken_pipe), "{said}");
    assert_eq!(told(&dev, "echo goes on"), "goes on\n");
}

/// A link of `/proc` leads programs to it, past their root; an ordinary user's server mostly belongs to that user.
fn the_servers_program_stays_as_it_is(identity: Identity) {
    let mut node = Node::prepare(identity);
    let own = node.dir().join("enclos");
    fs::copy(identity.enclos(), &own).expect("a copy of the server");
    let (uid, gid) = identity.account_owner();
    if identity == Identity::ordinary() {
        std::os::unix::fs::chown(&own, Some(uid), Some(gid)).expect("give it to the server's user");
    }
    node.replace_binary(&own, ("ENCLOS_TEST", "1"));
    node.serve();
    let home = node.account("acme");
    let site = Site { node, home };
    let dev = site.developer();
    let before = fs::metadata(&own).expect("the server");
    for attempt in [
        "chmod 0000 /proc/1/exe",
        "touch -c -d 2001-01-01 /proc/1/exe",
        "python3 -c 'import os; os.setxattr(\"/proc/1/exe\", \"user.mine\", b\"x\")'",
        "python3 -c 'import os; os.truncate(\"/proc/1/exe\", 0)'",
        "echo >> /proc/1/exe",
    ] {
        let ended = finish(&mut run(&dev, attempt), "");
        assert!(!ended.status.success(), "{attempt}: {ended:?}");
    }
    let after = fs::metadata(&own).expect("the server");
    assert_eq!((before.mode(), before.mtime(), before.ctime()), (after.mode(), after.mtime(), after.ctime()));
}

mod as_only_root_can_capture_them {
    mod as_root {
        use super::super::*;

        /// A descriptor that takes long to close (a socket that lingers, a large file that was removed) would hold up the monitor,
        /// and with it everybody.
        #[test]
        fn a_captured_session_sends_no_descriptor() {
            for identity in [Identity::root(), Identity::ordinary()] {
                let site = Site::new(identity);
                let raw = Raw::connect(&site.developer());
                let session = site.node.session_of("dev").pid;
                let mut python = Command::new("python3");
                let said = finish(python.args(["-", "message", &session.to_string()]), CAPTURED).ok();
                assert_eq!(answer(&said, "obeys"), 1, "the first of its own process namespace");
                assert!(answer(&said, "eventfd") > 2);
                assert_eq!(answer(&said, "descriptor"), -1, "{said}");
                drop(raw);
            }
        }
    }
}
