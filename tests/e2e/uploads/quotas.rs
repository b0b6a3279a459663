//! `enclos quota`: what a directory may take on disk, whoever writes there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use super::space::{ext4_with_quotas, fill, on_disk, runs_out, site};
use crate::audit::await_event;
use crate::harness::{Disk, Finished, Identity, Login, Node, Raw, Reply, finish, open, run_tool, sftp, ssh, text};

as_root_and_rootless!(where_nothing_is_counted_no_quota_can_be_set);

mod where_the_filesystem_counts {
    mod as_root {
        use super::super::*;

        #[test]
        fn a_directory_takes_no_more_than_its_quota_on_ext4_quotas() {
            a_directory_takes_no_more(&EXT4);
        }

        #[test]
        fn programs_meet_the_quota_and_cannot_leave_it_on_ext4_quotas() {
            programs_meet_it(&EXT4);
        }

        #[test]
        fn what_is_there_counts_and_nothing_behind_a_link_on_ext4_quotas() {
            what_is_there_counts(&EXT4);
        }

        #[test]
        fn nobody_keeps_an_operator_from_it_on_ext4_quotas() {
            nobody_keeps_an_operator_from_it(&EXT4);
        }

        #[test]
        fn quotas_do_not_lie_in_one_another_on_ext4_quotas() {
            none_lies_in_another(&EXT4);
        }

        #[test]
        fn a_directory_takes_no_more_than_its_quota_on_xfs_quotas() {
            a_directory_takes_no_more(&XFS);
        }

        #[test]
        fn programs_meet_the_quota_and_cannot_leave_it_on_xfs_quotas() {
            programs_meet_it(&XFS);
        }

        #[test]
        fn what_is_there_counts_and_nothing_behind_a_link_on_xfs_quotas() {
            what_is_there_counts(&XFS);
        }

        #[test]
        fn nobody_keeps_an_operator_from_it_on_xfs_quotas() {
            nobody_keeps_an_operator_from_it(&XFS);
        }

        #[test]
        fn quotas_do_not_lie_in_one_another_on_xfs_quotas() {
            none_lies_in_another(&XFS);
        }
    }
}

mod where_an_ordinary_user_asks {
    mod as_root {
        use super::super::*;

        #[test]
        fn only_root_is_told_on_ext4_quotas() {
            let ordinary = Identity::ordinary();
            let node = Node::prepare(ordinary);
            let accounts = node.home("acme").parent().expect("a directory").to_owned();
            let _disk = ext4_with_quotas(&accounts, "prjquota");
            chown(&accounts, Some(ordinary.operator()), Some(ordinary.operator())).expect("give it to the operator");
            node.account("acme");
            assert_eq!(node.admin(&["quota", "list", "--json"]).trim(), "[]");
            run_tool("chattr", &["-p", "42", "+P", text(&node.home("acme"))]);
            refused(&node, "list", "only root is told what a project takes");
        }
    }
}

/// A filesystem that counts by projects.
struct Counted {
    disk: fn(&Path) -> Disk,
    /// What is said of a write beyond a quota: to XFS the project is a small disk.
    over: &'static str,
    /// The same from programs.
    over_in_programs: &'static str,
}

const EXT4: Counted = Counted {
    disk: |at| ext4_with_quotas(at, "prjquota"),
    over: "disk quota exceeded",
    over_in_programs: "Disk quota exceeded",
};

/// The smallest that mkfs.xfs makes.
const XFS: Counted = Counted {
    disk: |at| Disk::image_with(at, 320, &["mkfs.xfs", "-q"], "loop,prjquota"),
    over: "no space left on the server's disk",
    over_in_programs: "No space left on device",
};

const MEBIBYTE: usize = 1 << 20;

fn quota(node: &Node, arguments: &str) -> Finished {
    let words: Vec<&str> = ["quota"].into_iter().chain(arguments.split_whitespace()).collect();
    finish(&mut node.enclos(&words), "")
}

fn refused(node: &Node, arguments: &str, sentence: &str) {
    let said = quota(node, arguments);
    assert_eq!(said.status.code(), Some(1), "{arguments}: {said:?}");
    assert!(said.stderr.contains(sentence), "{arguments}: {said:?}");
}

