//! What clients do once they are in: files, programs, forwards.

use std::fs;
use std::io::Read;

use serde_json::{Value, json};

use super::{await_event, await_searched, events};
use crate::harness::{Identity, Login, Node, Raw, Reply, Waiting, finish, open, sftp, ssh, string, wait_until};

as_root_and_rootless!(
    changes_of_files_are_on_record_by_the_paths_of_the_host,
    names_that_clients_make_up_harm_nobody_who_reads_them,
    a_file_that_was_left_open_is_told_and_one_that_was_read_is_not,
    atomic_uploads_are_told_when_they_are_in_place,
    programs_are_on_record_with_their_command_and_how_they_ended,
    forwards_are_on_record,
    what_changed_this_week_is_told_by_path,
    of_a_flood_everything_is_told_or_counted,
);

/// What deeds come to, without what all of them have.
fn told(node: &Node, login: &Login, kinds: &[&str]) -> Vec<Value> {
    let of = |event: &Value| event["user"] == login.user.as_str();
    await_event(node, "session-ended", of);
    let common = ["version", "time", "node", "connection", "account", "user", "source", "credential"];
    let mut told = Vec::new();
    for mut event in events(node).into_iter().filter(of) {
        if event["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)) {
            event.as_object_mut().expect("an object").retain(|field, _| !common.contains(&field.as_str()));
            told.push(event);
        }
    }
    told
}

fn opened(reply: Reply) -> Vec<u8> {
    let Reply::Handle(handle) = reply else { panic!("not opened: {reply:?}") };
    handle
}

const OF_FILES: [&str; 10] = [
    "file-written",
    "file-copied",
    "file-renamed",
    "file-removed",
    "directory-created",
    "directory-removed",
    "mode-changed",
    "file-resized",
    "link-created",
    "name-added",
];

fn changes_of_files_are_on_record_by_the_paths_of_the_host(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let local = node.dir().join("five");
    fs::write(&local, "12345").expect("a file");
    let local = local.display();
    let commands = format!(
        "put {local} a.txt\nput {local} a.txt\nmkdir d\nrename a.txt d/b.txt\nchmod 640 d/b.txt\nln -s b.txt d/link\n\
         ln d/b.txt d/second\ncp d/b.txt d/copy\nrm d/b.txt\nrm d/link\nrm d/second\nrm d/copy\nrmdir d\nls\n"
    );
    finish(&mut sftp(&bob), &commands).ok();
    let at = |name: &str| format!("{}/www/site1/{name}", node.home("acme").display());
    let told = told(&node, &bob, &OF_FILES);
    let expected = [
        json!({ "kind": "file-written", "path": at("a.txt"), "bytes": 5, "created": true, "closed": true }),
        json!({ "kind": "file-written", "path": at("a.txt"), "bytes": 5, "created": false, "closed": true }),
        json!({ "kind": "directory-created", "path": at("d") }),
        json!({ "kind": "file-renamed", "path": at("a.txt"), "to": at("d/b.txt") }),
        json!({ "kind": "mode-changed", "path": at("d/b.txt"), "mode": "0640" }),
        json!({ "kind": "link-created", "path": at("d/link"), "target": "b.txt" }),
        json!({ "kind": "name-added", "path": at("d/second"), "of": at("d/b.txt") }),
    ];
    assert_eq!(told[..expected.len()], expected, "{told:#?}");
    // How a client copies is its own affair.
    assert!(told.iter().any(|event| event["path"] == at("d/copy")), "{told:#?}");
    let removed =
        ["d/b.txt", "d/link", "d/second", "d/copy"].map(|name| json!({ "kind": "file-removed", "path": at(name) }));
    let end = told.len() - 5;
    assert_eq!(told[end..end + 4], removed, "{told:#?}");
    assert_eq!(told[end + 4], json!({ "kind": "directory-removed", "path": at("d") }));
}

