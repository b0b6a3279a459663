//! How much room there is.

use std::os::fd::AsFd;

use super::resolve::Last;
use super::{Error, File, Listing, Root};

/// What `statvfs(3)` tells of a filesystem; sizes in blocks of `fragment` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Preferred size of a read or write.
    pub block: u64,
    /// Size of the blocks that the next three are counted in.
    pub fragment: u64,
    /// In all.
    pub blocks: u64,
    /// Free.
    pub free: u64,
    /// Free for those who are not root.
    pub available: u64,
    /// Files in all.
    pub files: u64,
    /// Free entries for files.
    pub files_free: u64,
    /// Free entries for those who are not root.
    pub files_available: u64,
    /// Number of the filesystem.
    pub id: u64,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// Longest name.
    pub longest_name: u64,
}

impl Root {
    /// Room on the filesystem that a path lies on.
    pub fn space(&self, path: &[u8]) -> Result<Space, Error> {
        space(self.stand_in(path, Last::Followed)?)
    }
}

impl File {
    /// Room on the filesystem that the open file lies on.
    pub fn space(&self) -> Result<Space, Error> {
        space(self)
    }
}

impl Listing {
    /// Room on the filesystem that the open directory lies on.
    pub fn space(&self) -> Result<Space, Error> {
        space(self)
    }
}

fn space(fd: impl AsFd) -> Result<Space, Error> {
    let told = rustix::fs::fstatvfs(fd)?;
    Ok(Space {
        block: told.f_bsize,
        fragment: told.f_frsize,
        blocks: told.f_blocks,
        free: told.f_bfree,
        available: told.f_bavail,
        files: told.f_files,
        files_free: told.f_ffree,
        files_available: told.f_favail,
        id: told.f_fsid,
        read_only: told.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        longest_name: told.f_namemax,
    })
}
