//! Uploads that show when they are whole, as one connection and others see them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::*;
use crate::domain::UploadPolicy;
use crate::files::{Change, Entry};

const PUT: Opening =
    Opening { access: Access::Write, creation: Creation::IfMissing, truncate: true, append: false, mode: 0o644 };
const RESUME: Opening = Opening { truncate: false, ..PUT };
const READ: Opening = Opening { access: Access::Read, creation: Creation::Never, truncate: false, ..PUT };

struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        Site { directory: tempfile::tempdir().expect("a directory") }
    }

    /// A connection of its own.
    fn connect(&self) -> Root {
        let policy = UploadPolicy { uploads: Uploads::Atomic, ..UploadPolicy::default() };
        Root::open(self.directory.path()).expect("the root").under(&policy)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What a web server finds.
    fn on_disk(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(name)).ok()
    }

    fn count(&self) -> usize {
        std::fs::read_dir(self.directory.path()).expect("a directory").count()
    }

    fn partial(&self, target: &str) -> PathBuf {
        self.path(&format!(".ht-enclos-upload.0.{target}"))
    }
}

fn listed(root: &Root) -> Vec<(String, u64)> {
    let mut listing = root.list(b"/").expect("a listing");
    let mut names = Vec::new();
    loop {
        let part = listing.next_part().expect("a part");
        if part.is_empty() {
            names.sort();
            return names;
        }
        let shown = |e: &Entry| (String::from_utf8_lossy(&e.name).into_owned(), e.attributes.size);
        names.extend(part.iter().map(shown).filter(|(name, _)| name != "." && name != ".."));
    }
}

fn read(root: &Root, path: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    root.open_file(path, &READ).expect("opened").read_at(0, &mut content, 100).expect("read");
    content
}

#[test]
fn a_file_shows_when_it_is_whole_and_the_uploader_sees_it_grow() {
    let site = Site::new();
    std::fs::write(site.path("old"), "before").expect("a file");
    std::fs::set_permissions(site.path("old"), std::fs::Permissions::from_mode(0o604)).expect("a mode");
    let (mine, other) = (site.connect(), site.connect());
    for (name, before) in [(&b"old"[..], Some(b"before".to_vec())), (b"new", None)] {
        let text = std::str::from_utf8(name).expect("text");
        let file = mine.open_file(name, &PUT).expect("opened");
        assert_eq!(mine.stat(name).expect("it looks empty").size, 0);
        file.write_at(0, b"after!!!").expect("written");
        assert_eq!(site.on_disk(text), before, "nothing shows yet");
        assert_eq!((mine.stat(name).expect("there").size, mine.lstat(name).expect("there").size), (8, 8));
        assert_eq!(read(&mine, name), b"after!!!");
        assert!(listed(&mine).contains(&(text.to_owned(), 8)), "{:?}", listed(&mine));
        if let Some(before) = &before {
            assert_eq!(other.stat(name).expect("the old one").size, before.len() as u64);
            assert_eq!(read(&other, name), *before);
        }
        assert!(listed(&other).iter().all(|(name, _)| !name.starts_with(".ht")), "{:?}", listed(&other));
        file.close().expect("closed");
        assert_eq!(site.on_disk(text), Some(b"after!!!".to_vec()));
    }
    assert_eq!(std::fs::metadata(site.path("old")).expect("it").mode() & 0o7777, 0o604, "its permissions are kept");
    assert_eq!(site.count(), 2);
}

#[test]
fn what_was_cut_off_is_found_and_gone_on_with() {
    let site = Site::new();
    let file = site.connect().open_file(b"big", &PUT).expect("opened");
    file.write_at(0, b"012345").expect("written");
    drop(file);
    assert!(site.on_disk("big").is_none() && site.partial("big").exists());
    for how in [RESUME, Opening { append: true, ..RESUME }, Opening { creation: Creation::Never, ..RESUME }] {
        let later = site.connect();
        let size = later.stat(b"big").expect("its beginning").size;
        assert_eq!(listed(&later), [("big".to_owned(), size)]);
        assert_eq!(later.open_file(b"big", &READ).expect("opened").stat().expect("its size").size, size);
        let file = later.open_file(b"big", &how).expect("opened again");
        file.write_at(size, b"67").expect("gone on with");
        // Cut off once more.
    }
    let last = site.connect();
    last.open_file(b"big", &RESUME).expect("opened").close().expect("whole");
    assert_eq!(site.on_disk("big").as_deref(), Some(&b"012345676767"[..]));
    assert_eq!(site.count(), 1);
}

