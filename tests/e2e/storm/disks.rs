//! Disks that fill up, stand still, or can be read only. Whoever works on others does not notice.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::{GONE, REPLACED, Storm};
use crate::harness::{Waiting, finish, has_ended, run_tool, signal, text, wait_until};

/// Who works on the small disk.
const THERE: [&str; 2] = ["in place, small disk", "atomic, small disk"];
/// Who works elsewhere.
const ELSEWHERE: [&str; 4] = ["in place", "atomic", "download", "shell"];

fn small(storm: &Storm) -> PathBuf {
    storm.stage.disk.as_ref().expect("a small disk").at.clone()
}

pub(super) fn full(storm: &mut Storm) {
    let filler = small(storm).join("filler");
    let file = File::create(&filler).expect("a file");
    let mut taken = 0;
    // Again and again: those who work there also remove something.
    storm.is_refused(&THERE, "no space left on the server's disk", || take_all(&file, &mut taken));
    storm.look();
    storm.some_go_on(&ELSEWHERE);
    fs::remove_file(&filler).expect("our file");
}

fn take_all(file: &File, taken: &mut u64) {
    let mut part = 8 << 20;
    while part >= 4096 {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), *taken, part) {
            Ok(()) => *taken += part,
            Err(Errno::NOSPC) => part /= 2,
            Err(errno) => panic!("fill a disk: {errno}"),
        }
    }
}

pub(super) fn out_of_files(storm: &mut Storm) {
    let fillers = small(storm).join("fillers");
    fs::create_dir(&fillers).expect("a directory");
    let mut made = 0..;
    let mut fill = || while made.next().is_some_and(|n| File::create(fillers.join(n.to_string())).is_ok()) {};
    storm.is_refused(&THERE, "no space left on the server's disk", &mut fill);
    storm.look();
    storm.some_go_on(&ELSEWHERE);
    fs::remove_dir_all(&fillers).expect("our files");
}

/// The kernel makes a disk read-only only while no file on it is open to be written.
pub(super) fn read_only(storm: &mut Storm) {
    let at = small(storm);
    let paused = || THERE.iter().all(|name| storm.load(name).pace.pause(true));
    assert_eq!(wait_until(REPLACED, paused), Waiting::Came, "the loads do not pause");
    let remount =
        |how: &str| finish(std::process::Command::new("mount").args(["-o", how]).arg(&at), "").status.success();
    // A session that was cut off may still be closing what it wrote.
    let is_done = wait_until(REPLACED, || remount("remount,ro"));
    for name in THERE {
        storm.load(name).pace.pause(false);
    }
    assert_eq!(is_done, Waiting::Came, "the small disk cannot be made read-only");
    storm.is_refused(&THERE, "read-only", || {});
    storm.look();
    storm.some_go_on(&ELSEWHERE);
    assert!(remount("remount,rw"));
}

/// What is written to the disk waits in the kernel.
pub(super) fn frozen(storm: &mut Storm) {
    let at = small(storm);
    freeze(&at, "-f");
    storm.look();
    storm.some_go_on(&ELSEWHERE);
    freeze(&at, "-u");
}

/// The same, and those who wait are killed: they end when the disk moves again.
pub(super) fn killed_on_a_frozen_disk(storm: &mut Storm) {
    let at = small(storm);
    freeze(&at, "-f");
    let of_disk = |storm: &Storm| -> Vec<u32> {
        let sessions = storm.stage.processes("enclos-session");
        sessions.into_iter().filter(|pid| shows(*pid, "disk-")).collect()
    };
    let victims = of_disk(storm);
    victims.iter().filter(|pid| !has_ended(**pid)).for_each(|pid| signal(*pid, Signal::SIGKILL));
    storm.look();
    storm.some_go_on(&ELSEWHERE);
    freeze(&at, "-u");
    let gone = wait_until(GONE, || victims.iter().all(|pid| has_ended(*pid)));
    assert_eq!(gone, Waiting::Came, "these do not end with the disk awake: {victims:?}");
}

fn freeze(at: &Path, how: &str) {
    run_tool("fsfreeze", &[how, text(at)]);
}

/// Whether a session has a grant of such a name attached.
fn shows(pid: u32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|mounts| mounts.contains(name))
}

/// A disk that answers nothing for a while, whatever is asked of it.
pub(super) fn stalled(storm: &mut Storm) {
    let still = |storm: &Storm, still| storm.stage.slow.as_ref().expect("a slow disk").stand_still(still);
    still(storm, true);
    storm.look();
    storm.some_go_on(&ELSEWHERE);
    storm.look();
    still(storm, false);
}
