//! Two settings of signals that no library makes without a handler.

/// Lets the kernel reap the children of this process, which never asks how they ended.
pub fn ignore_child_exits() {
    // SAFETY: SIG_IGN is no handler, so no code of ours runs in signal context. The call fails only for a number that
    // is no signal.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}
