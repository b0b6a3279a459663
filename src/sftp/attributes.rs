//! ATTRS (section 5): reading and writing them, and STAT, LSTAT, FSTAT, SETSTAT, FSETSTAT.

use super::answer::{self, put_u32, put_u64};
use super::codes::{self, attr};
use super::engine::{Engine, Served, Settings};
use super::failure::Failure;
use super::handles::Handle;
use super::reader::Reader;
use crate::domain::Deed;
use crate::files::{Attributes, Change};

/// Most extended attributes looked at; we know none of them.
const MOST_EXTENDED: u32 = 64;

/// Attributes that a client sent. Absent parts stay or take their default.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) size: Option<u64>,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: Option<u32>,
    pub(super) times: Option<(i64, i64)>,
}

impl Wanted {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Wanted, Failure> {
        let flags = reader.u32()?;
        let mut wanted = Wanted::default();
        if flags & attr::SIZE != 0 {
            wanted.size = Some(reader.u64()?);
        }
        if flags & attr::UIDGID != 0 {
            wanted.owner = Some((reader.u32()?, reader.u32()?));
        }
        if flags & attr::PERMISSIONS != 0 {
            wanted.mode = Some(reader.u32()?);
        }
        if flags & attr::ACMODTIME != 0 {
            wanted.times = Some((i64::from(reader.u32()?), i64::from(reader.u32()?)));
        }
        if flags & attr::EXTENDED != 0 {
            skip_extended(reader)?;
        }
        Ok(wanted)
    }

    /// Whether no part is there. Then, as with OpenSSH, no file is looked at either.
    fn is_nothing(&self) -> bool {
        self.size.is_none() && self.owner.is_none() && self.mode.is_none() && self.times.is_none()
    }

    fn change(&self, settings: &Settings) -> Change {
        let owner = self.owner.map(|ids| settings.meant(ids));
        Change { size: self.size, owner, mode: self.mode, times: self.times }
    }
}

fn skip_extended(reader: &mut Reader<'_>) -> Result<(), Failure> {
    let count = reader.u32()?;
    if count > MOST_EXTENDED {
        return Err(Failure::Malformed);
    }
    for _ in 0..count {
        reader.string()?;
        reader.string()?;
    }
    Ok(())
}

/// Appends all that version 3 can tell. Its times have 32 bits; of others the low bits are sent, as OpenSSH does.
pub(super) fn put(out: &mut Vec<u8>, settings: &Settings, attributes: &Attributes) {
    let (uid, gid) = settings.shown(attributes);
    put_u32(out, attr::SIZE | attr::UIDGID | attr::PERMISSIONS | attr::ACMODTIME);
    put_u64(out, attributes.size);
    put_u32(out, uid);
    put_u32(out, gid);
    put_u32(out, attributes.mode);
    put_u32(out, low_bits(attributes.accessed));
    put_u32(out, low_bits(attributes.modified));
}

fn low_bits(seconds: i64) -> u32 {
    (seconds & i64::from(u32::MAX)) as u32
}

impl Engine {
    pub(super) fn stat(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let found = self.root.stat(&self.path(reader.string()?)?)?;
        self.answer_attributes(id, &found, out)
    }

    pub(super) fn lstat(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let found = self.root.lstat(&self.path(reader.string()?)?)?;
        self.answer_attributes(id, &found, out)
    }

    pub(super) fn fstat(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let found = match self.handles.get(reader.string()?)? {
            Handle::File(file, _) => file.stat()?,
            Handle::Directory(listing) => listing.stat()?,
        };
        self.answer_attributes(id, &found, out)
    }

    fn answer_attributes(&self, id: u32, found: &Attributes, out: &mut Vec<u8>) -> Served {
        answer::packet(out, codes::ATTRS, id, |out| put(out, &self.settings, found));
        Ok(())
    }

    pub(super) fn setstat(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (path, wanted) = (reader.string()?, Wanted::read(&mut reader)?);
        if !wanted.is_nothing() {
            let path = self.path(path)?;
            self.root.change(&path, &wanted.change(&self.settings))?;
            self.note_wanted(&path, &wanted);
        }
        answer::done(out, id);
        Ok(())
    }

    /// `lsetstat@openssh.com`.
    pub(super) fn lsetstat(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (path, wanted) = (reader.string()?, Wanted::read(&mut reader)?);
        if wanted.size.is_some() {
            // Links have none, and OpenSSH takes it for nothing else either.
            return Err(Failure::Malformed);
        }
        if !wanted.is_nothing() {
            let path = self.path(path)?;
            self.root.change_link(&path, &wanted.change(&self.settings))?;
            self.note_wanted(&path, &wanted);
        }
        answer::done(out, id);
        Ok(())
    }

    pub(super) fn fsetstat(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let handle = reader.string()?;
        let wanted = Wanted::read(&mut reader)?;
        let (file, changing) = self.handles.changing(handle)?;
        file.change(&wanted.change(&self.settings))?;
        let mode = changing.and_then(|changing| {
            // What is cut or grown is noted when it is closed.
            changing.is_cut |= wanted.size.is_some();
            wanted.mode.map(|mode| (changing.path.clone(), mode))
        });
        if let Some((path, mode)) = mode {
            self.note(|_| Deed::ChangedMode { path, mode: mode & 0o7777 });
        }
        answer::done(out, id);
        Ok(())
    }

    fn note_wanted(&mut self, path: &[u8], wanted: &Wanted) {
        if let Some(size) = wanted.size {
            self.note(|on_host| Deed::Resized { path: on_host(path), size });
        }
        if let Some(mode) = wanted.mode {
            self.note(|on_host| Deed::ChangedMode { path: on_host(path), mode: mode & 0o7777 });
        }
    }
}