fn where_nothing_is_counted_no_quota_can_be_set(identity: Identity) {
    let (node, _) = Node::with_bob(identity);
    let why = match identity {
        Identity::Root => ["no project quotas switched on", "it has no quota"],
        _ => ["only root may", "only root may"],
    };
    refused(&node, "set acme www/site1 --space 5M", why[0]);
    refused(&node, "remove acme www/site1", why[1]);
    assert_eq!(quota(&node, "set acme www/site1").status.code(), Some(2), "nothing is said");
    refused(&node, "list nobody", "nobody");
    let list: serde_json::Value = serde_json::from_str(&node.admin(&["quota", "list", "--json"])).expect("JSON");
    assert_eq!(list, serde_json::json!([]));
    if identity == Identity::Root {
        refused(&node, "set acme www/site1 --space 0", "write none for any");
        refused(&node, "set acme www/missing --files 5", "No such file");
        let elsewhere = tempfile::tempdir().expect("a directory");
        symlink(elsewhere.path(), node.home("acme").join("www/link")).expect("a link");
        refused(&node, "set acme www/link --files 5", "no link may lead to it");
    }
}

/// Bob's directory, and beside it another of the account.
fn with_neighbour(on: &Counted) -> (Node, Login, Disk) {
    let (node, bob, disk) = on_disk(on.disk, |_| {});
    node.user("eve", "acme", &[("www/site2", "rw")]);
    (node, bob, disk)
}

/// Uploads so many megabytes.
fn put(raw: &mut Raw, path: &[u8], megabytes: u64) {
    let Reply::Handle(handle) = raw.open(path, open::WRITE | open::CREATE) else { panic!("cannot open") };
    let block = vec![7; MEBIBYTE / 8];
    for number in 0..megabytes * 8 {
        let said = raw.write_at(&handle, number * block.len() as u64, &block);
        assert!(said.is_success(), "{said:?}");
    }
    assert!(raw.close(&handle).is_success());
}

fn listed(node: &Node) -> serde_json::Value {
    serde_json::from_str(&node.admin(&["quota", "list", "acme", "--json"])).expect("JSON")
}

fn a_directory_takes_no_more(on: &Counted) {
    let (node, bob, _disk) = with_neighbour(on);
    assert_eq!(listed(&node), serde_json::json!([]));
    node.admin(&["quota", "set", "acme", "www/site1", "--space", "2M"]);
    let said = finish(&mut sftp(&bob), "df\n").ok();
    assert!(said.contains(" 2048 "), "the quota is not in: {said}");
    runs_out(&node, &bob, on.over);
    // More is more at once, also for whoever is connected, and a limit of files is told apart by nobody.
    node.admin(&["user", "set", "bob", "--uploads", "direct"]);
    let mut raw = Raw::connect(&bob);
    let (said, closed) = fill(&mut raw, b"/big");
    assert!(said.contains(on.over) && closed.is_success(), "{said} {closed:?}");
    node.admin(&["quota", "set", "acme", "www/site1", "--space", "20M", "--files", "8"]);
    put(&mut raw, b"/more", 8);
    let refused = (0..9).map(|n| raw.put(format!("/f{n}").as_bytes(), b"", open::WRITE | open::CREATE));
    let Some(Reply::Status(_, sentence)) = refused.into_iter().find(|reply| !reply.is_success()) else {
        panic!("there is always room for one more file")
    };
    assert!(sentence.contains(on.over), "{sentence}");
    let list = listed(&node);
    let row = &list[0];
    assert_eq!(
        (&row["path"], &row["space"]["most"], &row["files"]["most"]),
        (&"www/site1".into(), &(20 * MEBIBYTE).into(), &8.into()),
        "{list}"
    );
    assert_eq!(row["files"]["used"], 8, "{list}");
    assert!(row["space"]["used"].as_u64().expect("a number") > 9 * MEBIBYTE as u64, "{list}");
    assert!(node.admin(&["quota", "list"]).contains("20M"));
    // The neighbour has the disk.
    let neighbour = node.home("acme").join("www/site2/large");
    fs::write(&neighbour, vec![7; 25 * MEBIBYTE]).expect("nothing limits the neighbour");
    fs::remove_file(&neighbour).expect("a file");
    // One limit goes and the other stays; then both go, and nothing is counted any more.
    node.admin(&["quota", "set", "acme", "www/site1", "--files", "none"]);
    assert!(raw.put(b"/one-more", b"", open::WRITE | open::CREATE).is_success());
    assert_eq!(
        (&listed(&node)[0]["space"]["most"], &listed(&node)[0]["files"]["most"]),
        (&(20 * MEBIBYTE).into(), &serde_json::Value::Null)
    );
    node.admin(&["quota", "remove", "acme", "www/site1"]);
    assert_eq!(listed(&node), serde_json::json!([]));
    put(&mut raw, b"/large", 25);
    self::refused(&node, "remove acme www/site1", "it has no quota");
    let set = |change: serde_json::Value| {
        let detail = serde_json::json!({ "name": "acme", "path": "www/site1", "change": change });
        await_event(&node, "policy-changed", |event| event["operation"] == "quota-set" && event["detail"] == detail)
    };
    assert_eq!(set(serde_json::json!({ "space": { "set": 20 * MEBIBYTE }, "files": { "set": 8 } }))["account"], "acme");
    set(serde_json::json!({ "space": "unset", "files": "unset" }));
}

