//! Why a request was not done, and what its STATUS says. The only place that turns file errors into status codes.

use super::answer;
use super::codes::Status;
use super::reader::Short;
use crate::files::{self, Reason};

/// A request that was not done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    /// The file operation failed.
    File(files::Error),
    /// There is nothing more.
    End,
    /// The request's fields do not add up.
    Malformed,
    /// The handle is not one that we gave out, or of the other kind.
    BadHandle,
    /// As many are open as may be.
    TooManyHandles,
    /// There is no such request or extension here.
    Unknown,
    /// A home directory of somebody else was asked for.
    OtherHome,
    /// None of the checksums that were asked for is known here.
    NoSuchChecksum,
    /// Checksums of blocks that are too small.
    SmallBlock,
    /// More checksums than one answer holds.
    ManyBlocks,
    /// A copy was to have more bytes than there were.
    SourceEnded,
}

impl From<files::Error> for Failure {
    fn from(error: files::Error) -> Failure {
        Failure::File(error)
    }
}

impl From<Short> for Failure {
    fn from(_: Short) -> Failure {
        Failure::Malformed
    }
}

impl Failure {
    /// Appends the STATUS.
    pub(super) fn answer(self, id: u32, out: &mut Vec<u8>) {
        let (code, sentence) = self.status();
        answer::status(out, id, code, sentence);
    }

    /// The code and the sentence of the STATUS.
    fn status(self) -> (Status, &'static str) {
        match self {
            Failure::File(error) => (code(error.reason), error.sentence()),
            Failure::End => (Status::Eof, "end of file"),
            Failure::Malformed => (Status::BadMessage, "the request is malformed"),
            Failure::BadHandle => (Status::Failure, "this handle is not open, or not for this"),
            Failure::TooManyHandles => (Status::Failure, "too many files are open at the same time: close some"),
            Failure::Unknown => (Status::OpUnsupported, "this server does not know the request"),
            Failure::OtherHome => (Status::NoSuchFile, "only your own home directory can be named here"),
            Failure::NoSuchChecksum => (Status::Failure, "no such checksum here: ask for sha256, sha1 or md5"),
            Failure::SmallBlock => (Status::Failure, "blocks for checksums have 256 bytes or more"),
            Failure::ManyBlocks => {
                (Status::Failure, "too many blocks for one answer: ask for larger ones or less of the file")
            }
            Failure::SourceEnded => (Status::Eof, "the source ended before all was copied"),
        }
    }
}

/// As OpenSSH's server maps errors, but for three: a read-only grant, which it would call a plain failure; what one
/// filesystem cannot do, which it would call unsupported (sshfs then takes it for a lack of the whole server); and a file
/// that was opened for something else, which it would call missing.
fn code(reason: Reason) -> Status {
    match reason {
        Reason::NotFound | Reason::NotDirectory | Reason::Loop => Status::NoSuchFile,
        Reason::Permission
        | Reason::NotPermitted
        | Reason::NotOpenForThis
        | Reason::ReadOnly
        | Reason::UploadOnly
        | Reason::DeniedName
        | Reason::Owner => Status::PermissionDenied,
        Reason::NameTooLong | Reason::BadName | Reason::Invalid => Status::BadMessage,
        _ => Status::Failure,
    }
}
