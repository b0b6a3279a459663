//! What graphical clients send, replayed in our own words: none of them can be run here. Each replay keeps the order,
//! flags and attributes of its client's packets, and its number of requests in flight.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{Drive, same_file};
use crate::harness::{Attributes, Identity, Raw, Reply, open, random_file, status, string};

as_root_and_rootless!(
    winscp_uploads_by_filepart_and_compares,
    filezilla_lists_and_transfers,
    cyberduck_uploads_and_sets_attributes,
    vs_code_saves_by_a_temporary_file,
    jetbrains_deploys_by_a_temporary_file,
);

const OPEN: u8 = 3;
const READ: u8 = 5;
const WRITE: u8 = 6;
/// SSH_FXF_WRITE, CREAT and TRUNC: how all of them open a file to upload.
const UPLOAD: u32 = open::WRITE | open::CREATE | open::TRUNCATE;
const SIZE: u64 = 3_000_017;
/// 2001-02-03 04:05:06 UTC.
const THEN: u32 = 981_173_106;

fn replay(identity: Identity, client: &'static str) -> (Drive, Vec<u8>) {
    let drive = Drive::new(identity, client, "replayed".to_owned());
    let local = drive.dir().join("big");
    random_file(&local, SIZE, 31);
    let data = fs::read(local).expect("a file");
    (drive, data)
}

fn handle(reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Handle(handle) => handle,
        other => panic!("no handle: {other:?}"),
    }
}

#[track_caller]
fn ok(reply: &Reply) {
    assert_eq!(reply.code(), Some(status::OK), "{reply:?}");
}

fn open_with(raw: &mut Raw, path: &[u8], flags: u32, wanted: &Attributes) -> Vec<u8> {
    handle(raw.ask(OPEN, &[string(path), flags.to_be_bytes().to_vec(), wanted.encode()].concat()))
}

/// Sends blocks without waiting for their answers.
fn send(raw: &mut Raw, handle: &[u8], from: u64, data: &[u8], block: usize, in_flight: usize) {
    let mut at = from;
    for group in data.chunks(block * in_flight) {
        let mut writes = Vec::new();
        for part in group.chunks(block) {
            writes.push((WRITE, [string(handle), at.to_be_bytes().to_vec(), string(part)].concat()));
            at += part.len() as u64;
        }
        raw.ask_at_once(&writes).iter().for_each(ok);
    }
}

/// Asks for blocks without waiting for their answers, to past the end of the file.
fn fetch(raw: &mut Raw, handle: &[u8], length: u64, block: u32, in_flight: u64) -> Vec<u8> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < length {
        let reads: Vec<_> = (0..in_flight)
            .map(|n| at + n * u64::from(block))
            .map(|from| (READ, [string(handle), from.to_be_bytes().to_vec(), block.to_be_bytes().to_vec()].concat()))
            .collect();
        for reply in raw.ask_at_once(&reads) {
            match reply {
                Reply::Data(data) => all.extend(data),
                other => assert_eq!(other.code(), Some(status::EOF), "{other:?}"),
            }
        }
        at += in_flight * u64::from(block);
    }
    all
}

fn list(raw: &mut Raw, path: &[u8]) -> Vec<Vec<u8>> {
    raw.names(path).unwrap_or_else(|e| panic!("{}: {e:?}", path.escape_ascii()))
}

fn times(at: u32) -> Attributes {
    Attributes { times: Some((at, at)), ..Attributes::default() }
}

fn permissions(mode: u32) -> Attributes {
    Attributes { permissions: Some(mode), ..Attributes::default() }
}

