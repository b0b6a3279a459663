//! What a hostile client tries, as a list. Each attack says what it got.

use super::race;
use super::world::{CANARY, PLANTED, SIBLING, World};
use crate::harness::{Attributes, Raw, Reply, open};

/// Tries something and says, in words, what it got that it should not have.
pub(crate) type Attack = fn(&mut Raw, &World) -> Vec<String>;

/// Every attack, by the name of what it goes by.
pub(crate) const ALL: [(&str, Attack); 11] = [
    ("absolute paths", absolute_paths),
    ("climbing", climbing),
    ("own links", own_links),
    ("planted links", planted_links),
    ("dangling links", dangling_links),
    ("writes", writes),
    ("moves", moves),
    ("listings", listings),
    ("guesses", guesses),
    ("siblings", siblings),
    ("exchanged links", race::exchanged_links),
];

/// Outside the grant: a file of the account, one beside the grant, another user's.
const TARGETS: [&str; 3] = ["private/secret.txt", "www/notes.txt", "www/site2/secret.txt"];

/// The grant's own name for a path in it, and the name it would have were the account's root attached.
pub(crate) fn in_grant(path: &str) -> [Vec<u8>; 2] {
    [format!("/{path}").into_bytes(), format!("/www/site1/{path}").into_bytes()]
}

fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

/// Reads by every way there is; what was got in words.
fn spy(raw: &mut Raw, path: &[u8]) -> Vec<String> {
    let mut got = Vec::new();
    let mut note = |how: &str, what: String| got.push(format!("{how} of {}: {what}", shown(path)));
    if let Ok(content) = raw.contents(path)
        && holds_canary(&content)
    {
        note("read", String::from_utf8_lossy(&content).into_owned());
    }
    for (how, answer) in [("stat", raw.stat(path)), ("lstat", raw.lstat(path))] {
        if let Reply::Attributes(found) = answer
            && is_a_canarys(&found)
        {
            note(how, format!("{found:?}"));
        }
    }
    got
}

pub(crate) fn holds_canary(content: &[u8]) -> bool {
    [CANARY, SIBLING].iter().any(|c| content == c.as_bytes())
}

fn is_a_canarys(found: &Attributes) -> bool {
    let is_link = found.permissions.is_some_and(|p| p & 0o170_000 == 0o120_000);
    let sizes = [CANARY.len() as u64, SIBLING.len() as u64];
    !is_link && found.size.is_some_and(|size| sizes.contains(&size))
}

/// Absolute paths of the host and of the account (X01, X19).
pub(crate) fn absolute_paths(raw: &mut Raw, world: &World) -> Vec<String> {
    let names = TARGETS.iter().flat_map(|t| world.names_of(t)).filter(|n| n.starts_with(b"/") && !climbs(n));
    names.collect::<Vec<_>>().iter().flat_map(|name| spy(raw, name)).collect()
}

/// `..` in all its spellings (X02).
pub(crate) fn climbing(raw: &mut Raw, world: &World) -> Vec<String> {
    let names = TARGETS.iter().flat_map(|t| world.names_of(t)).filter(|n| climbs(n));
    names.collect::<Vec<_>>().iter().flat_map(|name| spy(raw, name)).collect()
}

fn climbs(name: &[u8]) -> bool {
    !name.starts_with(b"/") || name.windows(2).any(|w| w == b"..") || name.contains(&0xc0) || name.contains(&b'%')
}

/// Links that the client makes itself: absolute, relative, chained (X03, X04, X24).
pub(crate) fn own_links(raw: &mut Raw, world: &World) -> Vec<String> {
    let mut got = Vec::new();
    let targets = TARGETS.iter().flat_map(|t| world.names_of(t));
    for (n, target) in targets.enumerate() {
        let link = format!("/own-{n}").into_bytes();
        let chained = format!("/dir-{n}").into_bytes();
        if raw.symlink(&target, &link).is_success() {
            got.extend(spy(raw, &link));
            raw.symlink(format!("dir/../own-{n}").as_bytes(), &chained);
            raw.symlink(format!("own-{n}").as_bytes(), &chained);
            got.extend(spy(raw, &chained));
        }
    }
    got.extend(through_directory_links(raw, world));
    got
}

