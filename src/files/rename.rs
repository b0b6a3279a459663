//! New names for what is there. None of it follows a link.

use rustix::fs::{AtFlags, FileType, RenameFlags};
use rustix::io::Errno;

use super::ending::{Ending, Nameless, Target};
use super::resolve::{At, Last};
use super::{Error, Reason, Root};

impl Root {
    /// Renames; what has the new name already stays, and the call fails. As OpenSSH looks at the old name first, what is
    /// wrong with it is told before what is wrong with the new one.
    pub fn rename_new(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let slashed = is_slashed(from, to);
        if slashed {
            self.stand_in(from, Last::NotFollowed)?;
        }
        let (old, new) = match self.both(from, to) {
            Ok(both) => both,
            Err(error) => {
                self.stand_in(from, Last::NotFollowed)?;
                return Err(error);
            }
        };
        self.check_to_act(&old)?;
        if slashed && old.kind()? != FileType::Directory {
            return Err(new.check_free().err().unwrap_or(Errno::NOTDIR).into());
        }
        let own = self.check_own_name(&old)?;
        self.check_name(new.name.to_bytes())?;
        self.refuse_awaited_for(&old, &new)?;
        if let Err(error) = rename_to_new(&old, &new) {
            old.kind()?;
            return Err(error);
        }
        self.note_renamed(own, &new)
    }

    /// Renames; a file that has the new name already is replaced in one step, as POSIX says.
    pub fn rename_over(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let slashed = is_slashed(from, to);
        let (from, to) = self.both(from, to)?;
        self.check_to_act(&from)?;
        if slashed {
            refuse_file(&from, &to)?;
        }
        let own = self.check_own_name(&from)?;
        self.check_name(to.name.to_bytes())?;
        self.settle_own(&to)?;
        if self.keeps(&to)? {
            rename_to_new(&from, &to)?;
        } else {
            rustix::fs::renameat(&from.parent, from.name.as_c_str(), &to.parent, to.name.as_c_str())?;
        }
        self.note_renamed(own, &to)
    }

    /// The two names of a rename. As in the kernel, both directories are found, and may be searched, before anything
    /// else is said.
    fn both(&self, from: &[u8], to: &[u8]) -> Result<(At, At), Error> {
        let old = self.target(from)?;
        let new = match self.target_beside(to, &old, from) {
            Ok(new) => new,
            Err(error) => {
                old.check_searchable()?;
                return Err(error);
            }
        };
        match (old, new) {
            (Target::Named(old), Target::Named(new)) => Ok((old, new)),
            (old, new) => {
                old.check_searchable()?;
                new.check_searchable()?;
                Err(Errno::BUSY.into())
            }
        }
    }

    /// Gives a file one more name. Neither that nor the one it has may be denied: by the other it could be written.
    pub fn hard_link(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let old = self.one_to_link(from)?;
        let new = self.named(to, Nameless::all(Errno::EXIST))?;
        new.refuse_slash(to)?;
        self.refuse_awaited(&new)?;
        let Some(old) = old else { return Err(new.check_free().err().unwrap_or(Errno::PERM).into()) };
        self.check_takes_links(&old.parent)?;
        self.check_takes_links(&new.parent)?;
        self.check_name(old.name.to_bytes())?;
        self.check_name(new.name.to_bytes())?;
        Ok(rustix::fs::linkat(&old.parent, old.name.as_c_str(), &new.parent, new.name.as_c_str(), AtFlags::empty())?)
    }

    /// What is to get one more name; `None` for a directory, which has one only. It must be there, whatever is wrong with
    /// the other path.
    fn one_to_link(&self, path: &[u8]) -> Result<Option<At>, Error> {
        if Ending::of(path) == Ending::Slash {
            let meant = rustix::fs::fstat(self.stand_in(path, Last::Followed)?)?;
            let is_directory = FileType::from_raw_mode(meant.st_mode) == FileType::Directory;
            return if is_directory { Ok(None) } else { Err(Errno::NOTDIR.into()) };
        }
        match self.target(path)? {
            Target::Nameless(_) => Ok(None),
            Target::Named(at) => {
                self.check_to_act(&at)?;
                Ok((at.kind()? != FileType::Directory).then_some(at))
            }
        }
    }
}

/// As the kernel answers when a slash follows a name of what is no directory, and what it finds before.
fn refuse_file(from: &At, to: &At) -> Result<(), Errno> {
    let new = to.check_free();
    if new == Err(Errno::ACCESS) {
        return new;
    }
    match (from.kind()?, new) {
        (FileType::Directory, _) => Ok(()),
        (_, Err(errno)) if errno != Errno::EXIST => Err(errno),
        _ => Err(Errno::NOTDIR),
    }
}

/// Whether one of two names has a slash behind it: then a directory is meant.
fn is_slashed(from: &[u8], to: &[u8]) -> bool {
    [from, to].iter().any(|path| Ending::of(path) == Ending::Slash)
}

fn rename_to_new(from: &At, to: &At) -> Result<(), Error> {
    let (old, new) = (from.name.as_c_str(), to.name.as_c_str());
    match rustix::fs::renameat_with(&from.parent, old, &to.parent, new, RenameFlags::NOREPLACE) {
        // Some network and FUSE filesystems know no such flag. Of others it means a directory moved into itself, which
        // the steps find again.
        Err(Errno::INVAL | Errno::NOSYS) => rename_in_steps(from, to),
        renamed => Ok(renamed?),
    }
}

/// As OpenSSH does it: a file gets its new name and then loses the old one; for a directory, which can have only one, the
/// new name is looked for first.
fn rename_in_steps(from: &At, to: &At) -> Result<(), Error> {
    let (old, new) = (from.name.as_c_str(), to.name.as_c_str());
    if from.kind()? != FileType::Directory {
        rustix::fs::linkat(&from.parent, old, &to.parent, new, AtFlags::empty())?;
        return Ok(rustix::fs::unlinkat(&from.parent, old, AtFlags::empty())?);
    }
    match to.kind() {
        Err(Errno::NOENT) => Ok(rustix::fs::renameat(&from.parent, old, &to.parent, new)?),
        Err(errno) => Err(errno.into()),
        Ok(_) => Err(Error::new(Reason::Exists)),
    }
}
