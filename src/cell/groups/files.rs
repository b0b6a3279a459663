//! The kernel's files and directories of groups: making them, what is written into them, and removing them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use super::find::{self, Controller, Version};
use super::writes::{self, Amounts};
use super::{GroupError, Root, failed};
use crate::sys::{self, CloneFlags, Forked};

/// What a node in its own group calls the part of it that its own processes are in.
pub(super) const NODE: &str = "node";

/// How often, and how long, the end of what was killed is waited for.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(2);

/// How long a process that has nothing to do may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes a group, unless something is in it; says whether it is still there for that.
pub(super) fn is_in_the_way(place: &Path) -> bool {
    match fs::remove_dir(place) {
        Ok(()) => false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) if is_in_use(&error) => true,
        Err(error) => {
            tracing::error!(%error, group = %place.display(), "a control group is left behind");
            false
        }
    }
}

/// Whether there are groups in a group.
pub(super) fn has_groups(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

pub(super) fn is_in_use(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::BUSY | Errno::NOTEMPTY))
}

pub(super) fn make(directory: &Path) -> Result<(), GroupError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(failed("make the control group", directory))
}

/// The controllers of ours that a group of version 2 has.
pub(super) fn controllers(directory: &Path) -> Result<Vec<Controller>, GroupError> {
    let path = directory.join("cgroup.controllers");
    let text = fs::read_to_string(&path).map_err(failed("read the controllers of the control group", &path))?;
    Ok(find::controllers(text.split_ascii_whitespace()))
}

/// Lets groups in a group of version 2 have its controllers, one after the other: some can be refused by themselves. Where
/// the group holds this process, `may_move` lets it move aside.
pub(super) fn give(
    directory: &Path,
    wanted: &[Controller],
    may_move: bool,
) -> Result<Vec<(Controller, String)>, GroupError> {
    let control = directory.join("cgroup.subtree_control");
    let mut refused = Vec::new();
    for controller in wanted {
        let words = format!("+{}", controller.name());
        let mut given = fs::write(&control, &words);
        if may_move && given.as_ref().is_err_and(is_in_use) {
            move_aside(directory)?;
            given = fs::write(&control, &words);
        }
        if let Err(error) = given {
            let why = match is_in_use(&error) {
                true => format!(
                    "other programs are in the control group {}; start the node in one of its own (a systemd unit with \
                     Delegate=yes)",
                    directory.display()
                ),
                false => format!("the control group {} does not give it: {error}", directory.display()),
            };
            refused.push((*controller, why));
        }
    }
    if may_move && refused.len() == wanted.len() {
        move_back(directory)?;
    }
    Ok(refused)
}

/// The same for a group of ours, which gives what it was given.
pub(super) fn give_all(directory: &Path, wanted: &[Controller]) -> Result<(), GroupError> {
    match give(directory, wanted, false)?.is_empty() {
        true => Ok(()),
        false => Err(busy("give the controllers of the control group", directory)),
    }
}

/// Has groups in a group of version 2 have its controllers no more.
pub(super) fn take_back(directory: &Path, controllers: &[Controller]) -> Result<(), GroupError> {
    let control = directory.join("cgroup.subtree_control");
    let words: Vec<String> = controllers.iter().map(|controller| format!("-{}", controller.name())).collect();
    fs::write(&control, words.join(" ")).map_err(failed("take the controllers of the control group back", &control))
}

/// Locks a group, until the last process that has it open is gone; nothing when another one has it.
pub(super) fn lock(directory: &Path) -> Result<Option<Flock<File>>, GroupError> {
    let opened = File::open(directory).map_err(failed("open the control group", directory))?;
    match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::Error::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(failed("lock the control group", directory)(errno.into())),
    }
}

