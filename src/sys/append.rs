//! Reading a file into the spare room of a buffer, which nobody has to fill with zeroes first.

use std::os::fd::AsFd;

use rustix::io::Errno;

/// Reads at most `most` bytes at `offset` behind the content of `buffer`, and says how many came.
pub fn append_at(fd: impl AsFd, offset: u64, buffer: &mut Vec<u8>, most: usize) -> Result<usize, Errno> {
    buffer.reserve(most);
    let before = buffer.len();
    let room = buffer.spare_capacity_mut().get_mut(..most).ok_or(Errno::FAULT)?;
    let (filled, _) = rustix::io::pread(fd, room, offset)?;
    let got = filled.len();
    // SAFETY: the `got` bytes behind the `before` old ones were just written by the kernel, and are within capacity.
    unsafe { buffer.set_len(before + got) };
    Ok(got)
}
