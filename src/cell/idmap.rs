//! The map that makes one owner on disk appear as another id in a cell.
//!
//! `mount_setattr(2)` takes it as a user namespace whose "inside" ids are those on disk. The account's id and the
//! cell's change places; every other id stays what it is, so that a file of group `www-data` remains one.

use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal, WaitIdOptions};

use super::error::{Context, Error};
use super::privilege::write;
use crate::sys::{self, CloneFlags, Forked};

/// Highest id there is; 2^32-1 means "no id".
const LAST: u32 = u32::MAX - 1;

/// Makes a user namespace for idmapped mounts: `owner` (uid, gid) on disk is seen as `cell`, and the other way round.
///
/// Costs a fork and some 0.3 ms, so the monitor keeps those it made. For a short-lived process: it and the holder become
/// dumpable, without which the kernel would not show the holder's namespace (ptrace(2), access mode checking).
pub fn owner_map(owner: (u32, u32), cell: (u32, u32)) -> Result<OwnedFd, Error> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).step("show the holder of the map")?;
    match sys::fork(CloneFlags::USERS).step("fork a holder for the map of owners")? {
        Forked::Child => hold(),
        Forked::Parent { pid, pidfd } => {
            let namespace = fill(pid, owner, cell);
            // Whatever came of it, the holder has done its work; the namespace lives on in our descriptor.
            rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).step("end the holder of the map")?;
            rustix::process::waitid(
                rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd)),
                WaitIdOptions::EXITED,
            )
            .step("reap the holder of the map")?;
            namespace
        }
    }
}

fn hold() -> ! {
    // Killed by the parent; should the parent die first, nothing of ours may linger, so a bound is set.
    std::thread::sleep(std::time::Duration::from_secs(30));
    sys::exit_now(0)
}

fn fill(pid: u32, owner: (u32, u32), cell: (u32, u32)) -> Result<OwnedFd, Error> {
    write(&format!("/proc/{pid}/uid_map"), &swapped(owner.0, cell.0), "write the map of user ids")?;
    write(&format!("/proc/{pid}/gid_map"), &swapped(owner.1, cell.1), "write the map of group ids")?;
    let namespace = File::open(format!("/proc/{pid}/ns/user"));
    Ok(namespace.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)).step("open the map of owners")?.into())
}

/// The lines of a map that swaps two ids and keeps all others.
fn swapped(one: u32, other: u32) -> String {
    let mut lines = String::new();
    let mut line = |inside: u32, outside: u32, count: u32| {
        if count > 0 {
            // Writing to a String cannot fail.
            writeln!(lines, "{inside} {outside} {count}").expect("a String takes every write");
        }
    };
    let (low, high) = (one.min(other), one.max(other));
    line(0, 0, low);
    line(low, high, 1);
    if low != high {
        line(low + 1, low + 1, high - low - 1);
        line(high, low, 1);
    }
    line(high + 1, high + 1, LAST - high);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_change_places_and_the_rest_stays() {
        assert_eq!(swapped(5001, 9001), "0 0 5001\n5001 9001 1\n5002 5002 3999\n9001 5001 1\n9002 9002 4294958293\n");
        assert_eq!(swapped(9001, 5001), swapped(5001, 9001));
    }

    #[test]
    fn neighbours_leave_no_empty_line() {
        assert_eq!(swapped(5, 6), "0 0 5\n5 6 1\n6 5 1\n7 7 4294967288\n");
    }
}
