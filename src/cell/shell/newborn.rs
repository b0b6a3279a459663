//! The birth of a shell cell, up to the program that is its first process.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::AtFlags;
use rustix::fs::{CWD, Mode as Bits, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{Resource, Rlimit};
use rustix::thread::UnshareFlags;
use seccompiler::BpfProgram;
use serde::{Deserialize, Serialize};

use super::filter::{filters, no_names};
use super::loopback;
use super::root::{self, Own};
use super::template::{self, Contents};
use crate::cell::caps::give_up_for_cell;
use crate::cell::error::{Context, Error};
use crate::cell::landlock::{self, Host};
use crate::cell::newborn::LINK_FD;
use crate::cell::{Privilege, caps};
use crate::domain::{Layout, Network};
use crate::sys::{self, CloneFlags, Forked, MountAttr};

/// Every cell gets these for itself, and mostly a network too; a view of the control groups it makes itself.
const APART: CloneFlags = CloneFlags::MOUNTS.and(CloneFlags::PIDS).and(CloneFlags::IPC).and(CloneFlags::UTS);

/// The process that shell cells are forked from, standing in their template.
#[derive(Debug)]
pub struct ShellZygote {
    privilege: Privilege,
    contents: Contents,
    filters: Vec<BpfProgram>,
    /// For the host's network, where the kernel cannot close its abstract sockets.
    no_names: BpfProgram,
    program: OwnedFd,
    null: OwnedFd,
}

/// Limits of a cell's programs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads of the cell's user.
    pub processes: u64,
    /// Open descriptors of one process.
    pub descriptors: u64,
}

impl ShellZygote {
    /// Moves this process into the template. `program` is what becomes the first process of each cell.
    pub fn prepare(privilege: Privilege, program: &OwnedFd) -> Result<ShellZygote, Error> {
        let (filters, no_names) = (filters()?, no_names()?);
        let null =
            rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Bits::empty()).step("open /dev/null")?;
        let closed = matches!(privilege, Privilege::Rootless { .. }).then(|| closed_program(program)).transpose()?;
        // Clear of the numbers that a newborn cell's own descriptors get.
        let program = rustix::io::fcntl_dupfd_cloexec(closed.as_ref().unwrap_or(program), LINK_FD + 1)
            .step("keep the first program")?;
        let contents = template::enter()?;
        caps::keep_for_shell_zygote()?;
        Ok(ShellZygote { privilege, contents, filters, no_names, program, null })
    }

    /// Forks a cell into its own namespaces, and into its control group where there is one of version 2.
    pub fn fork(&self, network: Network, group: Option<BorrowedFd<'_>>) -> Result<Forked, Errno> {
        let apart = match network {
            Network::Own => APART.and(CloneFlags::NETWORK),
            Network::Host => APART,
        };
        sys::fork_into(apart, group)
    }

    /// In the child: makes the cell's root and stands on it. Answers with the mount namespace, for the monitor. `groups` are
    /// the files of those control groups that the fork could not begin in.
    pub fn enter(&self, own: &Own, groups: &[OwnedFd]) -> Result<OwnedFd, Error> {
        for group in groups {
            rustix::io::write(group, b"0").step("move into the cell's control group")?;
        }
        // Only now: what the cell sees of the groups begins with those that it is in.
        sys::unshare(UnshareFlags::NEWCGROUP).step("make an own view of the control groups")?;
        root::enter(&self.contents, own)?;
        if own.network == Network::Own {
            loopback::bring_up()?;
        }
        rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Bits::empty())
            .step("open the cell's mount namespace")
    }

    /// In the child, once the grants are attached: gives up everything, and becomes the cell's first program with one
    /// descriptor, [`LINK_FD`].
    pub fn begin(
        &self,
        own: &Own,
        layout: &Layout,
        limits: Limits,
        link: &OwnedFd,
        arguments: &[&CStr],
    ) -> Result<std::convert::Infallible, Error> {
        root::close()?;
        limit(limits)?;
        offer_to_the_kernel()?;
        rustix::process::umask(Bits::from_raw_mode(0o022));
        rustix::process::setsid().step("leave the terminal")?;
        // What is ignored stays so in programs that are executed.
        sys::restore_signals().step("restore the signals")?;
        // Only the descriptors that are named here come along; the program is closed by its own execution.
        let kept = sys::place_at(link, LINK_FD).step("keep the channel")?;
        std::mem::forget(kept);
        for standard in 0..LINK_FD {
            std::mem::forget(sys::place_at(&self.null, standard).step("silence the standard streams")?);
        }
        sys::close_from_on_exec(LINK_FD.unsigned_abs() + 1).step("keep nothing else")?;
        let ids = matches!(self.privilege, Privilege::Root).then_some(own.ids);
        give_up_for_cell(ids)?;
        let host = Host { first: &self.program, programs: self.contents.readable().collect(), binds: &own.binds };
        landlock::confine_shell(&host, &own.home, layout)?;
        // Abstract sockets belong to a network: one that is shared needs another border between the cells and the host.
        let is_open = own.network == Network::Host && !landlock::closes_abstract_sockets();
        for filter in self.filters.iter().chain(is_open.then_some(&self.no_names)) {
            #[cfg(feature = "weaken")]
            if crate::weaken::off(crate::weaken::Layer::ShellSeccomp) {
                break;
            }
            seccompiler::apply_filter(filter).map_err(Error::Filter)?;
        }
        self.execute(arguments)
    }

    fn execute(&self, arguments: &[&CStr]) -> Result<std::convert::Infallible, Error> {
        let environment: Vec<&CStr> = Vec::new();
        // The worker is told too.
        #[cfg(feature = "weaken")]
        let list = std::env::var("ENCLOS_WEAKEN").unwrap_or_default();
        #[cfg(feature = "weaken")]
        let list = std::ffi::CString::new(format!("ENCLOS_WEAKEN={list}")).unwrap_or_default();
        #[cfg(feature = "weaken")]
        let environment: Vec<&CStr> =
            environment.into_iter().chain([&*list]).filter(|l| l.count_bytes() > 14).collect();
        let failed = nix::unistd::execveat(&self.program, c"", arguments, &environment, AtFlags::AT_EMPTY_PATH);
        let Err(errno) = failed;
        Err(Errno::from_raw_os_error(errno as i32)).step("start the cell's first program")
    }
}

