//! Filesystems in memory, which roots and views are made of.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

/// An empty one that is attached nowhere yet, of at most so many KiB and files; `mode` is that of its root.
pub(super) fn filesystem(kilobytes: u64, files: u64, mode: u32) -> Result<OwnedFd, Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let (size, files, mode) = (format!("{kilobytes}k"), files.to_string(), format!("{mode:o}"));
    for (key, value) in [("size", size.as_str()), ("nr_inodes", files.as_str()), ("mode", mode.as_str())] {
        fsconfig_set_string(&context, key, value)?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
