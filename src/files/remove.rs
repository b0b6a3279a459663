//! Making directories, and removing what is there. None of it follows a link.

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::ending::{Ending, Nameless};
use super::{Error, Reason, Root};

impl Root {
    /// Makes a directory; of the mode only the bits of 0777 count, and none if the policy has one.
    pub fn make_directory(&self, path: &[u8], mode: u32) -> Result<(), Error> {
        let at = self.named(path, Nameless::all(Errno::EXIST))?;
        self.check_name(at.name.to_bytes())?;
        self.refuse_awaited(&at)?;
        let (mode, with_set_gid) = self.mode_of_new_directory(mode);
        rustix::fs::mkdirat(&at.parent, at.name.as_c_str(), mode)?;
        if with_set_gid {
            self.add_set_gid(&at)?;
        }
        self.note_own(&at)
    }

    /// Removes a file or a link.
    pub fn remove_file(&self, path: &[u8]) -> Result<(), Error> {
        let at = self.named(path, Nameless::all(Errno::ISDIR))?;
        self.check_to_act(&at)?;
        self.check_own_name(&at)?;
        if Ending::of(path) == Ending::Slash {
            let kind = at.kind()?;
            return Err(if kind == FileType::Directory { Errno::ISDIR } else { Errno::NOTDIR }.into());
        }
        Ok(rustix::fs::unlinkat(&at.parent, at.name.as_c_str(), AtFlags::empty())?)
    }

    /// Removes an empty directory. What was left behind in it by uploads that were cut off is no content.
    pub fn remove_directory(&self, path: &[u8]) -> Result<(), Error> {
        let nameless = Nameless { dot: Errno::INVAL, dot_dot: Errno::NOTEMPTY, root: Errno::BUSY };
        let at = self.named_shown(path, nameless)?;
        self.check_own_name(&at)?;
        self.refuse_awaited(&at).map_err(|_| Error::new(Reason::NotDirectory))?;
        match rustix::fs::unlinkat(&at.parent, at.name.as_c_str(), AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) if self.clear_uploads(&at).is_ok() => {
                Ok(rustix::fs::unlinkat(&at.parent, at.name.as_c_str(), AtFlags::REMOVEDIR)?)
            }
            done => Ok(done?),
        }
    }
}
