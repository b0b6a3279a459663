//! System calls that a cell must not be able to make, tried so that they do nothing even where they are let through.

use rustix::io::Errno;

use super::clone::last_error;

/// Tried with nothing but -1, which is no descriptor, no address and no command of any of them: the kernel refuses that by
/// `EFAULT`, `EBADF` or `EINVAL` where no filter stands before it.
const CALLS: [(&str, i64); 27] = [
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("fsmount", libc::SYS_fsmount),
    ("setns", libc::SYS_setns),
    ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("syslog", libc::SYS_syslog),
    ("init_module", libc::SYS_init_module),
    ("kexec_load", libc::SYS_kexec_load),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("kcmp", libc::SYS_kcmp),
    ("swapon", libc::SYS_swapon),
    ("acct", libc::SYS_acct),
];

/// Those that were not refused as a filter refuses, with what the kernel said.
pub fn calls_that_pass() -> Vec<(&'static str, Result<(), Errno>)> {
    let tried = CALLS.into_iter().map(|(name, number)| (name, attempt(number)));
    tried.filter(|(_, said)| !matches!(said, Err(Errno::PERM | Errno::NOSYS))).collect()
}

fn attempt(number: i64) -> Result<(), Errno> {
    // SAFETY: `number` is one of `CALLS`, and every argument is -1. None of these calls can read or write memory of ours by it:
    // the last address belongs to the kernel.
    let said = unsafe { libc::syscall(number, -1_i64, -1_i64, -1_i64, -1_i64, -1_i64, -1_i64) };
    if said == -1 { Err(last_error()) } else { Ok(()) }
}
