//! The system calls that programs in a shell cell may not make. Everything that programs of a host do is allowed; what
//! only builds or opens other worlds is not, so that a hole in such a call is not ours.
//!
//! Two lists: what is answered with `ENOSYS`, so that libraries take their older way, whose arguments a filter can look
//! at, and calls younger than the lists, which nobody has looked at; and what is answered with `EPERM`. A call by another
//! architecture's entry kills.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule, sock_filter,
};

use crate::cell::Error;
use crate::cell::profile::compile;

/// Calls whose arguments lie in memory, where a filter cannot look: glibc takes `clone` and `openat` instead.
const UNKNOWN: &[i64] = &[libc::SYS_clone3, libc::SYS_openat2];

/// Refused whatever the arguments, by what they are for.
const REFUSED: &[(&str, &[i64])] = &[
    ("namespaces", &[libc::SYS_unshare, libc::SYS_setns]),
    (
        "mounts: an attached read-only mount could be made writable in a namespace of one's own",
        &[
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_mount_setattr,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fspick,
            STATMOUNT,
            LISTMOUNT,
            OPEN_TREE_ATTR,
        ],
    ),
    ("keys, which belong to ids and not to cells", &[libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key]),
    (
        "calls that are made for others, past this list",
        &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register],
    ),
    (
        "the kernel's insides",
        &[
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_syslog,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_kexec_load,
            libc::SYS_lookup_dcookie,
        ],
    ),
    (
        "files without a path, and watching whole filesystems",
        &[libc::SYS_open_by_handle_at, libc::SYS_name_to_handle_at, libc::SYS_fanotify_init],
    ),
    ("the project of a file, by which disk quotas count", &[FILE_SETATTR]),
    ("other processes' descriptors", &[libc::SYS_pidfd_getfd, libc::SYS_kcmp]),
    (
        "the machine",
        &[
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_acct,
            libc::SYS_quotactl,
            QUOTACTL_FD,
            libc::SYS_settimeofday,
            libc::SYS_clock_settime,
            libc::SYS_clock_adjtime,
            libc::SYS_adjtimex,
            libc::SYS_vhangup,
            libc::SYS_nfsservctl,
            libc::SYS_sethostname,
            libc::SYS_setdomainname,
        ],
    ),
];

/// Younger than libc's list (Linux 5.14, 6.8, 6.15, 6.17); the same on all architectures.
const QUOTACTL_FD: i64 = 443;
const STATMOUNT: i64 = 457;
const LISTMOUNT: i64 = 458;
const OPEN_TREE_ATTR: i64 = 467;
const FILE_SETATTR: i64 = 469;

/// The last call that these lists know of (Linux 6.18). Those after it do not exist here: `listns` (6.19) was one.
const LAST: u32 = 469;

