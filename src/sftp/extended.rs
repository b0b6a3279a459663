//! Extensions (section 4 of OpenSSH's PROTOCOL): what is announced, and what is done for each name.

use super::answer::{self, put_string, put_u32, put_u64};
use super::checksum::Naming;
use super::codes::{self, LONGEST_DATA, LONGEST_PACKET};
use super::engine::{Engine, Served};
use super::failure::Failure;
use super::handles::{Handle, Handles};
use super::reader::Reader;
use crate::files::Space;

/// Name and version of each, as VERSION announces them.
const ANNOUNCED: &[(&[u8], &[u8])] = &[
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"fstatvfs@openssh.com", b"2"),
    (b"hardlink@openssh.com", b"1"),
    (b"fsync@openssh.com", b"1"),
    (b"lsetstat@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
    (b"expand-path@openssh.com", b"1"),
    (b"copy-data", b"1"),
    (b"home-directory", b"1"),
    (b"users-groups-by-id@openssh.com", b"1"),
    (b"space-available", b"1"),
    (b"copy-file", b"1"),
    (b"check-file", b"1"),
    (b"check-file-name", b"1"),
    (b"check-file-handle", b"1"),
];

/// `vendor-id` (draft-ietf-secsh-filexfer-13, section 4.4): vendor, product, version, number of the build. Who answers is
/// told, in VERSION, and it may be told us in return.
const VENDOR: [&str; 3] = ["Enclos", "enclos", env!("CARGO_PKG_VERSION")];
const BUILD: u64 = 0;

/// Most ids that one `users-groups-by-id` may ask about.
const MOST_IDS: usize = 1024;

/// `f_flag` of `statvfs@openssh.com`.
const READ_ONLY: u64 = 1;
const NO_SETUID: u64 = 2;

/// Appends the VERSION packet, which has no request id.
pub(super) fn put_version(out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(codes::VERSION);
    put_u32(out, codes::OUR_VERSION);
    for (name, version) in ANNOUNCED {
        put_string(out, name);
        put_string(out, version);
    }
    put_string(out, b"vendor-id");
    put_string(out, &vendor());
    answer::finish(out, start);
}

fn vendor() -> Vec<u8> {
    let mut vendor = Vec::new();
    for part in VENDOR {
        put_string(&mut vendor, part.as_bytes());
    }
    put_u64(&mut vendor, BUILD);
    vendor
}

impl Engine {
    pub(super) fn extended(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        match reader.string()? {
            b"posix-rename@openssh.com" => self.posix_rename(id, reader, out),
            b"statvfs@openssh.com" => self.statvfs(id, reader, out),
            b"fstatvfs@openssh.com" => self.fstatvfs(id, reader, out),
            b"hardlink@openssh.com" => self.hardlink(id, reader, out),
            b"fsync@openssh.com" => self.fsync(id, reader, out),
            b"lsetstat@openssh.com" => self.lsetstat(id, reader, out),
            b"limits@openssh.com" => limits(id, out),
            b"expand-path@openssh.com" => self.expand_path(id, reader, out),
            b"copy-data" => self.copy_data(id, reader, out),
            b"home-directory" => self.home_directory(id, reader, out),
            b"users-groups-by-id@openssh.com" => self.users_groups_by_id(id, reader, out),
            b"vendor-id" => vendor_id(id, reader, out),
            b"space-available" => self.space_available(id, reader, out),
            b"copy-file" => self.copy_file(id, reader, out),
            b"check-file-name" => self.check_file_name(id, reader, out),
            b"check-file-handle" => self.check_file_handle(id, reader, Naming::Not, out),
            b"check-file" => self.check_file_handle(id, reader, Naming::Named, out),
            _ => Err(Failure::Unknown),
        }
    }

    fn statvfs(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let space = self.root.space(&self.path(reader.string()?)?)?;
        answer_space(id, &space, out);
        Ok(())
    }

    fn fstatvfs(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let space = match self.handles.get(reader.string()?)? {
            Handle::File(file, _) => file.space()?,
            Handle::Directory(listing) => listing.space()?,
        };
        answer_space(id, &space, out);
        Ok(())
    }

    /// `space-available` (draft-ietf-secsh-filexfer-extensions-00, section 4): bytes in all and free, those that the user
    /// may have, and how many are given out at once.
    fn space_available(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let space = self.root.space(&self.path(reader.string()?)?)?;
        let usable = space.blocks.saturating_sub(space.free).saturating_add(space.available);
        answer::packet(out, codes::EXTENDED_REPLY, id, |out| {
            for blocks in [space.blocks, space.free, usable, space.available] {
                put_u64(out, blocks.saturating_mul(space.fragment));
            }
            put_u32(out, u32::try_from(space.fragment).unwrap_or(u32::MAX));
        });
        Ok(())
    }

    /// Names the account's owner and group; other ids have no name here.
    fn users_groups_by_id(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (uid, gid) = self.settings.owner_ids;
        let users = names(reader.string()?, uid, &self.settings.user)?;
        let groups = names(reader.string()?, gid, &self.settings.group)?;
        answer::packet(out, codes::EXTENDED_REPLY, id, |out| {
            put_string(out, &users);
            put_string(out, &groups);
        });
        Ok(())
    }
}

/// The client's own `vendor-id`: taken, and nothing depends on it.
fn vendor_id(id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
    for _ in VENDOR {
        reader.string()?;
    }
    reader.u64()?;
    answer::done(out, id);
    Ok(())
}

fn names(ids: &[u8], own: u32, name: &str) -> Result<Vec<u8>, Failure> {
    let (ids, rest) = ids.as_chunks::<4>();
    if !rest.is_empty() || ids.len() > MOST_IDS {
        return Err(Failure::Malformed);
    }
    let mut names = Vec::new();
    for id in ids {
        put_string(&mut names, if u32::from_be_bytes(*id) == own { name.as_bytes() } else { b"" });
    }
    Ok(names)
}

/// Longest packet, READ and WRITE, and how many handles may be open.
fn limits(id: u32, out: &mut Vec<u8>) -> Served {
    answer::packet(out, codes::EXTENDED_REPLY, id, |out| {
        for limit in [LONGEST_PACKET, LONGEST_DATA, LONGEST_DATA, Handles::MOST] {
            put_u64(out, limit as u64);
        }
    });
    Ok(())
}

fn answer_space(id: u32, space: &Space, out: &mut Vec<u8>) {
    let flags = NO_SETUID | if space.read_only { READ_ONLY } else { 0 };
    answer::packet(out, codes::EXTENDED_REPLY, id, |out| {
        for value in [
            space.block,
            space.fragment,
            space.blocks,
            space.free,
            space.available,
            space.files,
            space.files_free,
            space.files_available,
            space.id,
            flags,
            space.longest_name,
        ] {
            put_u64(out, value);
        }
    });
}
