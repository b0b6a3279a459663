//! Gives freed memory back to the system: a session that has finished a burst should weigh what an idle one does.

/// Large blocks stay in the heap up to this size, and so much free memory may lie at its top, for the length of a burst:
/// giving pages back between two packets and faulting them in again doubled the cost of a download. [`trim_heap`] gives
/// everything back when the burst is over.
const KEPT_IN_A_BURST: libc::c_int = 8 * 1024 * 1024;

/// Sets up the allocator of a process that will fork many small ones. Called once, before the first fork.
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
