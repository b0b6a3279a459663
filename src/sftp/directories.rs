//! OPENDIR, READDIR, MKDIR, RMDIR (sections 6.6 and 6.7).

use super::answer::{self, put_sized, put_string, put_u32};
use super::attributes::{self, Wanted};
use super::codes;
use super::engine::{Engine, Served};
use super::failure::Failure;
use super::handles::Handle;
use super::long_name;
use super::reader::Reader;
use crate::domain::Deed;

/// Permissions of a new directory when the client names none.
const DEFAULT_MODE: u32 = 0o777;

impl Engine {
    pub(super) fn opendir(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let listing = self.root.list(&self.path(reader.string()?)?)?;
        let handle = self.handles.add(Handle::Directory(listing))?;
        answer::packet(out, codes::HANDLE, id, |out| put_string(out, &handle));
        Ok(())
    }

    /// One answer carries what the kernel gave in one part, some 30 to 340 names.
    pub(super) fn readdir(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let entries = self.handles.directory(reader.string()?)?.next_part()?;
        if entries.is_empty() {
            return Err(Failure::End);
        }
        let now = self.settings.now();
        answer::packet(out, codes::NAME, id, |out| {
            put_u32(out, u32::try_from(entries.len()).unwrap_or(u32::MAX));
            for entry in &entries {
                put_string(out, &entry.name);
                put_sized(out, |out| long_name::put(out, &self.settings, entry, now));
                attributes::put(out, &self.settings, &entry.attributes);
            }
        });
        Ok(())
    }

    pub(super) fn mkdir(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let path = self.path(reader.string()?)?;
        let mode = Wanted::read(&mut reader)?.mode.unwrap_or(DEFAULT_MODE) & !self.settings.umask;
        self.root.make_directory(&path, mode)?;
        self.note(|on_host| Deed::MadeDirectory { path: on_host(&path) });
        answer::done(out, id);
        Ok(())
    }

    pub(super) fn rmdir(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let path = self.path(reader.string()?)?;
        self.root.remove_directory(&path)?;
        self.note(|on_host| Deed::RemovedDirectory { path: on_host(&path) });
        answer::done(out, id);
        Ok(())
    }
}
