//! A process that has everything ready which sessions share, and forks them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;
use seccompiler::BpfProgram;

use super::error::{Context, Error};
use super::newborn::{Newborn, own_mount_namespace};
use super::{Privilege, caps, profile, template};
use crate::sys::{self, CloneFlags, Forked};

/// Every session gets these for itself; the empty network is shared, for there is nothing in it.
const APART: CloneFlags = CloneFlags::MOUNTS.and(CloneFlags::PIDS).and(CloneFlags::IPC).and(CloneFlags::UTS);

/// The prepared process. Made once, by the process that then stays in the template for good.
#[derive(Debug)]
pub struct Zygote {
    privilege: Privilege,
    filter: BpfProgram,
    null: OwnedFd,
    proc: OwnedFd,
}

impl Zygote {
    /// Moves this process into the template and drops what forking sessions does not need. Files of the host cannot
    /// be opened afterwards.
    pub fn prepare(privilege: Privilege) -> Result<Zygote, Error> {
        let (first, filter) = (profile::zygote()?, profile::session()?);
        let null =
            rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Bits::empty()).step("open /dev/null")?;
        let proc = rustix::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Bits::empty())
            .step("open /proc")?;
        template::enter()?;
        caps::keep_for_zygote()?;
        #[cfg(feature = "weaken")]
        if crate::weaken::off(crate::weaken::Layer::SessionSeccomp) {
            return Ok(Zygote { privilege, filter, null, proc });
        }
        seccompiler::apply_filter(&first).map_err(Error::Filter)?;
        Ok(Zygote { privilege, filter, null, proc })
    }

    /// Forks a session into its own namespaces.
    pub fn fork(&self) -> Result<Forked, Errno> {
        sys::fork(APART)
    }

    /// In the child: its mount namespace, for the monitor.
    pub fn mount_namespace(&self) -> Result<OwnedFd, Error> {
        own_mount_namespace(self.proc.as_fd())
    }

    /// In the child: what it is to be confined with.
    pub fn newborn(&self, uid: u32) -> Newborn<'_> {
        Newborn { privilege: self.privilege, uid, null: self.null(), filter: &self.filter }
    }

    fn null(&self) -> BorrowedFd<'_> {
        self.null.as_fd()
    }
}
