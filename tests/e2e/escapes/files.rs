//! Attacks by SFTP packets. What the answers tell is looked at by [`super::world::leak`], what has changed on disk by
//! [`Place::harm`]; here is said what else was got.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::world::{CANARY, DEVICE, Kind, Place, View, entries, long_ago, text};
use crate::harness::{Attributes, Raw, Reply, open, string};

pub(super) const NEW: u32 = open::WRITE | open::CREATE | open::TRUNCATE;

/// Everything that reads, lists or asks, at one name.
pub(super) fn spy(raw: &mut Raw, path: &[u8]) {
    // What is got is noticed by who watches the answers.
    drop(raw.contents(path));
    drop(raw.names(path));
    raw.stat(path);
    raw.lstat(path);
    raw.readlink(path);
    raw.realpath(path);
    check_file(raw, path);
}

/// Asks for a checksum by name.
fn check_file(raw: &mut Raw, path: &[u8]) -> Reply {
    let rest = [&0_u64.to_be_bytes()[..], &0_u64.to_be_bytes(), &0_u32.to_be_bytes()].concat();
    raw.ask(200, &[string(b"check-file-name"), string(path), string(b"sha256,md5"), rest].concat())
}

/// Has the server copy a file by name.
fn copy_file(raw: &mut Raw, from: &[u8], to: &[u8]) -> Reply {
    raw.ask(200, &[string(b"copy-file"), string(from), string(to), vec![1]].concat())
}

/// Everything that changes something, at one name, and takes nothing away.
pub(super) fn write(raw: &mut Raw, path: &[u8]) {
    for flags in [open::WRITE, open::WRITE | open::APPEND, open::READ | open::WRITE, open::WRITE | open::CREATE, NEW] {
        raw.put(path, b"overwritten", flags);
    }
    for change in changes() {
        raw.setstat(path, &change);
        raw.ask(200, &[string(b"lsetstat@openssh.com"), string(path), change.encode()].concat());
    }
    let beneath = |name: &str| [path, b"/", name.as_bytes()].concat();
    raw.mkdir(&beneath("made"));
    raw.put(&beneath("made.txt"), b"made", NEW);
    raw.symlink(b"anywhere", &beneath("link"));
}

fn changes() -> [Attributes; 4] {
    [
        Attributes { size: Some(3), ..Attributes::default() },
        Attributes { permissions: Some(0o666), ..Attributes::default() },
        Attributes { times: Some((1, 1)), ..Attributes::default() },
        Attributes { owner: Some((0, 0)), ..Attributes::default() },
    ]
}

/// Everything that takes something away or puts something else in its place, at one name.
fn move_about(raw: &mut Raw, place: &Place, path: &[u8]) {
    let (bait, taken, linked, copied) = (place.at("bait"), place.at("taken"), place.at("linked"), place.at("copied"));
    raw.put(&bait, b"bait", NEW);
    raw.rename(path, &taken);
    spy(raw, &taken);
    for (name, arguments) in [
        ("posix-rename@openssh.com", [path, &taken]),
        ("hardlink@openssh.com", [path, &linked]),
        ("hardlink@openssh.com", [&bait, path]),
        ("posix-rename@openssh.com", [&bait, path]),
    ] {
        raw.extended(name, &arguments);
    }
    copy_file(raw, path, &copied);
    copy_file(raw, &place.at("inside.txt"), path);
    for got in [&taken, &linked, &copied] {
        spy(raw, got);
    }
    raw.rename(&place.at("inside.txt"), path);
    raw.remove(path);
    raw.rmdir(path);
}

fn is_of_proc(name: &[u8]) -> bool {
    ["/proc", "/dev"].iter().any(|p| name.windows(p.len()).any(|w| w == p.as_bytes()))
}

fn climbs(name: &[u8]) -> bool {
    !name.starts_with(b"/") || name.windows(2).any(|w| w == b"..")
}

/// X01
pub(super) fn absolute(raw: &mut Raw, place: &Place) -> Vec<String> {
    let names = place.names();
    names.iter().filter(|n| !climbs(n) && !is_of_proc(n)).for_each(|name| spy(raw, name));
    Vec::new()
}

