//! OPEN, CLOSE, READ, WRITE (section 6.3 and 6.4), and `copy-data`, `fsync@openssh.com` on open files.

use super::answer::{self, put_string};
use super::attributes::Wanted;
use super::codes::{self, LONGEST_DATA, open};
use super::engine::{Engine, Served};
use super::failure::Failure;
use super::handles::Handle;
use super::jobs::{Job, Work};
use super::reader::Reader;
use crate::domain::Deed;
use crate::files::{self, Access, Copy, Creation, Instant, Opening, Reason};

/// Permissions of a new file when the client names none.
const DEFAULT_MODE: u32 = 0o666;

impl Engine {
    pub(super) fn open(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let path = self.path(reader.string()?)?;
        let flags = reader.u32()?;
        let wanted = Wanted::read(&mut reader)?;
        let mode = wanted.mode.unwrap_or(DEFAULT_MODE) & !self.settings.umask;
        let (how, before) = (opening(flags, mode), Instant::now());
        let file = self.root.open_file(&path, &how)?;
        let changing = self.changing(&path, &how, &file, before);
        let handle = self.handles.add(Handle::File(file, changing))?;
        answer::packet(out, codes::HANDLE, id, |out| put_string(out, &handle));
        Ok(())
    }

    pub(super) fn close(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        if let Handle::File(file, changing) = self.handles.take(reader.string()?)? {
            let is_uploading = file.is_uploading();
            let closed = file.close();
            // An upload that is not whole changes nothing; anything else was changed before.
            self.note_closed(changing.filter(|_| closed.is_ok() || !is_uploading), closed.is_ok());
            closed?;
        }
        answer::done(out, id);
        Ok(())
    }

    /// Reads straight into the answer: the packet is begun, the kernel fills in the data, the lengths follow.
    pub(super) fn read(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let file = self.handles.file(reader.string()?)?;
        let (offset, length) = (reader.u64()?, reader.u32()?);
        let most = usize::try_from(length).unwrap_or(usize::MAX).min(LONGEST_DATA);
        let start = answer::begin(out, codes::DATA, id);
        let field = out.len();
        out.extend_from_slice(&[0; 4]);
        let got = file.read_at(offset, out, most)?;
        // Of nothing there is always enough: as OpenSSH.
        if got == 0 && length > 0 {
            return Err(Failure::End);
        }
        if let Some(field) = out.get_mut(field..field + 4) {
            field.copy_from_slice(&u32::try_from(got).unwrap_or(u32::MAX).to_be_bytes());
        }
        answer::finish(out, start);
        self.totals.read = self.totals.read.saturating_add(got as u64);
        Ok(())
    }

    /// Writes straight from the packet.
    pub(super) fn write(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (file, changing) = self.handles.changing(reader.string()?)?;
        let (offset, data) = (reader.u64()?, reader.string()?);
        file.write_at(offset, data)?;
        if let Some(changing) = changing {
            changing.written = changing.written.saturating_add(data.len() as u64);
        }
        self.totals.written = self.totals.written.saturating_add(data.len() as u64);
        answer::done(out, id);
        Ok(())
    }

    pub(super) fn fsync(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        self.handles.file(reader.string()?)?.sync()?;
        answer::done(out, id);
        Ok(())
    }

    /// `copy-data` (draft-ietf-secsh-filexfer-extensions-00, section 7): copies without moving bytes over the network.
    pub(super) fn copy_data(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (from, offset, length) = (reader.string()?, reader.u64()?, reader.u64()?);
        let (to, at) = (reader.string()?, reader.u64()?);
        let source = self.handles.file(from)?.duplicate()?;
        let length = (length > 0).then_some(length);
        let (target, changing) = self.handles.changing(to)?;
        let copy = Copy::new(&source, offset, length, target, at)?;
        if let Some(changing) = changing {
            changing.is_cut = true;
        }
        self.begin(Job { id, handles: vec![from.to_vec(), to.to_vec()], work: Work::Copy(Box::new(copy), None) }, out)
    }

    /// `copy-file` (draft-ietf-secsh-filexfer-extensions-00, section 6): by names, with the permissions of the source. What
    /// is to be replaced is cut only when it is known to be another file.
    pub(super) fn copy_file(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (from, to) = (self.path(reader.string()?)?, self.path(reader.string()?)?);
        let creation = if reader.u8()? == 0 { Creation::Always } else { Creation::IfMissing };
        let source = self.root.open_file(&from, &opening(open::READ, 0))?;
        if creation == Creation::IfMissing
            && let Ok(there) = self.root.open_file(&to, &opening(open::READ, 0))
            && source.is_same(&there)?
        {
            return Err(files::Error::new(Reason::SameFile).into());
        }
        let mode = source.stat()?.mode & 0o777 & !self.settings.umask;
        let target = self.root.open_file(&to, &Opening { creation, ..opening(open::WRITE | open::TRUNC, mode) })?;
        let copy = Copy::new(&source, 0, None, &target, 0)?;
        self.note(|on_host| Deed::Copied { path: on_host(&to), from: on_host(&from) });
        self.begin(Job { id, handles: Vec::new(), work: Work::Copy(Box::new(copy), Some(target)) }, out)
    }
}

/// As OpenSSH reads the flags: with neither READ nor WRITE a file is opened for reading.
fn opening(flags: u32, mode: u32) -> Opening {
    let has = |flag| flags & flag != 0;
    let access = match (has(open::READ), has(open::WRITE)) {
        (true, true) => Access::Both,
        (false, true) => Access::Write,
        (_, false) => Access::Read,
    };
    let creation = match (has(open::CREAT), has(open::EXCL)) {
        (true, true) => Creation::Always,
        (true, false) => Creation::IfMissing,
        (false, _) => Creation::Never,
    };
    Opening { access, creation, truncate: has(open::TRUNC), append: has(open::APPEND), mode }
}
