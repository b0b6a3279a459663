//! From a name to a descriptor. The only place that hands a client's path to the kernel.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Error, Reason, Root};

/// `openat2` may answer EAGAIN whenever anything on the host is being renamed (openat2(2)); it is asked again this often.
const TRIES: usize = 64;

/// A name in the directory that it lies in.
#[derive(Debug)]
pub(super) struct At {
    pub(super) parent: Arc<Dir>,
    pub(super) name: CString,
}

/// The two ends of a path.
pub(super) enum Split<'a> {
    /// The root itself, or a path that ends in `.` or `..`: there is no name to act on.
    Nameless,
    /// The directory part, which may be empty, and the last component.
    Named(&'a [u8], &'a [u8]),
}

pub(super) fn split(path: &[u8]) -> Split<'_> {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    let trimmed = path.get(..end).unwrap_or_default();
    let start = trimmed.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = trimmed.split_at_checked(start).unwrap_or_default();
    match name {
        b"" | b"." | b".." => Split::Nameless,
        name => Split::Named(parent, name),
    }
}

pub(super) fn c_string(bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error::new(Reason::BadName))
}

/// Whether a failure says that there is something by a name.
fn tells_of_something(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Permission | Reason::NotPermitted | Reason::ReadOnly | Reason::IsDirectory | Reason::NotDirectory
    )
}

impl Root {
    /// Opens a path, following links inside the root, also those that are meant for the host's paths. Nothing is found
    /// of what is hidden.
    pub(super) fn follow(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Error> {
        match self.find(path, flags, mode) {
            Err(error) if error.reason == Reason::NotFound && self.overlay.has_aliases() => {
                let is_followed = !flags.intersects(OFlags::NOFOLLOW | OFlags::EXCL);
                let elsewhere =
                    self.through_host_paths(path, if is_followed { Last::Followed } else { Last::NotFollowed });
                self.find(&elsewhere.ok_or(error)?, flags, mode)
            }
            found => found,
        }
    }

    /// The same for a path that says only what the view has.
    fn find(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Error> {
        match self.resolve(path, flags, mode) {
            Ok(found) => {
                self.overlay.check_shown(&found)?;
                Ok(found)
            }
            Err(error) => {
                if self.overlay.hides_something() && tells_of_something(error.reason) {
                    self.check_none_hidden_on(path)?;
                }
                Err(error)
            }
        }
    }

    /// Fails if a path leads to something hidden, or to a name beneath it: there is nothing, and so nothing else is wrong.
    fn check_none_hidden_on(&self, path: &[u8]) -> Result<(), Error> {
        let mut way = path;
        loop {
            match (self.resolve(way, OFlags::PATH, Mode::empty()), way.iter().rposition(|b| *b == b'/')) {
                (Ok(found), _) => return self.overlay.check_shown(&found),
                (Err(_), Some(slash)) => way = way.get(..slash).unwrap_or_default(),
                (Err(_), None) => return Ok(()),
            }
        }
    }

    /// Opens a path as the kernel understands it.
    pub(super) fn resolve(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Error> {
        let path = if path.is_empty() { c".".to_owned() } else { c_string(path)? };
        let flags = flags | OFlags::CLOEXEC;
        #[cfg(feature = "weaken")]
        if crate::weaken::off(crate::weaken::Layer::Beneath) {
            let below = path.to_bytes().iter().position(|b| *b != b'/');
            let path = below.and_then(|at| path.to_bytes().get(at..)).unwrap_or(b".");
            return Ok(rustix::fs::openat(self, path, flags, mode)?);
        }
        let mut answer = Err(Errno::AGAIN);
        for _ in 0..TRIES {
            answer = rustix::fs::openat2(
                self,
                path.as_c_str(),
                flags,
                mode,
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            );
            if !matches!(answer, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        Ok(answer?)
    }

    /// The directory that a path's last component lies in, and that component, which is not looked at.
    pub(super) fn at(&self, path: &[u8]) -> Result<At, Error> {
        match split(path) {
            Split::Nameless => Err(Error::new(Reason::Invalid)),
            Split::Named(parent, name) => Ok(At { parent: self.directory_at(parent)?, name: c_string(name)? }),
        }
    }

    /// As [`Root::at`]; in the same directory as `other` if that was found by the same text. Two look-ups of one text could
    /// find two directories while somebody else renames, and a rename between those is what nobody asked for.
    pub(super) fn at_beside(&self, path: &[u8], other: &At, other_path: &[u8]) -> Result<At, Error> {
        match (split(path), split(other_path)) {
            (Split::Named(parent, name), Split::Named(same, _)) if parent == same => {
                Ok(At { parent: Arc::clone(&other.parent), name: c_string(name)? })
            }
            _ => self.at(path),
        }
    }

    /// A directory for names to be looked for in. The one where paths begin is open already.
    fn directory_at(&self, path: &[u8]) -> Result<Arc<Dir>, Error> {
        if path.iter().all(|byte| *byte == b'/') {
            return Ok(Arc::clone(&self.directory));
        }
        let opened = self.follow(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Arc::new(Dir::from_std_file(opened.into())))
    }

    /// Fails for a name of something hidden: there is nothing by it.
    pub(super) fn check_shown_name(&self, at: &At) -> Result<(), Error> {
        if self.overlay.hides_something() {
            let stat = rustix::fs::statat(&at.parent, at.name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
            if self.overlay.is_cover(stat.st_dev) {
                return Err(Error::new(Reason::NotFound));
            }
        }
        Ok(())
    }

    /// A descriptor that stands for what a path names, for looking at it and changing its attributes; a link as last
    /// component is not followed.
    pub(super) fn stand_in(&self, path: &[u8], last: Last) -> Result<OwnedFd, Error> {
        self.open_shown(path, last, OFlags::PATH)
    }

    /// As [`Root::check_shown_name`], for what is to get another name or lose one.
    pub(super) fn check_to_act(&self, at: &At) -> Result<(), Error> {
        if self.is_atomic() {
            self.settle(at)?;
        }
        self.check_shown_name(at)
    }
}

/// What becomes of a link that is the last component of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Followed,
    NotFollowed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &[u8]) -> Option<(&[u8], &[u8])> {
        match split(path) {
            Split::Nameless => None,
            Split::Named(parent, name) => Some((parent, name)),
        }
    }

    #[test]
    fn a_path_splits_before_its_last_component() {
        assert_eq!(parts(b"a/b/c"), Some((&b"a/b/"[..], &b"c"[..])));
        assert_eq!(parts(b"/c//"), Some((&b"/"[..], &b"c"[..])));
        assert_eq!(parts(b"c"), Some((&b""[..], &b"c"[..])));
    }

    #[test]
    fn the_root_and_dots_have_no_name_to_act_on() {
        for path in [&b""[..], b"/", b"//", b".", b"a/.", b"a/..", b"../", b".."] {
            assert!(parts(path).is_none(), "{path:?}");
        }
    }
}