#[test]
fn what_nobody_can_go_on_with_is_cleared_away_at_once() {
    let site = Site::new();
    std::fs::write(site.path("old"), "before").expect("a file");
    let root = site.connect();
    let replacing = root.open_file(b"old", &PUT).expect("opened");
    replacing.write_at(0, b"half").expect("written");
    drop((replacing, root.open_file(b"empty", &PUT).expect("opened")));
    assert_eq!((site.on_disk("old").as_deref(), site.count()), (Some(&b"before"[..]), 1));
    assert_eq!(root.stat(b"empty").expect_err("nothing").reason, Reason::NotFound);
}

#[test]
fn what_lay_about_for_a_day_goes_when_its_directory_is_listed() {
    let site = Site::new();
    std::fs::write(site.partial("a"), "half").expect("a file");
    let (root, stat) = (site.connect(), rustix::fs::stat(site.partial("a")).expect("it is there"));
    let aged = |seconds| {
        let mut stat = stat;
        stat.st_ctime -= seconds;
        stat
    };
    let name = b".ht-enclos-upload.0.a";
    assert_eq!(shown_as(&root, name, &aged(KEPT_FOR - 60)).as_deref(), Some(&b"a"[..]));
    assert_eq!(shown_as(&root, name, &aged(KEPT_FOR + 60)), None);
    assert_eq!(site.count(), 0);
}

#[test]
fn a_directory_with_nothing_but_beginnings_is_empty() {
    let site = Site::new();
    let root = site.connect();
    for (name, other) in [("d", None), ("e", Some("e/more"))] {
        std::fs::create_dir(site.path(name)).expect("a directory");
        std::fs::write(site.path(name).join(".ht-enclos-upload.0.x"), "half").expect("a file");
        if let Some(other) = other {
            std::fs::write(site.path(other), "").expect("a file");
        }
    }
    let direct = Root::open(site.directory.path()).expect("the root");
    // Who sees the beginning of a file has to remove it; for others nothing is there.
    assert_eq!(root.remove_directory(b"d").expect_err("it has a file").reason, Reason::NotEmpty);
    direct.remove_directory(b"d").expect("removed");
    assert_eq!(direct.remove_directory(b"e").expect_err("not empty").reason, Reason::NotEmpty);
    assert!(site.path("e/.ht-enclos-upload.0.x").exists());
}

#[test]
fn an_upload_that_failed_is_not_put_in_place() {
    let site = Site::new();
    std::fs::write(site.path("old"), "before").expect("a file");
    let policy = UploadPolicy { uploads: Uploads::Atomic, max_file_size: "4".parse().ok(), ..UploadPolicy::default() };
    let root = Root::open(site.directory.path()).expect("the root").under(&policy);
    for name in [&b"old"[..], b"new"] {
        let file = root.open_file(name, &PUT).expect("opened");
        file.write_at(0, b"1234").expect("written");
        assert_eq!(file.write_at(4, b"5").expect_err("too large").reason, Reason::OverMaximum);
        assert_eq!(file.close().expect_err("not whole").reason, Reason::Unfinished);
    }
    assert_eq!((site.on_disk("old").as_deref(), site.on_disk("new")), (Some(&b"before"[..]), None));
}