/// X02
pub(super) fn climbing(raw: &mut Raw, place: &Place) -> Vec<String> {
    let names = place.names();
    names.iter().filter(|n| climbs(n) && !is_of_proc(n)).for_each(|name| spy(raw, name));
    Vec::new()
}

/// X19, X20
pub(super) fn through_proc(raw: &mut Raw, place: &Place) -> Vec<String> {
    let mut names = place.names();
    names.retain(|name| is_of_proc(name));
    let of_proc = ["self/environ", "1/environ", "self/maps", "self/fd", "mounts", "1/exe", "self/task"];
    names.extend(of_proc.map(|name| format!("/proc/{name}").into_bytes()));
    names.iter().for_each(|name| spy(raw, name));
    let is_there = names.iter().filter(|name| raw.stat(name).is_success());
    is_there.map(|name| format!("{} is there", name.escape_ascii())).collect()
}

/// X03, X04, X24: links that the client makes itself, absolute, relative, chained, to files and to directories.
pub(super) fn own_links(raw: &mut Raw, place: &Place) -> Vec<String> {
    let (link, chained) = (place.at("own"), place.at("chained"));
    for target in place.names() {
        if raw.symlink(&target, &link).is_success() {
            spy(raw, &link);
            raw.symlink(b"dir/../own", &chained);
            spy(raw, &chained);
            write(raw, &link);
            raw.remove(&link);
            raw.remove(&chained);
        }
    }
    for target in place.names_of_directories() {
        if raw.symlink(&target, &link).is_success() {
            for below in [format!("/{CANARY}"), format!("/../private/{CANARY}"), "/.".to_owned(), "/..".to_owned()] {
                spy(raw, &[&link[..], below.as_bytes()].concat());
            }
            raw.remove(&link);
        }
    }
    Vec::new()
}

/// X04: links that another process of the account made on disk.
pub(super) fn planted_links(raw: &mut Raw, place: &Place) -> Vec<String> {
    for path in place.behind_planted() {
        spy(raw, &path);
        raw.symlink(&path, &place.at("own"));
        spy(raw, &place.at("own"));
        raw.remove(&place.at("own"));
    }
    Vec::new()
}

/// X05
pub(super) fn dangling_links(raw: &mut Raw, place: &Place) -> Vec<String> {
    let mut ends = place.in_grant("planted-dangling").to_vec();
    for target in place.names_of(&place.home.join("private/made-by-an-attack")) {
        let link = place.at("dangling");
        raw.symlink(&target, &link);
        make(raw, place, &link);
        raw.remove(&link);
        ends.push(target);
    }
    ends.iter().for_each(|end| make(raw, place, end));
    Vec::new()
}

/// Makes something by a name.
fn make(raw: &mut Raw, place: &Place, path: &[u8]) {
    raw.put(path, b"made", open::WRITE | open::CREATE);
    raw.put(path, b"made", NEW);
    raw.mkdir(path);
    raw.symlink(b"x", path);
    copy_file(raw, &place.at("inside.txt"), path);
    raw.put(&[path, b"/made"].concat(), b"made", NEW);
}

/// X06, X08
pub(super) fn writes(raw: &mut Raw, place: &Place) -> Vec<String> {
    place.names().iter().chain(&place.behind_planted()).for_each(|name| write(raw, name));
    place.names_of_directories().iter().for_each(|name| write(raw, name));
    Vec::new()
}

/// X07, X09, X10
pub(super) fn moves(raw: &mut Raw, place: &Place) -> Vec<String> {
    place.names().iter().chain(&place.behind_planted()).for_each(|name| move_about(raw, place, name));
    Vec::new()
}

