//! The system calls that a session may make. Everything else is refused with `EPERM`; a call by another architecture's
//! entry kills.
//!
//! It is loaded in two parts, and both must agree to a call. The zygote loads what a session may ever do, together with
//! what it takes to be born; a session loads a short list that takes the latter away. The kernel tries out every call
//! there is when it loads a filter, and for a second one only those that the first allows, so the long list costs its
//! 0.3 ms once and not at every birth. The zygote is confined by it too.
//!
//! A session runs no program and makes no process, so neither `execve` nor `clone` is here; it is given its one socket,
//! so neither is `socket`, `connect`, `bind` or `accept`. What is here acts on what it already holds.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::Error;

/// Allowed whatever the arguments, by what they are for.
const ALLOWED: &[(&str, &[i64])] = &[
    (
        "the connection and the channel to the monitor",
        &[
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_write,
            libc::SYS_writev,
            libc::SYS_recvfrom,
            libc::SYS_recvmsg,
            libc::SYS_sendto,
            libc::SYS_shutdown,
            libc::SYS_getsockopt,
            libc::SYS_setsockopt,
            libc::SYS_getpeername,
            libc::SYS_getsockname,
        ],
    ),
    (
        "the runtime: readiness, timers, locks",
        &[
            libc::SYS_epoll_create1,
            libc::SYS_epoll_ctl,
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
            libc::SYS_ppoll,
            libc::SYS_eventfd2,
            libc::SYS_futex,
            libc::SYS_clock_gettime,
            libc::SYS_clock_nanosleep,
            libc::SYS_sched_yield,
            libc::SYS_sched_getaffinity,
            libc::SYS_getrandom,
            libc::SYS_restart_syscall,
        ],
    ),
    (
        "memory; no mapping can be made executable, see below",
        &[libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk],
    ),
    (
        "files beneath the view, by descriptor and name",
        &[
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_close,
            libc::SYS_pread64,
            libc::SYS_pwrite64,
            libc::SYS_preadv,
            libc::SYS_pwritev,
            libc::SYS_lseek,
            libc::SYS_fstat,
            libc::SYS_newfstatat,
            libc::SYS_statx,
            libc::SYS_fstatfs,
            libc::SYS_getdents64,
            libc::SYS_readlinkat,
            libc::SYS_mkdirat,
            libc::SYS_unlinkat,
            libc::SYS_renameat2,
            libc::SYS_renameat,
            libc::SYS_linkat,
            libc::SYS_symlinkat,
            libc::SYS_fchmod,
            libc::SYS_fchmodat,
            libc::SYS_fchmodat2,
            libc::SYS_utimensat,
            libc::SYS_ftruncate,
            libc::SYS_fsync,
            libc::SYS_fdatasync,
            libc::SYS_copy_file_range,
            libc::SYS_dup,
        ],
    ),
    (
        "marks on files in a drop box, by name in the working directory",
        &[libc::SYS_fchdir, libc::SYS_lgetxattr, libc::SYS_lsetxattr],
    ),
    (
        "closing Landlock over the view after login",
        &[libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self],
    ),
    (
        "its own ids, and ending, also by abort after a panic",
        &[
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_sigaltstack,
            libc::SYS_getpid,
            libc::SYS_gettid,
            libc::SYS_tgkill,
            libc::SYS_geteuid,
            libc::SYS_getegid,
        ],
    ),
];

/// Calls of x86-64 that newer architectures replaced.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[i64] = &[libc::SYS_epoll_wait, libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[i64] = &[];

/// What only a birth needs, by what it is for. A session takes these from itself before it reads a byte from anybody.
const BIRTH: &[(&str, &[i64])] = &[
    ("to be forked", &[libc::SYS_clone3]),
    ("to keep one descriptor and no terminal", &[libc::SYS_dup3, libc::SYS_close_range, libc::SYS_setsid]),
    ("to be limited", &[libc::SYS_prlimit64, libc::SYS_umask]),
    (
        "to drop ids and capabilities",
        &[libc::SYS_setgroups, libc::SYS_setresgid, libc::SYS_setresuid, libc::SYS_capset],
    ),
    // Later no message of a session takes a descriptor along: whoever is sent the last copy closes it, and that may take
    // as long as the sender likes (a socket that lingers, a large file that was removed).
    ("to hand over its mount namespace", &[libc::SYS_sendmsg]),
    ("to load the second part", &[libc::SYS_seccomp]),
];

/// Calls of x86-64 among them that newer architectures replaced.
#[cfg(target_arch = "x86_64")]
const BIRTH_OLD: &[i64] = &[libc::SYS_dup2];
#[cfg(not(target_arch = "x86_64"))]
const BIRTH_OLD: &[i64] = &[];

/// The only operation of `prctl` that a session has: Landlock's crate sets what is set already.
const PRCTL: u64 = libc::PR_SET_NO_NEW_PRIVS as u64;

fn birth() -> impl Iterator<Item = i64> {
    BIRTH.iter().flat_map(|(_, calls)| *calls).chain(BIRTH_OLD).copied()
}

/// The first part, for the zygote and all it forks.
pub(super) fn zygote() -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED
        .iter()
        .flat_map(|(_, calls)| *calls)
        .chain(ALLOWED_OLD)
        .copied()
        .chain(birth())
        .map(|call| (call, vec![]))
        .collect();
    // Memory is never executable: neither when it is mapped nor afterwards.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![only(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?]);
    }
    // The runtime makes sockets non-blocking this way; every other ioctl is refused.
    rules.insert(libc::SYS_ioctl, vec![only(1, SeccompCmpOp::Eq, libc::FIONBIO)?]);
    // Flags of descriptors, and copies of them. Not leases, which would hold up other programs of the account, nor owners
    // and signals of descriptors.
    let commands = [libc::F_GETFL, libc::F_SETFL, libc::F_GETFD, libc::F_SETFD, libc::F_DUPFD_CLOEXEC];
    let allowed = commands.iter().map(|command| only(1, SeccompCmpOp::Eq, command.unsigned_abs().into()));
    rules.insert(libc::SYS_fcntl, allowed.collect::<Result<_, _>>()?);
    // Which operations is a matter of the second part.
    rules.insert(libc::SYS_prctl, vec![]);
    compile(rules, refuse(), SeccompAction::Allow)
}

/// The second part, for a session: all that its birth needed is over.
pub(super) fn session() -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = birth().map(|call| (call, vec![])).collect();
    rules.insert(libc::SYS_prctl, vec![only(0, SeccompCmpOp::Ne, PRCTL)?]);
    compile(rules, SeccompAction::Allow, refuse())
}

fn refuse() -> SeccompAction {
    SeccompAction::Errno(libc::EPERM.unsigned_abs())
}

pub(super) fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(Error::Profile)?;
    SeccompFilter::new(rules, otherwise, listed, arch).and_then(BpfProgram::try_from).map_err(Error::Profile)
}

fn only(argument: u8, test: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, test, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(Error::Profile)
}
