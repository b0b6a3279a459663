//! The house keeps its shape: which room may lean on which, where a foreign library lives, and what no file may hold.
//!
//! The table is that of CONTRIBUTING.md. What counts is what the code says: every `crate::room` outside of tests,
//! with comments and strings taken out. The rules are tested themselves, on sources that break them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may lean on whom.
const ROOMS: [(&str, &[&str]); 14] = [
    ("domain", &[]),
    ("sys", &[]),
    ("telemetry", &["domain"]),
    ("config", &["domain"]),
    ("authority", &["domain"]),
    ("wire", &["domain", "sys"]),
    ("files", &["domain", "sys"]),
    ("cell", &["domain", "sys", "authority"]),
    ("worker", &["domain", "wire", "sys", "cell", "telemetry"]),
    ("sftp", &["domain", "files"]),
    ("session", &["domain", "wire", "cell", "files", "sftp", "config", "telemetry"]),
    ("monitor", &["domain", "sys", "authority", "wire", "cell", "config", "telemetry"]),
    ("control", &["domain", "authority", "wire", "config", "telemetry"]),
    ("admin", &["domain", "files", "control", "config", "telemetry"]),
];

/// Foreign libraries that have a home: the beginnings of the paths of files that may name them.
const HOMES: [(&str, &[&str]); 12] = [
    ("russh", &["session/transport"]),
    ("sqlx", &["control/store"]),
    ("cap_std", &["files/"]),
    ("rustix", &["sys/", "cell/", "files/", "wire/", "monitor/", "worker/"]),
    // Also: system users by name, the ids of the command line's own process, and who is at the admin socket.
    ("nix", &["sys/", "cell/", "files/", "wire/", "monitor/", "worker/", "config/", "admin/", "control/admin_socket"]),
    // Also: the numbers of system calls, which the profile lists as data.
    ("libc", &["sys/", "cell/profile", "cell/shell/filter"]),
    ("landlock", &["cell/"]),
    ("seccompiler", &["cell/"]),
    ("clap", &["admin/"]),
    ("argon2", &["control/"]),
    ("toml", &["config/"]),
    ("tokio", &["session/", "control/", "wire/"]),
];

/// Most lines of a file, its tests aside.
const LONGEST: usize = 600;

/// One file of the crate.
#[derive(Debug)]
struct Source {
    /// Below `src/`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// The room that the file belongs to; `None` for the crate's root and the binary.
    fn room(&self) -> Option<&str> {
        let (room, _) = self.path.split_once('/')?;
        Some(room)
    }

    /// The code that ships: no comments, no text, no tests, no layers that are left out.
    fn code(&self) -> String {
        without_tests(&without_weakening(&without_comments_and_text(&self.text)))
    }
}

/// All sources of the crate.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut front = vec![root.clone()];
    while let Some(dir) = front.pop() {
        for path in entries(&dir) {
            if path.is_dir() {
                front.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let below = path.strip_prefix(&root).expect("beneath src").to_str().expect("a plain name").to_owned();
                found.push(Source { path: below, text: fs::read_to_string(&path).expect("a source") });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path()).collect()
}

/// Blanks out comments, strings and characters; lines stay where they are.
fn without_comments_and_text(source: &str) -> String {
    let mut left = source;
    let mut code = String::with_capacity(source.len());
    while let Some(first) = left.chars().next() {
        let after_word = code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let length = match first {
            '/' if left.starts_with("//") => left.find('\n').unwrap_or(left.len()),
            '/' if left.starts_with("/*") => block_comment(left),
            '"' => text(left),
            'r' | 'b' | 'c' if !after_word => prefixed_text(left),
            '\'' => character(left),
            _ => 0,
        };
        if length == 0 {
            code.push(first);
            left = left.strip_prefix(first).expect("it begins so");
        } else {
            let (taken, rest) = left.split_at(length);
            code.extend(taken.chars().filter(|c| *c == '\n'));
            code.push(' ');
            left = rest;
        }
    }
    code
}

/// Length of a comment that may hold others.
fn block_comment(source: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|r| !r.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    source.len()
}

/// Length of `"..."` with its escapes.
fn text(source: &str) -> usize {
    let mut escaped = false;
    for (at, c) in source.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    source.len()
}

/// Length of `b"..."`, `c"..."`, `r"..."`, `r#"..."#`, `br#"..."#` and `b'.'`; 0 for an ordinary word.
fn prefixed_text(source: &str) -> usize {
    let prefix = source.find(|c| !matches!(c, 'r' | 'b' | 'c')).unwrap_or(source.len());
    let (letters, rest) = source.split_at(prefix);
    if !matches!(letters, "r" | "b" | "c" | "br" | "cr") {
        return 0;
    }
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let body = rest.trim_start_matches('#');
    if letters.ends_with('r') && body.starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let length = body.get(1..).and_then(|b| b.find(&end)).map_or(body.len(), |at| at + 1 + end.len());
        return prefix + hashes + length;
    }
    match (hashes, body.chars().next()) {
        (0, Some('"')) => prefix + text(body),
        (0, Some('\'')) => prefix + character(body),
        _ => 0,
    }
}

