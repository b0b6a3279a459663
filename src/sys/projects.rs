//! Projects of files, by which ext4 and XFS count disk quotas: `FS_IOC_FSGETXATTR` (linux/fs.h) and `quotactl_fd(2)`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::clone::last_error;

/// `_IOR('X', 31, struct fsxattr)` and `_IOW('X', 32, struct fsxattr)`.
const FSGETXATTR: libc::Ioctl = 0x801c_581f;
const FSSETXATTR: libc::Ioctl = 0x401c_5820;
/// `FS_XFLAG_PROJINHERIT`.
const INHERITED: u32 = 0x200;

/// `QCMD(Q_GETQUOTA, PRJQUOTA)` and the same of `Q_SETQUOTA` (linux/quota.h).
const GET_QUOTA: libc::c_uint = 0x0080_0007 << 8 | 2;
const SET_QUOTA: libc::c_uint = 0x0080_0008 << 8 | 2;
/// The kernel takes limits of space in units of so many bytes.
const UNIT: u64 = 1024;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Fsxattr {
    xflags: u32,
    extsize: u32,
    nextents: u32,
    projid: u32,
    cowextsize: u32,
    pad: [u8; 8],
}

/// What a file or directory belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its number; 0 for none.
    pub id: u32,
    /// Whether what is made in a directory belongs to it too.
    pub is_inherited: bool,
}

/// What a project has and may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProjectQuota {
    /// Bytes on disk.
    pub space: u64,
    /// Most of them, in whole KiB; 0 for any number.
    pub most_space: u64,
    /// Files and directories.
    pub files: u64,
    /// Most of them; 0 for any number.
    pub most_files: u64,
}

/// What a file or directory belongs to. The descriptor must not be one of `O_PATH`.
pub fn project(fd: impl AsFd) -> Result<Project, Errno> {
    let found = attributes(fd.as_fd())?;
    Ok(Project { id: found.projid, is_inherited: found.xflags & INHERITED != 0 })
}

/// Makes a file or directory belong to a project.
pub fn set_project(fd: impl AsFd, project: Project) -> Result<(), Errno> {
    let fd = fd.as_fd();
    let found = attributes(fd)?;
    let flags = if project.is_inherited { found.xflags | INHERITED } else { found.xflags & !INHERITED };
    let wanted = Fsxattr { xflags: flags, projid: project.id, ..found };
    // SAFETY: the request reads one `struct fsxattr`, which lives through the call; the descriptor is borrowed.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), FSSETXATTR, std::ptr::from_ref(&wanted)) };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

fn attributes(fd: BorrowedFd<'_>) -> Result<Fsxattr, Errno> {
    let mut found = Fsxattr::default();
    // SAFETY: the request writes one `struct fsxattr`, which lives through the call; the descriptor is borrowed.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), FSGETXATTR, std::ptr::from_mut(&mut found)) };
    if done == 0 { Ok(found) } else { Err(last_error()) }
}

/// What a project of the filesystem behind `fd` has and may have; an error where it counts none (`ESRCH` if it could).
pub fn project_quota(fd: impl AsFd, project: u32) -> Result<ProjectQuota, Errno> {
    let mut told = nothing();
    match quotactl(fd.as_fd(), GET_QUOTA, project, &mut told) {
        // XFS has no record of one that nothing belongs to.
        Err(Errno::NOENT) => Ok(ProjectQuota::default()),
        Err(errno) => Err(errno),
        Ok(()) => Ok(ProjectQuota {
            space: told.dqb_curspace,
            most_space: told.dqb_bhardlimit.saturating_mul(UNIT),
            files: told.dqb_curinodes,
            most_files: told.dqb_ihardlimit,
        }),
    }
}

/// Sets what a project may have: bytes, of which whole KiB are made, and files; 0 for any number.
pub fn set_project_limits(fd: impl AsFd, project: u32, space: u64, files: u64) -> Result<(), Errno> {
    let mut wanted = nothing();
    wanted.dqb_bhardlimit = space.div_ceil(UNIT);
    wanted.dqb_ihardlimit = files;
    wanted.dqb_valid = libc::QIF_LIMITS;
    quotactl(fd.as_fd(), SET_QUOTA, project, &mut wanted)
}

fn nothing() -> libc::dqblk {
    libc::dqblk {
        dqb_bhardlimit: 0,
        dqb_bsoftlimit: 0,
        dqb_curspace: 0,
        dqb_ihardlimit: 0,
        dqb_isoftlimit: 0,
        dqb_curinodes: 0,
        dqb_btime: 0,
        dqb_itime: 0,
        dqb_valid: 0,
    }
}

fn quotactl(fd: BorrowedFd<'_>, command: libc::c_uint, project: u32, block: &mut libc::dqblk) -> Result<(), Errno> {
    let block = std::ptr::from_mut(block);
    // SAFETY: both commands read or write one `struct if_dqblk`, which libc calls `dqblk` and which lives through the call;
    // the descriptor is borrowed and the rest are integers.
    let done = unsafe { libc::syscall(libc::SYS_quotactl_fd, fd.as_raw_fd(), command, project, block) };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_large_as_the_kernels() {
        assert_eq!((size_of::<Fsxattr>(), size_of::<libc::dqblk>()), (28, 72));
    }

    /// Whatever filesystem the tests run on: an answer or an error, and no word written beside it.
    #[test]
    fn a_filesystem_that_has_none_says_so() {
        let directory = std::fs::File::open("/proc/self").expect("a directory");
        assert!(project(&directory).is_err());
        assert!(set_project(&directory, Project { id: 5, is_inherited: true }).is_err());
        assert!(project_quota(&directory, 5).is_err() && set_project_limits(&directory, 5, 1, 1).is_err());
    }
}
