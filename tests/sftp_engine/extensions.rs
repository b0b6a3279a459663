//! What VERSION announces, and the extensions that are neither copies nor checksums.

use super::*;

fn extended(name: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    packet(200, 1, &[&[&text(name)[..]], parts].concat())
}

fn long(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}

#[test]
fn version_announces_what_there_is() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let mut out = Vec::new();
    engine(base.path()).feed(&INIT, &mut out, ROOM).expect("INIT");
    assert_eq!((out[4], number(&out[5..])), (2, 3));
    let (mut rest, mut announced) = (&out[9..], Vec::new());
    while !rest.is_empty() {
        let (name, data) = (string(rest), string(&rest[4 + string(rest).len()..]));
        rest = &rest[8 + name.len() + data.len()..];
        announced.push((String::from_utf8(name).expect("a name"), data));
    }
    let one = |name: &str, version: &str| (name.to_owned(), version.as_bytes().to_vec());
    let vendor =
        [&text(b"Enclos")[..], &text(b"enclos"), &text(env!("CARGO_PKG_VERSION").as_bytes()), &[0; 8]].concat();
    let expected = [
        one("posix-rename@openssh.com", "1"),
        one("statvfs@openssh.com", "2"),
        one("fstatvfs@openssh.com", "2"),
        one("hardlink@openssh.com", "1"),
        one("fsync@openssh.com", "1"),
        one("lsetstat@openssh.com", "1"),
        one("limits@openssh.com", "1"),
        one("expand-path@openssh.com", "1"),
        one("copy-data", "1"),
        one("home-directory", "1"),
        one("users-groups-by-id@openssh.com", "1"),
        one("space-available", "1"),
        one("copy-file", "1"),
        one("check-file", "1"),
        one("check-file-name", "1"),
        one("check-file-handle", "1"),
        ("vendor-id".to_owned(), vendor),
    ];
    assert_eq!(announced, expected);
}

#[test]
fn every_version_that_is_offered_is_answered_with_three() {
    let base = tempfile::tempdir().expect("a temporary directory");
    for version in [0_u32, 2, 3, 4, 6, u32::MAX] {
        let mut engine = engine(base.path());
        let mut out = Vec::new();
        // Extensions of the client's are taken and nothing depends on them.
        let init = [&version.to_be_bytes()[..], &text(b"newline@example.com"), &text(b"\n")].concat();
        engine.feed(&text(&[&[1], &init[..]].concat()), &mut out, ROOM).expect("INIT");
        assert_eq!((out[4], number(&out[5..])), (2, 3), "version {version}");
    }
}

#[test]
fn limits_are_those_that_hold() {
    let mut bench = Bench::new();
    let told = bench.ask(&extended(b"limits@openssh.com", &[])).body;
    let limits: Vec<u64> = told[4..].chunks(8).map(long).collect();
    assert_eq!(limits, [262_144, 261_120, 261_120, 1_000]);
    let most = 261_120_usize;
    let handle = bench.ask(&open(1, b"large", 3 | 8)).handle();
    let whole = write(1, &handle, 0, &vec![7; 262_144 - 29]);
    assert_eq!(whole.len(), 4 + 262_144, "the longest packet there is");
    assert_eq!(bench.ask(&whole).code(), OK);
    assert_eq!(string(&bench.ask(&read(1, &handle, 0, u32::MAX)).body[4..]).len(), most);
    let opened: Vec<_> = (1..limits[3]).map(|id| bench.ask(&open(id as u32, b"file", 1)).handle()).collect();
    let refused = bench.ask(&open(1, b"file", 1));
    let sentence = "too many files are open at the same time: close some".to_owned();
    assert_eq!((refused.code(), refused.text()), (FAILURE, sentence));
    assert_eq!(bench.ask(&packet(4, 1, &[&text(&opened[500])])).code(), OK);
    bench.ask(&open(1, b"file", 1)).handle();
}

#[test]
fn room_is_told_in_bytes() {
    let mut bench = Bench::new();
    let told = bench.ask(&extended(b"space-available", &[&text(b"/dir")])).body;
    let [all, free, usable, available] = [4, 12, 20, 28].map(|at| long(&told[at..]));
    assert!(all >= free && all >= usable && usable >= available && free >= available && available > 0);
    let block = u64::from(number(&told[36..]));
    assert!(told.len() == 40 && block.is_power_of_two() && all.is_multiple_of(block));
    assert_eq!(bench.ask(&extended(b"space-available", &[&text(b"missing")])).code(), NO_SUCH_FILE);
}

