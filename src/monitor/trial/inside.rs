//! What runs in the trial session: it tries what a session must not be able to do.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{CWD, FileType, Mode as Bits};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, UnmountFlags};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, PidfdFlags, Uid};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::cell::{self, VIEW};
use crate::domain::Mode;
use crate::sys;
use crate::telemetry::Causes;
use crate::wire::{Link, LinkError};

/// The file that the trial session writes.
pub(super) const WITNESS: &str = "witness";

/// What the trial session found. A text says what should not have been possible.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Findings {
    pub(super) mounts: Option<String>,
    pub(super) landlock: Option<String>,
    pub(super) seccomp: Option<String>,
}

/// The whole life of the trial session.
pub(super) fn look_out(link: Link) -> ExitCode {
    let Ok(attached) = link.recv::<bool>() else { return ExitCode::FAILURE };
    let mut findings = Findings { mounts: outside(), ..Findings::default() };
    if attached.message {
        findings.landlock = closed_view();
    }
    findings.seccomp = refused_calls();
    match link.send(&findings, None).and_then(|()| link.recv::<bool>()) {
        Err(LinkError::Gone) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn outside() -> Option<String> {
    let absent = |path: &str| match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        other => Some(format!("{path} of the host can be looked up: {:?}", other.map(|_| ()))),
    };
    ["/etc", "/proc", "/usr", "/view/../etc"].into_iter().find_map(absent)
}

fn closed_view() -> Option<String> {
    let witness = Path::new(VIEW).join(WITNESS);
    if let Err(error) = fs::write(&witness, "") {
        return Some(format!("the attached directory cannot be written: {error}"));
    }
    if let Err(error) = cell::confine_to_view(&[(String::new(), Mode::Ro)]) {
        return Some(Causes(&error).to_string());
    }
    fs::write(&witness, "").is_ok().then(|| "a view closed to writing can be written".to_owned())
}

/// Something that must be refused.
type Attempt = fn() -> Result<(), Errno>;

/// What a captured session would try next. Each must be refused with the filter's own answer, `EPERM`, so that what is
/// seen is the filter and not another layer behind it.
fn refused_calls() -> Option<String> {
    let attempts: [(&str, Attempt); 11] = [
        ("make a socket", || rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).map(drop)),
        ("start a thread", || as_errno(std::thread::Builder::new().spawn(|| ()).map(drop))),
        ("run a program", || as_errno(std::process::Command::new("/view/program").spawn().map(drop))),
        ("make a user namespace", || sys::unshare(UnshareFlags::NEWUSER)),
        ("remount the root", || rustix::mount::mount_remount("/", MountFlags::empty(), c"")),
        ("unmount the view", || rustix::mount::unmount(VIEW, UnmountFlags::DETACH)),
        ("clone the view", || rustix::mount::open_tree(CWD, VIEW, OpenTreeFlags::OPEN_TREE_CLONE).map(drop)),
        ("change the root", || rustix::process::chroot(VIEW)),
        ("become root", || rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)),
        ("make a device", || rustix::fs::mknodat(CWD, "/view/device", FileType::CharacterDevice, Bits::RUSR, 0)),
        ("reach a process", || rustix::process::pidfd_open(Pid::INIT, PidfdFlags::empty()).map(drop)),
    ];
    attempts.into_iter().find_map(|(what, attempt)| match attempt() {
        Err(Errno::PERM) => None,
        Ok(()) => Some(format!("a session can {what}")),
        Err(errno) => Some(format!("an attempt to {what} was not stopped by the filter: {errno}")),
    })
}

fn as_errno(result: std::io::Result<()>) -> Result<(), Errno> {
    result.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}
