//! `fork(2)` in its plain form, for processes that may not call `clone3`.

use rustix::io::Errno;

use super::clone::last_error;

/// Forks the calling process, which must have a single thread. Answers with the child's process id, and in the child
/// with nothing.
pub fn fork_child() -> Result<Option<u32>, Errno> {
    // SAFETY: the calling process has a single thread, so the child finds no lock taken by another.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(pid.unsigned_abs())),
        _ => Err(last_error()),
    }
}