fn names_that_clients_make_up_harm_nobody_who_reads_them(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let mut raw = Raw::connect(&bob);
    let name = b"/\x1b]0;owned\x07\xff\n\xe2\x80\xae.txt";
    assert!(raw.put(name, b"x", open::WRITE | open::CREATE | open::TRUNCATE).is_success());
    assert!(raw.symlink(b"../\x1b[2J", b"/link").is_success());
    assert!(raw.rename(name, b"/\"quoted\\\"").is_success());
    drop(raw);
    let told = told(&node, &bob, &OF_FILES);
    let at = |name: &str| format!("{}/www/site1/{name}", node.home("acme").display());
    let shown = at("\\x1b]0;owned\\x07\\xff\\n\\u{202e}.txt");
    assert_eq!(told[0]["path"], shown, "{told:#?}");
    assert_eq!(told[1]["target"], "../\\x1b[2J");
    assert_eq!((&told[2]["path"], &told[2]["to"]), (&shown.into(), &at("\"quoted\\\\\"").into()));
    let path = std::ffi::OsString::from(format!("{}/www/site1", node.home("acme").display()));
    let found = await_searched(&node, &["--path", path.to_str().expect("text")], |found| found.len() == 3);
    assert_eq!(found.len(), 3);
    // What people see on their terminals.
    let text = node.admin(&["audit", "--kind", "file-written,file-renamed,link-created"]);
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
}

fn a_file_that_was_left_open_is_told_and_one_that_was_read_is_not(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let mut raw = Raw::connect(&bob);
    assert!(raw.put(b"/read", b"123", open::WRITE | open::CREATE | open::TRUNCATE).is_success());
    raw.contents(b"/read").expect("its content");
    let handle = opened(raw.open(b"/left", open::WRITE | open::CREATE));
    assert!(raw.write_at(&handle, 0, b"12345").is_success());
    let handle = opened(raw.open(b"/read", open::WRITE));
    assert!(raw.close(&handle).is_success(), "opened for writing, and nothing was written");
    drop(raw);
    let told = told(&node, &bob, &OF_FILES);
    let told: Vec<_> = told.iter().map(|event| (event["bytes"].clone(), event["closed"].clone())).collect();
    assert_eq!(told, [(json!(3), json!(true)), (json!(5), json!(false))]);
}

fn atomic_uploads_are_told_when_they_are_in_place(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin(&["user", "set", "bob", "--uploads", "atomic"]);
    let mut raw = Raw::connect(&bob);
    assert!(raw.put(b"/whole", b"123", open::WRITE | open::CREATE | open::TRUNCATE).is_success());
    let handle = opened(raw.open(b"/cut-off", open::WRITE | open::CREATE | open::TRUNCATE));
    assert!(raw.write_at(&handle, 0, b"12345").is_success());
    drop(raw);
    let told = told(&node, &bob, &OF_FILES);
    let path = format!("{}/www/site1/whole", node.home("acme").display());
    assert_eq!(told, [json!({ "kind": "file-written", "path": path, "bytes": 3, "closed": true })]);
}

fn programs_are_on_record_with_their_command_and_how_they_ended(identity: Identity) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "exec,sftp", &[("www/site1", "rw")]);
    let command = "printf '\u{1b}[2J' >/dev/null; exit 7";
    assert_eq!(finish(ssh(&dev).arg(dev.at()).arg(command), "").status.code(), Some(7));
    let told = told(&node, &dev, &["program-started", "program-ended"]);
    let shown = "printf '\\x1b[2J' >/dev/null; exit 7";
    let expected = [
        json!({ "kind": "program-started", "number": 0, "program": "command", "command": shown, "terminal": false }),
        json!({ "kind": "program-ended", "number": 0, "status": 7 }),
    ];
    assert_eq!(told, expected);
}

