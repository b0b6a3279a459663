//! Numbers of the protocol (draft-ietf-secsh-filexfer-02, sections 3, 5, 6.3 and 7).

pub(super) const INIT: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const REALPATH: u8 = 16;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
pub(super) const READLINK: u8 = 19;
pub(super) const SYMLINK: u8 = 20;
pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;
pub(super) const EXTENDED: u8 = 200;
pub(super) const EXTENDED_REPLY: u8 = 201;

/// The version we speak, whatever newer one is offered.
pub(super) const OUR_VERSION: u32 = 3;

/// Status codes (section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Status {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    BadMessage = 5,
    OpUnsupported = 8,
}

/// `pflags` of OPEN (section 6.3).
pub(super) mod open {
    pub(in crate::sftp) const READ: u32 = 0x01;
    pub(in crate::sftp) const WRITE: u32 = 0x02;
    pub(in crate::sftp) const APPEND: u32 = 0x04;
    pub(in crate::sftp) const CREAT: u32 = 0x08;
    pub(in crate::sftp) const TRUNC: u32 = 0x10;
    pub(in crate::sftp) const EXCL: u32 = 0x20;
}

/// `flags` of ATTRS (section 5).
pub(super) mod attr {
    pub(in crate::sftp) const SIZE: u32 = 0x01;
    pub(in crate::sftp) const UIDGID: u32 = 0x02;
    pub(in crate::sftp) const PERMISSIONS: u32 = 0x04;
    pub(in crate::sftp) const ACMODTIME: u32 = 0x08;
    pub(in crate::sftp) const EXTENDED: u32 = 0x8000_0000;
}

/// Longest packet, without its length field. OpenSSH ends at the same number.
pub(super) const LONGEST_PACKET: usize = 256 * 1024;
/// Most bytes that one READ or WRITE carries.
pub(super) const LONGEST_DATA: usize = 255 * 1024;
