//! REMOVE, RENAME, READLINK, SYMLINK, REALPATH (sections 6.5, 6.10 and 6.11) and OpenSSH's relatives of them.

use super::answer::{self, put_string, put_u32};
use super::codes;
use super::engine::{Engine, LinkOrder, Served, beneath};
use super::failure::Failure;
use super::reader::Reader;
use crate::domain::{Deed, PeerText};

impl Engine {
    pub(super) fn remove(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let path = self.path(reader.string()?)?;
        self.root.remove_file(&path)?;
        self.note(|on_host| Deed::Removed { path: on_host(&path) });
        answer::done(out, id);
        Ok(())
    }

    /// Never replaces (section 6.5): what has the new name stays.
    pub(super) fn rename(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (from, to) = (self.path(reader.string()?)?, self.path(reader.string()?)?);
        self.root.rename_new(&from, &to)?;
        self.note_renamed(&from, &to);
        answer::done(out, id);
        Ok(())
    }

    /// `posix-rename@openssh.com`: replaces in one step.
    pub(super) fn posix_rename(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (from, to) = (self.path(reader.string()?)?, self.path(reader.string()?)?);
        self.root.rename_over(&from, &to)?;
        self.note_renamed(&from, &to);
        answer::done(out, id);
        Ok(())
    }

    /// `hardlink@openssh.com`.
    pub(super) fn hardlink(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (from, to) = (self.path(reader.string()?)?, self.path(reader.string()?)?);
        self.root.hard_link(&from, &to)?;
        self.note(|on_host| Deed::MadeName { path: on_host(&to), of: on_host(&from) });
        answer::done(out, id);
        Ok(())
    }

    fn note_renamed(&mut self, from: &[u8], to: &[u8]) {
        self.note(|on_host| Deed::Renamed { path: on_host(from), to: on_host(to) });
    }

    pub(super) fn readlink(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let target = self.root.read_link(&self.path(reader.string()?)?)?;
        answer_name(id, &target, out);
        Ok(())
    }

    /// Mostly the target comes first, then the link: against the draft, but as OpenSSH does it (its PROTOCOL, section 4.1).
    pub(super) fn symlink(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (first, second) = (reader.string()?, reader.string()?);
        let (target, link) = match self.settings.links {
            LinkOrder::TargetFirst => (first, self.path(second)?),
            LinkOrder::LinkFirst => (second, self.path(first)?),
        };
        self.root.make_link(target, &link)?;
        self.note(|on_host| Deed::MadeLink { path: on_host(&link), target: PeerText::new(target) });
        answer::done(out, id);
        Ok(())
    }

    pub(super) fn realpath(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let real = self.root.real_path(&self.in_start(reader.string()?))?;
        answer_name(id, &real, out);
        Ok(())
    }

    /// `expand-path@openssh.com`: as REALPATH, with `~` and `~user` for the home directory; of others' nothing is told.
    pub(super) fn expand_path(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let path = reader.string()?;
        let path = match path.strip_prefix(b"~") {
            None => self.in_start(path),
            Some(rest) => beneath(&self.settings.home, self.after_tilde(rest).ok_or(Failure::OtherHome)?),
        };
        let real = self.root.real_path(&path)?;
        answer_name(id, &real, out);
        Ok(())
    }

    /// What follows `~` or `~user` and a slash, if that is this user.
    fn after_tilde<'p>(&self, rest: &'p [u8]) -> Option<&'p [u8]> {
        let (user, path) = rest.split_at(rest.iter().position(|b| *b == b'/').unwrap_or(rest.len()));
        (user.is_empty() || user == self.settings.user.as_bytes())
            .then(|| path.get(path.iter().take_while(|b| **b == b'/').count()..).unwrap_or_default())
    }

    /// `home-directory`: the start directory, for oneself.
    pub(super) fn home_directory(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let user = reader.string()?;
        if !user.is_empty() && user != self.settings.user.as_bytes() {
            return Err(Failure::OtherHome);
        }
        answer_name(id, &self.settings.home, out);
        Ok(())
    }
}

/// A NAME with one entry, whose attributes say nothing.
fn answer_name(id: u32, name: &[u8], out: &mut Vec<u8>) {
    answer::packet(out, codes::NAME, id, |out| {
        put_u32(out, 1);
        put_string(out, name);
        put_string(out, name);
        put_u32(out, 0);
    });
}
