//! Symbolic links: making, reading, and finding where a path really leads.

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::ending::{Ending, Nameless};
use super::partial::names_a_partial;
use super::resolve::{Last, Split, c_string, split};
use super::{Error, Reason, Root};

/// Links that one path may lead through, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// Longest path, in bytes.
const LONGEST: usize = 4095;

/// A path without links and dots.
struct Walked {
    path: Vec<u8>,
    /// Whether a link on the way said a path of the host that the view shows elsewhere.
    is_elsewhere: bool,
}

impl Root {
    /// Makes a link. The target is kept as it is; where it leads is decided whenever it is followed.
    pub fn make_link(&self, target: &[u8], path: &[u8]) -> Result<(), Error> {
        if target.is_empty() {
            return Err(Errno::NOENT.into());
        }
        if names_a_partial(target) {
            return Err(Error::new(Reason::BadName));
        }
        if target.len() > LONGEST {
            return Err(Error::new(Reason::NameTooLong));
        }
        let at = self.named(path, Nameless::all(Errno::EXIST))?;
        self.check_takes_links(&at.parent)?;
        self.check_name(at.name.to_bytes())?;
        at.refuse_slash(path)?;
        self.refuse_awaited(&at)?;
        Ok(rustix::fs::symlinkat(target, &at.parent, at.name.as_c_str())?)
    }

    /// What a link says.
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        if Ending::of(path) == Ending::Slash {
            // It means the directory that a link leads to, which is no link.
            self.follow(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
            return Err(Errno::INVAL.into());
        }
        let at = self.named_shown(path, Nameless::all(Errno::INVAL))?;
        self.check_takes_links(&at.parent)?;
        Ok(rustix::fs::readlinkat(&at.parent, at.name.as_c_str(), Vec::new())?.into_bytes())
    }

    /// The path without links and dots, from the root's `/`. As with OpenSSH the last component need not be there, unless
    /// a slash follows it; the ones before it must.
    ///
    /// The answer is a text and holds no promise: whoever uses it has it resolved again, by the kernel.
    pub fn real_path(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.walk(path, Last::Followed)?.path)
    }

    /// Where a path leads by links that say paths of the host; `None` when no such link is on its way. The answer is a
    /// text for the kernel to resolve.
    pub(super) fn through_host_paths(&self, path: &[u8], last: Last) -> Option<Vec<u8>> {
        if !self.may_lead_elsewhere(path, last) {
            return None;
        }
        let walked = self.walk(path, last).ok()?;
        walked.is_elsewhere.then_some(walked.path)
    }

    /// Most names that are not found are just not there: the directory is, and has no such link.
    fn may_lead_elsewhere(&self, path: &[u8], last: Last) -> bool {
        let Split::Named(parent, name) = split(path) else { return true };
        let Ok(parent) = self.resolve(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) else { return true };
        let is_link = c_string(name).is_ok_and(|name| {
            let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
        });
        last == Last::Followed && is_link
    }

    fn walk(&self, path: &[u8], last: Last) -> Result<Walked, Error> {
        if path.len() > LONGEST {
            return Err(Error::new(Reason::NameTooLong));
        }
        let mut done: Vec<u8> = Vec::new();
        let mut left = path.to_vec();
        let (mut links, mut is_elsewhere) = (0, false);
        while let Some((name, rest)) = first(&left) {
            let next = match name {
                b"" | b"." => None,
                b".." => {
                    done.truncate(done.iter().rposition(|b| *b == b'/').unwrap_or(0));
                    None
                }
                name => Some([done.as_slice(), b"/", name].concat()),
            };
            let Some(next) = next else {
                left = rest.unwrap_or_default().to_vec();
                continue;
            };
            if next.len() > LONGEST {
                return Err(Error::new(Reason::NameTooLong));
            }
            if rest.is_none() && last == Last::NotFollowed {
                done = next;
                break;
            }
            left = match self.link_at(&next) {
                Ok(Some(mut target)) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Error::new(Reason::Loop));
                    }
                    if target.starts_with(b"/") {
                        done.clear();
                        if let Some(shown) = self.shown_elsewhere(&target) {
                            (target, is_elsewhere) = (shown, true);
                        }
                    }
                    continued(target, rest)?
                }
                Ok(None) => {
                    done = next;
                    rest.unwrap_or_default().to_vec()
                }
                Err(error) if error.reason == Reason::NotFound && rest.is_none() => {
                    done = next;
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
        }
        if done.is_empty() {
            done.push(b'/');
        }
        Ok(Walked { path: done, is_elsewhere })
    }

    /// What a path without links on its way says, if it is a link.
    fn link_at(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let found = self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        self.overlay.check_shown(&found)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        Ok(Some(rustix::fs::readlinkat(&found, c"", Vec::new())?.into_bytes()))
    }

    /// A path of the host as the view has it, unless the view has something by the path itself.
    fn shown_elsewhere(&self, target: &[u8]) -> Option<Vec<u8>> {
        let shown = self.overlay.in_view(target)?;
        self.resolve(target, OFlags::PATH, Mode::empty()).is_err().then_some(shown)
    }
}

/// The first component, and what follows the slash behind it.
fn first(path: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if path.is_empty() {
        return None;
    }
    let mut parts = path.splitn(2, |b| *b == b'/');
    Some((parts.next().unwrap_or_default(), parts.next()))
}

/// Where a link leads, and on from there.
fn continued(target: Vec<u8>, rest: Option<&[u8]>) -> Result<Vec<u8>, Error> {
    let Some(rest) = rest else { return Ok(target) };
    let left = [&target, &b"/"[..], rest].concat();
    if left.len() > LONGEST { Err(Error::new(Reason::NameTooLong)) } else { Ok(left) }
}