/// Clients send several writes without waiting. If one fails and a later one does not, its size says nothing of what is in
/// it, and by the size an upload that was cut off is gone on with.
#[test]
fn what_was_not_written_leaves_no_hole_that_is_gone_on_with() {
    let site = Site::new();
    let policy = UploadPolicy { uploads: Uploads::Atomic, max_file_size: "8".parse().ok(), ..UploadPolicy::default() };
    let root = Root::open(site.directory.path()).expect("the root").under(&policy);
    let file = root.open_file(b"new", &PUT).expect("opened");
    file.write_at(0, b"12").expect("written");
    assert_eq!(file.write_at(7, b"89").expect_err("too large").reason, Reason::OverMaximum);
    assert_eq!(file.write_at(4, b"56").expect_err("behind a hole").reason, Reason::Unfinished);
    let longer = Change { size: Some(6), ..Change::default() };
    assert_eq!(file.change(&longer).expect_err("a hole").reason, Reason::Unfinished);
    let source = root.open_file(b"new", &READ).expect("its beginning");
    assert_eq!(source.stat().expect("its size").size, 2);
    drop((file, source));
    let root = site.connect();
    assert_eq!(root.stat(b"new").expect("its beginning").size, 2);
}

#[test]
fn who_syncs_finds_it_under_its_name() {
    let site = Site::new();
    std::fs::write(site.path("old"), "before").expect("a file");
    let root = site.connect();
    for name in ["old", "new"] {
        let file = root.open_file(name.as_bytes(), &PUT).expect("opened");
        file.write_at(0, b"synced").expect("written");
        file.sync().expect("synced");
        assert_eq!(site.on_disk(name).as_deref(), Some(&b"synced"[..]));
        file.write_at(6, b" and more").expect("written in place from here on");
        drop(file);
        assert_eq!(site.on_disk(name).as_deref(), Some(&b"synced and more"[..]));
    }
    assert_eq!(site.count(), 2);
}

#[test]
fn a_file_that_is_being_uploaded_can_be_renamed_changed_and_removed() {
    let site = Site::new();
    std::fs::write(site.path("a"), "before").expect("a file");
    let root = site.connect();
    let upload = |name: &[u8]| {
        let file = root.open_file(name, &PUT).expect("opened");
        file.write_at(0, b"0123").expect("written");
        file
    };
    let file = upload(b"a");
    root.change(b"a", &Change { mode: Some(0o600), size: Some(2), ..Change::default() }).expect("changed by name");
    root.rename_over(b"a", b"b").expect("renamed");
    file.write_at(2, b"!").expect("written on");
    file.close().expect("closed");
    assert_eq!((site.on_disk("a"), site.on_disk("b").as_deref()), (None, Some(&b"01!"[..])));
    assert_eq!(std::fs::metadata(site.path("b")).expect("it").mode() & 0o777, 0o600);
    let file = upload(b"c");
    root.remove_file(b"c").expect("removed");
    file.close().expect("closed");
    assert_eq!((site.on_disk("c"), site.count()), (None, 1));
}

#[test]
fn two_handles_of_one_file_write_one_file() {
    let site = Site::new();
    let root = site.connect();
    let first = root.open_file(b"a", &PUT).expect("opened");
    let second = root.open_file(b"a", &RESUME).expect("opened again");
    first.write_at(0, b"ab").expect("written");
    first.close().expect("closed");
    assert!(site.on_disk("a").is_none(), "the other handle is open");
    second.write_at(2, b"cd").expect("written");
    second.close().expect("closed");
    assert_eq!(site.on_disk("a").as_deref(), Some(&b"abcd"[..]));
}

#[test]
fn of_two_uploads_of_one_file_the_last_to_be_whole_stays() {
    let site = Site::new();
    let (one, other) = (site.connect(), site.connect());
    let first = one.open_file(b"a", &PUT).expect("opened");
    let second = other.open_file(b"a", &PUT).expect("opened");
    first.write_at(0, b"first, and longer").expect("written");
    second.write_at(0, b"second").expect("written");
    second.close().expect("closed");
    assert_eq!(site.on_disk("a").as_deref(), Some(&b"second"[..]));
    first.close().expect("closed");
    assert_eq!((site.on_disk("a").as_deref(), site.count()), (Some(&b"first, and longer"[..]), 1));
}

