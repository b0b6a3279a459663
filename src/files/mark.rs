//! Whose a file in a drop box is, kept in an extended attribute of the file, so that another connection of the same login,
//! today's or tomorrow's, knows it.
//!
//! `user.enclos.by` holds the login's name. Clients cannot set it by SFTP; the account's owner could, who may do more with
//! the file anyway. Where a filesystem has no such attributes, a connection knows its own files only.
//!
//! The kernel takes names for this only from the working directory (`getxattrat` is younger than the kernels that we
//! serve), so that is moved there first. A session has one thread, and everything else in it is by descriptor.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

const NAME: &CStr = c"user.enclos.by";

/// Marks what has a name in a directory. Says whether the filesystem keeps it.
pub(super) fn set(directory: impl AsFd, name: &CStr, login: &str) -> Result<bool, Errno> {
    rustix::process::fchdir(directory)?;
    match rustix::fs::lsetxattr(name, NAME, login.as_bytes(), XattrFlags::empty()) {
        Ok(()) => Ok(true),
        // No such attributes here, no room for one, or a file that was made unwritable.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOSPC | Errno::DQUOT | Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether what has a name in a directory is marked as this login's.
pub(super) fn is_set(directory: impl AsFd, name: &CStr, login: &str) -> Result<bool, Errno> {
    rustix::process::fchdir(directory)?;
    // One byte more than the name: a longer mark does not fit, and is another's.
    let mut found = vec![0; login.len() + 1];
    match rustix::fs::lgetxattr(name, NAME, found.as_mut_slice()) {
        Ok(length) => Ok(found.get(..length) == Some(login.as_bytes())),
        Err(Errno::NODATA | Errno::RANGE | Errno::OPNOTSUPP | Errno::NOSYS | Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}
