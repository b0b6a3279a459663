//! Numbers that several processes share.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// What the numbers take: the smallest page there is.
const SIZE: usize = 4096;

/// Two numbers, as a page of memory that can be handed on. Nobody can change its size, so whoever maps it can rely on it.
pub fn make_counters(name: &str) -> Result<OwnedFd, Errno> {
    let page = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&page, SIZE as u64)?;
    rustix::fs::fcntl_add_seals(&page, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(page)
}

/// The numbers of such a page, for as long as the process lives. Whoever else has the page may write anything there at any
/// time.
pub fn map_counters(page: &OwnedFd) -> Result<&'static [AtomicU64; 2], Errno> {
    map(page.as_fd())
}

fn map(page: BorrowedFd<'_>) -> Result<&'static [AtomicU64; 2], Errno> {
    let flags = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the address, so nothing of ours is replaced; the descriptor is open through the call.
    let address = unsafe { rustix::mm::mmap(std::ptr::null_mut(), SIZE, flags, MapFlags::SHARED, page, 0) }?;
    // SAFETY: a mapping is page-aligned, its first 16 bytes are there (the page is at least that long and sealed against
    // shrinking by whoever made it), any bits are a number, it is read and written by atomic operations alone, here and in
    // every other process, and it is never unmapped.
    Ok(unsafe { &*address.cast::<[AtomicU64; 2]>() })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn a_page_is_the_same_for_all_and_keeps_its_size() {
        let page = make_counters("test").expect("a page");
        let (one, other) = (map_counters(&page).expect("mapped"), map_counters(&page).expect("mapped"));
        one[1].store(7, Ordering::Relaxed);
        assert_eq!((other[0].load(Ordering::Relaxed), other[1].load(Ordering::Relaxed)), (0, 7));
        assert_eq!(rustix::fs::ftruncate(&page, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&page, 8192), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(&page, SealFlags::WRITE), Err(Errno::PERM));
    }
}
