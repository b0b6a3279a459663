//! A read-only grant: every write is refused, with a sentence that says so, and reading works.

use std::fs;

use super::world::{INSIDE, World};
use crate::harness::{Attributes, Identity, Node, Raw, Reply, finish, open, sftp, status};

as_root_and_rootless!(
    every_write_is_refused_with_a_sentence_that_says_so,
    reading_works,
    people_see_the_sentence_in_sftp,
);

fn every_write_is_refused_with_a_sentence_that_says_so(identity: Identity) {
    let world = World::new(Node::start(identity));
    let login = world.node().user("reader", "acme", &[("www/site1", "ro")]);
    let before = fs::metadata(world.grant().join("inside.txt")).expect("a file").modified().expect("a time");
    let mut raw = Raw::connect(&login);
    for (what, answer) in attempts(&mut raw) {
        match answer {
            Reply::Status(status::PERMISSION_DENIED, sentence) => {
                assert!(sentence.contains("read-only"), "{what}: {sentence:?} does not say why");
            }
            other => panic!("{what} was answered with {other:?}"),
        }
    }
    let inside = world.grant().join("inside.txt");
    assert_eq!(fs::read_to_string(&inside).expect("a file"), INSIDE);
    assert_eq!(fs::metadata(&inside).expect("a file").modified().expect("a time"), before);
    assert!(world.harm().is_empty(), "{:#?}", world.harm());
}

fn attempts(raw: &mut Raw) -> Vec<(&'static str, Reply)> {
    let file = b"/inside.txt";
    let set = |a: Attributes| a;
    vec![
        ("open for writing", raw.open(file, open::WRITE)),
        ("open for reading and writing", raw.open(file, open::READ | open::WRITE)),
        ("append", raw.open(file, open::WRITE | open::APPEND)),
        ("truncate", raw.open(file, open::WRITE | open::TRUNCATE)),
        ("create", raw.open(b"/new.txt", open::WRITE | open::CREATE)),
        ("remove", raw.remove(file)),
        ("mkdir", raw.mkdir(b"/new")),
        ("rmdir", raw.rmdir(b"/moving")),
        ("rename", raw.rename(file, b"/renamed.txt")),
        ("posix-rename", raw.extended("posix-rename@openssh.com", &[file, b"/renamed.txt"])),
        ("hardlink", raw.extended("hardlink@openssh.com", &[file, b"/linked.txt"])),
        ("symlink", raw.symlink(b"inside.txt", b"/linked.txt")),
        ("chmod", raw.setstat(file, &set(Attributes { permissions: Some(0o600), ..Attributes::default() }))),
        ("utimes", raw.setstat(file, &set(Attributes { times: Some((1, 1)), ..Attributes::default() }))),
        ("set size", raw.setstat(file, &set(Attributes { size: Some(1), ..Attributes::default() }))),
    ]
}

fn reading_works(identity: Identity) {
    let world = World::new(Node::start(identity));
    let mut raw = Raw::connect(&world.node().user("reader", "acme", &[("www/site1", "ro")]));
    assert_eq!(raw.contents(b"/inside.txt").expect("granted"), INSIDE.as_bytes());
    assert!(raw.names(b"/").expect("granted").iter().any(|n| n == b"inside.txt"));
    assert!(raw.stat(b"/dir").is_success());
}

fn people_see_the_sentence_in_sftp(identity: Identity) {
    let world = World::new(Node::start(identity));
    let login = world.node().user("reader", "acme", &[("www/site1", "ro")]);
    let said = finish(&mut sftp(&login), "rm inside.txt\n").err();
    // OpenSSH's client shows its own words for the code; both say that it is refused.
    assert!(said.contains("read-only") || said.contains("ermission denied"), "{said}");
    assert!(world.grant().join("inside.txt").exists());
}
