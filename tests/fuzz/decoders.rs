//! What any bytes are handed to: a function for each decoder that is ours. It must not panic, and what was read must read back
//! the same where it can be written.
//!
//! Shared by the fuzz targets (tests/fuzz/fuzz_targets, run by tests/fuzz/run) and by tests/decoders.rs, which hands over
//! seeds and random bytes in every test run.

use std::fmt::{Debug, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use enclos::control::{decoders, hashes};
use enclos::domain::{
    AccountName, Bind, Block, ByteCount, DIRECT, DirectCommand, HomePath, Hours, InviteCode, KeyLine, Logins,
    NamePatterns, Permits, RelPath, ScopePaths, Services, Sources, UserName, seconds,
};
use enclos::files::Root;
use enclos::sftp::{Engine, LinkOrder, Settings};
use enclos::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A decoder, by the name of its target and of its corpus.
pub(crate) type Decoder = (&'static str, fn(&[u8]));

/// All of them.
pub(crate) const ALL: [Decoder; 12] = [
    ("certificates", certificates),
    ("command_lines", command_lines),
    ("configuration", configuration),
    ("imports", imports),
    ("key_lines", key_lines),
    ("password_hashes", password_hashes),
    ("proxy_headers", proxy_headers),
    ("revocation_lists", revocation_lists),
    ("sftp_packets", sftp_packets),
    ("sftp_requests", sftp_requests),
    ("wire_messages", wire_messages),
    ("words", words),
];

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Certificates of OpenSSH in their wire form.
pub(crate) fn certificates(bytes: &[u8]) {
    decoders::certificate(bytes);
}

/// Key revocation lists.
pub(crate) fn revocation_lists(bytes: &[u8]) {
    decoders::revocations(bytes);
}

/// What is imported, in each of its forms.
pub(crate) fn imports(bytes: &[u8]) {
    decoders::imports(text(bytes));
}

/// Any command line: what is taken is one of three programs, without a word that could be an option nobody looked at.
pub(crate) fn command_lines(line: &[u8]) {
    let services: Services = DIRECT.into_iter().collect();
    let Ok(command) = DirectCommand::parse(line, services, "/start") else { return };
    let words = command.arguments();
    assert!(words.iter().all(|word| !word.iter().any(u8::is_ascii_control)));
    assert_eq!(words[0], command.program().as_bytes());
    match command.program() {
        "git" => assert!(words.len() == 3 && !words[2].starts_with(b"-")),
        "rsync" => {
            assert_eq!(words[1], b"--server");
            let forbidden: [&[u8]; 6] = [b"--rsh", b"--daemon", b"--config", b"--rsync-path", b"--log-file", b"-e "];
            let options = words.iter().filter(|word| word.starts_with(b"-"));
            assert!(options.into_iter().all(|word| !forbidden.iter().any(|f| word.starts_with(f))));
        }
        "scp" => assert!(words.iter().all(|word| !word.starts_with(b"-S")) || words.iter().any(|word| word == b"--")),
        other => panic!("{other}"),
    }
}

/// A configuration file, read as such.
pub(crate) fn configuration(bytes: &[u8]) {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    let file = PLACE.get_or_init(|| scratch("configuration").join("enclos.toml"));
    std::fs::write(file, bytes).expect("a file");
    drop(enclos::config::load(Some(file), None));
}

/// Lines of `authorized_keys`, and what their options say.
pub(crate) fn key_lines(bytes: &[u8]) {
    let text = text(bytes);
    decoders::authorized_keys(text);
    let Ok(line) = KeyLine::parse(text) else { return };
    assert!(text.trim().ends_with(line.key));
    for value in line.options.iter().filter_map(|option| option.value.as_deref()) {
        words(value.as_bytes());
    }
}

/// Hashes of passwords: none may be that of nothing by being cut off.
pub(crate) fn password_hashes(bytes: &[u8]) {
    let text = text(bytes);
    // A hash may ask for as much work as its kind allows, which is not what is looked for here.
    let costs = text.bytes().filter(u8::is_ascii_digit).count() > 12;
    if let (Ok(stored), false) = (text.parse::<hashes::Stored>(), costs) {
        assert!(!stored.is_of(b"\0"));
    }
}

/// PROXY headers of either version: addresses or nothing.
pub(crate) fn proxy_headers(bytes: &[u8]) {
    if let Some((source, destination)) = enclos::session::parse_proxy_header(bytes) {
        assert_eq!(source.ip(), source.ip().to_canonical());
        assert_eq!(destination.ip(), destination.ip().to_canonical());
    }
}

/// Single values as operators and keys write them.
pub(crate) fn words(bytes: &[u8]) {
    let text = text(bytes);
    reads_back::<AccountName>(text);
    reads_back::<Block>(text);
    reads_back::<ByteCount>(text);
    reads_back::<Hours>(text);
    reads_back::<Logins>(text);
    reads_back::<NamePatterns>(text);
    reads_back::<Permits>(text);
    reads_back::<ScopePaths>(text);
    reads_back::<Services>(text);
    reads_back::<Sources>(text);
    reads_back::<UserName>(text);
    drop((text.parse::<RelPath>(), text.parse::<HomePath>(), text.parse::<Bind>(), seconds(text)));
    if let Ok(user) = enclos::domain::ClaimedName::new(text) {
        drop(InviteCode::of(&user));
    }
}

fn reads_back<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        let written = read.to_string();
        assert!(
            written.parse::<T>().is_ok_and(|again| again == read),
            "{text:?} was read, and {written:?} is not the same"
        );
    }
}

