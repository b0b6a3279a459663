//! Raw SFTP packets over the engine: what a client of ill will would send.
#![expect(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod checksums;
mod contents;
mod copies;
mod extensions;
mod malformed;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use enclos::files::Root;
use enclos::sftp::{Broken, Engine, Settings};
use proptest::prelude::*;

const ROOM: usize = 1 << 30;
const INIT: [u8; 9] = [0, 0, 0, 5, 1, 0, 0, 0, 3];
const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const FAILURE: u32 = 4;
const BAD_MESSAGE: u32 = 5;
const UNSUPPORTED: u32 = 8;

/// A tree with a root and a neighbour outside it, and an engine that has been greeted.
struct Bench {
    base: tempfile::TempDir,
    engine: Engine,
}

struct Reply {
    kind: u8,
    body: Vec<u8>,
}

impl Reply {
    fn code(&self) -> u32 {
        assert_eq!(self.kind, 101, "a status was expected");
        number(&self.body[4..])
    }

    fn text(&self) -> String {
        String::from_utf8(string(&self.body[8..])).expect("a sentence")
    }

    fn handle(&self) -> Vec<u8> {
        assert_eq!(self.kind, 102, "a handle was expected: {}", String::from_utf8_lossy(&self.body));
        string(&self.body[4..])
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

fn string(bytes: &[u8]) -> Vec<u8> {
    bytes[4..4 + number(bytes) as usize].to_vec()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn packet(kind: u8, id: u32, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = (body.len() as u32 + 5).to_be_bytes();
    [&length[..], &[kind], &id.to_be_bytes(), &body].concat()
}

fn open(id: u32, path: &[u8], flags: u32) -> Vec<u8> {
    packet(3, id, &[&text(path), &flags.to_be_bytes(), &0u32.to_be_bytes()])
}

fn read(id: u32, handle: &[u8], offset: u64, length: u32) -> Vec<u8> {
    packet(5, id, &[&text(handle), &offset.to_be_bytes(), &length.to_be_bytes()])
}

fn write(id: u32, handle: &[u8], offset: u64, data: &[u8]) -> Vec<u8> {
    packet(6, id, &[&text(handle), &offset.to_be_bytes(), &text(data)])
}

fn replies(mut out: &[u8]) -> Vec<Reply> {
    let mut found = Vec::new();
    while !out.is_empty() {
        let packet = string(out);
        out = &out[4 + packet.len()..];
        found.push(Reply { kind: packet[0], body: packet[1..].to_vec() });
    }
    found
}

impl Bench {
    fn new() -> Self {
        let base = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir_all(base.path().join("root/dir")).expect("the root");
        fs::create_dir(base.path().join("outside")).expect("the neighbour");
        fs::write(base.path().join("outside/canary"), "the neighbour's").expect("the canary");
        fs::write(base.path().join("root/file"), "mine").expect("a file");
        let engine = engine(&base.path().join("root"));
        let mut bench = Self { base, engine };
        assert_eq!(bench.send(&INIT)[0].kind, 2);
        bench
    }

    fn at(&self, path: &str) -> PathBuf {
        self.base.path().join("root").join(path)
    }

    fn send(&mut self, bytes: &[u8]) -> Vec<Reply> {
        let mut out = Vec::new();
        self.engine.feed(bytes, &mut out, ROOM).expect("spoken well");
        replies(&out)
    }

    fn ask(&mut self, packet: &[u8]) -> Reply {
        self.send(packet).pop().expect("one answer")
    }

    fn content(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        let opened = self.ask(&open(1, path, 1));
        if opened.kind == 101 {
            return None;
        }
        let data = self.ask(&read(2, &opened.handle(), 0, 100));
        Some(string(&data.body[4..]))
    }
}

fn settings() -> Settings {
    Settings {
        user: "bob".into(),
        group: "acme".into(),
        owner_ids: (5001, 5001),
        own_ids: enclos::files::own_ids(),
        umask: 0o022,
        start: b"/".to_vec(),
        home: b"/".to_vec(),
        links: enclos::sftp::LinkOrder::default(),
    }
}

fn engine(root: &Path) -> Engine {
    Engine::new(Root::open(root).expect("the root"), settings())
}

#[test]
fn nothing_outside_the_root_can_be_opened() {
    let mut bench = Bench::new();
    let outside = bench.base.path().join("outside");
    symlink(outside.join("canary"), bench.at("absolute")).expect("a link");
    symlink("../outside/canary", bench.at("relative")).expect("a link");
    symlink("absolute", bench.at("chained")).expect("a link");
    symlink(&outside, bench.at("way")).expect("a link");
    let direct = outside.join("canary");
    let paths = [
        direct.as_os_str().as_bytes(),
        b"../outside/canary",
        b"/../../outside/canary",
        b"dir/../../outside/canary",
        b"absolute",
        b"relative",
        b"chained",
        b"way/canary",
    ];
    for path in paths {
        assert_eq!(bench.content(path), None, "{}", String::from_utf8_lossy(path));
        for kind in [7, 17] {
            let answer = bench.ask(&packet(kind, 1, &[&text(path)]));
            assert!(answer.kind == 101 || kind == 7, "{}", String::from_utf8_lossy(path));
        }
    }
    for kind in [11, 13, 15] {
        assert_eq!(bench.ask(&packet(kind, 1, &[&text(b"/way/canary")])).code(), NO_SUCH_FILE);
    }
    assert_eq!(fs::read(direct).expect("the canary"), b"the neighbour's");
}

#[test]
fn absolute_links_that_mean_the_view_are_followed_and_made_through() {
    let mut bench = Bench::new();
    symlink("/file", bench.at("current")).expect("a link");
    symlink("/made", bench.at("dangling")).expect("a link");
    assert_eq!(bench.content(b"current").as_deref(), Some(&b"mine"[..]));
    bench.ask(&open(1, b"dangling", 2 | 8)).handle();
    assert!(bench.at("made").exists());
    let real = bench.ask(&packet(16, 1, &[&text(b"dir/../current")]));
    assert_eq!(string(&real.body[8..]), b"/file");
    let real = bench.ask(&packet(16, 1, &[&text(b"dir/missing")]));
    assert_eq!(string(&real.body[8..]), b"/dir/missing");
    assert_eq!(bench.ask(&packet(16, 1, &[&text(b"missing/missing")])).code(), NO_SUCH_FILE);
}

#[test]
fn odd_names_are_kept_or_refused_with_a_sentence() {
    let mut bench = Bench::new();
    for name in [&b"\xff\xfe"[..], b"new\nline", &[b'n'; 255]] {
        bench.ask(&open(1, name, 2 | 8)).handle();
        assert!(bench.at("").join(OsStr::from_bytes(name)).exists());
    }
    for name in [vec![b'n'; 256], vec![b'n'; 5_000], b"a/".repeat(3_000), b"a\0b".to_vec()] {
        let refused = bench.ask(&open(1, &name, 2 | 8));
        assert_eq!(refused.code(), BAD_MESSAGE);
        assert!(refused.text().contains("too long") || refused.text().contains("no file can have"));
        for kind in [7, 13, 15, 16, 17, 19] {
            assert_eq!(bench.ask(&packet(kind, 1, &[&text(&name)])).code(), BAD_MESSAGE, "request {kind}");
        }
    }
}

#[test]
fn a_fifo_is_refused_at_once() {
    let mut bench = Bench::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, bench.at("fifo"), rustix::fs::Mode::RWXU).expect("a FIFO");
    for flags in [1, 2, 3] {
        assert_eq!(bench.ask(&open(1, b"fifo", flags)).text(), "this is a pipe, socket or device and cannot be opened");
    }
}

#[test]
fn forged_and_closed_handles_are_refused() {
    let mut bench = Bench::new();
    let handle = bench.ask(&open(1, b"file", 1)).handle();
    assert_eq!(bench.ask(&packet(12, 1, &[&text(&handle)])).code(), FAILURE);
    assert_eq!(bench.ask(&packet(4, 1, &[&text(&handle)])).code(), OK);
    let second = bench.ask(&open(1, b"file", 1)).handle();
    assert_ne!(handle, second);
    for forged in [handle.clone(), vec![0; 8], vec![0xff; 8], vec![], vec![0; 255]] {
        assert_eq!(bench.ask(&read(1, &forged, 0, 1)).code(), FAILURE);
        assert_eq!(bench.ask(&packet(4, 1, &[&text(&forged)])).code(), FAILURE);
    }
}

#[test]
fn offsets_beyond_any_file_are_answered() {
    let mut bench = Bench::new();
    let handle = bench.ask(&open(1, b"file", 3)).handle();
    for offset in [1 << 63, u64::MAX] {
        assert_eq!(bench.ask(&read(1, &handle, offset, 10)).code(), BAD_MESSAGE);
        assert_eq!(bench.ask(&write(1, &handle, offset, b"x")).code(), BAD_MESSAGE);
    }
    assert_eq!(bench.ask(&read(1, &handle, 4, 10)).code(), EOF);
}

#[test]
fn a_listing_of_many_names_is_whole() {
    let mut bench = Bench::new();
    for number in 0..750 {
        fs::write(bench.at(&format!("dir/{number}")), "").expect("a file");
    }
    let handle = bench.ask(&packet(11, 1, &[&text(b"/dir")])).handle();
    let mut names = 0;
    loop {
        let answer = bench.ask(&packet(12, 1, &[&text(&handle)]));
        if answer.kind == 101 {
            assert_eq!(answer.code(), EOF);
            break;
        }
        names += number(&answer.body[4..]);
    }
    assert_eq!(names, 752);
}

#[test]
fn names_are_renamed_linked_and_removed() {
    let mut bench = Bench::new();
    let two = |kind, a: &[u8], b: &[u8]| packet(kind, 1, &[&text(a), &text(b)]);
    let extended = |name: &[u8], a: &[u8], b: &[u8]| packet(200, 1, &[&text(name), &text(a), &text(b)]);
    assert_eq!(bench.ask(&extended(b"hardlink@openssh.com", b"file", b"second")).code(), OK);
    assert_eq!(bench.ask(&two(18, b"file", b"second")).code(), FAILURE);
    assert_eq!(bench.ask(&two(20, b"anywhere", b"link")).code(), OK);
    assert_eq!(fs::read_link(bench.at("link")).expect("a link"), Path::new("anywhere"));
    assert_eq!(bench.ask(&extended(b"posix-rename@openssh.com", b"link", b"second")).code(), OK);
    assert_eq!(bench.ask(&packet(13, 1, &[&text(b"second")])).code(), OK);
    assert_eq!(bench.ask(&packet(15, 1, &[&text(b"dir")])).code(), OK);
    let mode = packet(9, 1, &[&text(b"file"), &4u32.to_be_bytes(), &0o4600u32.to_be_bytes()]);
    assert_eq!(bench.ask(&mode).code(), OK);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(bench.at("file")).expect("the file").permissions().mode() & 0o7777, 0o600);
    assert_eq!(bench.ask(&packet(200, 1, &[&text(b"statvfs@openssh.com"), &text(b"/")])).kind, 201);
    assert_eq!(bench.ask(&packet(99, 1, &[])).code(), UNSUPPORTED);
    assert_eq!(bench.ask(&packet(3, 7, &[b"\0"])).code(), BAD_MESSAGE);
}

#[test]
fn bytes_one_by_one_are_answered_as_bytes_at_once() {
    let mut whole = Bench::new();
    let mut split = Bench::new();
    let first = whole.ask(&open(1, b"new", 3 | 8)).handle();
    let other = split.ask(&open(1, b"new", 3 | 8)).handle();
    let script = |handle: &[u8]| [write(2, handle, 0, b"hello"), read(3, handle, 1, 3)].concat();
    let at_once: Vec<_> = whole.send(&script(&first)).into_iter().map(|r| r.body).collect();
    let one_by_one: Vec<_> = script(&other).chunks(1).flat_map(|byte| split.send(byte)).map(|r| r.body).collect();
    assert_eq!(at_once, one_by_one);
    assert_eq!(split.engine.totals(), whole.engine.totals());
    assert_eq!(split.engine.totals().written, 5);
}

#[test]
fn requests_wait_when_there_is_no_room() {
    let mut bench = Bench::new();
    let handle = bench.ask(&open(1, b"file", 1)).handle();
    let many: Vec<u8> = (0..256).flat_map(|id| read(id, &handle, 0, 4)).collect();
    assert_eq!(bench.send(&many).len(), 256);
    let mut out = Vec::new();
    bench.engine.feed(&many, &mut out, 1).expect("kept");
    assert_eq!(replies(&out).len(), 1);
    let mut answered = 1;
    while bench.engine.backlog() > 0 {
        out.clear();
        bench.engine.resume(&mut out, 100).expect("served");
        answered += replies(&out).len();
    }
    assert_eq!(answered, 256);
    let flood = many.repeat(700);
    assert_eq!(bench.engine.feed(&flood, &mut Vec::new(), 0), Err(Broken::Backlog));
}

#[test]
fn a_peer_that_does_not_speak_the_protocol_is_cut_off() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let cases: [(&[u8], Broken); 4] = [
        (&packet(3, 1, &[]), Broken::Order),
        (&[INIT, INIT].concat(), Broken::Order),
        (&[0, 0, 0, 0], Broken::TooShort),
        (&[0, 4, 0, 1], Broken::TooLong { length: 262_145 }),
    ];
    for (bytes, broken) in cases {
        let mut engine = engine(base.path());
        let (first, rest) = bytes.split_at(3);
        engine.feed(first, &mut Vec::new(), ROOM).expect("kept");
        assert_eq!(engine.feed(rest, &mut Vec::new(), ROOM), Err(broken));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        packets in prop::collection::vec((0u8..=255, prop::collection::vec(any::<u8>(), 0..64)), 0..40)
    ) {
        let mut bench = Bench::new();
        for (kind, body) in packets {
            let kind = if kind > 40 { 200 } else { kind };
            if bench.engine.feed(&packet(kind, 1, &[&body]), &mut Vec::new(), ROOM).is_err() {
                break;
            }
        }
    }
}
