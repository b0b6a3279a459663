//! Somebody with programs in a cell, and others of the account around them, go for what was not granted.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Site, run, told};
use crate::harness::{Identity, Login, Node, Raw, Waiting, descendants, finish, has_ended, signal, ssh, wait_until};

as_root_and_rootless!(
    what_is_replaced_under_a_nested_grant_ends_the_cell,
    programs_see_no_drop_box,
    a_captured_worker_is_not_heard,
    the_servers_program_stays_as_it_is,
    a_captured_worker_harms_its_own_connection_alone,
    revoking_comes_in_between,
    a_captured_worker_ends_with_its_node,
    rights_that_shrink_end_the_cell,
    a_session_that_does_not_hang_up_keeps_no_program,
    what_is_exchanged_while_a_cell_is_built_leads_nowhere,
    descriptors_under_way_shut_nobody_out,
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

/// What a worker says goes to a process that holds the host keys.
fn a_captured_worker_harms_its_own_connection_alone(identity: Identity) {
    let site = Site::new(identity);
    let (dev, other) = (site.developer(), site.user("other", "exec", &[("www/site2", "rw")]));
    fs::write(site.site().join("captured.py"), CAPTURED).expect("a file");
    let mut elsewhere = run(&other, "exec sleep 1000").spawn().expect("start");
    for kind in ["directory", "file", "place", "epoll", "one", "none", "many", "garbage"] {
        let control = format!("ControlPath={}", site.node.dir().join(kind).display());
        let mut master = ssh(&dev);
        let mut master =
            master.args(["-N", "-o", "ControlMaster=yes", "-o", &control]).arg(dev.at()).spawn().expect("start");
        assert_eq!(wait_until(Duration::from_secs(20), || site.node.dir().join(kind).exists()), Waiting::Came);
        let joined = |command: &str| {
            let mut client = ssh(&dev);
            client.args(["-o", &control]).arg(dev.at()).arg(command).stdin(Stdio::null()).stdout(Stdio::piped());
            client.spawn().expect("start")
        };
        let mut captor = joined(&format!("python3 captured.py forge 1 {kind}"));
        let mut said = [0; 11];
        std::io::Read::read_exact(captor.stdout.as_mut().expect("piped"), &mut said).expect("it has captured");
        assert_eq!(&said, b"captured 1\n", "{kind}: it has found the channel to the session");
        // A program whose streams are forged may seem to run for ever: it is its own user's.
        let mut second = joined("true");
        captor.wait().expect("our own child");
        for own in [&mut second, &mut master] {
            drop(own.kill());
            own.wait().expect("our own child");
        }
        let log = site.node.log();
        assert!(!log.contains("session failed") && !log.contains("broke the rules"), "{kind}: {log}");
        let came = wait_until(Duration::from_secs(20), || finish(&mut run(&dev, "echo again"), "").stdout == "again\n");
        assert_eq!(came, Waiting::Came, "{kind}");
    }
    assert!(elsewhere.try_wait().expect("our own child").is_none(), "another user's program goes on");
    drop(elsewhere.kill());
    elsewhere.wait().expect("our own child");
}

/// At any moment of a cell's birth; nothing of it may be left.
fn revoking_comes_in_between(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    told(&dev, "true");
    let count = || descendants(site.node.pid()).len();
    let none = || site.node.sessions().is_empty();
    assert_eq!(wait_until(Duration::from_secs(20), none), Waiting::Came);
    let before = count();
    for step in 0..12 {
        site.node.admin(&["user", "enable", "dev"]);
        let mut starting =
            run(&dev, "setsid sleep 1000 & exec sleep 1000").stderr(Stdio::null()).spawn().expect("start");
        std::thread::sleep(Duration::from_millis(step * 8));
        site.node.admin(&["user", "disable", "dev"]);
        let ended = wait_until(Duration::from_secs(20), || starting.try_wait().expect("our own child").is_some());
        assert_eq!(ended, Waiting::Came, "step {step}");
    }
    assert_eq!(wait_until(Duration::from_secs(20), || none() && count() <= before), Waiting::Came, "something is left");
    site.node.admin(&["user", "enable", "dev"]);
    assert_eq!(told(&dev, "pgrep -c sleep; true"), "0\n");
}

/// Ended by itself it would live on where nobody could revoke it.
fn a_captured_worker_ends_with_its_node(identity: Identity) {
    let mut site = Site::new(identity);
    let dev = site.developer();
    fs::write(site.site().join("captured.py"), CAPTURED).expect("a file");
    let mark = 200_000 + std::process::id();
    let line = format!("python3 captured.py hold 1 {mark}");
    let mut captor = run(&dev, &format!("exec {line}")).stdout(Stdio::piped()).spawn().expect("start");
    let mut said = [0; 11];
    std::io::Read::read_exact(captor.stdout.as_mut().expect("piped"), &mut said).expect("it has captured");
    let left = || -> Vec<i32> {
        finish(Command::new("pgrep").args(["-fx", &line]), "")
            .stdout
            .lines()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    };
    assert_eq!(left().len(), 1);
    site.node.end(Signal::SIGKILL);
    let ended = wait_until(Duration::from_secs(10), || left().is_empty());
    for pid in left() {
        // It is not to outlive the test too; gone in this moment is as good.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap_or_default();
    }
    captor.wait().expect("our own child");
    assert_eq!(ended, Waiting::Came, "it lives on");
}

/// Another process of the account puts links where a grant, a nested one and the user's home are looked for.
fn what_is_exchanged_while_a_cell_is_built_leads_nowhere(identity: Identity) {
    let site = Site::new(identity);
    let config = site.site().join("config");
    fs::create_dir(&config).expect("a directory");
    site.node.own(&site.home);
    let dev = site.user("dev", "exec", &[("www/site1", "rw"), ("www/site1/config", "ro")]);
    told(&dev, "true");
    let links =
        [site.site(), config, site.home.join(".enclos/home/dev"), site.home.join(".enclos/home")].map(|place| {
            let link = site.home.join(format!("link-{}", place.file_name().expect("a name").display()));
            std::os::unix::fs::symlink(site.home.join("private"), &link).expect("a link");
            (place, link)
        });
    site.node.own(&site.home);
    let look = "for at in . config ~ /home/dev; do cat $at/secret.txt; ls -A $at; touch $at/made; done";
    let over = AtomicBool::new(false);
    let (mut built, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        for (place, link) in &links {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // One of the others may have moved it away at this moment.
                    renameat_with(CWD, place, CWD, link, RenameFlags::EXCHANGE).unwrap_or_default();
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
        }
        for _ in 0..60 {
            let ended = finish(&mut run(&dev, look), "");
            assert!(!ended.stdout.contains("the account's own") && !ended.stdout.contains("secret.txt"), "{ended:?}");
            *(if ended.stderr.contains("secret.txt") { &mut built } else { &mut refused }) += 1;
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(!site.home.join("private/made").exists());
    assert!(refused > 0, "{built} cells were built and none was refused: there was no race");
}

/// What the kernel counts for a user, all users of an ordinary user's node have together.
fn descriptors_under_way_shut_nobody_out(identity: Identity) {
    let mut node = Node::prepare(identity);
    let few = node.dir().join("few");
    fs::write(&few, format!("#!/bin/sh\nulimit -Sn 1024\nexec {} \"$@\"\n", identity.enclos().display()))
        .expect("a script");
    fs::set_permissions(&few, fs::Permissions::from_mode(0o755)).expect("may be run");
    node.replace_binary(&few, ("ENCLOS_TEST", "1"));
    node.serve();
    let home = node.account("acme");
    let site = Site { node, home };
    let (dev, other) = (site.developer(), site.user("other", "sftp", &[("www/site2", "rw")]));
    fs::write(site.site().join("under-way.py"), include_str!("scripts/under-way.py")).expect("a file");
    let mut holder = run(&dev, "exec python3 under-way.py").stdout(Stdio::piped()).spawn().expect("start");
    let mut said = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut said).expect("they are under way");
    for _ in 0..5 {
        let mut raw = Raw::try_connect(&other).expect("a login");
        assert!(raw.stat(b"/").is_success());
    }
    drop(holder.kill());
    holder.wait().expect("our own child");
}

/// A cell is shared by all connections of a user; none finds one that was made for more than it has.
fn rights_that_shrink_end_the_cell(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec", &[("www/site1", "rw"), ("www/site2", "rw")]);
    let admin = |arguments: &[&str]| drop(site.node.admin(arguments));
    let removed = || admin(&["grant", "remove", "dev", "www/site2"]);
    let narrowed = || {
        admin(&["grant", "remove", "dev", "www/site1"]);
        admin(&["grant", "add", "dev", "www/site1", "--mode", "ro"]);
    };
    let shrinks: [(&str, &dyn Fn(), &str); 2] =
        [("a grant that goes", &removed, "ls ../site2"), ("a grant that may only be read now", &narrowed, "touch new")];
    for (what, happens, attempt) in shrinks {
        told(&dev, attempt);
        assert_eq!(stays_until(&dev, happens), Waiting::Came, "the cell lives on with {what}");
        let ended = finish(&mut run(&dev, attempt), "");
        assert!(!ended.status.success(), "{what}: {ended:?}");
    }
}

/// A session gets a moment to say goodbye in; a captured one uses it otherwise.
fn a_session_that_does_not_hang_up_keeps_no_program(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let mark = 300_000 + std::process::id();
    let mut running =
        run(&dev, &format!("echo here; exec sleep {mark}")).stdout(Stdio::piped()).spawn().expect("start");
    let mut said = [0; 5];
    std::io::Read::read_exact(running.stdout.as_mut().expect("piped"), &mut said).expect("it runs");
    let session = site.node.session_of("dev").pid;
    let lives = || finish(Command::new("pgrep").args(["-fx", &format!("sleep {mark}")]), "").status.success();
    assert_eq!(wait_until(Duration::from_secs(20), lives), Waiting::Came);
    signal(session, Signal::SIGSTOP);
    site.node.admin(&["user", "disable", "dev"]);
    let mut outlived = false;
    let gone = wait_until(Duration::from_secs(20), || {
        let is_over = has_ended(session);
        let program_lives = lives();
        outlived |= is_over && program_lives;
        is_over && !program_lives
    });
    assert_eq!((gone, outlived), (Waiting::Came, false), "a program outlived its session");
    running.wait().expect("our own child");
}

mod with_root_only {
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

        /// Beyond them are other people's: the next account's, or a user's of the host.
        #[test]
        fn cells_have_ids_of_the_node() {
            let mut node = Node::prepare(Identity::root());
            node.write_config("uid_first = 300000\nuid_count = 16");
            node.serve();
            let home = node.account("acme");
            let site = Site { node, home };
            let dev = site.developer();
            let raw = Raw::connect(&dev);
            let session = site.node.session_of("dev").uid;
            let cell: u32 = told(&dev, "id -u").trim().parse().expect("a number");
            assert!((300_000..300_016).contains(&session) && (300_000..300_016).contains(&cell), "{session} {cell}");
            assert_ne!(session, cell);
            drop(raw);
        }
    }
}
