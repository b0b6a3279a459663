//! How a path ends, where that is more than a name. The kernel's calls tell `name/`, `.` and `..` apart, each in its own
//! way; our last step is made with the bare name, so the same is decided here.

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::resolve::{At, Last};
use super::{Error, Root};

/// The end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A name.
    Name,
    /// A name and slashes: a directory is meant.
    Slash,
    /// `.`, perhaps with slashes.
    Dot,
    /// `..`, perhaps with slashes.
    DotDot,
    /// Nothing but slashes.
    Root,
}

impl Ending {
    /// Of this path; an empty one is the directory where paths begin.
    pub(super) fn of(path: &[u8]) -> Ending {
        let end = path.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
        let (trimmed, slashes) = path.split_at_checked(end).unwrap_or_default();
        match trimmed.rsplit(|b| *b == b'/').next() {
            None | Some(b"") if path.is_empty() => Ending::Dot,
            None | Some(b"") => Ending::Root,
            Some(b".") => Ending::Dot,
            Some(b"..") => Ending::DotDot,
            Some(_) if slashes.is_empty() => Ending::Name,
            Some(_) => Ending::Slash,
        }
    }
}

/// What the kernel answers for a path that has no name to act on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nameless {
    pub(super) dot: Errno,
    pub(super) dot_dot: Errno,
    pub(super) root: Errno,
}

impl Nameless {
    /// One answer whatever the ending.
    pub(super) const fn all(errno: Errno) -> Nameless {
        Nameless { dot: errno, dot_dot: errno, root: errno }
    }
}

/// What a path leads to: a name in a directory, or a directory itself by a path without a name to act on.
pub(super) enum Target {
    Named(At),
    Nameless(Ending),
}

impl Target {
    /// The name, for a call that answers `nameless` where there is none.
    pub(super) fn name(self, nameless: Nameless) -> Result<At, Errno> {
        match self {
            Target::Named(at) => Ok(at),
            Target::Nameless(Ending::DotDot) => Err(nameless.dot_dot),
            Target::Nameless(Ending::Root) => Err(nameless.root),
            Target::Nameless(_) => Err(nameless.dot),
        }
    }

    /// Fails if names cannot be looked for in the directory, which finding it alone does not show.
    pub(super) fn check_searchable(&self) -> Result<(), Errno> {
        match self {
            Target::Named(at) if at.kind() == Err(Errno::ACCESS) => Err(Errno::ACCESS),
            _ => Ok(()),
        }
    }
}

impl Root {
    /// Finds the directory that a path's last name lies in, or leads to.
    pub(super) fn target(&self, path: &[u8]) -> Result<Target, Error> {
        match Ending::of(path) {
            Ending::Name | Ending::Slash => Ok(Target::Named(self.at(path)?)),
            nameless => {
                self.stand_in(path, Last::Followed)?;
                Ok(Target::Nameless(nameless))
            }
        }
    }

    /// As [`Root::target`] for the second of two paths, whose first has led to `other`.
    pub(super) fn target_beside(&self, path: &[u8], other: &Target, other_path: &[u8]) -> Result<Target, Error> {
        match (Ending::of(path), other) {
            (Ending::Name | Ending::Slash, Target::Named(other)) => {
                Ok(Target::Named(self.at_beside(path, other, other_path)?))
            }
            _ => self.target(path),
        }
    }

    /// As [`Root::at`], for a call that answers `nameless` where there is no name.
    pub(super) fn named(&self, path: &[u8], nameless: Nameless) -> Result<At, Error> {
        Ok(self.target(path)?.name(nameless)?)
    }

    /// As [`Root::named`], for what must be there; it is not if it is hidden.
    pub(super) fn named_shown(&self, path: &[u8], nameless: Nameless) -> Result<At, Error> {
        let at = self.named(path, nameless)?;
        self.check_shown_name(&at)?;
        Ok(at)
    }
}

impl At {
    /// The kind of what has the name; a link is not followed.
    pub(super) fn kind(&self) -> Result<FileType, Errno> {
        let stat = rustix::fs::statat(&self.parent, self.name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    /// Fails unless the name is free.
    pub(super) fn check_free(&self) -> Result<(), Errno> {
        match self.kind() {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// For a name that is to be given to something which is no directory: after `name/` it is refused.
    pub(super) fn refuse_slash(&self, path: &[u8]) -> Result<(), Errno> {
        if Ending::of(path) != Ending::Slash {
            return Ok(());
        }
        Err(self.check_free().err().unwrap_or(Errno::NOENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_apart() {
        let cases = [
            (&b"a"[..], Ending::Name),
            (b"/a/b", Ending::Name),
            (b"...", Ending::Name),
            (b"a/", Ending::Slash),
            (b"/a//", Ending::Slash),
            (b"", Ending::Dot),
            (b".", Ending::Dot),
            (b"a/./", Ending::Dot),
            (b"a/..", Ending::DotDot),
            (b"/..//", Ending::DotDot),
            (b"/", Ending::Root),
            (b"//", Ending::Root),
        ];
        for (path, ending) in cases {
            assert_eq!(Ending::of(path), ending, "{path:?}");
        }
    }
}