#[test]
fn a_file_is_copied_by_name() {
    use std::os::unix::fs::PermissionsExt;
    let mut bench = Bench::new();
    let copy = |from: &[u8], to: &[u8], over: u8| extended(b"copy-file", &[&text(from), &text(to), &[over]]);
    fs::set_permissions(bench.at("file"), PermissionsExt::from_mode(0o750)).expect("a mode");
    assert_eq!(bench.ask(&copy(b"file", b"dir/copy", 0)).code(), OK);
    assert_eq!(fs::read(bench.at("dir/copy")).expect("the copy"), b"mine");
    assert_eq!(fs::metadata(bench.at("dir/copy")).expect("the copy").permissions().mode() & 0o777, 0o750);
    fs::write(bench.at("longer"), "something longer").expect("a file");
    let kept = bench.ask(&copy(b"file", b"longer", 0));
    assert_eq!((kept.code(), kept.text()), (FAILURE, "a file or directory of that name exists already".into()));
    assert_eq!(bench.ask(&copy(b"file", b"longer", 1)).code(), OK);
    assert_eq!(fs::read(bench.at("longer")).expect("the copy"), b"mine");
    fs::hard_link(bench.at("file"), bench.at("same")).expect("a second name");
    assert_eq!(bench.ask(&copy(b"file", b"same", 1)).text(), "a file cannot be copied onto itself");
    assert_eq!(fs::read(bench.at("file")).expect("still there"), b"mine");
    assert_eq!(bench.ask(&copy(b"dir", b"other", 0)).text(), "this is a directory");
    assert!(!bench.at("other").exists());
}

#[test]
fn a_copy_by_name_shows_when_it_is_whole_where_uploads_do() {
    use enclos::domain::{UploadPolicy, Uploads};
    let mut bench = Bench::new();
    let policy = UploadPolicy { uploads: Uploads::Atomic, ..UploadPolicy::default() };
    bench.engine = Engine::new(Root::open(&bench.at("")).expect("the root").under(&policy), settings());
    bench.send(&INIT);
    let large = vec![7; 20 << 20];
    fs::write(bench.at("large"), &large).expect("a large file");
    fs::write(bench.at("old"), "before").expect("a file");
    let copy = |to: &[u8]| extended(b"copy-file", &[&text(b"large"), &text(to), &[1]]);
    for (name, before) in [("new", None), ("old", Some(b"before".to_vec()))] {
        assert!(bench.send(&copy(name.as_bytes())).is_empty() && bench.engine.is_busy());
        assert_eq!(fs::read(bench.at(name)).ok(), before, "nothing shows yet");
        let mut out = Vec::new();
        while bench.engine.is_busy() {
            bench.engine.work(&mut out);
        }
        assert_eq!(replies(&out)[0].code(), OK);
        assert!(fs::read(bench.at(name)).expect("the copy") == large);
    }
    assert_eq!(fs::read_dir(bench.at("")).expect("the root").count(), 5, "nothing is left over");
}

#[test]
fn paths_of_home_are_expanded() {
    let mut bench = Bench::new();
    let cases = [
        (&b"~"[..], &b"/"[..]),
        (b"~/", b"/"),
        (b"~/dir", b"/dir"),
        (b"~bob", b"/"),
        (b"~bob//dir/.", b"/dir"),
        (b"dir/~", b"/dir/~"),
        (b"", b"/"),
    ];
    for (path, real) in cases {
        let answer = bench.ask(&extended(b"expand-path@openssh.com", &[&text(path)]));
        assert_eq!(string(&answer.body[8..]), real, "{}", path.escape_ascii());
    }
    for others in [&b"~alice"[..], b"~bobby/dir"] {
        let refused = bench.ask(&extended(b"expand-path@openssh.com", &[&text(others)]));
        let sentence = "only your own home directory can be named here".to_owned();
        assert_eq!((refused.code(), refused.text()), (NO_SUCH_FILE, sentence));
    }
}

#[test]
fn a_clients_own_words_about_itself_are_taken() {
    let mut bench = Bench::new();
    let vendor = [&text(b"Vendor")[..], &text(b"Product"), &text(b"1.0"), &7_u64.to_be_bytes()].concat();
    assert_eq!(bench.ask(&extended(b"vendor-id", &[&vendor])).code(), OK);
    assert_eq!(bench.ask(&extended(b"vendor-id", &[&vendor[..vendor.len() - 1]])).code(), BAD_MESSAGE);
    assert_eq!(bench.ask(&extended(b"no-such@example.com", &[])).code(), UNSUPPORTED);
}
