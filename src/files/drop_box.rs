//! Drop boxes: grants that take uploads and show nothing else.
//!
//! The kernel lets nothing in one be read or listed (Landlock), and this holds even for what the client itself wrote.
//! That others' files are not replaced, renamed or removed is for us to see to: the rights of the kernel tell "may
//! write" from "may read", but not one writer from another. What a login made is known by a mark on it ([`mark`]), and to
//! the connection that made it also by its inode and the moment it was made, so that a name which somebody else takes
//! over does not pass for it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::mark;
use super::resolve::{At, Last};
use super::{Access, Creation, Error, Opening, Reason, Root};

/// Names that one connection's uploads are known by. Beyond it the oldest are forgotten: they stay, as somebody's.
const MOST_NAMES: usize = 16 * 1024;

/// The drop boxes of a view, and what this connection has put into them.
#[derive(Debug)]
pub(super) struct DropBoxes {
    mounts: BTreeSet<u64>,
    login: String,
    own: Mutex<Own>,
}

/// Which file something is, for as long as it exists: device, inode, and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Identity {
    device: (u32, u32),
    inode: u64,
    made: (i64, u32),
}

/// What is known of one file.
struct Found {
    identity: Identity,
    mount: u64,
    kind: FileType,
}

fn look(directory: impl AsFd, name: &CStr, flags: AtFlags) -> Result<Found, Errno> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME | StatxFlags::MNT_ID;
    let stat = rustix::fs::statx(directory, name, flags | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, wanted)?;
    let identity = Identity {
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        made: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
    };
    Ok(Found { identity, mount: stat.stx_mnt_id, kind: FileType::from_raw_mode(stat.stx_mode.into()) })
}

fn look_at(file: impl AsFd) -> Result<Found, Error> {
    Ok(look(file, c"", AtFlags::EMPTY_PATH)?)
}

fn refused() -> Error {
    Error::new(Reason::UploadOnly)
}

