//! Upload grants: new files may come, and what is there already cannot be listed, read, replaced or removed.

use std::fs;

use super::{NEW, Site, names, refusal};
use crate::harness::{Attributes, Identity, Raw, Reply, finish, open, rclone, scp, sftp, status};

as_root_and_rootless!(
    what_others_put_there_is_out_of_reach,
    ones_own_may_be_finished_but_not_read,
    another_connections_uploads_are_others,
    nothing_is_reached_by_links,
    a_drop_box_beside_other_grants,
    people_upload_with_their_clients,
    what_can_be_read_cannot_hold_a_drop_box,
);

fn drop_box(identity: Identity) -> (Site, Raw) {
    let site = Site::new(identity);
    site.file("in/others.txt", "theirs");
    site.file("in/2026/others.txt", "theirs too");
    let raw = Raw::connect(&site.user("camera", &[("in", "upload")]));
    (site, raw)
}

fn what_others_put_there_is_out_of_reach(identity: Identity) {
    let (site, mut raw) = drop_box(identity);
    assert_eq!(names(&mut raw, b"/"), Vec::<String>::new());
    assert_eq!(names(&mut raw, b"/2026"), Vec::<String>::new());
    assert!(raw.stat(b"/2026").is_success(), "a directory can be entered");
    assert!(raw.put(b"/mine.txt", b"mine", NEW).is_success());
    for path in [&b"/others.txt"[..], b"/2026/others.txt", b"/2026/../others.txt"] {
        for (what, answer) in [
            ("stat", raw.stat(path)),
            ("read", raw.open(path, open::READ)),
            ("read and write", raw.open(path, open::READ | open::WRITE)),
            ("write", raw.open(path, open::WRITE)),
            ("append", raw.open(path, open::WRITE | open::APPEND)),
            ("append or make", raw.open(path, open::WRITE | open::APPEND | open::CREATE)),
            ("cut", raw.open(path, NEW)),
            ("remove", raw.remove(path)),
            ("rename", raw.rename(path, b"/taken.txt")),
            ("replace", raw.extended("posix-rename@openssh.com", &[b"/mine.txt", path])),
            ("chmod", raw.setstat(path, &Attributes { permissions: Some(0o777), ..Attributes::default() })),
            ("set size", raw.setstat(path, &Attributes { size: Some(0), ..Attributes::default() })),
            ("hardlink", raw.extended("hardlink@openssh.com", &[path, b"/taken.txt"])),
        ] {
            assert!(!answer.is_success(), "{what} {}: {answer:?}", path.escape_ascii());
        }
    }
    for answer in [
        raw.rmdir(b"/2026"),
        raw.rename(b"/2026", b"/2027"),
        raw.setstat(b"/2026", &Attributes { permissions: Some(0), ..Attributes::default() }),
    ] {
        assert!(refusal(&answer).1.contains("only takes new files"), "{answer:?}");
    }
    assert_eq!(
        (site.text("in/others.txt").as_str(), site.text("in/2026/others.txt").as_str()),
        ("theirs", "theirs too")
    );
}

fn ones_own_may_be_finished_but_not_read(identity: Identity) {
    let (site, mut raw) = drop_box(identity);
    assert!(raw.put(b"/movie.part", b"first ", NEW).is_success());
    let Reply::Handle(handle) = raw.open(b"/movie.part", open::WRITE | open::APPEND) else { panic!("cannot go on") };
    assert!(raw.write_at(&handle, 6, b"second").is_success());
    assert!(raw.close(&handle).is_success());
    assert!(matches!(raw.stat(b"/movie.part"), Reply::Attributes(Attributes { size: Some(12), .. })));
    assert!(raw.rename(b"/movie.part", b"/movie").is_success());
    assert_eq!(names(&mut raw, b"/"), ["movie"]);
    assert_eq!(site.text("in/movie"), "first second");
    assert!(refusal(&raw.open(b"/movie", open::READ)).1.contains("only takes new files"));
    let Reply::Handle(handle) = raw.open(b"/movie", open::READ | open::WRITE) else { panic!("cannot write") };
    assert!(!raw.read(&handle, 0, 100).is_success());
    assert!(raw.put(b"/movie", b"again", NEW).is_success(), "one's own can be sent anew");
    assert!(raw.mkdir(b"/mine").is_success() && raw.put(b"/mine/a", b"a", NEW).is_success());
    assert_eq!(
        (names(&mut raw, b"/"), names(&mut raw, b"/mine")),
        (vec!["mine".into(), "movie".into()], vec!["a".into()])
    );
    assert!(raw.put(b"/2026/new", b"b", NEW).is_success());
    assert_eq!(names(&mut raw, b"/2026"), ["new"]);
    assert!(raw.remove(b"/mine/a").is_success() && raw.rmdir(b"/mine").is_success());
    // A name that somebody else takes over is theirs.
    fs::remove_file(site.home.join("in/movie")).expect("the owner removes it");
    site.file("in/movie", "theirs now");
    assert!(!raw.put(b"/movie", b"mine", NEW).is_success() && !raw.remove(b"/movie").is_success());
    assert_eq!((names(&mut raw, b"/"), site.text("in/movie").as_str()), (vec![], "theirs now"));
}

