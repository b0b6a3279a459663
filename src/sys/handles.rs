//! Handles of files, by which a directory is found again without its path and without keeping it open
//! (`open_by_handle_at(2)`).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::clone::last_error;

/// `MAX_HANDLE_SZ` (linux/fs.h).
const LARGEST: usize = 128;

/// `struct file_handle` with room for the largest.
#[repr(C)]
struct Raw {
    bytes: u32,
    kind: i32,
    handle: [u8; LARGEST],
}

/// What a filesystem calls one of its files.
#[derive(Debug)]
pub struct Handle {
    kind: i32,
    bytes: Box<[u8]>,
}

impl Handle {
    /// That of an open file or directory.
    pub fn of(fd: impl AsFd) -> Result<Handle, Errno> {
        let mut raw = Raw { bytes: 128, kind: 0, handle: [0; LARGEST] };
        let mut mount = 0;
        // SAFETY: the path is a NUL-terminated literal; the kernel writes a `struct file_handle` of at most the size that
        // `raw` says it has room for, and one integer; both live through the call, and the descriptor is borrowed.
        let done = unsafe {
            libc::name_to_handle_at(
                fd.as_fd().as_raw_fd(),
                c"".as_ptr(),
                std::ptr::from_mut(&mut raw).cast(),
                &raw mut mount,
                libc::AT_EMPTY_PATH,
            )
        };
        if done != 0 {
            return Err(last_error());
        }
        let length = usize::try_from(raw.bytes).map_err(|_| Errno::OVERFLOW)?;
        Ok(Handle { kind: raw.kind, bytes: raw.handle.get(..length).ok_or(Errno::OVERFLOW)?.into() })
    }

    /// Opens it again; `mount` is anything on the same mount. `ESTALE` if it is no more. For root alone.
    pub fn open(&self, mount: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut raw = Raw { bytes: 0, kind: self.kind, handle: [0; LARGEST] };
        raw.handle.get_mut(..self.bytes.len()).ok_or(Errno::OVERFLOW)?.copy_from_slice(&self.bytes);
        raw.bytes = u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        let flags = i32::try_from(flags.bits()).map_err(|_| Errno::INVAL)?;
        // SAFETY: the kernel reads a `struct file_handle` of the size that `raw` says, which is no larger than it and lives
        // through the call; the descriptor is borrowed.
        let opened =
            unsafe { libc::open_by_handle_at(mount.as_fd().as_raw_fd(), std::ptr::from_mut(&mut raw).cast(), flags) };
        if opened < 0 {
            return Err(last_error());
        }
        // SAFETY: the call has just made this descriptor, and nothing else knows its number.
        Ok(unsafe { OwnedFd::from_raw_fd(opened) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_a_handle_and_the_structure_is_the_kernels() {
        assert_eq!(size_of::<Raw>(), 8 + LARGEST);
        let directory = tempfile::tempdir().expect("a directory");
        let handle = Handle::of(std::fs::File::open(directory.path()).expect("it")).expect("a handle");
        assert!(!handle.bytes.is_empty() && handle.bytes.len() <= LARGEST);
    }
}
