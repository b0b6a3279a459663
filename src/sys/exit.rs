//! Ending a forked process without the parent's clean-up.

/// Ends this process at once. Nothing that the parent registered to run at its end is run, nothing is flushed.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: the call takes an integer and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}