/// Messages between the processes of a node: what is read is written and read to the same.
pub(crate) fn wire_messages(bytes: &[u8]) {
    message::<wire::FromSession>(bytes);
    message::<wire::ToSession>(bytes);
    message::<wire::FromControl>(bytes);
    message::<wire::ToControl>(bytes);
    message::<wire::FromZygote>(bytes);
    message::<wire::ToZygote>(bytes);
    message::<wire::FromCell>(bytes);
    message::<wire::FromWorker>(bytes);
    message::<wire::ToWorker>(bytes);
    message::<wire::WorkerOrder>(bytes);
}

fn message<M: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(read) = postcard::from_bytes::<M>(bytes) else { return };
    let written = postcard::to_stdvec(&read).expect("what was read can be written");
    let again = postcard::from_bytes::<M>(&written).expect("what was written can be read");
    assert_eq!(postcard::to_stdvec(&again).expect("as before"), written);
}

/// A directory of this process.
fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("enclos-fuzz-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a temporary directory");
    path
}

fn engine(tree: &Path) -> Engine {
    let settings = Settings {
        user: "u".into(),
        group: "g".into(),
        owner_ids: (5001, 5001),
        own_ids: enclos::files::own_ids(),
        umask: 0o022,
        start: b"/".to_vec(),
        home: b"/".to_vec(),
        links: LinkOrder::default(),
    };
    Engine::new(Root::open(tree).expect("the tree"), settings)
}

/// Any bytes after INIT, over a directory with one file in it: the engine must neither panic nor grow without bound.
pub(crate) fn sftp_packets(bytes: &[u8]) {
    static TREE: OnceLock<PathBuf> = OnceLock::new();
    let tree = TREE.get_or_init(|| {
        let path = scratch("packets");
        // Copies and checksums of this one take several parts.
        let large = std::fs::File::create(path.join("l")).expect("a file");
        large.set_len(16 << 20).expect("a large one");
        path
    });
    let mut engine = engine(tree);
    let mut out = Vec::new();
    engine.feed(&[0, 0, 0, 5, 1, 0, 0, 0, 3], &mut out, 1 << 20).expect("INIT");
    for part in bytes.chunks(1_000) {
        if engine.feed(part, &mut out, 1 << 20).is_err() {
            break;
        }
        // What takes long is gone on with a few times; more comes in between.
        for _ in 0..4 {
            engine.work(&mut out);
        }
        if engine.resume(&mut out, 1 << 20).is_err() {
            break;
        }
        out.clear();
    }
}

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
fn small_tree() -> &'static PathBuf {
    let path = TREE.get_or_init(|| std::env::temp_dir().join(format!("enclos-fuzz-requests-{}", std::process::id())));
    if path.exists() {
        std::fs::remove_dir_all(path).expect("what the last input left");
    }
    std::fs::create_dir_all(path.join("dir")).expect("a temporary directory");
    std::fs::write(path.join("file"), "some text").expect("a file");
    path
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn packet(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    string(&[&[kind], &id.to_be_bytes()[..], body].concat())
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
            0 => body.extend(string(b"file")),
            1 => body.extend(string(b"dir/")),
            2 => body.extend(string(&[0, 0, 0, 0, 0, 0, 0, byte >> 3])),
            3 => body.extend(u64::from(byte >> 3).to_be_bytes()),
            4 => body.extend(u32::from(byte >> 3).to_be_bytes()),
            5 => body.extend(string(b"md5,sha256")),
            6 => body.extend(string(&spec[at..spec.len().min(at + usize::from(byte >> 3))])),
            _ => body.push(byte >> 3),
        }
    }
    body
}

/// Requests that are framed well and mean files that are there: what is random is their kind and the rest of the body, so
/// that every parser behind the framing is reached, extensions by name included. Each gets one answer, in the end.
pub(crate) fn sftp_requests(bytes: &[u8]) {
    let mut engine = engine(small_tree());
    engine.feed(&[0, 0, 0, 5, 1, 0, 0, 0, 3], &mut Vec::new(), ROOM).expect("INIT");
    let opening = [string(b"file"), 3_u32.to_be_bytes().to_vec(), vec![0; 4]].concat();
    engine.feed(&packet(3, 0, &opening), &mut Vec::new(), ROOM).expect("OPEN");
    let (mut out, mut asked) = (Vec::new(), Vec::new());
    for (number, spec) in bytes.chunks(12).enumerate() {
        let (kind, id) = (spec[0], number as u32 + 1);
        let rest = body(spec.get(1..).unwrap_or_default());
        let request = match kind % 38 {
            basic @ 3..=20 => packet(basic, id, &rest),
            other => {
                let name = EXTENSIONS[usize::from(other) % EXTENSIONS.len()];
                packet(200, id, &[string(name.as_bytes()), rest].concat())
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
}
