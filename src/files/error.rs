//! What went wrong with a file, told apart as finely as a person would, and said in a sentence without a path.

use rustix::io::Errno;

/// What went wrong, for whoever answers a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing by that name.
    NotFound,
    /// The mode or owner of a file or directory forbids it.
    Permission,
    /// Something other than mode and owner forbids it: a directory that is to get a second name, a file that must not
    /// change, a link to what belongs to somebody else.
    NotPermitted,
    /// The file was opened for the other of reading and writing.
    NotOpenForThis,
    /// The grant is read-only.
    ReadOnly,
    /// The grant only takes uploads.
    UploadOnly,
    /// The owner's quota is used up.
    Quota,
    /// The disk, or its table of files, is full.
    NoSpace,
    /// Something has that name already.
    Exists,
    /// The directory is not empty.
    NotEmpty,
    /// A directory that leads to a part with rights of its own must stay open to its owner.
    LeadsToPart,
    /// A part of a grant that has rights of its own was exchanged.
    Replaced,
    /// A component of the path is no directory.
    NotDirectory,
    /// A directory, where a file was meant.
    IsDirectory,
    /// Neither a file nor a directory: a pipe, a socket or a device.
    NotRegular,
    /// A name over 255 bytes, or a path over 4,095.
    NameTooLong,
    /// A name that no file can have: empty, or with a NUL.
    BadName,
    /// Links that lead to one another.
    Loop,
    /// From one grant to another, which lie on different mounts, or from one disk or project quota to another.
    CrossDevice,
    /// In use, or a mount point.
    Busy,
    /// A program that is being run.
    Running,
    /// As many names as one file can have, or directories as one can hold.
    TooManyLinks,
    /// Source and target of a copy are one.
    SameFile,
    /// The owner of a file cannot be changed.
    Owner,
    /// An upload that had failed before it was whole.
    Unfinished,
    /// An upload that was cleared away or gone on with from elsewhere.
    Superseded,
    /// Larger than the user may make files.
    OverMaximum,
    /// A name that the user may not make.
    DeniedName,
    /// Past what the filesystem can hold in one file.
    TooLarge,
    /// Not possible on this filesystem or kernel.
    Unsupported,
    /// An argument makes no sense.
    Invalid,
    /// Too many files are open.
    TooManyOpen,
    /// Read or write failed beneath the filesystem.
    Io,
}

/// A file operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct Error {
    /// What went wrong.
    pub reason: Reason,
    /// What the kernel answered; for the log.
    pub errno: Option<Errno>,
}

impl Error {
    /// A failure that we found ourselves.
    pub fn new(reason: Reason) -> Error {
        Error { reason, errno: None }
    }