fn another_connections_uploads_are_others(identity: Identity) {
    let (site, mut first) = drop_box(identity);
    assert!(first.put(b"/a", b"first", NEW).is_success());
    let mut second = Raw::connect(&site.user("scanner", &[("in", "upload")]));
    assert_eq!(names(&mut second, b"/"), Vec::<String>::new());
    assert!(!second.put(b"/a", b"second", NEW).is_success());
    assert!(!second.remove(b"/a").is_success());
    assert_eq!(site.text("in/a"), "first");
}

fn nothing_is_reached_by_links(identity: Identity) {
    let (site, mut raw) = drop_box(identity);
    std::os::unix::fs::symlink("others.txt", site.home.join("in/link")).expect("a link");
    site.node.own(&site.home);
    for answer in [
        raw.symlink(b"others.txt", b"/mine"),
        raw.readlink(b"/link"),
        raw.open(b"/link", open::READ),
        raw.open(b"/link", NEW),
        raw.stat(b"/link"),
    ] {
        assert!(!answer.is_success(), "{answer:?}");
    }
    assert_eq!(site.text("in/others.txt"), "theirs");
}

fn a_drop_box_beside_other_grants(identity: Identity) {
    let (site, _) = drop_box(identity);
    std::os::unix::fs::symlink(site.on_host("in/others.txt"), site.home.join("www/site1/trap")).expect("a link");
    site.node.own(&site.home);
    let login = site.user("both", &[("in", "upload"), ("www/site1", "rw"), ("in/2026/public", "ro")]);
    assert!(finish(&mut sftp(&login), "ls\n").err().contains("in/2026/public"), "it is not there yet");
    site.file("in/2026/public/readme", "read me");
    let mut raw = Raw::connect(&login);
    assert!(!raw.put(b"/site1/trap", b"cut", NEW).is_success());
    assert!(!raw.open(b"/site1/trap", open::READ).is_success());
    assert_eq!(site.text("in/others.txt"), "theirs");
    assert_eq!(raw.contents(b"/site1/index.html").expect("granted"), b"<h1>");
    assert!(raw.put(b"/site1/index.html", b"<h4>", NEW).is_success());
    assert_eq!(names(&mut raw, b"/site1"), ["config", "index.html", "private", "trap"]);
    assert_eq!(raw.contents(b"/in/2026/public/readme").expect("may be read"), b"read me");
    assert_eq!(names(&mut raw, b"/in/2026"), Vec::<String>::new());
    assert!(
        !raw.remove(b"/in/2026/others.txt").is_success() && !raw.put(b"/in/2026/others.txt", b"", NEW).is_success()
    );
    assert!(raw.put(b"/in/2026/new", b"new", NEW).is_success() && raw.remove(b"/in/2026/new").is_success());
}

fn people_upload_with_their_clients(identity: Identity) {
    let (site, _) = drop_box(identity);
    let login = site.user("people", &[("in", "upload")]);
    let here = site.node.dir().join("holiday");
    fs::create_dir_all(here.join("beach")).expect("a directory");
    fs::write(here.join("beach/1.jpg"), vec![7; 100_000]).expect("a picture");
    fs::write(here.join("2.jpg"), b"another").expect("a picture");
    let local = here.to_str().expect("a plain path");
    finish(&mut sftp(&login), &format!("put -r {local} by-sftp\nls -l by-sftp\n")).ok();
    finish(&mut scp(&login, local, ":by-scp"), "").ok();
    finish(rclone(&login).args(["copy", local, "enclos:by-rclone"]), "").ok();
    for how in ["by-sftp", "by-scp", "by-rclone"] {
        assert_eq!(fs::read(site.home.join("in").join(how).join("beach/1.jpg")).expect(how), vec![7; 100_000]);
        assert_eq!(site.text(&format!("in/{how}/2.jpg")), "another");
    }
    let said = finish(&mut sftp(&login), "ls\nget by-sftp/2.jpg\n").err();
    assert!(!said.contains("others.txt"), "{said}");
    let said = finish(&mut sftp(&login), "put /etc/hostname others.txt\n").err();
    assert!(said.contains("ermission denied") || said.contains("only takes new files"), "{said}");
}

fn what_can_be_read_cannot_hold_a_drop_box(identity: Identity) {
    let site = Site::new(identity);
    site.user("editor", &[("www/site1", "rw")]);
    let mut command = site.node.enclos(&["grant", "add", "editor", "www/site1/config", "--mode", "upload"]);
    let said = finish(&mut command, "").err();
    assert!(said.contains("www/site1/config") && said.contains("can read"), "{said}");
    let mut raw = Raw::connect(&site.user("rest", &[("logs", "ro")]));
    assert_eq!(raw.stat(b"/index.html").code(), Some(status::NO_SUCH_FILE));
}
