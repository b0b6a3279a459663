//! What is left when the storm is over, and must not be: processes, mounts, control groups, temporary files, open disks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Waiting, has_ended, wait_until};

/// Longest until something has gone that was told to.
const GONE: Duration = Duration::from_secs(20);

/// Processes that have this directory in their line of commands, or a part of it or of these devices mounted, besides those
/// that are named.
pub(super) fn processes(dir: &str, devices: &[String], besides: &[u32]) -> Vec<String> {
    let mut found = Vec::new();
    let look = || {
        let others = pids().filter(|pid| !besides.contains(pid) && !has_ended(*pid));
        found = others.filter_map(|pid| shows(pid, dir, devices)).collect();
        found.is_empty()
    };
    // They are on their way out.
    if wait_until(GONE, look) == Waiting::Came { Vec::new() } else { found }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
}

fn shows(pid: u32, dir: &str, devices: &[String]) -> Option<String> {
    let read =
        |what: &str| String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default()).into_owned();
    let line = read("cmdline").replace('\0', " ");
    let mounts = read("mountinfo");
    let is_ours = |mount: &&str| is_part_of(mount, dir, devices);
    let mount = mounts.lines().find(is_ours);
    (line.contains(dir) || mount.is_some()).then(|| format!("{pid} ({}) {line}: {mount:?}", read("comm").trim()))
}

/// Whether a mount shows a part of the directory, or of one of the devices. The whole of them is mounted in every space that
/// was made while it was: other tests have nodes too.
fn is_part_of(mount: &str, dir: &str, devices: &[String]) -> bool {
    let root = mount.split(' ').nth(3).unwrap_or_default();
    let source = mount.split(" - ").nth(1).and_then(|rest| rest.split(' ').nth(1)).unwrap_or_default();
    root.contains(dir) || root != "/" && devices.iter().any(|device| device == source)
}

/// Files of uploads that are not whole, beneath a directory.
pub(super) fn partials(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).expect("a directory").flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(partials(&path));
        } else if entry.file_name().to_string_lossy().starts_with(".ht-enclos-upload.") {
            found.push(path);
        }
    }
    found
}
