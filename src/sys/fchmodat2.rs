//! `fchmodat2(2)` (Linux 6.6): the mode of what a descriptor stands for, even one opened with `O_PATH`.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use super::clone::last_error;

/// Sets the permission bits of the file behind `fd`; `ENOSYS` on older kernels.
pub fn set_mode(fd: impl AsFd, mode: u32) -> Result<(), Errno> {
    // SAFETY: the path is a NUL-terminated literal, the other arguments are integers, and the descriptor is borrowed.
    let done =
        unsafe { libc::syscall(libc::SYS_fchmodat2, fd.as_fd().as_raw_fd(), c"".as_ptr(), mode, libc::AT_EMPTY_PATH) };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}
