//! Grants of a session: several beside one another, those for reading, and what stands where one should.
//!
//! That nothing outside of them can be had is what `escapes` shows.

mod read_only;
mod world;

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::{Identity, Node, Raw, Reply, finish, sftp, status};
use world::World;

as_root_and_rootless!(
    a_directory_moved_out_while_open_leads_nowhere,
    several_grants_stand_side_by_side_and_their_root_is_closed,
    a_link_to_a_place_inside_works,
    sftp_itself_is_kept_inside,
    no_answer_names_a_path_of_the_host,
    a_grant_that_is_a_link_is_not_served,
);

fn a_directory_moved_out_while_open_leads_nowhere(identity: Identity) {
    let world = World::new(Node::start(identity));
    let mut raw = Raw::connect(world.bob());
    let Reply::Handle(handle) = raw.opendir(b"/moving") else { panic!("/moving cannot be opened") };
    fs::rename(world.grant().join("moving"), world.home().join("private/moved")).expect("the owner moves it out");
    for path in [&b"/moving/../private/secret.txt"[..], b"/moving/../secret.txt", b"/moving/secret.txt"] {
        assert_eq!(raw.stat(path).code(), Some(status::NO_SUCH_FILE));
    }
    if let Reply::Names(names) = raw.readdir(&handle) {
        assert!(names.iter().all(|(name, _)| name != b"secret.txt"), "{names:?}");
    }
}

fn several_grants_stand_side_by_side_and_their_root_is_closed(identity: Identity) {
    let world = World::new(Node::start(identity));
    let both = world.node().user("both", "acme", &[("www/site1", "rw"), ("logs", "ro")]);
    let mut raw = Raw::connect(&both);
    let mut names = raw.names(b"/").expect("the root can be listed");
    names.retain(|n| n != b"." && n != b"..");
    names.sort();
    assert_eq!(names, [b"logs".to_vec(), b"site1".to_vec()]);
    assert_eq!(raw.contents(b"/logs/access.log").expect("granted"), b"GET /\n");
    assert!(raw.put(b"/site1/new.txt", b"new", 2 | 8).is_success());
    assert_eq!(raw.put(b"/logs/new.txt", b"new", 2 | 8).code(), Some(status::PERMISSION_DENIED));
    assert!(!raw.put(b"/beside.txt", b"new", 2 | 8).is_success(), "the root of several grants is nobody's");
    assert!(!raw.mkdir(b"/beside").is_success());
    assert!(!raw.rename(b"/site1", b"/site9").is_success());
    assert!(!raw.rmdir(b"/logs").is_success());
    assert!(!raw.extended("hardlink@openssh.com", &[b"/logs/access.log", b"/site1/linked"]).is_success());
    assert_eq!(raw.stat(b"/site1/../private").code(), Some(status::NO_SUCH_FILE));
    assert!(world.harm().is_empty(), "{:#?}", world.harm());
}

fn a_link_to_a_place_inside_works(identity: Identity) {
    let world = World::new(Node::start(identity));
    symlink("inside.txt", world.grant().join("relative")).expect("a link");
    symlink("/inside.txt", world.grant().join("absolute")).expect("a link");
    let mut raw = Raw::connect(world.bob());
    for link in [&b"/relative"[..], b"/absolute"] {
        assert_eq!(raw.contents(link).expect("leads inside"), world::INSIDE.as_bytes());
    }
}

fn sftp_itself_is_kept_inside(identity: Identity) {
    let world = World::new(Node::start(identity));
    let secret = world.secret();
    for attempt in [
        format!("get {} stolen", secret.display()),
        "get ../../private/secret.txt stolen".to_owned(),
        "get /../../../../etc/passwd stolen".to_owned(),
        "cd ../..\nget private/secret.txt stolen".to_owned(),
        "symlink ../../private/secret.txt l\nget l stolen".to_owned(),
        format!("symlink {} m\nget m stolen", secret.display()),
    ] {
        let ended = finish(sftp(world.bob()).current_dir(world.node().dir()), &format!("{attempt}\n"));
        assert!(!ended.status.success(), "{attempt}: {ended:?}");
        assert!(!world.node().dir().join("stolen").exists(), "{attempt}");
    }
}

fn no_answer_names_a_path_of_the_host(identity: Identity) {
    let world = World::new(Node::start(identity));
    let host = world.node().dir().file_name().expect("a name").to_str().expect("text").to_owned();
    let mut raw = Raw::connect(world.bob());
    for path in [&b"/nothing"[..], b"/planted-absolute", b"/planted-up/x", b"/inside.txt/x", b"/planted-loop"] {
        let answers = [
            raw.stat(path),
            raw.open(path, 1),
            raw.opendir(path),
            raw.realpath(path),
            raw.mkdir(path),
            raw.remove(b"/x"),
        ];
        for answer in answers {
            assert!(!format!("{answer:?}").contains(&host), "{answer:?}");
        }
    }
}

fn a_grant_that_is_a_link_is_not_served(identity: Identity) {
    let world = World::new(Node::start(identity));
    symlink("private", world.home().join("shortcut")).expect("a link");
    world.node().own(world.home());
    let user = world.node().user("linked", "acme", &[("shortcut", "rw")]);
    match Raw::try_connect(&user) {
        Err(said) => assert!(!said.is_empty(), "the client is told nothing"),
        Ok(mut raw) => assert!(raw.contents(b"/secret.txt").is_err(), "a link was followed to the grant"),
    }
}
