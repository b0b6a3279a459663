//! Gives freed memory back to the system: a session that has finished a burst should weigh what an idle one does.

/// Set up the allocator of a process that will fork many small ones: one arena, large blocks by `mmap` so that they
/// go back at once, and a small top pad. Called once, before the first fork.
pub fn prepare_heap() {
    for (option, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, 256 * 1024), (libc::M_TRIM_THRESHOLD, 128 * 1024)]
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