/// The same by links to directories, so that the rest of the path is resolved beyond them.
fn through_directory_links(raw: &mut Raw, world: &World) -> Vec<String> {
    let mut got = Vec::new();
    for (n, target) in world.names_of("private").iter().enumerate() {
        let link = format!("/down-{n}").into_bytes();
        if raw.symlink(target, &link).is_success() {
            got.extend(spy(raw, &[&link[..], b"/secret.txt"].concat()));
            got.extend(spy(raw, &[&link[..], b"/../private/secret.txt"].concat()));
        }
    }
    got
}

/// Links that another process of the account made on disk.
pub(crate) fn planted_links(raw: &mut Raw, _: &World) -> Vec<String> {
    PLANTED.iter().flat_map(|p| in_grant(p)).flat_map(|path| spy(raw, &path)).collect()
}

/// Creating and writing through links whose end is missing (X05).
pub(crate) fn dangling_links(raw: &mut Raw, world: &World) -> Vec<String> {
    for path in in_grant("planted-dangling") {
        raw.put(&path, b"made", open::WRITE | open::CREATE);
        raw.mkdir(&path);
    }
    for (n, target) in world.names_of("private/made-by-an-attack").iter().enumerate() {
        let link = format!("/dangling-{n}").into_bytes();
        raw.symlink(target, &link);
        raw.put(&link, b"made", open::WRITE | open::CREATE | open::TRUNCATE);
    }
    world.harm()
}

/// Everything that changes something, at every name of a canary and through every planted link (X06, X07, X08).
pub(crate) fn writes(raw: &mut Raw, world: &World) -> Vec<String> {
    let links = PLANTED.iter().flat_map(|p| in_grant(p));
    let names: Vec<Vec<u8>> = world.names_of("private/secret.txt").into_iter().chain(links).collect();
    for name in &names {
        for flags in [open::WRITE, open::WRITE | open::APPEND, open::WRITE | open::CREATE | open::TRUNCATE] {
            raw.put(name, b"overwritten", flags);
        }
        change_attributes(raw, name);
    }
    for name in world.names_of("private/full") {
        raw.mkdir(&[&name[..], b"/made"].concat());
        raw.put(&[&name[..], b"/made.txt"].concat(), b"made", open::WRITE | open::CREATE);
        raw.symlink(b"anywhere", &[&name[..], b"/link"].concat());
        raw.remove(&[&name[..], b"/secret.txt"].concat());
        raw.rmdir(&name);
    }
    world.harm()
}

fn change_attributes(raw: &mut Raw, name: &[u8]) {
    let changes = [
        Attributes { size: Some(3), ..Attributes::default() },
        Attributes { permissions: Some(0o777), ..Attributes::default() },
        Attributes { times: Some((1, 1)), ..Attributes::default() },
        Attributes { owner: Some((0, 0)), ..Attributes::default() },
    ];
    for change in changes {
        raw.setstat(name, &change);
    }
}

/// Renames over, out of and into the grant, and hard links of what lies outside (X09, X10).
pub(crate) fn moves(raw: &mut Raw, world: &World) -> Vec<String> {
    let mut got = Vec::new();
    for (n, secret) in world.names_of("private/secret.txt").iter().enumerate() {
        let linked = format!("/linked-{n}").into_bytes();
        raw.extended("hardlink@openssh.com", &[secret, &linked]);
        got.extend(spy(raw, &linked));
        let bait = format!("/bait-{n}").into_bytes();
        raw.put(&bait, b"bait", open::WRITE | open::CREATE);
        raw.rename(&bait, &[&secret[..], b".new"].concat());
        raw.extended("hardlink@openssh.com", &[&bait, &[&secret[..], b".link"].concat()]);
        raw.extended("posix-rename@openssh.com", &[&bait, secret]);
        let taken = format!("/taken-{n}").into_bytes();
        raw.rename(secret, &taken);
        raw.extended("posix-rename@openssh.com", &[secret, &taken]);
        got.extend(spy(raw, &taken));
    }
    got.extend(world.harm());
    got
}