    /// What a person reads. It names the reason and never a path.
    pub fn sentence(&self) -> &'static str {
        match self.reason {
            Reason::NotFound => "no such file or directory",
            Reason::Permission => "permission denied: its mode or owner does not allow this",
            Reason::NotPermitted => "not permitted: the system does not allow this here, whatever the mode",
            Reason::NotOpenForThis => "the file was not opened for this: open it for reading or writing as needed",
            Reason::ReadOnly => "this directory is granted read-only",
            Reason::UploadOnly => {
                "this directory only takes new files: what is in it cannot be listed, read or changed"
            }
            Reason::Quota => "disk quota exceeded: free some space or ask for more",
            Reason::NoSpace => "no space left on the server's disk",
            Reason::Exists => "a file or directory of that name exists already",
            Reason::NotEmpty => "the directory is not empty",
            Reason::LeadsToPart => {
                "something that is granted to you on its own lies in this directory: its owner must be able to enter it"
            }
            Reason::Replaced => {
                "a directory or file that is granted to you on its own was replaced on the server; log in again"
            }
            Reason::NotDirectory => "a part of the path is not a directory",
            Reason::IsDirectory => "this is a directory",
            Reason::NotRegular => "this is a pipe, socket or device and cannot be opened",
            Reason::NameTooLong => "the name is too long: at most 255 bytes a name and 4095 a path",
            Reason::BadName => "no file can have this name",
            Reason::Loop => "too many symbolic links lead to one another",
            Reason::CrossDevice => {
                "this lies in another granted directory, disk or quota: copy it and remove the original"
            }
            Reason::Busy => "in use, or granted to you as a whole",
            Reason::Running => "this program is being run: write a new file and rename it over this one",
            Reason::TooManyLinks => "too many links: the filesystem allows no further name or directory here",
            Reason::SameFile => "a file cannot be copied onto itself",
            Reason::Owner => "the owner of files here is always the account",
            Reason::Unfinished => "the upload had failed and is not put in place: what was there before still is",
            Reason::Superseded => "this upload was removed, or replaced by another one, before it was whole",
            Reason::OverMaximum => "larger than you may make a file here: ask the server's operator for more",
            Reason::DeniedName => "files of this name may not be made or written here: choose another name",
            Reason::TooLarge => "larger than a file can be here",
            Reason::Unsupported => "not possible on this server's filesystem",
            Reason::Invalid => "the request makes no sense for this file",
            Reason::TooManyOpen => "too many files are open at the same time: close some",
            Reason::Io => "the server's disk failed to read or write",
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        let reason = match errno {
            Errno::NOENT => Reason::NotFound,
            Errno::ACCESS => Reason::Permission,
            Errno::PERM => Reason::NotPermitted,
            Errno::BADF => Reason::NotOpenForThis,
            Errno::ROFS => Reason::ReadOnly,
            Errno::DQUOT => Reason::Quota,
            Errno::NOSPC => Reason::NoSpace,
            Errno::EXIST => Reason::Exists,
            Errno::NOTEMPTY => Reason::NotEmpty,
            Errno::NOTDIR => Reason::NotDirectory,
            Errno::ISDIR => Reason::IsDirectory,
            Errno::NXIO | Errno::NODEV => Reason::NotRegular,
            Errno::NAMETOOLONG => Reason::NameTooLong,
            Errno::LOOP => Reason::Loop,
            Errno::XDEV => Reason::CrossDevice,
            Errno::BUSY | Errno::AGAIN => Reason::Busy,
            Errno::TXTBSY => Reason::Running,
            Errno::MLINK => Reason::TooManyLinks,
            Errno::FBIG | Errno::OVERFLOW => Reason::TooLarge,
            Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOTTY => Reason::Unsupported,
            Errno::INVAL => Reason::Invalid,
            Errno::MFILE | Errno::NFILE => Reason::TooManyOpen,
            _ => Reason::Io,
        };
        Error { reason, errno: Some(errno) }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Errno::from_io_error(&error).map_or(Error::new(Reason::Io), Error::from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What people can do something about, each in another way.
    #[test]
    fn what_went_wrong_is_told_apart() {
        let told = [
            Errno::NOENT,
            Errno::ACCESS,
            Errno::PERM,
            Errno::BADF,
            Errno::ROFS,
            Errno::DQUOT,
            Errno::NOSPC,
            Errno::EXIST,
            Errno::NOTEMPTY,
            Errno::NOTDIR,
            Errno::ISDIR,
            Errno::NXIO,
            Errno::NAMETOOLONG,
            Errno::LOOP,
            Errno::XDEV,
            Errno::BUSY,
            Errno::TXTBSY,
            Errno::MLINK,
            Errno::FBIG,
            Errno::OPNOTSUPP,
            Errno::INVAL,
            Errno::MFILE,
            Errno::IO,
        ];
        let sentences: BTreeSet<_> = told.iter().map(|errno| Error::from(*errno).sentence()).collect();
        assert_eq!(sentences.len(), told.len(), "{sentences:?}");
        assert!(sentences.iter().all(|sentence| sentence.len() > 15 && !sentence.contains('/')), "{sentences:?}");
    }
}
