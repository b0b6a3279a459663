//! Another process of the account exchanges what has a name, as fast as it can, beside every operation that takes one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::files::{NEW, spy, write};
use super::world::{CANARY, Kind, Place, long_ago, remove};
use crate::harness::Raw;

/// How long a race lasts at least; it goes on until there was one.
const LASTS: Duration = Duration::from_millis(120);
/// Exchanges without which it was none.
const ENOUGH: u64 = 100;

/// Does something again and again while somebody exchanges `one` and `other`.
pub(super) fn beside(one: &Path, other: &Path, mut what: impl FnMut()) {
    let over = AtomicBool::new(false);
    let exchanges = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // The client may have moved it away at this moment.
                if renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok() {
                    exchanges.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let begun = Instant::now();
        let mut rounds = 0;
        while begun.elapsed() < LASTS || exchanges.load(Ordering::Relaxed) < ENOUGH && rounds < 10_000 {
            what();
            rounds += 1;
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(exchanges.load(Ordering::Relaxed) >= ENOUGH, "there was no race for {}", one.display());
}

/// Everything that is done with a name, at one.
fn everything(raw: &mut Raw, place: &Place, path: &[u8]) {
    let (taken, linked, mine) = (place.at("taken"), place.at("linked"), place.at("mine"));
    spy(raw, path);
    write(raw, path);
    raw.rename(path, &taken);
    spy(raw, &taken);
    raw.rename(&taken, path);
    raw.extended("hardlink@openssh.com", &[path, &linked]);
    spy(raw, &linked);
    raw.remove(&linked);
    raw.put(&mine, b"mine", NEW);
    raw.extended("posix-rename@openssh.com", &[&mine, path]);
    raw.remove(path);
    raw.rmdir(path);
    raw.put(path, b"mine", NEW);
}

/// X13, X14: a directory and a link that leads out.
pub(super) fn directories(raw: &mut Raw, place: &Place) -> Vec<String> {
    let (honest, link) = (place.grant().join("swap"), place.grant().join("swapped"));
    let hidden = (place.kind == Kind::Nested).then_some("hidden");
    for target in ["../../private", "/"].into_iter().chain(hidden) {
        fs::create_dir(&honest).expect("a directory");
        fs::write(honest.join(CANARY), "harmless\n").expect("a file");
        symlink(target, &link).expect("a link");
        place.give(&honest);
        let below = match target {
            "/" => format!("swap{}/private/{CANARY}", place.home.display()),
            _ => format!("swap/{CANARY}"),
        };
        let names = place.in_grant(&below);
        beside(&honest, &link, || names.iter().for_each(|name| everything(raw, place, name)));
        // What is listed must not have the name of a canary.
        remove(&honest);
        remove(&link);
        fs::create_dir(&honest).expect("a directory");
        symlink(target, &link).expect("a link");
        let names = place.in_grant("swap");
        beside(&honest, &link, || names.iter().for_each(|name| drop(raw.names(name))));
        remove(&honest);
        remove(&link);
    }
    Vec::new()
}

/// X13, X14: a file and a link that leads out.
pub(super) fn files(raw: &mut Raw, place: &Place) -> Vec<String> {
    let (honest, link) = (place.grant().join("file"), place.grant().join("filed"));
    let (names, linked) = (place.in_grant("file"), place.at("linked"));
    for target in [place.home.join("private").join(CANARY), Path::new("../../private").join(CANARY)] {
        fs::write(&honest, "harmless\n").expect("a file");
        place.give(&honest);
        symlink(target, &link).expect("a link");
        beside(&honest, &link, || {
            for name in &names {
                spy(raw, name);
                write(raw, name);
                raw.extended("hardlink@openssh.com", &[name, &linked]);
                spy(raw, &linked);
                raw.remove(&linked);
            }
        });
        remove(&link);
        remove(&honest);
    }
    Vec::new()
}

/// X17: a directory is in the grant at one moment and beside the canaries at the next.
pub(super) fn comes_and_goes(raw: &mut Raw, place: &Place) -> Vec<String> {
    let (inside, outside) = (place.grant().join("moving/inner"), place.home.join("logs/out"));
    fs::create_dir(&outside).expect("a directory");
    let below = ["..", "../..", "../../private", &format!("../../private/{CANARY}"), &format!("../{CANARY}")];
    let names = below.map(|b| place.at(&format!("moving/inner/{b}")));
    let made = place.at("moving/inner/../../made-by-an-attack");
    beside(&inside, &outside, || {
        names.iter().for_each(|name| spy(raw, name));
        raw.put(&made, b"made", NEW);
    });
    remove(&outside);
    long_ago(&place.home.join("logs"));
    Vec::new()
}