/// X17: what is open stays usable downwards when somebody moves it out; upwards it leads nowhere.
pub(super) fn moved_out(raw: &mut Raw, place: &Place) -> Vec<String> {
    let (inside, outside) = (place.grant().join("moving/inner"), place.home.join("private/moved"));
    let handle = raw.opendir(&place.at("moving/inner"));
    fs::rename(&inside, &outside).expect("its owner moves it");
    for path in ["moving/inner", "moving/inner/..", "moving/inner/../..", "moving/.."] {
        for below in ["", "/private", &format!("/private/{CANARY}"), &format!("/{CANARY}")] {
            spy(raw, &place.at(&format!("{path}{below}")));
        }
    }
    if let Reply::Handle(handle) = handle {
        raw.readdir(&handle);
        raw.readdir(&handle);
        raw.close(&handle);
    }
    fs::rename(&outside, &inside).expect("its owner moves it back");
    long_ago(&place.home.join("private"));
    Vec::new()
}

/// X18
pub(super) fn the_grant_itself(raw: &mut Raw, place: &Place) -> Vec<String> {
    for name in [place.at(""), place.at("."), b"/".to_vec(), b".".to_vec(), text(&place.grant()).into()] {
        raw.rename(&name, &place.at("renamed"));
        raw.rename(&name, b"/renamed");
        raw.extended("posix-rename@openssh.com", &[&name, b"../renamed"]);
        raw.rmdir(&name);
        raw.remove(&name);
        raw.symlink(b"/", &name);
    }
    for above in ["..", "../..", "/", "/home", "/tmp"] {
        raw.mkdir(format!("{above}/made").as_bytes());
        raw.put(format!("{above}/made.txt").as_bytes(), b"made", NEW);
    }
    if place.grant().join("inside.txt").exists() { Vec::new() } else { vec!["the grant is gone".to_owned()] }
}

/// X21
pub(super) fn listings(raw: &mut Raw, place: &Place) -> Vec<String> {
    let climbs = ["/", "..", "../..", "/..", "/../..", ".", "", "/home", "/tmp", "/root", "/proc", "~"];
    let mut names: Vec<Vec<u8>> = climbs.map(|c| c.as_bytes().to_vec()).to_vec();
    names.extend(place.names_of_directories());
    for link in ["up", "private-dir", "sibling-dir", "other-dir", "host-dir", "root-dir", "proc-dir", "hidden-dir"] {
        names.extend(place.in_grant(&format!("planted-{link}")));
    }
    names.iter().for_each(|name| drop(raw.names(name)));
    Vec::new()
}

type Question = fn(&mut Raw, &[u8]) -> Reply;

/// Requests that change nothing even where they succeed.
const QUESTIONS: [(&str, Question); 10] = [
    ("stat", |raw, path| raw.stat(path)),
    ("lstat", |raw, path| raw.lstat(path)),
    ("open", |raw, path| raw.open(path, open::READ)),
    ("opendir", |raw, path| raw.opendir(path)),
    ("readlink", |raw, path| raw.readlink(path)),
    ("realpath", |raw, path| raw.realpath(path)),
    ("statvfs", |raw, path| raw.extended("statvfs@openssh.com", &[path])),
    ("expand-path", |raw, path| raw.extended("expand-path@openssh.com", &[path])),
    ("space-available", |raw, path| raw.extended("space-available", &[path])),
    ("check-file-name", check_file),
];

/// X22, X23: what is there and what is not must answer alike, outside and where something is hidden.
pub(super) fn guesses(raw: &mut Raw, place: &Place) -> Vec<String> {
    let mut got = Vec::new();
    let mut paths: Vec<PathBuf> = place.targets();
    // That a name is taken, whoever puts something into a drop box has to be told.
    paths.retain(|path| place.kind != Kind::Upload || !path.starts_with(place.grant()));
    // What leads to the grant is there in a view of host paths, and known.
    paths.extend(place.directories().into_iter().filter(|d| *d != place.home.join("www")));
    for (n, path) in paths.iter().enumerate() {
        let other = path.with_file_name(format!("{}x", path.file_name().expect("a name").display()));
        let pairs: Vec<_> = place.names_of(path).into_iter().zip(place.names_of(&other)).collect();
        let tried = pairs.iter().enumerate().filter(|(at, _)| place.is_tried(n, *at));
        for (_, (there, absent)) in tried {
            for (how, ask) in QUESTIONS {
                let answers = [there, absent].map(|name| {
                    let answer = ask(raw, name);
                    close(raw, &answer);
                    without_names(answer, there, absent)
                });
                if answers[0] != answers[1] {
                    got.push(format!("{how} of {} tells: {answers:?}", there.escape_ascii()));
                }
            }
        }
    }
    got
}