/// The projects of what lies in a directory, by name.
fn project(path: &Path) -> String {
    let flag = if path.is_dir() { "-pd" } else { "-p" };
    let said = finish(Command::new("lsattr").args([flag, text(path)]), "").ok();
    said.split_whitespace().next().expect("a number").to_owned()
}

fn programs_meet_it(on: &Counted) {
    let (node, _, _disk) = with_neighbour(on);
    let kim = node.user_with("kim", "acme", "sftp,exec", &[("www/site1", "rw")]);
    let place = site(&node);
    node.admin(&["quota", "set", "acme", "www/site1", "--space", "3M"]);
    let run = |command: &str| finish(ssh(&kim).args([kim.at().as_str(), command]), "");
    let at = text(&place);
    let df = run(&format!("df -k {at}")).ok();
    assert!(df.split_whitespace().any(|word| word == "3072"), "the quota is not in: {df}");
    run(&format!("mkdir {at}/sub")).ok();
    let said = run(&format!("head -c 5000000 /dev/zero > {at}/big"));
    assert!(!said.status.success() && said.stderr.contains(on.over_in_programs), "{said:?}");
    run(&format!("cd {at}/sub && test -f ../big")).ok();
    // Neither a file nor the directory leaves the project, and what is moved about stays in it.
    let own = project(&place);
    for command in ["chattr -p 0 big", "chattr -P .", "chattr -p 77 .", "chattr -P sub"] {
        let said = run(&format!("cd {at} && {command}"));
        assert!(!said.status.success(), "{command}: {said:?}");
    }
    // XFS gives back what was removed a moment later, and what is cut off at once.
    run(&format!("set -e; cd {at}; : > big; rm big; mkdir -p a/b; echo x > a/b/c; mv a/b sub/; ln sub/b/c link")).ok();
    for inner in ["sub", "sub/b", "sub/b/c", "link", "a"] {
        assert_eq!(project(&place.join(inner)), own, "{inner}");
    }
    let said = run(&format!("head -c 5000000 /dev/zero > {at}/sub/b/big"));
    assert!(!said.status.success() && said.stderr.contains(on.over_in_programs), "{said:?}");
}

fn what_is_there_counts(on: &Counted) {
    let (node, bob, _disk) = with_neighbour(on);
    let (place, outside) = (site(&node), node.home("acme").join("www/site2"));
    fs::create_dir_all(place.join("deep/er")).expect("directories");
    fs::write(place.join("deep/er/old"), vec![7; 4 * MEBIBYTE]).expect("a file");
    fs::write(outside.join("secret"), "x").expect("a file");
    symlink(&outside, place.join("deep/link")).expect("a link");
    symlink(outside.join("secret"), place.join("file-link")).expect("a link");
    run_tool("mkfifo", &[text(&place.join("fifo"))]);
    let socket = UnixListener::bind(place.join("socket")).expect("a socket");
    fs::set_permissions(place.join("deep/er/old"), fs::Permissions::from_mode(0o000)).expect("closed");
    node.own(&place);
    node.admin(&["quota", "set", "acme", "www/site1", "--space", "5M"]);
    let list = listed(&node);
    assert!(list[0]["space"]["used"].as_u64().expect("a number") >= 4 * MEBIBYTE as u64, "{list}");
    let own = project(&place);
    assert_ne!(own, "0");
    assert_eq!((project(&place.join("deep/er/old")), project(&place.join("deep"))), (own.clone(), own));
    for outside in [outside.clone(), outside.join("secret"), node.home("acme").join("www")] {
        assert_eq!(project(&outside), "0", "{}", outside.display());
    }
    let mut raw = Raw::connect(&bob);
    let (said, _) = fill(&mut raw, b"/new");
    assert!(said.contains(on.over), "{said}");
    // Less than there is: nothing is lost, and nothing more can be written.
    node.admin(&["quota", "set", "acme", "www/site1", "--space", "1M"]);
    assert_eq!(fs::metadata(place.join("deep/er/old")).expect("it is there").len(), 4 * MEBIBYTE as u64);
    node.admin(&["quota", "remove", "acme", "www/site1"]);
    for inner in ["", "deep", "deep/er", "deep/er/old"] {
        assert_eq!(project(&place.join(inner)), "0", "{inner:?}");
    }
    drop(socket);
}

