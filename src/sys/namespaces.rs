//! `unshare(2)` for namespaces only, never for the descriptor table, which is what makes the general call unsafe.

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

/// Moves the calling process, which must have a single thread, into new namespaces.
pub fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(Errno::INVAL);
    }
    #[cfg(feature = "weaken")]
    let flags = weakened(flags);
    // SAFETY: the only hazard of the call is a descriptor table that threads no longer share; FILES is refused above.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Without the namespaces that are to be left out.
#[cfg(feature = "weaken")]
fn weakened(mut flags: UnshareFlags) -> UnshareFlags {
    use crate::weaken::{Layer, off};
    for (layer, one) in [(Layer::IpcNamespace, UnshareFlags::NEWIPC), (Layer::NetNamespace, UnshareFlags::NEWNET)] {
        flags.set(one, flags.contains(one) && !off(layer));
    }
    flags
}