fn close(raw: &mut Raw, answer: &Reply) {
    if let Reply::Handle(handle) = answer {
        raw.close(handle);
    }
}

/// REALPATH may repeat the name that it was asked for; that is no news. Handles differ from one another.
fn without_names(answer: Reply, there: &[u8], absent: &[u8]) -> String {
    let last = |path: &[u8]| {
        let mut parts = path.rsplit(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".");
        parts.next().unwrap_or_default().escape_ascii().to_string()
    };
    match answer {
        Reply::Names(names) => {
            let told = names.iter().map(|(name, _)| name.escape_ascii().to_string()).collect::<String>();
            told.replace(&last(absent), "NAME").replace(&last(there), "NAME")
        }
        Reply::Handle(_) => "a handle".to_owned(),
        other => format!("{other:?}"),
    }
}

/// X25: no sentence names a place of the host that the client has not named.
pub(super) fn sentences(raw: &mut Raw, place: &Place) -> Vec<String> {
    let node = place.home.ancestors().nth(2).and_then(Path::file_name).expect("the node's directory");
    let mut secret = vec!["/view".to_owned(), format!("{}", std::process::id())];
    secret.extend((place.view == View::Rooted).then(|| node.display().to_string()));
    let names =
        ["nothing", "planted-absolute", "planted-up/x", "inside.txt/x", "planted-loop", "planted-dangling", "dir"];
    let mut answers = Vec::new();
    for name in names.map(|name| place.at(name)) {
        answers.extend([
            raw.stat(&name),
            raw.open(&name, open::READ),
            raw.open(&name, open::WRITE),
            raw.opendir(&name),
        ]);
        answers.extend([raw.mkdir(&name), raw.remove(&name), raw.rmdir(&name), raw.symlink(b"x", &name)]);
        answers.extend([raw.rename(&name, &place.at("planted-loop/x")), raw.extended("fsync@openssh.com", &[&name])]);
    }
    let told = answers.into_iter().filter_map(|answer| match answer {
        Reply::Status(_, sentence) => secret.iter().any(|s| sentence.contains(s)).then_some(sentence),
        _ => None,
    });
    told.collect()
}

/// X26: extensions that take names of users and ids.
pub(super) fn names_of_users(raw: &mut Raw, _: &Place) -> Vec<String> {
    let mut got = Vec::new();
    for name in ["root", "www-data", "sib", "other", "~root", "../root"] {
        let answers =
            [name, "nobody-is-called-this"].map(|name| raw.extended("home-directory", &[name.as_bytes()]).is_success());
        if answers[0] != answers[1] {
            got.push(format!("home-directory of {name} tells: {answers:?}"));
        }
        let told = format!("{:?}", raw.extended("expand-path@openssh.com", &[format!("~{name}/x").as_bytes()]));
        if ["\"/root", "/var/www"].iter().any(|home| told.contains(home)) {
            got.push(format!("expand-path of ~{name}/x: {told}"));
        }
    }
    let ids: Vec<u8> = (0..200_u32).chain([5001, 65_534]).flat_map(u32::to_be_bytes).collect();
    if let Reply::Extended(body) = raw.extended("users-groups-by-id@openssh.com", &[&ids, &ids]) {
        let said = String::from_utf8_lossy(&body).into_owned();
        let told = ["daemon", "www-data", "sshd", "_apt", "messagebus"].into_iter().filter(|name| said.contains(name));
        got.extend(told.map(|name| format!("users-groups-by-id tells of {name}")));
    }
    got
}