/// Directories in one another: their path is longer than any path may be, and more than a process may have open.
const DEEP: usize = 3000;

/// Who may write there makes it as deep as they like, and moves it about meanwhile.
fn nobody_keeps_an_operator_from_it(on: &Counted) {
    let (node, _, _disk) = with_neighbour(on);
    let kim = node.user_with("kim", "acme", "sftp,exec", &[("www/site1", "rw")]);
    let place = site(&node);
    let deep = format!(
        "import os\nos.chdir('{}')\nfor n in range({DEEP}): os.mkdir('d'); os.chdir('d')\nopen('f', 'w').write('x')",
        text(&place)
    );
    finish(ssh(&kim).args([kim.at().as_str(), &format!("python3 -c \"{deep}\"")]), "").ok();
    let project_down_there = || {
        let down = format!(
            "import os\nos.chdir('{}')\nfor n in range({DEEP}): os.chdir('d')\nos.execvp('lsattr', ['lsattr', '-p', 'f'])",
            text(&place)
        );
        let said = finish(Command::new("python3").args(["-c", &down]), "").ok();
        said.split_whitespace().next().expect("a number").to_owned()
    };
    let (moving, still) = (place.join("moving"), place.join("still"));
    for place in [&moving, &still] {
        fs::create_dir(place).expect("a directory");
        (0..50).for_each(|n| fs::write(place.join(n.to_string()), "x").expect("a file"));
    }
    node.own(&moving);
    node.own(&still);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Refused while one belongs to the project and the other does not.
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for (from, to) in [(&moving, still.join("moved")), (&still.join("moved"), moving.clone())] {
                    fs::rename(from, to).unwrap_or_default();
                }
            }
        });
        for files in ["5000", "6000", "7000"] {
            node.admin(&["quota", "set", "acme", "www/site1", "--files", files]);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    fs::rename(still.join("moved"), &moving).unwrap_or_default();
    node.admin(&["quota", "set", "acme", "www/site1", "--files", "8000"]);
    let row = &listed(&node)[0];
    assert_eq!(
        (row["files"]["most"].as_u64(), row["files"]["used"].as_u64().map(|used| used > 3100)),
        (Some(8000), Some(true))
    );
    let own = project(&place);
    assert_eq!((project_down_there(), project(&moving.join("7"))), (own.clone(), own));
    node.admin(&["quota", "remove", "acme", "www/site1"]);
    assert_eq!((project_down_there(), project(&moving.join("7"))), ("0".to_owned(), "0".to_owned()));
}

fn none_lies_in_another(on: &Counted) {
    let (node, _, _disk) = with_neighbour(on);
    fs::create_dir(site(&node).join("inner")).expect("a directory");
    node.admin(&["quota", "set", "acme", "www/site1", "--files", "100"]);
    refused(&node, "set acme www/site1/inner --files 5", "it lies in a directory that has a quota");
    refused(&node, "set acme www --files 500", "site1 in it has a quota");
    refused(&node, "set acme . --files 500", "www/site1 in it has a quota");
    assert_eq!(listed(&node).as_array().map(Vec::len), Some(1));
    node.admin(&["quota", "set", "acme", "www/site2", "--files", "50"]);
    let list = listed(&node);
    assert_ne!(list[0]["project"], list[1]["project"], "{list}");
    for place in ["www/site1", "www/site2"] {
        node.admin(&["quota", "remove", "acme", place]);
    }
    node.admin(&["quota", "set", "acme", ".", "--space", "10M"]);
    assert_eq!(listed(&node)[0]["path"], ".");
    // What the host has made a project is the host's.
    node.admin(&["quota", "remove", "acme", "."]);
    run_tool("chattr", &["-p", "42", "+P", text(&site(&node))]);
    refused(&node, "set acme www/site1 --files 5", "project 42, which was not made by enclos");
    refused(&node, "remove acme www/site1", "project 42, which was not made by enclos");
    refused(&node, "set acme www --files 5", "www/site1 in it has a quota (project 42)".trim_start_matches("www/"));
    // Nor does anything lie in a project higher up, where what is between does not belong to it (yet).
    run_tool("chattr", &["-p", "0", "-P", text(&site(&node))]);
    run_tool("chattr", &["-p", "43", "+P", text(&node.home("acme"))]);
    refused(&node, "set acme www/site1 --files 5", "it lies in a directory that has a quota (project 43)");
}