fn forwards_are_on_record(identity: Identity) {
    let node = Node::start(identity);
    node.account("acme");
    let dev = node.user_with("dev", "acme", "exec,forward-local,forward-remote", &[("www/site1", "rw")]);
    // Whatever listens there: the cell's own program, which ends with its input.
    let serve = "python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 7000)); print(\"up\", flush=True); \
                 c = s.accept()[0]; c.sendall(b\"hello\"); c.close()'";
    let mut server = ssh(&dev);
    let mut server = server.arg(dev.at()).arg(serve).stdout(std::process::Stdio::piped()).spawn().expect("a server");
    let mut up = [0; 3];
    server.stdout.as_mut().expect("was piped").read_exact(&mut up).expect("it is up");
    assert_eq!(finish(ssh(&dev).args(["-W", "localhost:7000"]).arg(dev.at()), "").ok(), "hello");
    server.wait().expect("it ends");
    let opened = await_event(&node, "forward-opened", |event| event["user"] == "dev");
    assert_eq!(opened["to"], "localhost:7000");
    finish(ssh(&dev).args(["-R", "127.0.0.1:7001:127.0.0.1:9"]).arg(dev.at()).arg("true"), "").ok();
    await_event(&node, "forward-listening", |event| event["on"] == "127.0.0.1:7001");
}

fn what_changed_this_week_is_told_by_path(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let local = node.dir().join("five");
    fs::write(&local, "12345").expect("a file");
    let local = local.display();
    finish(&mut sftp(&bob), &format!("put {local} a\nput {local} a\nput {local} b\nrm b\n")).ok();
    await_searched(&node, &["--kind", "session-ended"], |found| found.len() == 1);
    let summary = |arguments: &[&str]| -> Value {
        let all = [&["audit", "--summary", "--json", "--since", "7d"], arguments].concat();
        serde_json::from_str(&node.admin(&all)).expect("JSON")
    };
    let told = summary(&["--user", "bob"]);
    let at = |name: &str| format!("{}/www/site1/{name}", node.home("acme").display());
    assert_eq!(told.as_array().map(Vec::len), Some(2), "{told:#}");
    assert_eq!((&told[0]["path"], &told[0]["written"], &told[0]["bytes"]), (&at("a").into(), &2.into(), &10.into()));
    assert_eq!((&told[1]["path"], &told[1]["created"], &told[1]["removed"]), (&at("b").into(), &1.into(), &1.into()));
    assert_eq!(summary(&["--user", "bob", "--path", &at("b")]).as_array().map(Vec::len), Some(1));
    assert_eq!(summary(&["--user", "eve"]), json!([]));
    let table = node.admin(&["audit", "--summary", "--user", "bob"]);
    assert!(table.contains("created 1x, written 2x, 10 bytes") && table.contains("removed 1x"), "{table}");
}

/// As fast as a client can: directories made and removed, with names so long that not all can be kept.
fn of_a_flood_everything_is_told_or_counted(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let mut raw = Raw::connect(&bob);
    let name = format!("/{}", "n".repeat(250));
    let deep = (0..8).fold(String::new(), |path, _| {
        let path = path + &name;
        assert!(raw.mkdir(path.as_bytes()).is_success());
        path
    });
    let rounds = 60;
    for _ in 0..rounds {
        let request = |kind: u8, number: usize| {
            let path = string(format!("{deep}/{number}").as_bytes());
            (kind, if kind == 14 { [path, vec![0; 4]].concat() } else { path })
        };
        let requests: Vec<_> = (0..100).flat_map(|number| [request(14, number), request(15, number)]).collect();
        assert!(raw.ask_at_once(&requests).iter().all(|reply| reply.is_success()));
    }
    drop(raw);
    let done = 8 + rounds * 200;
    let count = || {
        let of = |kind: &str| events(&node).into_iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>();
        let told = of("directory-created").len() + of("directory-removed").len();
        let lost: u64 = of("lost").iter().filter_map(|event| event["count"].as_u64()).sum();
        (told, usize::try_from(lost).expect("a number"))
    };
    // What a session could still hold when its connection ended: 256 KiB of deeds of 2 KiB each (docs/audit.md).
    let held = 128;
    let all = || {
        let (told, lost) = count();
        (done - held..=done).contains(&(told + lost))
    };
    // 25 MB of records, which a busy machine writes at its own pace.
    let waited = wait_until(6 * super::WRITTEN, all);
    let (told, lost) = count();
    assert_eq!(waited, Waiting::Came, "{told} told and {lost} lost are not {done}");
    println!("{told} told, {lost} counted");
    assert!(told > 100, "nearly nothing is told");
}