/// X27
pub(super) fn handles(raw: &mut Raw, place: &Place) -> Vec<String> {
    let mut other = Raw::connect(&place.login);
    let mut forged: Vec<Vec<u8>> = (0..64_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    forged.extend((0..64_u64).flat_map(|n| [n.to_be_bytes().to_vec(), n.to_string().into_bytes()]));
    forged.extend([Vec::new(), vec![0], vec![0xff; 4], vec![0xff; 8], vec![b'/'; 256], b"/etc".to_vec()]);
    for answer in [raw.opendir(&place.at("")), raw.open(&place.at("inside.txt"), open::READ)] {
        if let Reply::Handle(handle) = answer {
            let near = |by: u8| handle.iter().map(|b| b.wrapping_add(by)).collect::<Vec<u8>>();
            forged.extend([near(1), near(255), near(128)]);
            raw.close(&handle);
            forged.push(handle);
        }
    }
    if let Reply::Handle(handle) = other.opendir(&place.at("")) {
        forged.push(handle);
    }
    let mut got = Vec::new();
    for handle in forged {
        for answer in [raw.read(&handle, 0, 100), raw.readdir(&handle), raw.write_at(&handle, 0, b"x")] {
            if answer.is_success() {
                got.push(format!("handle {} works: {answer:?}", handle.escape_ascii()));
            }
        }
    }
    got
}

/// X28: names that are none, or too much of one; afterwards the connection goes on.
pub(super) fn odd_names(raw: &mut Raw, place: &Place) -> Vec<String> {
    let long = |count: usize| vec![b'x'; count];
    let mut odd: Vec<Vec<u8>> =
        vec![Vec::new(), b"\0".to_vec(), b"a\0b".to_vec(), b"a\nb".to_vec(), b"\xff\xfe".to_vec()];
    odd.extend([long(255), long(256), long(5000), b"x/".repeat(3000), b"../".repeat(3000), b"./".repeat(3000)]);
    odd.extend([b"dir/".repeat(2000), b"\x1b]0;owned\x07".to_vec(), b"-rf".to_vec(), b"$(touch x)".to_vec()]);
    for name in odd {
        for path in [name.clone(), [&place.at("")[..], &name].concat()] {
            spy(raw, &path);
            write(raw, &path);
            raw.rename(&path, &place.at("renamed"));
            raw.symlink(&path, &place.at("linked"));
            raw.remove(&place.at("linked"));
            raw.remove(&path);
        }
    }
    // One of them is the grant itself, which whoever may write it may close to themselves.
    fs::set_permissions(place.grant(), fs::Permissions::from_mode(0o755)).expect("its mode again");
    if raw.stat(&place.at("dir")).is_success() { Vec::new() } else { vec!["the session does not go on".to_owned()] }
}

/// X30: what is no file is neither waited for nor opened.
pub(super) fn no_files(raw: &mut Raw, place: &Place) -> Vec<String> {
    let mut got = Vec::new();
    for (name, kind) in [("pipe", FileType::Fifo), ("socket", FileType::Socket), ("zero", FileType::CharacterDevice)] {
        let at = place.grant().join(name);
        let made = mknodat(CWD, &at, kind, Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 5));
        if made.is_err() && kind == FileType::CharacterDevice {
            // Who is not root plants none, and so nobody finds one.
            continue;
        }
        place.give(&at);
        for flags in [open::READ, open::WRITE, open::READ | open::WRITE, NEW, open::WRITE | open::APPEND] {
            for path in place.in_grant(name) {
                let answer = raw.open(&path, flags);
                if answer.is_success() {
                    got.push(format!("a {name} was opened with {flags}"));
                }
                close(raw, &answer);
            }
        }
        check_file(raw, &place.at(name));
        copy_file(raw, &place.at(name), &place.at("copied"));
        copy_file(raw, &place.at("inside.txt"), &place.at(name));
    }
    got
}