/// Names of what lies beside and above the grant (X21).
pub(crate) fn listings(raw: &mut Raw, world: &World) -> Vec<String> {
    let links = ["planted-up", "planted-private-dir"].iter().flat_map(|p| in_grant(p));
    let climbs = [&b"/"[..], b"..", b"../..", b"/..", b"/../..", b"."].map(<[u8]>::to_vec);
    let named = ["", "www", "private", "www/site2"].iter().flat_map(|p| world.names_of(p));
    let mut got = Vec::new();
    for path in named.chain(links).chain(climbs) {
        let Ok(names) = raw.names(&path) else { continue };
        let foreign = [&b"private"[..], b"www", b"site2", b"notes.txt", b"secret.txt"];
        let seen: Vec<String> = names.iter().filter(|n| foreign.contains(&&n[..])).map(|n| shown(n)).collect();
        if !seen.is_empty() {
            got.push(format!("listing of {}: {seen:?}", shown(&path)));
        }
    }
    got
}

/// What is there and what is not, outside, must answer alike to every request that takes a name (X22, X23, X26).
pub(crate) fn guesses(raw: &mut Raw, world: &World) -> Vec<String> {
    let mut got = Vec::new();
    for (there, absent) in [("private/secret.txt", "private/secret.txx"), ("private", "privatx"), ("www", "wwx")] {
        for (there, absent) in world.names_of(there).iter().zip(&world.names_of(absent)) {
            for (how, ask) in QUESTIONS {
                let answers = [ask(raw, there), ask(raw, absent)].map(|a| without_names(a, there, absent));
                if answers[0] != answers[1] {
                    got.push(format!("{how} of {} tells: {answers:?}", shown(there)));
                }
            }
        }
    }
    got
}

type Question = fn(&mut Raw, &[u8]) -> Reply;

/// Requests that change nothing even where they succeed.
const QUESTIONS: [(&str, Question); 8] = [
    ("stat", |raw, path| raw.stat(path)),
    ("lstat", |raw, path| raw.lstat(path)),
    ("open", |raw, path| raw.open(path, open::READ)),
    ("opendir", |raw, path| raw.opendir(path)),
    ("readlink", |raw, path| raw.readlink(path)),
    ("realpath", |raw, path| raw.realpath(path)),
    ("statvfs", |raw, path| raw.extended("statvfs@openssh.com", &[path])),
    ("expand-path", |raw, path| raw.extended("expand-path@openssh.com", &[path])),
];

/// REALPATH may repeat the name that it was asked for; that is no news. Handles differ from one another.
fn without_names(answer: Reply, there: &[u8], absent: &[u8]) -> String {
    match answer {
        Reply::Names(names) => {
            let last = |path: &[u8]| path.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
            let (there, absent) = (last(there), last(absent));
            let told = names.iter().map(|(name, _)| shown(name)).collect::<String>();
            told.replace(&shown(&there), "NAME").replace(&shown(&absent), "NAME")
        }
        Reply::Handle(_) => "a handle".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Another user of the same account, whose directory is next to the grant.
pub(crate) fn siblings(raw: &mut Raw, world: &World) -> Vec<String> {
    let mut eve = Raw::connect(world.eve());
    let her_own = [&b"/secret.txt"[..], b"/www/site2/secret.txt"].map(|path| eve.contents(path));
    assert!(her_own.contains(&Ok(SIBLING.as_bytes().to_vec())), "she cannot read her own file: {her_own:?}");
    let mut got: Vec<String> = world.names_of("www/site2/secret.txt").iter().flat_map(|name| spy(raw, name)).collect();
    for directory in world.names_of("www/site2") {
        if raw.opendir(&directory).is_success() {
            got.push(format!("opendir of {}", shown(&directory)));
        }
    }
    for name in world.names_of("www/site1/inside.txt") {
        if eve.contents(&name).is_ok() {
            got.push(format!("the sibling reads {}", shown(&name)));
        }
    }
    got
}