/// Length of a character literal; 0 for a lifetime.
fn character(source: &str) -> usize {
    let mut chars = source.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => source.char_indices().skip(3).find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// Leaves out what stands behind `#[cfg(test)]`: tests may lean on more.
fn without_tests(code: &str) -> String {
    without(code, "#[cfg(test)]")
}

/// Leaves out what stands behind `#[cfg(feature = "weaken")]`, the one feature there is, whose name is text and so gone:
/// nothing else may know of layers that can be left out.
fn without_weakening(code: &str) -> String {
    without(code, "#[cfg(feature =  )]")
}

/// Leaves out the items and statements behind an attribute.
fn without(code: &str, attribute: &str) -> String {
    let mut left = code;
    let mut kept = String::new();
    while let Some((before, after)) = left.split_once(attribute) {
        kept.push_str(before);
        left = after.get(item_length(after)..).unwrap_or_default();
    }
    kept + left
}

/// Length of the item that begins here: to its closing brace, or to a semicolon before any brace.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

/// The rooms that a file leans on: `crate::room`, and the heads of `crate::{room, other::X}`.
fn leans_on(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = code;
    while let Some((_, after)) = left.split_once("crate::") {
        match after.strip_prefix('{') {
            Some(group) => found.extend(heads_of_group(group)),
            None => found.extend(head(after)),
        }
        left = after;
    }
    found
}

/// A module's name: types of the crate's root would begin with a capital.
fn head(path: &str) -> Option<String> {
    let word: String = path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    word.chars().next().filter(|c| c.is_ascii_lowercase()).map(|_| word)
}

fn heads_of_group(group: &str) -> Vec<String> {
    let mut depth = 1_usize;
    let mut heads: Vec<String> = head(group).into_iter().collect();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => heads.extend(group.get(at + 1..).and_then(head)),
            _ => {}
        }
    }
    heads
}

/// Foreign crates with a home that a file names, as `name::` or in `use name`.
fn foreigners(code: &str) -> BTreeSet<&'static str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let names = |krate: &str| {
        code.match_indices(krate).any(|(at, _)| {
            let before = code.get(..at).unwrap_or_default();
            let after = code.get(at + krate.len()..).unwrap_or_default();
            let begins = !before.ends_with(is_word) && !before.ends_with("::");
            begins && (after.starts_with("::") || (before.ends_with("use ") && after.starts_with(';')))
        })
    };
    HOMES.iter().map(|(krate, _)| *krate).filter(|krate| names(krate)).collect()
}

/// Everything that is wrong with one file.
fn faults(source: &Source) -> Vec<String> {
    let code = source.code();
    let mut faults = Vec::new();
    let mut fault = |text: String| faults.push(format!("{}: {text}", source.path));
    for problem in arrows(source, &code) {
        fault(problem);
    }
    for krate in foreigners(&code) {
        let homes = HOMES.iter().find(|(name, _)| *name == krate).map_or(&[][..], |(_, homes)| *homes);
        if source.room().is_some() && !homes.iter().any(|home| source.path.starts_with(home)) {
            fault(format!("names {krate}, whose home is {homes:?}"));
        }
    }
    if !source.path.starts_with("sys/") && has_word(&code, "unsafe") {
        fault("holds `unsafe`, which belongs in sys".to_owned());
    }
    if code.lines().any(|l| l.trim_start().starts_with("let _ =") || l.trim_start().starts_with("let _:")) {
        fault("drops a result with `let _`".to_owned());
    }
    for unfinished in ["todo!", "unimplemented!"] {
        if code.contains(unfinished) {
            fault(format!("is not finished: {unfinished}"));
        }
    }
    if !source.text.starts_with("//! ") {
        fault("has no header that says what it owns".to_owned());
    }
    let lines = without_tests(&source.text).lines().count();
    if lines > LONGEST {
        fault(format!("has {lines} lines; {LONGEST} are the most. What second thing moved in?"));
    }
    faults
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

fn arrows(source: &Source, code: &str) -> Vec<String> {
    let Some(room) = source.room() else { return Vec::new() };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("lies in the room {room}, which the table does not know")];
    };
    let leant = leans_on(code).into_iter().filter(|other| other != room && !allowed.contains(&other.as_str()));
    leant.map(|other| format!("leans on {other}; {room} may lean on {allowed:?}")).collect()
}

