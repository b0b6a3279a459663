//! New names for what is there. None of it follows a link.

use rustix::fs::{AtFlags, RenameFlags};

use super::{Error, Root};

impl Root {
    /// Renames; what has the new name already stays, and the call fails.
    pub fn rename_new(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        let (old, new) = (from.name.as_c_str(), to.name.as_c_str());
        Ok(rustix::fs::renameat_with(&from.parent, old, &to.parent, new, RenameFlags::NOREPLACE)?)
    }

    /// Renames; a file that has the new name already is replaced in one step, as POSIX says.
    pub fn rename_over(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        Ok(rustix::fs::renameat(&from.parent, from.name.as_c_str(), &to.parent, to.name.as_c_str())?)
    }

    /// Gives a file one more name.
    pub fn hard_link(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        let (old, new) = (from.name.as_c_str(), to.name.as_c_str());
        Ok(rustix::fs::linkat(&from.parent, old, &to.parent, new, AtFlags::empty())?)
    }
}