/// Removes what earlier runs of this node have left in a group, with what runs in it: nobody is left who could end it.
pub(super) fn remove_left(base: &Path, mark: &str) -> Result<(), GroupError> {
    for entry in fs::read_dir(base).map_err(failed("list the control group", base))? {
        let entry = entry.map_err(failed("list the control group", base))?;
        let is_of_node = entry.file_name().to_str().and_then(|name| name.strip_prefix(mark)).is_some_and(|rest| {
            rest.strip_prefix('-').is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()))
        });
        if is_of_node && lock(&entry.path())?.is_some() {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

pub(super) fn busy(step: &'static str, path: &Path) -> GroupError {
    GroupError { step, path: path.to_owned(), source: Errno::BUSY }
}

/// Moves this process into a part of its group.
fn move_aside(directory: &Path) -> Result<(), GroupError> {
    let aside = directory.join(NODE);
    make(&aside)?;
    let procs = aside.join("cgroup.procs");
    fs::write(&procs, "0").map_err(failed("move into the control group", &procs))
}

/// Moves it back, for it was of no use.
fn move_back(directory: &Path) -> Result<(), GroupError> {
    let aside = directory.join(NODE);
    if !aside.exists() {
        return Ok(());
    }
    let procs = directory.join("cgroup.procs");
    fs::write(&procs, "0").map_err(failed("move into the control group", &procs))?;
    match fs::remove_dir(&aside) {
        Err(error) if !is_in_use(&error) => Err(failed("remove the control group", &aside)(error)),
        _ => Ok(()),
    }
}

/// Has these limits hold, and no others. What is there already is not written again: to make a limit narrower the kernel
/// looks for memory that it can take back, and this process may not wait for that longer than it must.
pub(super) fn limit(root: &Root, directory: &Path, amounts: &Amounts) -> Result<(), GroupError> {
    for write in writes::of(root.version, &root.controllers, amounts) {
        let path = directory.join(write.file);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim() == write.value => continue,
            Err(error) if write.may_be_absent && error.kind() == io::ErrorKind::NotFound => continue,
            read => drop(read.map_err(failed("read the limit", &path))?),
        }
        let mut open = OpenOptions::new();
        let opened = open.write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&path);
        let written = opened.and_then(|mut file| file.write_all(write.value.as_bytes()));
        written.map_err(failed("write the limit", &path))?;
    }
    Ok(())
}

/// Makes a group with limits, reads them back and has a process born in it: what is believed of a tree is what it does.
pub(super) fn try_out(root: &Root) -> Result<(), GroupError> {
    let place = root.directory.join("trial");
    make(&place)?;
    limit(root, &place, &Amounts::TRIAL)?;
    for write in writes::of(root.version, &root.controllers, &Amounts::TRIAL).iter().filter(|w| !w.may_be_absent) {
        let path = place.join(write.file);
        let text = fs::read_to_string(&path).map_err(failed("read the limit", &path))?;
        if text.trim() != write.value {
            return Err(GroupError { step: "find the limit in", path, source: Errno::INVAL });
        }
    }
    if root.version == Version::Two {
        bear(&place)?;
    }
    remove_tree(&place)
}

/// Has a process begin in a group of version 2, where it ends at once. The kernel lets nobody without root do that from a group
/// that has none around both which its user may write (Documentation/admin-guide/cgroup-v2, "Delegation Containment").
fn bear(group: &Path) -> Result<(), GroupError> {
    let failed = |errno| GroupError {
        step: "start a process in the control group (a node without root must itself be started in the one that it is given, as \
               a systemd unit with Delegate=yes is)",
        path: group.to_owned(),
        source: errno,
    };
    let opened = File::open(group).map_err(super::failed("open the control group", group))?;
    match sys::fork_into(CloneFlags::NONE, Some(opened.as_fd())).map_err(failed)? {
        Forked::Child => sys::exit_now(0),
        Forked::Parent { pidfd, .. } => {
            // In a group that is frozen nothing ends, and nothing tells of that but time.
            let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
            let mut ends = [PollFd::new(&pidfd, PollFlags::IN)];
            match retry_on_intr(|| poll(&mut ends, Some(&patience))) {
                Ok(0) => {
                    // A process that is killed ends in a frozen group of version 2 too.
                    pidfd_send_signal(&pidfd, Signal::KILL).map_err(failed)?;
                    Err(failed(Errno::TIMEDOUT))
                }
                Ok(_) => match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
                    // Where the kernel is told to reap children itself, it waits for the end all the same.
                    Ok(_) | Err(Errno::CHILD) => Ok(()),
                    Err(errno) => Err(failed(errno)),
                },
                Err(errno) => Err(failed(errno)),
            }
        }
    }
}

/// Ends everything in a group, where the kernel can (version 2, Linux 5.14).
pub(super) fn kill(directory: &Path) -> Result<(), GroupError> {
    let path = directory.join("cgroup.kill");
    match OpenOptions::new().write(true).open(&path).and_then(|mut file: File| file.write_all(b"1")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("end the control group", &path)(error)),
        _ => Ok(()),
    }
}

/// Ends what is in a group and in those in it, and removes them. What is in there may take a moment to end; it is not waited
/// for long.
pub(super) fn remove_tree(directory: &Path) -> Result<(), GroupError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed("list the control group", directory))?,
    };
    kill(directory)?;
    for entry in entries {
        let entry = entry.map_err(failed("list the control group", directory))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    for _ in 0..ATTEMPTS {
        match fs::remove_dir(directory) {
            Err(error) if is_in_use(&error) => std::thread::sleep(PAUSE),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove the control group", directory)(error));
            }
            _ => return Ok(()),
        }
    }
    Err(busy("remove the control group", directory))
}
