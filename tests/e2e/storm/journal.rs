//! What the server has said of each file, and whether it is true on disk.
//!
//! Whatever is in a file follows from a number and a length, so nothing of it has to be kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::harness::Numbers;

/// What a file holds: so many bytes that follow from a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) seed: u64,
    pub(super) length: usize,
}

impl Text {
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut numbers = Numbers::new(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = Vec::with_capacity(self.length + 8);
        while bytes.len() < self.length {
            bytes.extend(numbers.next().to_le_bytes());
        }
        bytes.truncate(self.length);
        bytes
    }

    /// The same from its beginning up to here.
    pub(super) fn up_to(self, length: usize) -> Text {
        Text { length, ..self }
    }
}

/// How a file's name came to its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Written in place: what was synced is its beginning, and more may follow.
    InPlace,
    /// At once: it is one whole version.
    Whole,
}

/// What was said of one file.
#[derive(Debug, Clone, Default)]
struct Promised {
    /// What it was acknowledged to hold.
    said: Option<Text>,
    /// What it may hold instead: asked for, and not answered.
    or_else: Vec<Text>,
    /// It may have been removed.
    may_be_gone: bool,
}

/// The files of one directory.
#[derive(Debug)]
pub(super) struct Journal {
    place: PathBuf,
    way: Way,
    files: BTreeMap<String, Promised>,
    /// Names that were not looked at since something was said of them.
    unseen: BTreeSet<String>,
    /// How often something was acknowledged.
    pub(super) acknowledged: u64,
}

impl Journal {
    pub(super) fn new(place: PathBuf, way: Way) -> Journal {
        Journal { place, way, files: BTreeMap::new(), unseen: BTreeSet::new(), acknowledged: 0 }
    }

    /// The server is about to be asked to make it so.
    pub(super) fn asked(&mut self, name: &str, text: Text) {
        self.files.entry(name.to_owned()).or_default().or_else.push(text);
    }

    /// The server has said that it is so.
    pub(super) fn acknowledged(&mut self, name: &str, text: Text) {
        self.files.insert(name.to_owned(), Promised { said: Some(text), ..Promised::default() });
        self.unseen.insert(name.to_owned());
        self.acknowledged += 1;
    }

    /// The server is about to be asked to remove it.
    pub(super) fn asked_to_remove(&mut self, name: &str) {
        self.files.entry(name.to_owned()).or_default().may_be_gone = true;
    }

    /// The server has said that it is removed.
    pub(super) fn removed(&mut self, name: &str) {
        self.files.remove(name);
        self.unseen.remove(name);
    }

    /// What is not so among all that was said since the last look.
    pub(super) fn look(&mut self) -> Vec<String> {
        let names = std::mem::take(&mut self.unseen);
        names.iter().filter_map(|name| self.broken(name)).collect()
    }

    /// What is not so of all of it, and names that nobody asked for.
    pub(super) fn look_at_all(&self) -> Vec<String> {
        let strange = fs::read_dir(&self.place).expect("the directory").filter_map(|entry| {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            let is_known = self.files.contains_key(&name) || name.starts_with(".ht-enclos-upload.");
            (!is_known).then(|| format!("{name} is there, which was never asked for or was removed"))
        });
        self.files.keys().filter_map(|name| self.broken(name)).chain(strange).collect()
    }

    fn broken(&self, name: &str) -> Option<String> {
        let promised = self.files.get(name)?;
        let found = match fs::read(self.place.join(name)) {
            Ok(found) => found,
            Err(error) => {
                let may_be_away = promised.said.is_none() || promised.may_be_gone;
                let is_away = error.kind() == std::io::ErrorKind::NotFound;
                return (!may_be_away || !is_away).then(|| format!("{name}: {error}, and {promised:?} was said"));
            }
        };
        let mut possible = promised.said.iter().chain(&promised.or_else);
        let is_anything = self.way == Way::InPlace && promised.said.is_none();
        let is_true = is_anything || possible.any(|text| self.holds(&found, *text));
        (!is_true).then(|| format!("{name}: {} other bytes than {promised:?} says", found.len()))
    }

    fn holds(&self, found: &[u8], text: Text) -> bool {
        let is_long_enough = match self.way {
            Way::InPlace => found.len() >= text.length,
            Way::Whole => found.len() == text.length,
        };
        is_long_enough && found[..text.length] == text.bytes()
    }
}