/// Asks for version 6; a large upload goes to `.filepart`, is resumed there, and takes the name of the old file.
fn winscp_uploads_by_filepart_and_compares(identity: Identity) {
    let (mut drive, data) = replay(identity, "WinSCP (replay)");
    let mut raw = Raw::connect_asking(&drive.bob, 6);
    assert!(matches!(raw.extended("limits@openssh.com", &[]), Reply::Extended(_)));
    assert!(matches!(raw.realpath(b"."), Reply::Names(n) if n[0].0 == b"/"));
    assert!(list(&mut raw, b"/").len() >= 2);
    drive.saw("asks for version 6 and takes 3, limits, lists");
    ok(&raw.put(b"/page.bin", b"the old page", UPLOAD));
    assert!(raw.lstat(b"/page.bin").is_success());
    assert_eq!(raw.lstat(b"/page.bin.filepart").code(), Some(status::NO_SUCH_FILE));
    let first = open_with(&mut raw, b"/page.bin.filepart", UPLOAD, &Attributes::default());
    send(&mut raw, &first, 0, &data[..1_000_000], 32_768, 32);
    drop(raw);
    let mut raw = Raw::connect_asking(&drive.bob, 6);
    match raw.lstat(b"/page.bin.filepart") {
        Reply::Attributes(found) => assert_eq!(found.size, Some(1_000_000)),
        other => panic!("{other:?}"),
    }
    let again = open_with(&mut raw, b"/page.bin.filepart", open::WRITE, &Attributes::default());
    send(&mut raw, &again, 1_000_000, &data[1_000_000..], 32_768, 32);
    ok(&raw.close(&again));
    ok(&raw.remove(b"/page.bin"));
    ok(&raw.rename(b"/page.bin.filepart", b"/page.bin"));
    ok(&raw.setstat(b"/page.bin", &Attributes { permissions: Some(0o644), ..times(THEN) }));
    same_file(&drive.dir().join("big"), &drive.site().join("page.bin"));
    assert_eq!(fs::metadata(drive.site().join("page.bin")).expect("a file").mtime(), i64::from(THEN));
    drive.saw("upload to .filepart broken off, resumed, renamed, SETSTAT of mode and times");
    let range = [&0_u64.to_be_bytes()[..], &0_u64.to_be_bytes(), &0_u32.to_be_bytes()].concat();
    let asked = [string(b"check-file-name"), string(b"/page.bin"), string(b"sha256,sha1,md5"), range].concat();
    match raw.ask(200, &asked) {
        Reply::Extended(body) => assert!(body.windows(6).any(|w| w == b"sha256"), "{body:?}"),
        other => panic!("{other:?}"),
    }
    match raw.extended("space-available", &[b"/"]) {
        Reply::Extended(body) => assert_eq!(body.len(), 36, "four u64 and a u32"),
        other => panic!("{other:?}"),
    }
    assert_eq!(raw.realpath(b"/none/none").code(), Some(status::NO_SUCH_FILE));
    drive.saw("check-file-name, space-available, REALPATH of what is not there");
}

/// Two connections: one lists, one transfers with 64 blocks on their way.
fn filezilla_lists_and_transfers(identity: Identity) {
    let (mut drive, data) = replay(identity, "FileZilla (replay)");
    let (mut browse, mut transfer) = (Raw::connect(&drive.bob), Raw::connect(&drive.bob));
    assert!(matches!(browse.realpath(b"."), Reply::Names(n) if n[0].0 == b"/"));
    assert!(matches!(browse.realpath(b"/"), Reply::Names(_)));
    let up = open_with(&mut transfer, b"/big", UPLOAD, &Attributes::default());
    send(&mut transfer, &up, 0, &data, 32_768, 64);
    ok(&transfer.close(&up));
    ok(&transfer.setstat(b"/big", &times(THEN)));
    same_file(&drive.dir().join("big"), &drive.site().join("big"));
    assert!(list(&mut browse, b"/").contains(&b"big".to_vec()), "the other connection sees it at once");
    drive.saw("upload on a second connection, times, listed by the first");
    let down = handle(transfer.open(b"/big", open::READ));
    assert!(matches!(transfer.ask(8, &string(&down)), Reply::Attributes(a) if a.size == Some(SIZE)));
    assert!(fetch(&mut transfer, &down, SIZE, 32_768, 64) == data, "it came back otherwise");
    ok(&transfer.close(&down));
    drive.saw("download, FSTAT, 64 reads on their way past the end");
    ok(&browse.mkdir(b"/New directory"));
    ok(&browse.rename(b"/big", b"/New directory/big"));
    ok(&browse.setstat(b"/New directory/big", &permissions(0o600)));
    ok(&browse.remove(b"/New directory/big"));
    ok(&browse.rmdir(b"/New directory"));
    drive.saw("mkdir, rename into it, chmod, remove, rmdir");
}

