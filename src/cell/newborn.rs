//! What a session does to itself first, while it is still root and has read nothing from anybody.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode as Bits, OFlags};
use rustix::process::{Resource, Rlimit};
use seccompiler::BpfProgram;

use super::Privilege;
use super::caps::give_up_for_cell;
use super::error::{Context, Error};
use crate::sys;

/// The number at which a session finds its channel to the monitor; above it there is nothing.
pub const LINK_FD: RawFd = 3;

/// Most descriptors a session has: open files and listings, the directory of each file that is not in its place yet, its
/// sockets, and a few for the runtime.
const MOST_DESCRIPTORS: u64 = 2100;
/// Most memory a session may ask for, far above what its bounded queues need.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;
/// Most address space, which bounds shared memory too; the program and its libraries take a part of it.
const MOST_ADDRESSES: u64 = 1024 * 1024 * 1024;

/// What a newborn session is confined with.
#[derive(Debug)]
pub struct Newborn<'a> {
    /// Whether there are ids to take.
    pub privilege: Privilege,
    /// The id to take where there are.
    pub uid: u32,
    /// `/dev/null`, for the standard streams.
    pub null: BorrowedFd<'a>,
    /// The second part of the list of system calls; the zygote has loaded the first.
    pub filter: &'a BpfProgram,
}

/// The mount namespace of the calling process, for the monitor to enter later. `proc` is the host's `/proc`.
pub(super) fn own_mount_namespace(proc: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    rustix::fs::openat(proc, "self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Bits::empty())
        .step("open the own mount namespace")
}

/// Confines the calling process for ever. All descriptors but the standard three and [`LINK_FD`] are closed, so
/// nothing that was opened before may be used or dropped afterwards.
pub fn confine_newborn(newborn: &Newborn<'_>, link: OwnedFd) -> Result<OwnedFd, Error> {
    let kept = keep_only(newborn.null, link)?;
    limit()?;
    // The mode of every new file is given in full, less the bits that policy takes away.
    rustix::process::umask(Bits::empty());
    rustix::process::setsid().step("leave the terminal")?;
    let ids = matches!(newborn.privilege, Privilege::Root).then_some((newborn.uid, newborn.uid));
    give_up_for_cell(ids)?;
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::SessionSeccomp) {
        return Ok(kept);
    }
    seccompiler::apply_filter(newborn.filter).map_err(Error::Filter)?;
    Ok(kept)
}

fn keep_only(null: BorrowedFd<'_>, link: OwnedFd) -> Result<OwnedFd, Error> {
    let kept = sys::place_at(link.as_fd(), LINK_FD).step("keep the channel to the monitor")?;
    // Its old number is closed with all the others below.
    std::mem::forget(link);
    for standard in 0..LINK_FD {
        // Never dropped: the standard streams stay open for the life of the process.
        std::mem::forget(sys::place_at(null, standard).step("silence the standard streams")?);
    }
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::Descriptors) {
        return Ok(kept);
    }
    sys::close_from(LINK_FD.unsigned_abs() + 1).step("close all other descriptors")?;
    Ok(kept)
}

fn limit() -> Result<(), Error> {
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::Limits) {
        return Ok(());
    }
    // A core limit of 0 does not stop a pipe handler of the host, 1 stops both (fs/coredump.c).
    for (resource, most) in [
        (Resource::Core, 1),
        (Resource::Nofile, MOST_DESCRIPTORS),
        (Resource::Data, MOST_MEMORY),
        (Resource::As, MOST_ADDRESSES),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
    ] {
        let most = Some(most);
        rustix::process::setrlimit(resource, Rlimit { current: most, maximum: most }).step("limit the session")?;
    }
    Ok(())
}