/// A chain of rooms that ends where it began, if there is one.
fn circle(arrows: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    arrows.keys().find_map(|start| way_back(arrows, start, &mut vec![start.clone()]))
}

fn way_back(arrows: &BTreeMap<String, BTreeSet<String>>, start: &String, way: &mut Vec<String>) -> Option<Vec<String>> {
    let here = way.last()?.clone();
    for next in arrows.get(&here).into_iter().flatten() {
        if next == start {
            return Some(way.clone());
        }
        if !way.contains(next) {
            way.push(next.clone());
            if let Some(found) = way_back(arrows, start, way) {
                return Some(found);
            }
            way.pop();
        }
    }
    None
}

fn arrows_of(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let Some(room) = source.room() else { continue };
        let others = leans_on(&source.code()).into_iter().filter(|other| other != room);
        arrows.entry(room.to_owned()).or_default().extend(others);
    }
    arrows
}

#[test]
fn the_house_keeps_its_shape() {
    let faults: Vec<String> = sources().iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_room_leans_on_itself_by_way_of_others() {
    assert_eq!(circle(&arrows_of(&sources())), None);
    let table =
        ROOMS.iter().map(|(room, others)| ((*room).to_owned(), others.iter().map(|o| (*o).to_owned()).collect()));
    assert_eq!(circle(&table.collect()), None, "the table itself has a circle");
}

#[test]
fn every_room_of_the_table_exists() {
    let sources = sources();
    let there: BTreeSet<&str> = sources.iter().filter_map(Source::room).collect();
    let missing: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).filter(|room| !there.contains(room)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_table_here_is_the_one_in_contributing() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CONTRIBUTING.md")).expect("the page");
    for (room, others) in ROOMS {
        let others = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
        let row = format!("| {room} | {others} |");
        assert!(page.contains(&row), "CONTRIBUTING.md lacks the row: {row}");
    }
}

mod the_rules_notice {
    use super::*;

    fn found_in(path: &str, code: &str) -> String {
        faults(&Source::new(path, &format!("//! A file.\n\n{code}"))).join("\n")
    }

    #[track_caller]
    fn notices(path: &str, code: &str, what: &str) {
        let found = found_in(path, code);
        assert!(found.contains(what), "{what:?} was not noticed in {code:?}; found: {found:?}");
    }

    #[track_caller]
    fn takes(path: &str, code: &str) {
        assert_eq!(found_in(path, code), "", "{code:?} was refused");
    }

    #[test]
    fn a_forbidden_arrow() {
        notices("files/a.rs", "use crate::session::X;", "leans on session");
        notices("files/a.rs", "fn f() { crate::monitor::run() }", "leans on monitor");
        notices("files/a.rs", "use crate::{domain::X, sftp::{Y, Z}};", "leans on sftp");
        notices("files/a.rs", "use crate::{\n    domain,\n    control,\n};", "leans on control");
        notices("domain/mod.rs", "pub use crate::wire::Link;", "leans on wire");
        notices("session/a/b.rs", "use crate::sys;", "leans on sys");
    }

    #[test]
    fn a_room_that_is_not_in_the_table() {
        notices("utils/mod.rs", "", "which the table does not know");
    }

    #[test]
    fn an_allowed_arrow() {
        takes("files/a.rs", "use crate::domain::{A, B};\nuse crate::sys;\nuse super::c;\nuse crate::files::d;");
        takes("lib.rs", "pub mod anything;");
        takes("files/a.rs", "// crate::session\n/* crate::session /* nested */ crate::session */ fn f() {}");
        takes("files/a.rs", "const T: &str = \"crate::session \\\" crate::monitor\";");
        takes("files/a.rs", "const T: &str = r#\"crate::session \" unsafe\"#; const B: &[u8] = b\"unsafe\";");
    }

    #[test]
    fn what_stands_behind_text_and_characters_is_code_again() {
        notices("files/a.rs", "const Q: char = '\"'; use crate::session::X;", "leans on session");
        notices("files/a.rs", "const Q: char = '\\''; use crate::session::X;", "leans on session");
        notices("files/a.rs", "fn f<'a>(x: &'a str) { crate::session::f(x) }", "leans on session");
        notices("files/a.rs", "const Q: u8 = b'\"'; use crate::session::X;", "leans on session");
        notices("files/a.rs", "const T: &str = r\"\\\"; use crate::session::X;", "leans on session");
        notices("files/a.rs", "/* a /* b */ c */ use crate::session::X;", "leans on session");
    }

    #[test]
    fn tests_may_lean_on_more_and_end_where_they_end() {
        takes("files/a.rs", "#[cfg(test)]\nmod tests { use crate::session::X; fn f() { unsafe {} } }");
        takes("files/a.rs", "#[cfg(test)]\nuse crate::session::X;\nfn f() {}");
        notices("files/a.rs", "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::session::X;", "leans on session");
        notices("files/a.rs", "#[cfg(test)]\nmod tests;\nuse crate::session::X;", "leans on session");
    }

    #[test]
    fn a_layer_that_can_be_left_out_in_a_build_for_use() {
        let off = "if crate::weaken::off(X) { return; }";
        takes("files/a.rs", &format!("fn f() {{\n#[cfg(feature = \"weaken\")]\n{off}\ng() }}"));
        takes("files/a.rs", "#[cfg(feature = \"weaken\")]\nlet x = crate::weaken::off(X);\nfn f() {}");
        notices("files/a.rs", &format!("fn f() {{ {off} }}"), "leans on weaken");
        notices("files/a.rs", &format!("#[cfg(not(feature = \"weaken\"))]\nfn f() {{ {off} }}"), "leans on weaken");
        notices(
            "files/a.rs",
            &format!("#[cfg(feature = \"weaken\")]\nfn f() {{}}\nfn g() {{ {off} }}"),
            "leans on weaken",
        );
    }

    #[test]
    fn a_foreign_library_away_from_home() {
        notices("session/login.rs", "use russh::server;", "names russh");
        notices("control/serve.rs", "fn f() -> sqlx::Result<()> {}", "names sqlx");
        notices("sftp/a.rs", "use rustix::fs;", "names rustix");
        notices("monitor/a.rs", "use tokio::net;", "names tokio");
        takes("session/transport.rs", "use russh::server;");
        takes("session/transport/a.rs", "use russh::server;");
        takes("control/store/a.rs", "use sqlx::Row;");
        takes("session/login.rs", "fn f(my_russh: u8) {} mod a { pub mod russh {} }");
    }

    #[test]
    fn a_circle() {
        let arrow = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
        let round = BTreeMap::from([arrow("a", "b"), arrow("b", "c"), arrow("c", "a")]);
        assert_eq!(circle(&round).map(|way| way.len()), Some(3));
        assert_eq!(circle(&BTreeMap::from([arrow("a", "b"), arrow("b", "c")])), None);
    }

    #[test]
    fn what_no_file_may_hold() {
        notices("files/a.rs", "fn f() { unsafe { g() } }", "unsafe");
        takes("sys/a.rs", "fn f() { unsafe { g() } }");
        takes("files/a.rs", "#![deny(unsafe_code)]");
        notices("files/a.rs", "fn f() { let _ = g(); }".replace("{ ", "{\n").as_str(), "let _");
        notices("files/a.rs", "fn f() { todo!() }", "todo!");
        notices("files/a.rs", "fn f() { unimplemented!(\"later\") }", "unimplemented!");
        notices("files/a.rs", &"fn f() {}\n".repeat(700), "lines");
        let headless = Source::new("files/a.rs", "fn f() {}");
        assert!(faults(&headless).join("\n").contains("no header"));
    }
}
