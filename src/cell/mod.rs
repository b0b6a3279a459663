//! Cells: what is done, in which order, so that a process sees one part of one account and nothing else.
//!
//! Owns: plans (data), the steps that carry them out, the empty template that sessions are forked from, and the lists
//! of system calls. Runs in: the zygote and the newborn session ([`Zygote`], [`confine_newborn`]), the monitor's
//! short-lived attach helper ([`attach()`]), and the session after login ([`confine_to_view`]).
//! Trusts: the plan, which the monitor made from a `Principal`; nothing on disk beneath an account's home.
//!
//! Every step can fail and none may be skipped: an error from here ends the process that asked.
//!
//! A session's life, as the kernel sees it:
//!
//! 1. The zygote stands on an empty, read-only root with one directory, `/view`, in an empty network.
//! 2. It forks the session into own mount, process, IPC and host-name namespaces.
//! 3. The session keeps one descriptor, sets limits, drops every capability and its user id, and loads its filter.
//! 4. After login the attach helper enters the mount namespace from outside and mounts the grants at `/view`: idmapped,
//!    `nosuid`, `nodev`, `noexec`, read-only where so granted; nested ones on top of outer ones, and an empty cover over
//!    what is hidden. They are attached before the session can touch them and
//!    belong to the monitor's user namespace, so the session can neither change nor remove them.
//! 5. The session closes Landlock over `/view`.

mod attach;
mod caps;
mod error;
pub mod groups;
mod guard;
mod homes;
mod idmap;
mod landlock;
mod memory;
mod newborn;
mod plan;
mod privilege;
mod profile;
pub mod shell;
mod skeleton;
mod sources;
mod template;
mod zygote;

pub use attach::{Attached, Fault, attach};
pub use caps::{keep_for_control, keep_for_monitor};
pub use error::Error;
pub use guard::Guard;
pub use idmap::owner_map;
pub use landlock::{confine_to_view, landlock_holds};
pub use newborn::{LINK_FD, Newborn, confine_newborn};
pub use plan::{Kind, Plan, Unserved};
pub use privilege::Privilege;
pub use zygote::Zygote;

/// Where a session finds what it was given.
pub const VIEW: &str = "/view";

/// Takes over the channel that a program which was started in a cell finds at [`LINK_FD`]. It may be done once.
pub fn take_link() -> Result<std::os::fd::OwnedFd, rustix::io::Errno> {
    crate::sys::take_descriptor(LINK_FD)
}

/// Gives memory that a burst has left behind back to the system.
pub fn give_back_memory() {
    crate::sys::trim_heap();
    crate::sys::trim_stack();
}
