//! Two settings of signals that no library makes without a handler.

/// Lets the kernel reap the children of this process, which never asks how they ended.
pub fn ignore_child_exits() {
    // SAFETY: SIG_IGN is no handler, so no code of ours runs in signal context. The call fails only for a number that
    // is no signal.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Gives every signal its default action and blocks none: what a program expects that is about to be executed.
pub fn restore_signals() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: no handler of ours is set; the kernel refuses the two that cannot be changed, which is as well.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    // SAFETY: the set is initialized by sigemptyset before it is read, and both calls take it by pointer only for their
    // own time.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