/// The program on a mount on which nothing can be changed. `/proc/1/exe` leads a cell's programs to it, past their root,
/// and an ordinary user's program mostly belongs to that user, whose id they have: they could take its mode away.
fn closed_program(program: &OwnedFd) -> Result<OwnedFd, Error> {
    let path = rustix::fs::readlink(format!("/proc/self/fd/{}", program.as_raw_fd()), Vec::new())
        .step("find the first program")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let closed =
        open_tree(CWD, path, flags).step("find the first program (start the node again if it was replaced)")?;
    let same = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|s| (s.st_dev, s.st_ino)).step("look at the first program");
    if same(program)? != same(&closed)? {
        return Err(Errno::STALE).step("find the first program (it was replaced: start the node again)");
    }
    sys::set_mount_attr(&closed, MountAttr { read_only: true, ..MountAttr::default() })
        .step("close the first program")?;
    Ok(closed)
}

/// Where memory is short on the whole machine, the kernel ends programs of cells and not the node. Each process can raise its
/// own number further, and lower it no more: to a cell `/proc` is for reading (see [`landlock::confine_shell`]).
fn offer_to_the_kernel() -> Result<(), Error> {
    const PATH: &str = "/proc/self/oom_score_adj";
    let as_errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let text = std::fs::read_to_string(PATH).map_err(as_errno).step("read the node's own number")?;
    let inherited: i32 = text.trim().parse().map_err(|_| Errno::INVAL).step("read the node's own number")?;
    let raised = inherited.saturating_add(500).min(1000);
    std::fs::write(PATH, raised.to_string()).map_err(as_errno).step("have the kernel end programs before the node")
}

fn limit(limits: Limits) -> Result<(), Error> {
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::Limits) {
        return Ok(());
    }
    // A core limit of 0 does not stop a pipe handler of the host, 1 stops both (fs/coredump.c).
    for (resource, most) in [
        (Resource::Core, 1),
        (Resource::Nofile, limits.descriptors),
        (Resource::Nproc, limits.processes),
        (Resource::Memlock, 64 * 1024 * 1024),
    ] {
        // What the node itself may not have, its cells cannot be given. Descriptors on their way between processes are counted
        // by user, each process by its own limit (too_many_unix_fds): where cells have the node's user, it needs a higher one.
        let part = if resource == Resource::Nofile { 2 } else { 1 };
        let most = rustix::process::getrlimit(resource).maximum.map_or(most, |own| most.min(own / part));
        let most = Some(most);
        rustix::process::setrlimit(resource, Rlimit { current: most, maximum: most }).step("limit the cell")?;
    }
    Ok(())
}
