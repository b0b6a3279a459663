//! Whether grants that lie in other grants are still where they were attached.
//!
//! A mount hangs on a file, not on its name. When the account's own programs put something else under the name of a part
//! that is read-only or hidden (an editor saves `.env` by a rename, a deploy swaps `config`), the kernel lifts the mount
//! off with the old file, and the new one would be open to a live session. So before and after everything that is done
//! by name it is looked whether each part is still in its place. It does not come back by itself: from then on nothing
//! more is done, and the next login attaches what is there then.
//!
//! A view is opened some time after it was attached: with the first channel, which a client may ask for whenever it likes.
//! So what lies at a place then must be a mount too, or nothing.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Mode, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::resolve::c_string;
use super::{Error, Reason, Root};
use crate::domain::Layout;

/// All places where one grant lies in another, and what leads there.
#[derive(Debug, Default)]
pub(super) struct Parts {
    places: Vec<Place>,
    /// The mounts whose roots parts lie in, or what leads to them.
    around: BTreeSet<u64>,
}

/// Where a part lies, and what was found there when the view was opened.
#[derive(Debug)]
struct Place {
    path: CString,
    lies: Lies,
}

/// What lies at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lies {
    /// A mount, by its number.
    Mount(u64),
    /// A directory or a link that nothing is mounted on.
    Bare,
    /// Anything else that nothing is mounted on. In it there can be nothing.
    Leaf,
    /// Nothing.
    Nothing,
}

impl Parts {
    pub(super) fn of(root: &Root, layout: &Layout) -> Result<Parts, Error> {
        let mut places: Vec<Place> = Vec::new();
        let mut around = BTreeSet::new();
        for path in paths(layout) {
            let is_part = layout.placed.iter().any(|placed| placed.at == path);
            let outer = path.rsplit_once('/').map_or(".", |(outer, _)| outer);
            if let Lies::Mount(number) = look(root, &c_string(outer.as_bytes())?)? {
                around.insert(number);
            }
            let path = c_string(path.as_bytes())?;
            let lies = look(root, &path)?;
            // It was exchanged, or came, after the view was attached. A file may be on the way to what is not there.
            if lies == Lies::Bare || lies == Lies::Leaf && is_part {
                return Err(Error::new(Reason::Replaced));
            }
            places.push(Place { path, lies });
        }
        Ok(Parts { places, around })
    }
}

impl Root {
    /// Fails if nobody could enter a directory any more that leads to a part: the rights of the part could then be neither
    /// seen nor attached, so this login would shut itself and others out.
    pub(super) fn check_stays_open(&self, directory: impl AsFd, mode: Mode) -> Result<(), Error> {
        let Parts { around, .. } = &self.overlay.parts;
        if around.is_empty() || mode.contains(Mode::XUSR) {
            return Ok(());
        }
        match lies(statx(directory, c"", AtFlags::EMPTY_PATH)?) {
            Lies::Mount(number) if around.contains(&number) => Err(Error::new(Reason::LeadsToPart)),
            _ => Ok(()),
        }
    }
}

impl Root {
    /// Whether every part of a grant is where it was. Once it is not, it never is again.
    pub fn is_in_place(&self) -> bool {
        let is_there = |place: &Place| look(self, &place.path).is_ok_and(|lies| lies == place.lies);
        self.overlay.parts.places.iter().all(is_there)
    }
}

/// What lies at a path of which every component is a mount, or nothing.
fn look(root: &Root, path: &CStr) -> Result<Lies, Error> {
    match statx(root, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
        Ok(found) => Ok(lies(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(Lies::Nothing),
        Err(errno) => Err(errno.into()),
    }
}

fn statx(at: impl AsFd, path: &CStr, flags: AtFlags) -> Result<Statx, Errno> {
    rustix::fs::statx(at, path, flags, StatxFlags::TYPE | StatxFlags::MNT_ID)
}

fn lies(found: Statx) -> Lies {
    if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Lies::Mount(found.stx_mnt_id);
    }
    match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::Directory | FileType::Symlink => Lies::Bare,
        _ => Lies::Leaf,
    }
}

/// The places of nested grants with those on the way to them, each after the ones that it lies in.
fn paths(layout: &Layout) -> Vec<String> {
    let parts = |at: &str| at.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let tops: Vec<Vec<String>> = layout.placed.iter().filter(|p| !p.nested).map(|p| parts(&p.at)).collect();
    let mut paths = BTreeSet::new();
    for nested in layout.placed.iter().filter(|p| p.nested) {
        let at = parts(&nested.at);
        let top = tops.iter().filter(|top| at.starts_with(top)).map(Vec::len).max().unwrap_or(0);
        paths.extend((top + 1..=at.len()).filter_map(|end| at.get(..end)).map(<[String]>::to_vec));
    }
    paths.into_iter().map(|path| path.join("/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Grant, GrantId, Mode, View};

    #[test]
    fn what_leads_to_a_part_is_looked_at_first() {
        let grant =
            |path: &str, mode| Grant { id: GrantId(1), path: path.parse().expect("a path"), mode, no_exec: false };
        let grants = [grant("www", Mode::Rw), grant("www/a/b/secret", Mode::Hidden), grant("www/a/c", Mode::Ro)];
        let layout = |view| Layout::of(view, &"/srv/acme".parse().expect("a path"), &grants).expect("a view");
        assert_eq!(paths(&layout(View::Rooted)), ["a", "a/b", "a/b/secret", "a/c"]);
        let host = ["srv/acme/www/a", "srv/acme/www/a/b", "srv/acme/www/a/b/secret", "srv/acme/www/a/c"];
        assert_eq!(paths(&layout(View::Host)), host);
        let alone = Layout::of(View::Rooted, &"/srv/acme".parse().expect("a path"), &grants[..1]).expect("a view");
        assert!(paths(&alone).is_empty());
    }
}
