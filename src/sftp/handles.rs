//! The table of open files and listings. A handle is a place in it and the number of its opening, so one that was closed
//! is never taken for another.

use super::failure::Failure;
use crate::domain::PeerText;
use crate::files::{File, Listing};

/// What a handle stands for.
#[derive(Debug)]
pub(super) enum Handle {
    /// An open file, and what will have to be noted of it.
    File(File, Option<Box<Changing>>),
    /// An open directory.
    Directory(Listing),
}

/// What a client does to a file while it has it open.
#[derive(Debug)]
pub(super) struct Changing {
    /// Its path when it was opened, as the journal has it.
    pub(super) path: PeerText,
    /// Whether it was made by being opened.
    pub(super) made: Option<bool>,
    /// Whether it lost what was in it.
    pub(super) is_cut: bool,
    /// How many bytes were written to it.
    pub(super) written: u64,
}

/// All handles of one channel.
#[derive(Debug, Default)]
pub(super) struct Handles {
    places: Vec<Option<(u32, Handle)>>,
    opened: u32,
}

impl Handles {
    /// Most that may be open; a session's limit on descriptors lies above it.
    pub(super) const MOST: usize = 1000;

    /// Finds a place, and says by what bytes it is known.
    pub(super) fn add(&mut self, handle: Handle) -> Result<[u8; 8], Failure> {
        let free = self.places.iter().position(Option::is_none);
        let place = match free {
            Some(place) => place,
            None if self.places.len() < Self::MOST => {
                self.places.push(None);
                self.places.len() - 1
            }
            None => return Err(Failure::TooManyHandles),
        };
        self.opened = self.opened.wrapping_add(1);
        if let Some(slot) = self.places.get_mut(place) {
            *slot = Some((self.opened, handle));
        }
        Ok(name(u32::try_from(place).unwrap_or(u32::MAX), self.opened))
    }

    fn place(&mut self, handle: &[u8]) -> Result<&mut Option<(u32, Handle)>, Failure> {
        let (place, opened) = parse(handle).ok_or(Failure::BadHandle)?;
        let slot = usize::try_from(place).ok().and_then(|p| self.places.get_mut(p));
        slot.filter(|s| s.as_ref().is_some_and(|(o, _)| *o == opened)).ok_or(Failure::BadHandle)
    }

    /// The handle of that name.
    pub(super) fn get(&mut self, handle: &[u8]) -> Result<&mut Handle, Failure> {
        match self.place(handle)? {
            Some((_, handle)) => Ok(handle),
            None => Err(Failure::BadHandle),
        }
    }

    /// The open file of that name.
    pub(super) fn file(&mut self, handle: &[u8]) -> Result<&File, Failure> {
        match self.get(handle)? {
            Handle::File(file, _) => Ok(file),
            Handle::Directory(_) => Err(Failure::BadHandle),
        }
    }

    /// The same, with what will have to be noted of it.
    pub(super) fn changing(&mut self, handle: &[u8]) -> Result<(&File, Option<&mut Changing>), Failure> {
        match self.get(handle)? {
            Handle::File(file, changing) => Ok((file, changing.as_deref_mut())),
            Handle::Directory(_) => Err(Failure::BadHandle),
        }
    }

    /// The open directory of that name.
    pub(super) fn directory(&mut self, handle: &[u8]) -> Result<&mut Listing, Failure> {
        match self.get(handle)? {
            Handle::Directory(listing) => Ok(listing),
            Handle::File(..) => Err(Failure::BadHandle),
        }
    }

    /// Takes it out of the table.
    pub(super) fn take(&mut self, handle: &[u8]) -> Result<Handle, Failure> {
        self.place(handle)?.take().map(|(_, handle)| handle).ok_or(Failure::BadHandle)
    }

    /// All places, those that are empty among them.
    pub(super) fn into_places(self) -> Vec<Option<(u32, Handle)>> {
        self.places
    }
}

fn name(place: u32, opened: u32) -> [u8; 8] {
    (u64::from(place) << 32 | u64::from(opened)).to_be_bytes()
}

fn parse(handle: &[u8]) -> Option<(u32, u32)> {
    let word = u64::from_be_bytes(handle.try_into().ok()?);
    Some(((word >> 32) as u32, (word & u64::from(u32::MAX)) as u32))
}
