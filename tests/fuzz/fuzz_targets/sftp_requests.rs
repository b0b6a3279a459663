//! Requests that are framed well and mean files that are there: what is random is their kind and the rest of the body, so
//! that every parser behind the framing is reached, extensions by name included. Each gets one answer, in the end.
//!
//! Run from the repository: `cargo +nightly fuzz run --fuzz-dir tests/fuzz sftp_requests`.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use enclos::files::Root;
use enclos::sftp::{Engine, Settings};
use libfuzzer_sys::fuzz_target;

const ROOM: usize = 1 << 24;
const EXTENSIONS: [&str; 17] = [
    "posix-rename@openssh.com",
    "statvfs@openssh.com",
    "fstatvfs@openssh.com",
    "hardlink@openssh.com",
    "fsync@openssh.com",
    "lsetstat@openssh.com",
    "limits@openssh.com",
    "expand-path@openssh.com",
    "copy-data",
    "copy-file",
    "home-directory",
    "users-groups-by-id@openssh.com",
    "space-available",
    "vendor-id",
    "check-file",
    "check-file-name",
    "check-file-handle",
];

static TREE: OnceLock<PathBuf> = OnceLock::new();

/// The same beginning for every input.
fn tree() -> &'static PathBuf {
    let path = TREE.get_or_init(|| std::env::temp_dir().join(format!("enclos-fuzz-requests-{}", std::process::id())));
    if path.exists() {
        std::fs::remove_dir_all(path).expect("what the last input left");
    }
    std::fs::create_dir_all(path.join("dir")).expect("a temporary directory");
    std::fs::write(path.join("file"), "some text").expect("a file");
    path
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn packet(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    text(&[&[kind], &id.to_be_bytes()[..], body].concat())
}

/// The numbers of the requests that were answered.
fn answered(mut out: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    while let Some((length, rest)) = out.split_first_chunk::<4>() {
        let (answer, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        ids.push(u32::from_be_bytes(answer[1..5].try_into().expect("a number")));
        out = rest;
    }
    ids
}

/// The body that a few bytes stand for: names of what is there, handles, numbers of any size, and bytes as they are.
fn body(spec: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (at, byte) in spec.iter().enumerate() {
        match byte % 8 {
            0 => body.extend(text(b"file")),
            1 => body.extend(text(b"dir/")),
            2 => body.extend(text(&[0, 0, 0, 0, 0, 0, 0, byte >> 3])),
            3 => body.extend(u64::from(byte >> 3).to_be_bytes()),
            4 => body.extend(u32::from(byte >> 3).to_be_bytes()),
            5 => body.extend(text(b"md5,sha256")),
            6 => body.extend(text(&spec[at..spec.len().min(at + usize::from(byte >> 3))])),
            _ => body.push(byte >> 3),
        }
    }
    body
}

fuzz_target!(|bytes: &[u8]| {
    let settings = Settings {
        user: "u".into(),
        group: "g".into(),
        owner_ids: (5001, 5001),
        own_ids: enclos::files::own_ids(),
        umask: 0o022,
        start: b"/".to_vec(),
        links: enclos::sftp::LinkOrder::default(),
    };
    let mut engine = Engine::new(Root::open(tree()).expect("the tree"), settings);
    engine.feed(&[0, 0, 0, 5, 1, 0, 0, 0, 3], &mut Vec::new(), ROOM).expect("INIT");
    let opening = [text(b"file"), 3_u32.to_be_bytes().to_vec(), vec![0; 4]].concat();
    engine.feed(&packet(3, 0, &opening), &mut Vec::new(), ROOM).expect("OPEN");
    let (mut out, mut asked) = (Vec::new(), Vec::new());
    for (number, spec) in bytes.chunks(12).enumerate() {
        let (kind, id) = (spec[0], number as u32 + 1);
        let rest = body(spec.get(1..).unwrap_or_default());
        let request = match kind % 38 {
            basic @ 3..=20 => packet(basic, id, &rest),
            other => {
                let name = EXTENSIONS[usize::from(other) % EXTENSIONS.len()];
                packet(200, id, &[text(name.as_bytes()), rest].concat())
            }
        };
        engine.feed(&request, &mut out, ROOM).expect("framed well");
        asked.push(id);
        if out.len() > ROOM / 2 {
            break;
        }
    }
    for _ in 0..64 {
        engine.work(&mut out);
        engine.resume(&mut out, ROOM).expect("framed well");
    }
    if !engine.is_busy() {
        let mut ids = answered(&out);
        ids.sort_unstable();
        assert_eq!(ids, asked, "one answer each");
    }
});
