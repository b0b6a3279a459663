//! The home of a user in its account: `.enclos/home/USER`, made when it is first needed.
//!
//! It is made as the account, with the account's rights and no more, so that it is the account's on disk and a path that
//! belongs to the account can trick nobody into making something elsewhere.

use std::os::fd::OwnedFd;

use rustix::fs::Mode as Bits;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::attach::{Fault, step};
use super::plan::Plan;
use super::sources::open_beneath;

/// Makes what is missing of a user's home.
pub(super) fn make(plan: &Plan, account: &OwnedFd) -> Result<(), Fault> {
    let Some(home) = plan.user_home() else { return Ok(()) };
    let mut directory = account.try_clone().map_err(|_| step("look for the home of the user")(Errno::MFILE))?;
    for name in home.source.components() {
        directory = match open_beneath(&directory, name) {
            Err(Errno::NOENT) => {
                match as_owner(plan, || rustix::fs::mkdirat(&directory, name, Bits::from_raw_mode(0o700))) {
                    // Another login of the same account was first.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(Fault::UserHome { errno: errno.raw_os_error() }),
                }
                open_beneath(&directory, name).map_err(|e| Fault::UserHome { errno: e.raw_os_error() })?
            }
            Err(errno) => return Err(Fault::UserHome { errno: errno.raw_os_error() }),
            Ok(there) => there,
        };
    }
    Ok(())
}

/// Does something with the account's rights on files. This process has one thread.
fn as_owner<T>(plan: &Plan, what: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    if plan.cell().is_none() {
        // The node runs as the account.
        return what();
    }
    let (uid, gid) = plan.owner();
    let set = |uid: Uid, gid: Gid| {
        nix::unistd::setfsgid(nix::unistd::Gid::from_raw(gid.as_raw()));
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(uid.as_raw()));
    };
    set(Uid::from_raw(uid), Gid::from_raw(gid));
    let done = what();
    set(Uid::ROOT, Gid::ROOT);
    done
}