/// X33, X35, X38
pub(super) fn modes_and_owners(raw: &mut Raw, place: &Place) -> Vec<String> {
    for bits in [0o4755, 0o2755, 0o6755, 0o7777, 0o104_755, 0o20_666] {
        let wanted = Attributes { permissions: Some(bits), ..Attributes::default() };
        raw.setstat(&place.at("inside.txt"), &wanted);
        raw.setstat(&place.at("dir"), &wanted);
        let made = place.at(&format!("made-{bits:o}"));
        raw.ask(3, &[string(&made), NEW.to_be_bytes().to_vec(), wanted.encode()].concat());
        raw.ask(14, &[string(&[&made[..], b"-dir"].concat()), wanted.encode()].concat());
    }
    for owner in [(0, 0), (65_534, u32::MAX), (u32::MAX, 0), (u32::MAX, u32::MAX), (1, 1)] {
        raw.setstat(&place.at("inside.txt"), &Attributes { owner: Some(owner), ..Attributes::default() });
    }
    wrong_on_disk(place, &place.grant())
}

/// Set-id bits, devices and other owners in a tree.
fn wrong_on_disk(place: &Place, directory: &Path) -> Vec<String> {
    let owner = fs::metadata(&place.home).expect("the home");
    let mut got = Vec::new();
    for entry in entries(directory).into_iter().filter(|entry| !entry.ends_with(DEVICE)) {
        let meta = fs::symlink_metadata(&entry).expect("just listed");
        let is_plain = meta.is_file() || meta.is_dir() || meta.is_symlink();
        if meta.mode() & 0o6000 != 0 || (meta.uid(), meta.gid()) != (owner.uid(), owner.gid()) || !is_plain {
            got.push(format!("{} has mode {:o} and owner {}", entry.display(), meta.mode(), meta.uid()));
        }
        if meta.is_dir() {
            got.extend(wrong_on_disk(place, &entry));
        }
    }
    got
}

/// X72: nothing in a grant for reading changes, whatever is asked for.
pub(super) fn read_only(raw: &mut Raw, place: &Place) -> Vec<String> {
    let (directory, file) = match place.kind {
        Kind::Ro => (place.grant(), "inside.txt"),
        _ => (place.grant().join("config"), "config/app.ini"),
    };
    let before = tree(&directory);
    let name = place.at(file);
    write(raw, &name);
    let beside = [&name[..], b".new"].concat();
    raw.put(&beside, b"new", NEW);
    raw.mkdir(&beside);
    raw.symlink(b"x", &beside);
    raw.rename(&name, &beside);
    raw.rename(&name, &place.at("taken"));
    for (name, arguments) in [
        ("posix-rename@openssh.com", [&name, &beside]),
        ("posix-rename@openssh.com", [&place.at("dir"), &beside]),
        ("hardlink@openssh.com", [&name, &beside]),
        ("hardlink@openssh.com", [&name, &place.at("linked")]),
    ] {
        raw.extended(name, &arguments.map(|argument| argument.as_slice()));
    }
    copy_file(raw, &place.at("inside.txt"), &beside);
    copy_file(raw, &name, &beside);
    if let Reply::Handle(handle) = raw.open(&name, open::READ) {
        raw.write_at(&handle, 0, b"x");
        let change = Attributes { permissions: Some(0o600), times: Some((1, 1)), ..Attributes::default() };
        raw.ask(10, &[string(&handle), change.encode()].concat());
        raw.close(&handle);
    }
    raw.remove(&name);
    raw.rmdir(&place.at("moving/inner"));
    let after = tree(&directory);
    if after == before { Vec::new() } else { vec![format!("{before:?} has become {after:?}")] }
}

/// Whatever shows that something in a tree was changed.
pub(super) fn tree(directory: &Path) -> Vec<(String, u32, i64, i64, u64)> {
    let mut found = Vec::new();
    let mut front = vec![directory.to_owned()];
    while let Some(path) = front.pop() {
        let meta = fs::symlink_metadata(&path).expect("it is there");
        found.push((path.display().to_string(), meta.mode(), meta.mtime(), meta.ctime(), meta.nlink()));
        if meta.is_dir() {
            front.extend(entries(&path));
        }
    }
    found.sort();
    found
}
