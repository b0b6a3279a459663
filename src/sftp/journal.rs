//! What a client changes, told to whoever keeps a journal of it. Nothing waits for that.

use std::fmt;

use super::engine::Engine;
use super::handles::{Changing, Handle, Handles};
use crate::domain::{Deed, PeerText};
use crate::files::{Access, Birth, Creation, File, Instant, Opening};

/// Keeps a journal of what is changed.
pub trait Journal: fmt::Debug + Send {
    /// A path of the view, as the journal has it.
    fn path(&self, path: &[u8]) -> PeerText;
    /// Something was changed.
    fn note(&mut self, deed: Deed);
}

impl Engine {
    /// The same, with a journal of what is changed on the channel.
    #[must_use]
    pub fn noting(mut self, journal: Box<dyn Journal>) -> Engine {
        self.journal = Some(journal);
        self
    }

    /// Notes what was changed, if a journal is kept.
    pub(super) fn note(&mut self, deed: impl FnOnce(&dyn Fn(&[u8]) -> PeerText) -> Deed) {
        if let Some(journal) = &mut self.journal {
            let deed = deed(&|path| journal.path(path));
            journal.note(deed);
        }
    }

    /// What will have to be noted of a file that is opened; nothing for one that is only read.
    pub(super) fn changing(
        &mut self,
        path: &[u8],
        how: &Opening,
        file: &File,
        before: Instant,
    ) -> Option<Box<Changing>> {
        let path = self.journal.as_ref()?.path(path);
        if how.access == Access::Read && !how.truncate && how.creation == Creation::Never {
            return None;
        }
        let made = match how.creation {
            Creation::Never => Some(false),
            // It gets its name later, and may replace what is there.
            _ if file.is_uploading() => None,
            creation => {
                let is_new = file.birth().map(|birth| self.newborn.is_new(birth, before));
                if creation == Creation::Always { Some(true) } else { is_new }
            }
        };
        Some(Box::new(Changing { path, made, is_cut: how.truncate, written: 0 }))
    }

    /// Notes what became of a file that was closed.
    pub(super) fn note_closed(&mut self, changing: Option<Box<Changing>>, closed: bool) {
        if let (Some(changing), Some(journal)) = (changing, &mut self.journal)
            && let Some(deed) = changing.deed(closed)
        {
            journal.note(deed);
        }
    }
}

/// Files that were made on this channel while the clock of the filesystem stood still.
#[derive(Debug, Default)]
pub(super) struct Newborn {
    files: Vec<Birth>,
}

impl Newborn {
    /// Whether a file was made since then, and not by an earlier opening at the same moment of that clock.
    fn is_new(&mut self, birth: Birth, then: Instant) -> bool {
        self.files.retain(|known| known.at == birth.at);
        let is_new = birth.at >= then && !self.files.contains(&birth);
        if is_new {
            self.files.push(birth);
        }
        is_new
    }
}

impl Changing {
    fn deed(self, closed: bool) -> Option<Deed> {
        let Changing { path, made, is_cut, written } = self;
        let is_changed = written > 0 || is_cut || made == Some(true);
        is_changed.then_some(Deed::Wrote { path, bytes: written, made, closed })
    }
}

/// Files that the client did not close were changed all the same, but for uploads, which are not put in place.
impl Drop for Engine {
    fn drop(&mut self) {
        if self.journal.is_none() {
            return;
        }
        for handle in std::mem::take(&mut self.handles).into_all() {
            if let Handle::File(file, changing) = handle
                && !file.is_uploading()
            {
                self.note_closed(changing, false);
            }
        }
    }
}

impl Handles {
    fn into_all(self) -> impl Iterator<Item = Handle> {
        self.into_places().into_iter().flatten().map(|(_, handle)| handle)
    }
}
