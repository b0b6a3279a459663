//! New names for what is there. None of it follows a link.

use rustix::fs::{AtFlags, FileType, RenameFlags};
use rustix::io::Errno;

use super::resolve::At;
use super::{Error, Reason, Root};

impl Root {
    /// Renames; what has the new name already stays, and the call fails.
    pub fn rename_new(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let (from, to) = (self.at_to_act(from)?, self.at(to)?);
        self.check_own_name(&from)?;
        self.check_name(to.name.to_bytes())?;
        rename_to_new(&from, &to)?;
        self.note_own(&to)
    }

    /// Renames; a file that has the new name already is replaced in one step, as POSIX says.
    pub fn rename_over(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let (from, to) = (self.at_to_act(from)?, self.at(to)?);
        self.check_own_name(&from)?;
        self.check_name(to.name.to_bytes())?;
        if self.keeps(&to)? {
            rename_to_new(&from, &to)?;
        } else {
            rustix::fs::renameat(&from.parent, from.name.as_c_str(), &to.parent, to.name.as_c_str())?;
        }
        self.note_own(&to)
    }

    /// Gives a file one more name. Neither that nor the one it has may be denied: by the other it could be written.
    pub fn hard_link(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let (from, to) = (self.at_to_act(from)?, self.at(to)?);
        self.check_takes_links(&from.parent)?;
        self.check_takes_links(&to.parent)?;
        self.check_name(from.name.to_bytes())?;
        self.check_name(to.name.to_bytes())?;
        let (old, new) = (from.name.as_c_str(), to.name.as_c_str());
        Ok(rustix::fs::linkat(&from.parent, old, &to.parent, new, AtFlags::empty())?)
    }
}

fn rename_to_new(from: &At, to: &At) -> Result<(), Error> {
    let (old, new) = (from.name.as_c_str(), to.name.as_c_str());
    match rustix::fs::renameat_with(&from.parent, old, &to.parent, new, RenameFlags::NOREPLACE) {
        // Some network and FUSE filesystems know no such flag.
        Err(Errno::INVAL | Errno::NOSYS) => rename_in_steps(from, to),
        renamed => Ok(renamed?),
    }
}

/// As OpenSSH does it: a file gets its new name and then loses the old one; for a directory, which can have only one, the
/// new name is looked for first.
fn rename_in_steps(from: &At, to: &At) -> Result<(), Error> {
    let (old, new) = (from.name.as_c_str(), to.name.as_c_str());
    let stat = rustix::fs::statat(&from.parent, old, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        rustix::fs::linkat(&from.parent, old, &to.parent, new, AtFlags::empty())?;
        return Ok(rustix::fs::unlinkat(&from.parent, old, AtFlags::empty())?);
    }
    match rustix::fs::statat(&to.parent, new, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(rustix::fs::renameat(&from.parent, old, &to.parent, new)?),
        Err(errno) => Err(errno.into()),
        Ok(_) => Err(Error::new(Reason::Exists)),
    }
}
