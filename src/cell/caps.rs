//! Which capabilities each of our processes keeps. What is not listed cannot be had again.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::error::{Context, Error};
use super::landlock::confine_to_directories;

/// The monitor: mounts and namespaces (`SYS_ADMIN`, and `SYS_CHROOT` to enter a mount namespace), ids of children
/// (`SETUID`, `SETGID`, `SETPCAP`), ending them (`KILL`), and finding grants in closed homes (`DAC_READ_SEARCH`).
/// `NET_ADMIN` is for the shell zygote. `SETFCAP` is what user_namespaces(7) demands of whoever writes a map of owners with root in it; root is in it so that
/// a user can still remove what root has left in a granted directory.
const MONITOR: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// A zygote: namespaces and ids of the sessions it forks.
const ZYGOTE: CapabilitySet =
    CapabilitySet::SYS_ADMIN.union(CapabilitySet::SETUID).union(CapabilitySet::SETGID).union(CapabilitySet::SETPCAP);

/// The zygote of shell cells: it also brings up what is localhost in the networks that it makes, and ends cells when the
/// monitor is gone. A cell gives these up, with all else, before anything of its user's runs.
const SHELL_ZYGOTE: CapabilitySet = ZYGOTE.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::KILL);

/// Limits this process to the monitor's capabilities, and it and all it forks to what it has: nothing that any of them
/// executes could gain more.
pub fn keep_for_monitor() -> Result<(), Error> {
    rustix::thread::set_no_new_privs(true).step("set no_new_privs")?;
    keep(MONITOR)
}

/// Limits this process to the zygote's capabilities.
pub(super) fn keep_for_zygote() -> Result<(), Error> {
    keep(ZYGOTE)
}

/// Limits this process to the capabilities of the shell zygote.
pub(super) fn keep_for_shell_zygote() -> Result<(), Error> {
    keep(SHELL_ZYGOTE)
}

/// Makes this process an ordinary one with the given ids, no group and no capability, that can open nothing of the host
/// but what is beneath `directories`.
pub fn keep_for_control(ids: Option<(u32, u32)>, directories: &[&Path], files: &[PathBuf]) -> Result<(), Error> {
    become_nobody(ids)?;
    confine_to_directories(directories, files)
}

/// The same for a cell.
pub(super) fn give_up_for_cell(ids: Option<(u32, u32)>) -> Result<(), Error> {
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::Privileges) {
        return Ok(());
    }
    become_nobody(ids)
}

/// Drops the bounding set, the groups, the ids and every capability, in the order in which each is still allowed.
pub(super) fn become_nobody(ids: Option<(u32, u32)>) -> Result<(), Error> {
    drop_bounding_set(CapabilitySet::empty())?;
    rustix::thread::clear_ambient_capability_set().step("clear the ambient capabilities")?;
    if let Some((uid, gid)) = ids {
        let (uid, gid) = (rustix::process::Uid::from_raw(uid), rustix::process::Gid::from_raw(gid));
        rustix::thread::set_thread_groups(&[]).step("leave all groups")?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).step("take the group id")?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).step("take the user id")?;
    }
    set(CapabilitySet::empty())?;
    rustix::thread::set_no_new_privs(true).step("set no_new_privs")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).step("forbid core dumps and tracing")
}

fn keep(wanted: CapabilitySet) -> Result<(), Error> {
    drop_bounding_set(wanted)?;
    rustix::thread::clear_ambient_capability_set().step("clear the ambient capabilities")?;
    set(wanted)
}

fn set(wanted: CapabilitySet) -> Result<(), Error> {
    let sets = CapabilitySets { effective: wanted, permitted: wanted, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).step("keep only the capabilities needed")
}

fn drop_bounding_set(kept: CapabilitySet) -> Result<(), Error> {
    // The kernel says EINVAL for the first number past its last capability (capabilities(7)).
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(one) {
            continue;
        }
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) => {
                rustix::thread::remove_capability_from_bounding_set(one).step("shrink the bounding set")?;
            }
            Ok(false) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno).step("read the bounding set"),
        }
    }
    Ok(())
}
