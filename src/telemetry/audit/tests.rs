//! What is documented is what is written, and it harms nobody who reads it.

use std::collections::BTreeSet;

use super::kinds::COMMON;
use super::*;

fn text(text: &str) -> Escaped {
    Escaped::new(text.as_bytes())
}

/// One of each, with everything that it may have. A new variant fails to compile in `kind`, and to be documented here.
fn all() -> Vec<Event> {
    let path = || text("/srv/acme/www/a");
    vec![
        Event::NodeStarted,
        Event::NodeStopped,
        Event::Login,
        Event::LoginRefused {
            name: text("bob"),
            method: "publickey".to_owned(),
            fingerprint: Some("SHA256:x".to_owned()),
            why: "unknown key".to_owned(),
        },
        Event::SessionEnded { seconds: 3, why: "client".to_owned() },
        Event::SessionBroken { what: text("x") },
        Event::Refused { what: text("a shell"), why: text("not open") },
        Event::ProtocolError { what: text("x") },
        Event::SftpOpened,
        Event::SftpClosed { read: 1, written: 2 },
        Event::ProgramStarted { number: 0, program: Started::Command, command: text("id"), terminal: false },
        Event::ProgramEnded { number: 0, status: Some(1), signal: Some(text("KILL")) },
        Event::ForwardOpened { to: text("localhost:80") },
        Event::ForwardListening { on: text("localhost:80") },
        Event::ForwardAccepted { on: text("localhost:80"), from: text("127.0.0.1:1") },
        Event::FileWritten { path: path(), bytes: 3, created: Some(true), closed: true },
        Event::FileCopied { path: path(), from: path() },
        Event::FileRenamed { path: path(), to: path() },
        Event::FileRemoved { path: path() },
        Event::DirectoryCreated { path: path() },
        Event::DirectoryRemoved { path: path() },
        Event::ModeChanged { path: path(), mode: "0644".to_owned() },
        Event::FileResized { path: path(), size: 0 },
        Event::LinkCreated { path: path(), target: path() },
        Event::NameAdded { path: path(), of: path() },
        Event::PolicyChanged { operation: "user-remove".to_owned(), detail: serde_json::json!({ "name": "bob" }) },
        Event::Lost { count: 7 },
    ]
}

fn head() -> Arc<Head> {
    Head::new(Who {
        node: "web1".to_owned(),
        connection: Some("1-2".to_owned()),
        account: Some("acme".parse().expect("a name")),
        user: Some("bob".parse().expect("a name")),
        source: Some("192.0.2.1:5".to_owned()),
        credential: Some(Credential {
            method: "publickey".to_owned(),
            fingerprint: Some("SHA256:x".to_owned()),
            label: Some(text("laptop")),
        }),
        operator: Some(0),
    })
}

fn keys(line: &str) -> BTreeSet<String> {
    let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
    value.as_object().expect("an object").keys().cloned().collect()
}

/// What is documented is what is written, field by field.
#[test]
fn every_kind_has_the_fields_that_are_documented() {
    let events = all();
    assert_eq!(events.len(), KINDS.len(), "every kind is documented, and no other");
    for event in events {
        let kind = KINDS.iter().find(|kind| kind.name == event.kind()).unwrap_or_else(|| panic!("{event:?}"));
        let line = Record { at: Moment(0), head: head(), event }.line();
        let documented = COMMON.iter().chain(kind.fields).map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(keys(&line), documented, "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&value["kind"], &value["version"]), (&kind.name.into(), &VERSION.into()));
    }
}

#[test]
fn the_page_is_made_from_the_types() {
    let page = include_str!("../../../docs/audit.md");
    assert!(page.ends_with(&document()), "docs/audit.md must end with:\n{}", document());
}

#[test]
fn what_may_be_absent_is_absent() {
    let head = Head::new(Who { node: "web1".to_owned(), ..Who::default() });
    let line = Record { at: Moment(1_764_109_392_123), head, event: Event::NodeStarted }.line();
    assert_eq!(line, r#"{"version":1,"time":"2025-11-25T22:23:12.123Z","node":"web1","kind":"node-started"}"#);
}

#[test]
fn nothing_that_a_terminal_obeys_comes_through() {
    let hostile = Escaped::new(b"a\x1b]0;owned\x07\n\"\\\xff\xe2\x80\xaeb");
    let line = Record { at: Moment(0), head: head(), event: Event::FileRemoved { path: hostile } }.line();
    assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
    let value: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(value["path"], "a\\x1b]0;owned\\x07\\n\"\\\\\\xff\\u{202e}b");
}
