//! The table of open files and listings. A handle is a place in it and the number of its opening, so one that was closed
//! is never taken for another.

use super::failure::Failure;
use crate::files::{File, Listing};

/// What a handle stands for.
#[derive(Debug)]
pub(super) enum Handle {
    /// An open file.
    File(File),
    /// An open directory.
    Directory(Listing),
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
            Handle::File(file) => Ok(file),
            Handle::Directory(_) => Err(Failure::BadHandle),
        }
    }

    /// The open directory of that name.
    pub(super) fn directory(&mut self, handle: &[u8]) -> Result<&mut Listing, Failure> {
        match self.get(handle)? {
            Handle::Directory(listing) => Ok(listing),
            Handle::File(_) => Err(Failure::BadHandle),
        }
    }

    /// Closes it. It is gone whatever comes of that.
    pub(super) fn close(&mut self, handle: &[u8]) -> Result<(), Failure> {
        match self.place(handle)?.take() {
            Some((_, Handle::File(file))) => Ok(file.close()?),
            _ => Ok(()),
        }
    }
}

fn name(place: u32, opened: u32) -> [u8; 8] {
    (u64::from(place) << 32 | u64::from(opened)).to_be_bytes()
}

fn parse(handle: &[u8]) -> Option<(u32, u32)> {
    let word = u64::from_be_bytes(handle.try_into().ok()?);
    Some(((word >> 32) as u32, (word & u64::from(u32::MAX)) as u32))
}