#[test]
fn an_upload_that_somebody_cleared_away_is_told_so() {
    let site = Site::new();
    let root = site.connect();
    let file = root.open_file(b"a", &PUT).expect("opened");
    file.write_at(0, b"x").expect("written");
    std::fs::remove_file(site.partial("a")).expect("it was there");
    assert_eq!(file.close().expect_err("gone").reason, Reason::Superseded);
    assert!(site.on_disk("a").is_none());
}

#[test]
fn links_are_followed_to_the_file_and_second_names_are_kept() {
    let site = Site::new();
    std::fs::create_dir(site.path("d")).expect("a directory");
    std::os::unix::fs::symlink("/d/real", site.path("link")).expect("a link");
    let root = site.connect();
    let file = root.open_file(b"link", &PUT).expect("opened");
    file.write_at(0, b"x").expect("written");
    assert!(site.path("d/.ht-enclos-upload.0.real").exists());
    assert_eq!(root.stat(b"link").expect("through the link").size, 1);
    file.close().expect("closed");
    assert_eq!(site.on_disk("d/real").as_deref(), Some(&b"x"[..]));
    std::fs::hard_link(site.path("d/real"), site.path("second")).expect("a second name");
    let file = root.open_file(b"second", &PUT).expect("opened");
    file.write_at(0, b"both").expect("written");
    assert_eq!(site.on_disk("d/real").as_deref(), Some(&b"both"[..]), "both names are one file");
    drop(file);
    std::fs::create_dir(site.path("e")).expect("a directory");
    assert_eq!(root.open_file(b"e", &PUT).expect_err("a directory").reason, Reason::IsDirectory);
}

#[test]
fn locks_and_changes_in_place_are_made_at_once() {
    let site = Site::new();
    let root = site.connect();
    let lock = root.open_file(b"lock", &Opening { creation: Creation::Always, ..PUT }).expect("made");
    assert_eq!(site.on_disk("lock").as_deref(), Some(&b""[..]));
    let again = root.open_file(b"lock", &Opening { creation: Creation::Always, ..PUT });
    assert_eq!(again.expect_err("taken").reason, Reason::Exists);
    lock.close().expect("closed");
    let log = root.open_file(b"log", &Opening { append: true, ..RESUME }).expect("made");
    log.write_at(0, b"line").expect("written");
    assert_eq!(site.on_disk("log").as_deref(), Some(&b"line"[..]));
}

#[test]
fn nobody_makes_a_name_that_uploads_have() {
    let site = Site::new();
    let root = site.connect();
    root.open_file(b"a", &PUT).expect("opened").close().expect("closed");
    let name = b".ht-enclos-upload.0.b";
    assert_eq!(root.open_file(name, &PUT).expect_err("refused").reason, Reason::DeniedName);
    assert_eq!(root.rename_new(b"a", name).expect_err("refused").reason, Reason::DeniedName);
}

#[test]
fn a_program_that_runs_is_replaced_and_a_directory_that_moves_takes_its_uploads_along() {
    let site = Site::new();
    std::fs::copy("/bin/sleep", site.path("tool")).expect("a program");
    let mut running = std::process::Command::new(site.path("tool")).arg("60").spawn().expect("it runs");
    let root = site.connect();
    let file = root.open_file(b"tool", &PUT).expect("opened");
    file.write_at(0, b"new").expect("written");
    file.close().expect("closed");
    assert_eq!(site.on_disk("tool").as_deref(), Some(&b"new"[..]));
    assert_eq!(std::fs::metadata(site.path("tool")).expect("it").mode() & 0o777, 0o755);
    running.kill().and_then(|()| running.wait()).expect("it ends");
    std::fs::create_dir(site.path("d")).expect("a directory");
    let file = root.open_file(b"d/a", &PUT).expect("opened");
    file.write_at(0, b"x").expect("written");
    root.rename_new(b"d", b"e").expect("renamed");
    file.close().expect("closed");
    assert_eq!(site.on_disk("e/a").as_deref(), Some(&b"x"[..]));
}