/// Calls of x86-64 that newer architectures replaced.
#[cfg(target_arch = "x86_64")]
const REFUSED_OLD: &[i64] = &[libc::SYS_kexec_file_load, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_OLD: &[i64] = &[libc::SYS_kexec_file_load];

/// Flags of `clone` that make a namespace. The flag for time lies among the exit signals there and is not taken.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// What asks for a set-user-id or set-group-id bit: the call, its argument for permissions, and the one with flags that
/// must say that a file is made. In collusion with another account such a file would run as this one, outside.
const SET_ID: &[(i64, u8, Option<u8>)] = &[
    (libc::SYS_fchmod, 1, None),
    (libc::SYS_fchmodat, 2, None),
    (libc::SYS_fchmodat2, 2, None),
    (libc::SYS_mkdirat, 2, None),
    (libc::SYS_mknodat, 2, None),
    (libc::SYS_openat, 3, Some(2)),
];
#[cfg(target_arch = "x86_64")]
const SET_ID_OLD: &[(i64, u8, Option<u8>)] = &[
    (libc::SYS_chmod, 1, None),
    (libc::SYS_mkdir, 1, None),
    (libc::SYS_mknod, 1, None),
    (libc::SYS_creat, 1, None),
    (libc::SYS_open, 2, Some(1)),
];
#[cfg(not(target_arch = "x86_64"))]
const SET_ID_OLD: &[(i64, u8, Option<u8>)] = &[];

/// Requests to a descriptor.
const REFUSED_IOCTLS: &[(&str, &[u64])] = &[
    (
        "characters put into the input of a terminal, or of the console (ioctl_tty(2), ioctl_console(2))",
        &[libc::TIOCSTI, libc::TIOCLINUX],
    ),
    (
        "other line disciplines, which load drivers for serial networks (CVE-2017-2636, CVE-2023-6546)",
        &[libc::TIOCSETD],
    ),
    (
        "the project of a file, by which disk quotas count; flags, of which one says that what a directory gets belongs to its \
         project",
        &[FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS],
    ),
];

/// `_IOW('X', 32, struct fsxattr)` (linux/fs.h).
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
/// `_IOW('f', 2, long)`.
const FS_IOC_SETFLAGS: u64 = 0x4008_6602;

/// Leases, which hold up whoever else opens a file: the account's own web server, or who writes what here is read-only.
/// The second is Linux 6.19's.
const LEASES: [u64; 2] = [libc::F_SETLEASE.unsigned_abs() as u64, 1040];

/// All filters, in the order in which they are to be loaded.
pub(super) fn filters() -> Result<Vec<BpfProgram>, Error> {
    let unknown = UNKNOWN.iter().map(|call| (*call, vec![])).collect();
    Ok(vec![
        compile(unknown, SeccompAction::Allow, answer(libc::ENOSYS))?,
        compile(refused()?, SeccompAction::Allow, answer(libc::EPERM))?,
        by_number(),
    ])
}

/// No socket between processes that could be connected, or send, to one by its name: what is left are pairs that are connected
/// already. (In the kernel a raw one of this family is a datagram socket.)
pub(super) fn no_names() -> Result<BpfProgram, Error> {
    let is_unix = (0, SeccompCmpOp::Eq, u64::from(libc::AF_UNIX.unsigned_abs()));
    let mut rules = Rules::new();
    add(&mut rules, libc::SYS_socket, std::slice::from_ref(&is_unix))?;
    for kind in (0..=KINDS).filter(|kind| ![libc::SOCK_STREAM, libc::SOCK_SEQPACKET].contains(kind)) {
        let masked = SeccompCmpOp::MaskedEq(u64::from(KINDS.unsigned_abs()));
        add(&mut rules, libc::SYS_socketpair, &[is_unix.clone(), (1, masked, u64::from(kind.unsigned_abs()))])?;
    }
    compile(rules, SeccompAction::Allow, answer(libc::EPERM))
}

fn answer(errno: i32) -> SeccompAction {
    SeccompAction::Errno(errno.unsigned_abs())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn refused() -> Result<Rules, Error> {
    let always = REFUSED.iter().flat_map(|(_, calls)| *calls).chain(REFUSED_OLD);
    let mut rules: Rules = always.map(|call| (*call, vec![])).collect();
    for flag in NAMESPACES {
        let flag = u64::from(flag.unsigned_abs());
        add(&mut rules, libc::SYS_clone, &[(0, SeccompCmpOp::MaskedEq(flag), flag)])?;
    }
    for request in REFUSED_IOCTLS.iter().flat_map(|(_, requests)| *requests) {
        // Compared as the kernel does, by 32 bits (CVE-2019-10063).
        add(&mut rules, libc::SYS_ioctl, &[(1, SeccompCmpOp::Eq, *request)])?;
    }
    for command in LEASES {
        add(&mut rules, libc::SYS_fcntl, &[(1, SeccompCmpOp::Eq, command)])?;
    }
    // Since Linux 5.8 anybody may have a device left where something was (renameat2(2)); it has no driver, but is one.
    let whiteout = u64::from(libc::RENAME_WHITEOUT);
    add(&mut rules, libc::SYS_renameat2, &[(4, SeccompCmpOp::MaskedEq(whiteout), whiteout)])?;
    for (call, mode, flags) in SET_ID.iter().chain(SET_ID_OLD) {
        refuse_set_id(&mut rules, *call, *mode, *flags)?;
    }
    for (call, mode) in devices() {
        for kind in [libc::S_IFCHR, libc::S_IFBLK] {
            add(&mut rules, call, &[(mode, SeccompCmpOp::MaskedEq(libc::S_IFMT.into()), kind.into())])?;
        }
    }
    refuse_sockets(&mut rules)?;
    Ok(rules)
}

#[cfg(target_arch = "x86_64")]
fn devices() -> Vec<(i64, u8)> {
    vec![(libc::SYS_mknodat, 2), (libc::SYS_mknod, 1)]
}
#[cfg(not(target_arch = "x86_64"))]
fn devices() -> Vec<(i64, u8)> {
    vec![(libc::SYS_mknodat, 2)]
}

fn refuse_set_id(rules: &mut Rules, call: i64, mode: u8, flags: Option<u8>) -> Result<(), Error> {
    let bits = u64::from(libc::S_ISUID | libc::S_ISGID);
    for wanted in [libc::S_ISUID, libc::S_ISGID, libc::S_ISUID | libc::S_ISGID] {
        let asks = (mode, SeccompCmpOp::MaskedEq(bits), u64::from(wanted));
        let Some(flags) = flags else {
            add(rules, call, &[asks])?;
            continue;
        };
        // Without these flags the argument is whatever a register held.
        for makes in [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY] {
            let makes = u64::from(makes.unsigned_abs());
            add(rules, call, &[asks.clone(), (flags, SeccompCmpOp::MaskedEq(makes), makes)])?;
        }
    }
    Ok(())
}

/// Sockets between processes and over IP are made, and those that ask for the machine's addresses (netlink's route
/// family: without it `os.networkInterfaces()` of node fails); no others. Over IP no protocol that loads a driver of its
/// own (SCTP, DCCP and the like), by its number or by its kind of socket.
fn refuse_sockets(rules: &mut Rules) -> Result<(), Error> {
    let is = |argument, number: i32| (argument, SeccompCmpOp::Eq, u64::from(number.unsigned_abs()));
    let is_not = |argument, number: i32| (argument, SeccompCmpOp::Ne, u64::from(number.unsigned_abs()));
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(|family| is_not(0, family));
    add(rules, libc::SYS_socket, &families)?;
    add(rules, libc::SYS_socket, &[is(0, libc::AF_NETLINK), is_not(2, 0)])?;
    // The kernel makes both before it finds that a family has no pairs.
    add(rules, libc::SYS_socketpair, &[is_not(0, libc::AF_UNIX)])?;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut other_protocol = vec![is(0, family)];
        other_protocol.extend(PROTOCOLS.map(|protocol| is_not(2, protocol)));
        add(rules, libc::SYS_socket, &other_protocol)?;
        for kind in 0..=KINDS {
            if ![libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW].contains(&kind) {
                let masked = SeccompCmpOp::MaskedEq(u64::from(KINDS.unsigned_abs()));
                add(rules, libc::SYS_socket, &[is(0, family), (1, masked, u64::from(kind.unsigned_abs()))])?;
            }
        }
    }
    Ok(())
}

/// What is spoken over IP: the kind's own protocol, and those that can be named. Raw sockets need a capability.
const PROTOCOLS: [i32; 6] =
    [0, libc::IPPROTO_ICMP, libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_ICMPV6, libc::IPPROTO_MPTCP];

/// `SOCK_TYPE_MASK` (linux/net.h): above it are flags.
const KINDS: i32 = 0xf;

fn add(rules: &mut Rules, call: i64, conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<(), Error> {
    let conditions = conditions
        .iter()
        .map(|(argument, test, value)| SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, test.clone(), *value));
    let conditions = conditions.collect::<Result<_, _>>().map_err(Error::Profile)?;
    rules.entry(call).or_default().push(SeccompRule::new(conditions).map_err(Error::Profile)?);
    Ok(())
}

/// By number alone: what is younger than the lists does not exist, and on x86-64, whose kernel knows every call under a
/// second number that the lists do not see, a call by that one kills.
fn by_number() -> BpfProgram {
    /// `__X32_SYSCALL_BIT` (asm/unistd.h).
    const SECOND: u32 = 0x4000_0000;
    let code = |parts: u32| u16::try_from(parts).unwrap_or(u16::MAX);
    let answer = |k| sock_filter { code: code(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k };
    let from = |k, jt, jf| sock_filter { code: code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K), jt, jf, k };
    let second = if cfg!(target_arch = "x86_64") { libc::SECCOMP_RET_KILL_PROCESS } else { libc::SECCOMP_RET_ALLOW };
    let unknown = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        // The number is the first field of `seccomp_data`.
        sock_filter { code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), jt: 0, jf: 0, k: 0 },
        from(SECOND, 0, 1),
        answer(second),
        from(LAST + 1, 0, 1),
        answer(unknown),
        answer(libc::SECCOMP_RET_ALLOW),
    ]
}
