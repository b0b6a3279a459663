//! Gives freed memory back to the system: a session that has finished a burst should weigh what an idle one does.

/// Large blocks stay in the heap up to this size, and so much free memory may lie at its top, for the length of a burst:
/// giving pages back between two packets and faulting them in again doubled the cost of a download. [`trim_heap`] gives
/// everything back when the burst is over.
const KEPT_IN_A_BURST: libc::c_int = 8 * 1024 * 1024;

/// Sets up the allocator of a process that will fork many small ones, or that needs large blocks for moments. Called once,
/// before the first fork or thread.
pub fn prepare_heap() {
    for (option, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, KEPT_IN_A_BURST), (libc::M_TRIM_THRESHOLD, KEPT_IN_A_BURST)]
    {
        // SAFETY: `mallopt` takes two integers. It answers 0 for an option it does not know, which changes nothing.
        unsafe { libc::mallopt(option, value) };
    }
}

/// Returns free heap pages to the system.
pub fn trim_heap() {
    // SAFETY: `malloc_trim` takes an integer and only gives back pages that hold no live allocation.
    unsafe { libc::malloc_trim(0) };
}

/// How far below the caller the stack is given back: more than a login needs at its deepest.
const STACK: usize = 256 * 1024;

/// Returns the pages of the stack below the caller to the system: a key exchange needs ten times as much of it as waiting
/// does, and would be kept for as long as the connection lasts.
pub fn trim_stack() {
    let here = 0_u8;
    // SAFETY: `sysconf` takes an integer; the C library knows this one from its start and asks nobody.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Ok(page) = usize::try_from(page) else { return };
    // Two pages are left for the calls from here and what the processor may keep below its stack pointer.
    let end = ((&raw const here).addr() & !(page - 1)) - 2 * page;
    // SAFETY: what lies further down than the frames of this call is nobody's, so it may read as zeros from now on. The
    // range ends in the stack, which is 2 MiB on a thread, or on the main one in the gap that the kernel keeps free
    // beneath it, which is 1 MiB.
    unsafe { libc::madvise(std::ptr::without_provenance_mut(end - STACK), STACK, libc::MADV_DONTNEED) };
}
