//! Another process of the account exchanges a directory with a link that leads outside, as fast as it can, while the
//! client opens, lists and writes beneath that name (X13, X14).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::attacks::{holds_canary, in_grant};
use super::world::World;
use crate::harness::{Raw, open};

/// How long the race lasts.
const LASTS: Duration = Duration::from_secs(2);

/// Says what was got from outside during the race.
pub(crate) fn exchanged_links(raw: &mut Raw, world: &World) -> Vec<String> {
    let (honest, link) = (world.grant().join("swap"), world.grant().join("swapped"));
    fs::create_dir(&honest).expect("a directory");
    fs::write(honest.join("secret.txt"), "harmless\n").expect("a file");
    symlink("../../private", &link).expect("a link");
    world.node().own(&world.grant());
    let over = AtomicBool::new(false);
    let exchanges = AtomicU64::new(0);
    let got = std::thread::scope(|scope| {
        scope.spawn(|| exchange(&honest, &link, &over, &exchanges));
        let got = steal(raw);
        over.store(true, Ordering::Relaxed);
        got
    });
    assert!(exchanges.load(Ordering::Relaxed) > 100, "there was no race");
    [got, world.harm()].concat()
}

fn exchange(one: &Path, other: &Path, over: &AtomicBool, exchanges: &AtomicU64) {
    while !over.load(Ordering::Relaxed) {
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("exchange two names");
        exchanges.fetch_add(1, Ordering::Relaxed);
    }
}

fn steal(raw: &mut Raw) -> Vec<String> {
    let mut got = Vec::new();
    let until = Instant::now() + LASTS;
    let mut tries = 0_u32;
    while Instant::now() < until {
        tries += 1;
        for path in in_grant("swap/secret.txt") {
            if raw.contents(&path).is_ok_and(|content| holds_canary(&content)) {
                got.push(format!("read in the {tries}th round"));
            }
            raw.put(&path, b"harmless\n", open::WRITE);
        }
        for path in in_grant("swap") {
            if raw.names(&path).is_ok_and(|names| names.iter().any(|n| n == b"full")) {
                got.push(format!("listed in the {tries}th round"));
            }
        }
        for path in in_grant("swap/planted") {
            raw.put(&path, b"x", open::WRITE | open::CREATE);
            raw.remove(&path);
        }
        if got.len() > 5 {
            break;
        }
    }
    got
}
