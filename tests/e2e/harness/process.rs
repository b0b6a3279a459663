//! Running programs to their end, and looking at processes that are not ours.

use std::fs;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest that one client program may take. Reaching it is a failure, never the expected way to end.
const LONGEST: Duration = Duration::from_secs(300);

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Standard output of a program that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// Standard error of a program that must have failed.
    #[track_caller]
    pub(crate) fn err(self) -> String {
        assert!(!self.status.success(), "succeeded\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stderr
    }
}

/// Runs a program to its end, with `input` on its standard input.
pub(crate) fn finish(command: &mut Command, input: &str) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}; run tests/run to install it"));
    let mut stdin = child.stdin.take().expect("was piped");
    let input = input.to_owned();
    // A program that does not read all of its input is no failure of ours.
    let writer = thread::spawn(move || drop(std::io::Write::write_all(&mut stdin, input.as_bytes())));
    let (mut out, mut err) = (child.stdout.take().expect("was piped"), child.stderr.take().expect("was piped"));
    let out = thread::spawn(move || read_all(&mut out));
    let err = thread::spawn(move || read_all(&mut err));
    let deadline = Instant::now() + LONGEST;
    let status = loop {
        match child.try_wait().expect("wait for the program") {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill().expect("end it");
                break child.wait().expect("reap it");
            }
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    writer.join().expect("the writer");
    Finished { status, stdout: out.join().expect("a reader"), stderr: err.join().expect("a reader") }
}

fn read_all(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("read what a program prints");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a wait came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It came.
    Came,
    /// It did not come in time.
    Expired,
}

/// Waits for something that only looking can tell; looks often.
pub(crate) fn wait_until(longest: Duration, mut holds: impl FnMut() -> bool) -> Waiting {
    let deadline = Instant::now() + longest;
    loop {
        if holds() {
            return Waiting::Came;
        }
        if Instant::now() > deadline {
            return Waiting::Expired;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("its memory");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

/// The uid that the kernel holds a process to have, from `/proc/PID/status`.
pub(crate) fn status_uid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The process that started another.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Whether a process is gone, or waits only to be reaped.
pub(crate) fn has_ended(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])),
    }
}

/// Sends a signal to a process that this test started, or that is a descendant of one.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    kill(pid, signal).unwrap_or_else(|e| panic!("send {signal} to {pid}: {e}"));
}

/// All living descendants of a process, with the name that each shows.
pub(crate) fn descendants(of: u32) -> Vec<(u32, String)> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((name, rest)) = stat.rsplit_once(')') else { continue };
        let Some(parent) = rest.split_whitespace().nth(1).and_then(|p| p.parse::<u32>().ok()) else { continue };
        parents.push((pid, parent, name.split_once('(').map_or("", |(_, n)| n).to_owned()));
    }
    let mut found: Vec<(u32, String)> = Vec::new();
    let mut front = vec![of];
    while let Some(parent) = front.pop() {
        for (pid, _, name) in parents.iter().filter(|(_, p, _)| *p == parent) {
            front.push(*pid);
            found.push((*pid, name.clone()));
        }
    }
    found
}

/// How many descriptors a process may have open from now on; says how many it might, or nothing if there is no such process.
/// It is set by the process's own user: root may lack CAP_SYS_RESOURCE, which this takes of everybody else.
pub(crate) fn limit_descriptors(pid: u32, most: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).expect("its limit");
    let usual = line.split_whitespace().next().expect("a number").to_owned();
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        let uid = status_uid(pid)?;
        command.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()]);
    }
    command.args(["prlimit", "--pid", &pid.to_string(), &format!("--nofile={most}:")]);
    let ended = finish(&mut command, "");
    if !ended.status.success() && has_ended(pid) {
        return None;
    }
    ended.ok();
    Some(usual)
}
