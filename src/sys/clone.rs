//! `clone3(2)` used as `fork(2)`: a copy of the calling process, in new namespaces where asked.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

/// `CLONE_CLEAR_SIGHAND` (clone3(2)), whose type in libc is too small for it.
const CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// `CLONE_INTO_CGROUP` (clone3(2)), for the same reason.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a fork we are on.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The process that asked.
    Parent {
        /// Process id of the child, as the parent's namespace counts.
        pid: u32,
        /// Descriptor of the child (pidfd): it becomes readable when the child has ended.
        pidfd: OwnedFd,
    },
}

/// The namespaces that a child gets for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneFlags(u64);

impl CloneFlags {
    /// Shares all namespaces with the parent.
    pub const NONE: CloneFlags = CloneFlags(0);
    /// An own copy of the mount tree.
    pub const MOUNTS: CloneFlags = CloneFlags(libc::CLONE_NEWNS as u64);
    /// Own process ids; the child is number 1.
    pub const PIDS: CloneFlags = CloneFlags(libc::CLONE_NEWPID as u64);
    /// Own System V and POSIX message queues.
    pub const IPC: CloneFlags = CloneFlags(libc::CLONE_NEWIPC as u64);
    /// Own host name.
    pub const UTS: CloneFlags = CloneFlags(libc::CLONE_NEWUTS as u64);
    /// An own view of the control groups.
    pub const CGROUPS: CloneFlags = CloneFlags(libc::CLONE_NEWCGROUP as u64);
    /// An own, empty network.
    pub const NETWORK: CloneFlags = CloneFlags(libc::CLONE_NEWNET as u64);
    /// Own user ids, with all capabilities inside.
    pub const USERS: CloneFlags = CloneFlags(libc::CLONE_NEWUSER as u64);

    /// Both.
    #[must_use]
    pub const fn and(self, other: CloneFlags) -> CloneFlags {
        CloneFlags(self.0 | other.0)
    }
}

#[cfg(feature = "weaken")]
impl CloneFlags {
    /// Without the namespaces that are to be left out.
    fn weakened(self) -> CloneFlags {
        use crate::weaken::{Layer, off};
        let of_layers = [
            (Layer::PidNamespace, CloneFlags::PIDS),
            (Layer::IpcNamespace, CloneFlags::IPC),
            (Layer::NetNamespace, CloneFlags::NETWORK),
        ];
        of_layers.into_iter().filter(|(layer, _)| off(*layer)).fold(self, |left, (_, one)| CloneFlags(left.0 & !one.0))
    }
}

/// Forks the calling process.
///
/// Only for processes with a single thread: the child has the calling thread alone, and locks held by another would
/// stay locked for ever. Monitor and zygotes are such processes; they never start a runtime.
pub fn fork(flags: CloneFlags) -> Result<Forked, Errno> {
    fork_into(flags, None)
}

/// The same, and the child begins in a control group of version 2, of which a descriptor is given: it is never anywhere else.
pub fn fork_into(flags: CloneFlags, group: Option<BorrowedFd<'_>>) -> Result<Forked, Errno> {
    let mut pidfd: RawFd = -1;
    // SAFETY: `clone_args` is a C structure of integers, for which all zeroes is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    #[cfg(feature = "weaken")]
    let flags = flags.weakened();
    args.flags = flags.0 | libc::CLONE_PIDFD as u64 | CLEAR_SIGHAND;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(group) = group {
        args.flags |= INTO_CGROUP;
        args.cgroup = u64::from(group.as_raw_fd().unsigned_abs());
    }
    // SAFETY: `args` lives through the call and its size is passed with it; so does the descriptor in it. No stack is given and memory is not
    // shared (no CLONE_VM), so the child goes on from here on its own copy, as after fork.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<libc::clone_args>()) };
    match pid {
        0 => Ok(Forked::Child),
        pid if pid > 0 => {
            // SAFETY: with CLONE_PIDFD the kernel has stored a new descriptor there that has no other owner.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent { pid: u32::try_from(pid).map_err(|_| Errno::OVERFLOW)?, pidfd })
        }
        _ => Err(last_error()),
    }
}

pub(super) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
