//! Two settings of signals that no library makes without a handler.

use nix::sys::signal::SigSet;
use rustix::io::Errno;

/// Lets the kernel reap the children of this process, which never asks how they ended.
pub fn ignore_child_exits() {
    // SAFETY: SIG_IGN is no handler, so no code of ours runs in signal context. The call fails only for a number that
    // is no signal.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Gives every signal its default action and blocks none: what a program expects that is about to be executed.
pub fn restore_signals() -> Result<(), Errno> {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: no handler of ours is replaced that anything still counts on: the process is about to become another
        // program. The kernel refuses the two that cannot be changed, which is as well.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    SigSet::all().thread_unblock().map_err(|e| Errno::from_raw_os_error(e as i32))
}