/// sshj: LSTAT first, blocks pipelined, then permissions and times by path.
fn cyberduck_uploads_and_sets_attributes(identity: Identity) {
    let (mut drive, data) = replay(identity, "Cyberduck (replay)");
    let mut raw = Raw::connect(&drive.bob);
    assert!(matches!(raw.realpath(b"."), Reply::Names(_)));
    assert!(raw.lstat(b"/").is_success());
    assert_eq!(raw.lstat(b"/big").code(), Some(status::NO_SUCH_FILE));
    let up = open_with(&mut raw, b"/big-8f2a", UPLOAD, &Attributes::default());
    send(&mut raw, &up, 0, &data, 32_768, 50);
    ok(&raw.close(&up));
    ok(&raw.setstat(b"/big-8f2a", &permissions(0o640)));
    ok(&raw.setstat(b"/big-8f2a", &times(THEN)));
    ok(&raw.extended("posix-rename@openssh.com", &[b"/big-8f2a", b"/big"]));
    same_file(&drive.dir().join("big"), &drive.site().join("big"));
    let found = fs::metadata(drive.site().join("big")).expect("a file");
    assert_eq!((found.mode() & 0o777, found.mtime()), (0o640, i64::from(THEN)));
    assert!(matches!(raw.extended("statvfs@openssh.com", &[b"/"]), Reply::Extended(_)));
    drive.saw("upload under a temporary name, 50 writes on their way, SETSTAT, posix-rename, statvfs");
}

/// The `ssh2` library of Node: a mode in OPEN and again by FSETSTAT; `useTempFile` renames over what is there.
fn vs_code_saves_by_a_temporary_file(identity: Identity) {
    let (mut drive, data) = replay(identity, "VS Code SFTP extensions (replay)");
    let mut raw = Raw::connect(&drive.bob);
    assert_eq!(raw.stat(b"/src").code(), Some(status::NO_SUCH_FILE));
    ok(&raw.mkdir(b"/src"));
    assert!(!raw.mkdir(b"/src").is_success());
    for saved in [&data[..70_000], &data[..]] {
        let up = open_with(&mut raw, b"/src/app.js.new", UPLOAD, &permissions(0o664));
        ok(&raw.ask(10, &[string(&up), permissions(0o664).encode()].concat()));
        send(&mut raw, &up, 0, saved, 32_768, 64);
        ok(&raw.ask(10, &[string(&up), times(THEN).encode()].concat()));
        ok(&raw.close(&up));
        ok(&raw.extended("posix-rename@openssh.com", &[b"/src/app.js.new", b"/src/app.js"]));
    }
    same_file(&drive.dir().join("big"), &drive.site().join("src/app.js"));
    let found = fs::metadata(drive.site().join("src/app.js")).expect("a file");
    assert_eq!((found.mode() & 0o777, found.mtime()), (0o664, i64::from(THEN)));
    assert!(raw.lstat(b"/src/app.js").is_success());
    drive.saw("mkdir, two saves by FSETSTAT, 64 writes on their way, and posix-rename over the file");
}

/// A temporary name beside the file; the old file is removed before the new one takes its name.
fn jetbrains_deploys_by_a_temporary_file(identity: Identity) {
    let (mut drive, data) = replay(identity, "JetBrains deployment (replay)");
    let mut raw = Raw::connect(&drive.bob);
    assert!(matches!(raw.realpath(b""), Reply::Names(n) if n[0].0 == b"/"));
    ok(&raw.put(b"/index.php", b"<?php // old\n", UPLOAD));
    assert!(raw.stat(b"/index.php").is_success());
    let up = open_with(&mut raw, b"/index.php___jb_tmp___", UPLOAD, &Attributes::default());
    send(&mut raw, &up, 0, &data, 32_000, 16);
    ok(&raw.close(&up));
    ok(&raw.setstat(b"/index.php___jb_tmp___", &times(THEN)));
    ok(&raw.rename(b"/index.php", b"/index.php___jb_old___"));
    ok(&raw.rename(b"/index.php___jb_tmp___", b"/index.php"));
    ok(&raw.remove(b"/index.php___jb_old___"));
    same_file(&drive.dir().join("big"), &drive.site().join("index.php"));
    assert_eq!(list(&mut raw, b"/").len(), 3, ". and .. and the file");
    drive.saw("upload under a temporary name, the old file put aside, renamed, removed");
}
