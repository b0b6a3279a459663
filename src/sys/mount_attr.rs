//! `mount_setattr(2)`: the rights of a mount, and the mapping of its owners.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::clone::last_error;

/// Attributes to set on one mount. What is not named stays as it is; propagation always becomes private.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountAttr<'a> {
    /// Nothing may be written.
    pub read_only: bool,
    /// Nothing may be executed.
    pub no_exec: bool,
    /// Device nodes may be opened.
    pub devices: bool,
    /// All mounts beneath it are changed with it.
    pub recursive: bool,
    /// Owners are mapped as this user namespace says: ids on disk are those "inside" of it.
    pub id_map: Option<BorrowedFd<'a>>,
}

/// Sets attributes on the mount that `mount` is the root of. `nosuid` is always set.
pub fn set_mount_attr(mount: impl AsFd, attr: MountAttr<'_>) -> Result<(), Errno> {
    let mut set = libc::MOUNT_ATTR_NOSUID;
    if !attr.devices {
        set |= libc::MOUNT_ATTR_NODEV;
    }
    if attr.read_only {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    if attr.no_exec {
        set |= libc::MOUNT_ATTR_NOEXEC;
    }
    if attr.id_map.is_some() {
        set |= libc::MOUNT_ATTR_IDMAP;
    }
    #[cfg(feature = "weaken")]
    for (layer, bit) in [
        (crate::weaken::Layer::NoSetId, libc::MOUNT_ATTR_NOSUID),
        (crate::weaken::Layer::NoDevices, libc::MOUNT_ATTR_NODEV),
    ] {
        set &= if crate::weaken::off(layer) { !bit } else { u64::MAX };
    }
    let how = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: attr.id_map.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: the path is a NUL-terminated literal, `how` lives through the call and its size is passed with it; the
    // kernel only reads them. Both descriptors are borrowed, so they stay open through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | if attr.recursive { libc::AT_RECURSIVE } else { 0 },
            std::ptr::from_ref(&how),
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}