impl DropBoxes {
    /// Those that are attached at `places` in a view.
    pub(super) fn at(root: &Root, places: &BTreeSet<String>, login: &str) -> Result<Option<DropBoxes>, Error> {
        #[cfg(feature = "weaken")]
        if crate::weaken::off(crate::weaken::Layer::DropBoxes) {
            return Ok(None);
        }
        let mut mounts = BTreeSet::new();
        for place in places {
            match root.stand_in(place.as_bytes(), Last::NotFollowed) {
                Ok(found) => drop(mounts.insert(look_at(found)?.mount)),
                // On the way to something hidden that is not there.
                Err(error) if error.reason == Reason::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok((!mounts.is_empty()).then(|| DropBoxes { mounts, login: login.to_owned(), own: Mutex::default() }))
    }

    /// Whether a file or directory lies in a drop box.
    pub(super) fn holds(&self, file: impl AsFd) -> Result<bool, Error> {
        Ok(self.mounts.contains(&look_at(file)?.mount))
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was just made as `name` in `directory`.
    fn note(&self, directory: impl AsFd, name: &CStr) -> Result<(), Error> {
        mark::set(&directory, name, &self.login)?;
        let (directory, found) = (look_at(&directory)?.identity, look(&directory, name, AtFlags::empty())?);
        self.own().note(directory, name.to_bytes().to_vec(), found.identity);
        Ok(())
    }

    /// Whether this login made what has a name.
    fn is_own(&self, at: &At, found: &Found) -> Result<bool, Error> {
        let is_known = self.own().contains(&found.identity);
        Ok(is_known || (found.kind != FileType::Symlink && mark::is_set(&at.parent, &at.name, &self.login)?))
    }

    /// What has a name in a drop box, if it may be acted on.
    fn find_own(&self, at: &At) -> Result<Identity, Error> {
        let found = look(&at.parent, &at.name, AtFlags::empty())?;
        match self.is_own(at, &found)? {
            true => Ok(found.identity),
            false if found.kind == FileType::Directory => Err(refused()),
            false => Err(Error::new(Reason::NotFound)),
        }
    }
}

impl Root {
    /// Fails for what lies in a drop box and was not put there by this login, before it is changed. `path` is what it was
    /// opened by.
    pub(super) fn check_own(&self, path: &[u8], file: impl AsFd) -> Result<(), Error> {
        let Some(boxes) = &self.overlay.drop_boxes else { return Ok(()) };
        let found = look_at(file)?;
        if !boxes.mounts.contains(&found.mount) || self.is_own_by(path, &found, boxes)? {
            return Ok(());
        }
        Err(refused())
    }

    /// The mark is read by name, so it counts only where the name leads to what was opened.
    fn is_own_by(&self, path: &[u8], found: &Found, boxes: &DropBoxes) -> Result<bool, Error> {
        if boxes.own().contains(&found.identity) {
            return Ok(true);
        }
        let Ok(at) = self.at(path) else { return Ok(false) };
        let is_same = look(&at.parent, &at.name, AtFlags::empty())?.identity == found.identity;
        Ok(is_same && boxes.is_own(&at, found)?)
    }

    /// Fails for a file of somebody else in a drop box, before it is looked at. Directories may be: clients look where
    /// they are before they upload.
    pub(super) fn check_visible(&self, path: &[u8], file: impl AsFd) -> Result<(), Error> {
        let Some(boxes) = &self.overlay.drop_boxes else { return Ok(()) };
        let found = look_at(file)?;
        let is_visible = !boxes.mounts.contains(&found.mount)
            || found.kind == FileType::Directory
            || self.is_own_by(path, &found, boxes)?;
        if is_visible { Ok(()) } else { Err(Error::new(Reason::NotFound)) }
    }

    /// Fails for a name in a drop box behind which is nothing of this login's, before it is removed or renamed. `None`
    /// where that does not matter.
    pub(super) fn check_own_name(&self, at: &At) -> Result<Option<Identity>, Error> {
        match &self.overlay.drop_boxes {
            Some(boxes) if boxes.holds(&at.parent)? => Ok(Some(boxes.find_own(at)?)),
            _ => Ok(None),
        }
    }

    /// Remembers the new name of what [`Root::check_own_name`] has found. It is not looked at again: by now somebody else's
    /// may have that name, if another connection of this login took the renamed one away at once.
    pub(super) fn note_renamed(&self, found: Option<Identity>, to: &At) -> Result<(), Error> {
        if let (Some(boxes), Some(found)) = (&self.overlay.drop_boxes, found) {
            let directory = look_at(&to.parent)?.identity;
            boxes.own().note(directory, to.name.to_bytes().to_vec(), found);
        }
        Ok(())
    }

    /// Fails in a drop box: links of both kinds can be used to reach what others put there.
    pub(super) fn check_takes_links(&self, directory: impl AsFd) -> Result<(), Error> {
        match &self.overlay.drop_boxes {
            Some(boxes) if boxes.holds(directory)? => Err(refused()),
            _ => Ok(()),
        }
    }

    /// Whether what has a name already must stay: always in a drop box, unless this login put it there.
    pub(super) fn keeps(&self, at: &At) -> Result<bool, Error> {
        match &self.overlay.drop_boxes {
            Some(boxes) if boxes.holds(&at.parent)? => Ok(boxes.find_own(at).is_err()),
            _ => Ok(false),
        }
    }

    /// Remembers what this connection made, where that matters.
    pub(super) fn note_own(&self, at: &At) -> Result<(), Error> {
        match &self.overlay.drop_boxes {
            Some(boxes) if boxes.holds(&at.parent)? => boxes.note(&at.parent, &at.name),
            _ => Ok(()),
        }
    }

    /// Names of this connection's own in a drop box; `None` for other directories.
    pub(super) fn own_names(&self, directory: impl AsFd) -> Result<Option<BTreeSet<Vec<u8>>>, Error> {
        let Some(boxes) = &self.overlay.drop_boxes else { return Ok(None) };
        let found = look_at(&directory)?;
        if !boxes.mounts.contains(&found.mount) {
            return Ok(None);
        }
        let noted = boxes.own().names_in(&found.identity);
        let is_there = |(name, identity): &(Vec<u8>, Identity)| {
            let name = std::ffi::CString::new(name.as_slice()).unwrap_or_default();
            look(&directory, &name, AtFlags::empty()).is_ok_and(|found| found.identity == *identity)
        };
        Ok(Some(noted.into_iter().filter(is_there).map(|(name, _)| name).collect()))
    }

    /// Opens a file in a view with drop boxes: nothing is cut before it is known whose it is, and nothing is made
    /// through a link.
    pub(super) fn open_carefully(&self, path: &[u8], how: &Opening, boxes: &DropBoxes) -> Result<OwnedFd, Error> {
        if how.creation != Creation::Always {
            match self.open_own(path, how, boxes) {
                Err(error) if error.reason == Reason::NotFound && how.creation == Creation::IfMissing => {}
                done => return done,
            }
        }
        let at = self.at(path)?;
        let access = if boxes.holds(&at.parent)? { Access::Write } else { how.access };
        let flags = access.flags() | how.append_flag() | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = self.mode_of_new_file(how.mode);
        let new = rustix::fs::openat2(
            &at.parent,
            at.name.as_c_str(),
            flags | OFlags::CLOEXEC | OFlags::NOCTTY,
            mode,
            ResolveFlags::BENEATH,
        );
        match new {
            // It was not there for us a moment ago, so it is somebody else's.
            Err(Errno::EXIST) if self.keeps(&at)? && how.creation == Creation::IfMissing => Err(refused()),
            Err(errno) => Err(errno.into()),
            Ok(file) => {
                self.note_own(&at)?;
                Ok(file)
            }
        }
    }

    fn open_own(&self, path: &[u8], how: &Opening, boxes: &DropBoxes) -> Result<OwnedFd, Error> {
        let open = |access: Access| {
            let flags = access.flags() | how.append_flag() | OFlags::NONBLOCK | OFlags::NOCTTY;
            self.follow(path, flags, Mode::empty())
        };
        let file = match open(how.access) {
            Err(error)
                if error.reason == Reason::Permission && boxes.holds(self.stand_in(path, Last::Followed)?)? =>
            {
                // Who wants to read what it writes may still write; sshfs and others ask for both out of habit.
                if how.access != Access::Both {
                    return Err(refused());
                }
                open(Access::Write)?
            }
            opened => opened?,
        };
        self.check_own(path, &file)?;
        if how.access == Access::Read && boxes.holds(&file)? {
            return Err(refused());
        }
        if how.truncate {
            rustix::fs::ftruncate(&file, 0)?;
        }
        Ok(file)
    }
}

/// What a connection has put into drop boxes.
#[derive(Debug, Default)]
struct Own {
    /// In the order in which the names were given; a file that was renamed has several, of which one is true.
    names: VecDeque<(Identity, Vec<u8>, Identity)>,
    /// How many of the names each file has.
    files: HashMap<Identity, usize>,
}

impl Own {
    fn note(&mut self, directory: Identity, name: Vec<u8>, file: Identity) {
        if self.names.len() == MOST_NAMES
            && let Some((_, _, oldest)) = self.names.pop_front()
            && let Some(left) = self.files.get_mut(&oldest)
        {
            *left -= 1;
            if *left == 0 {
                self.files.remove(&oldest);
            }
        }
        self.names.push_back((directory, name, file));
        *self.files.entry(file).or_default() += 1;
    }

    fn contains(&self, file: &Identity) -> bool {
        self.files.contains_key(file)
    }

    fn names_in(&self, directory: &Identity) -> Vec<(Vec<u8>, Identity)> {
        let here = self.names.iter().filter(|(at, _, _)| at == directory);
        here.map(|(_, name, file)| (name.clone(), *file)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(inode: u64) -> Identity {
        Identity { device: (0, 1), inode, made: (0, 0) }
    }

    #[test]
    fn the_oldest_names_are_forgotten_first_and_a_new_name_keeps_a_file() {
        let mut own = Own::default();
        own.note(identity(1), b"a".to_vec(), identity(10));
        own.note(identity(1), b"b".to_vec(), identity(11));
        for number in 0..MOST_NAMES as u64 - 2 {
            own.note(identity(1), b"x".to_vec(), identity(100 + number));
        }
        // "a" is renamed, which gives it a younger name, and pushes out its own first one.
        own.note(identity(1), b"c".to_vec(), identity(10));
        assert!(own.contains(&identity(10)) && own.contains(&identity(11)));
        own.note(identity(1), b"d".to_vec(), identity(12));
        assert!(own.contains(&identity(10)) && !own.contains(&identity(11)));
        assert_eq!((own.names.len(), own.names_in(&identity(2)).len()), (MOST_NAMES, 0));
    }
}
