//! `unshare(2)` for namespaces only, never for the descriptor table, which is what makes the general call unsafe.

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

/// Moves the calling process, which must have a single thread, into new namespaces.
pub fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(Errno::INVAL);
    }
    // SAFETY: the only hazard of the call is a descriptor table that threads no longer share; FILES is refused above.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
