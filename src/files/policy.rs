//! What the user's upload policy asks: names that cannot be made, permissions that are forced, sizes that are the most.
//!
//! It limits what a client can do through us, among files that are the account's anyway. Names are checked where they are
//! given to something, and where something is written by them; the name that counts is the one behind all links.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::partial;
use super::resolve::{At, Split, split};
use super::{Error, Reason, Root};
use crate::domain::{ByteCount, UploadPolicy};

/// Set-group-id: what is made in such a directory belongs to its group, and directories inherit the bit.
const SET_GID: u32 = 0o2000;

/// The bits of permissions that a client can ask for.
fn askable() -> u32 {
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::PlainModes) {
        return 0o7777;
    }
    0o777
}

/// The permissions that something gets when a client asks for `asked`; `has` is its `st_mode`. `None`: it keeps those it
/// has, because they are forced. A directory keeps the set-group-id bit, which no client can name, as with chmod(1).
pub(super) fn permissions(policy: &UploadPolicy, asked: u32, has: u32) -> Option<Mode> {
    let is_directory = FileType::from_raw_mode(has) == FileType::Directory;
    let is_forced = if is_directory { policy.directory_mode.is_some() } else { policy.file_mode.is_some() };
    let kept = if is_directory { has & SET_GID } else { 0 };
    (!is_forced).then(|| Mode::from_raw_mode(asked & askable() | kept))
}

/// Fails for a size beyond the most there may be.
pub(super) fn check_size(policy: &UploadPolicy, size: u64) -> Result<(), Error> {
    match policy.max_file_size.map(ByteCount::get) {
        Some(most) if size > most => Err(Error::new(Reason::OverMaximum)),
        _ => Ok(()),
    }
}

impl Root {
    /// Fails for a name that nothing may have.
    pub(super) fn check_name(&self, name: &[u8]) -> Result<(), Error> {
        let is_denied = self.policy.deny_names.matches(name) || partial::is_partial(name);
        if is_denied { Err(Error::new(Reason::DeniedName)) } else { Ok(()) }
    }

    /// Permissions of a new file for which a client asked for `asked`.
    pub(super) fn mode_of_new_file(&self, asked: u32) -> Mode {
        Mode::from_raw_mode(self.policy.file_mode.map_or(asked, |forced| forced.bits()) & askable())
    }

    /// Permissions of a new directory; with them, whether the set-group-id bit is to be added once it is there.
    pub(super) fn mode_of_new_directory(&self, asked: u32) -> (Mode, bool) {
        let mode = self.policy.directory_mode.map_or(asked & askable(), |forced| forced.bits());
        (Mode::from_raw_mode(mode & askable()), mode & SET_GID != 0)
    }

    /// Adds the set-group-id bit to a directory that was just made; making one does not set it.
    pub(super) fn add_set_gid(&self, at: &At) -> Result<(), Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&at.parent, at.name.as_c_str(), flags, Mode::empty())?;
        let mode = rustix::fs::fstat(&made)?.st_mode & 0o777 | SET_GID;
        match crate::sys::set_mode(&made, mode) {
            // Before Linux 6.6 a stand-in has no mode to set.
            Err(Errno::NOSYS) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(&at.parent, at.name.as_c_str(), flags, Mode::empty())?;
                Ok(rustix::fs::fchmod(made, Mode::from_raw_mode(mode))?)
            }
            done => Ok(done?),
        }
    }

    /// Whether names matter to what is written: then the one behind all links has to be known before.
    pub(super) fn minds_names(&self) -> bool {
        !self.policy.deny_names.is_empty()
    }

    /// The directory and the name of the file that a path leads to, also of one that is not there yet. Whoever opens it
    /// must not follow a link, so that the name that was looked at is the name that is used. `None` for a path that can
    /// only lead to a directory.
    pub(super) fn at_end(&self, path: &[u8]) -> Result<Option<At>, Error> {
        if path.ends_with(b"/") || matches!(split(path), Split::Nameless) {
            return Ok(None);
        }
        let at = self.at(path)?;
        match rustix::fs::statat(&at.parent, at.name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                let real = self.real_path(path)?;
                if matches!(split(&real), Split::Nameless) { Ok(None) } else { Ok(Some(self.at(&real)?)) }
            }
            _ => Ok(Some(at)),
        }
    }

    /// Opens a name in a directory and never a link.
    pub(super) fn open_at(&self, at: &At, flags: OFlags, mode: Mode) -> Result<OwnedFd, Error> {
        self.open_at_with(at, flags, mode, ResolveFlags::empty())
    }

    /// The same, with one more rule about what may be found there.
    pub(super) fn open_at_with(
        &self,
        at: &At,
        flags: OFlags,
        mode: Mode,
        rule: ResolveFlags,
    ) -> Result<OwnedFd, Error> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | rule;
        let opened =
            rustix::io::retry_on_intr(|| rustix::fs::openat2(&at.parent, at.name.as_c_str(), flags, mode, how));
        match opened {
            Ok(found) => {
                self.overlay.check_shown(&found)?;
                Ok(found)
            }
            // What is hidden is not there, rather than forbidden.
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::ISDIR | Errno::NOTDIR)
                if self.overlay.hides(at)? =>
            {
                Err(Error::new(Reason::NotFound))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Fails if an open file is not the one behind a path, or that one's name is denied.
    pub(super) fn check_opened(&self, file: impl AsFd, path: &[u8]) -> Result<(), Error> {
        let Some(at) = self.minds_names().then(|| self.at_end(path)).transpose()?.flatten() else { return Ok(()) };
        self.check_name(at.name.to_bytes())?;
        let (opened, named) =
            (rustix::fs::fstat(file)?, rustix::fs::statat(&at.parent, at.name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?);
        let is_same = (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino);
        if is_same { Ok(()) } else { Err(Error::new(Reason::Busy)) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::files::{Access, Change, Copied, Copy, Creation, Opening};

    const WRITE: Opening =
        Opening { access: Access::Write, creation: Creation::IfMissing, truncate: true, append: false, mode: 0o644 };

    struct Site {
        directory: tempfile::TempDir,
        root: Root,
    }

    fn site(policy: UploadPolicy) -> Site {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::open(directory.path()).expect("the root").under(&policy);
        Site { directory, root }
    }

    fn no_php() -> Site {
        site(UploadPolicy { deny_names: "*.php\n.htaccess".parse().expect("patterns"), ..UploadPolicy::default() })
    }

    impl Site {
        fn path(&self, name: &str) -> std::path::PathBuf {
            self.directory.path().join(name)
        }

        fn mode(&self, name: &str) -> u32 {
            std::fs::metadata(self.path(name)).expect("it is there").permissions().mode() & 0o7777
        }

        #[track_caller]
        fn denied<T>(&self, result: Result<T, Error>) {
            assert_eq!(result.err().expect("refused").reason, Reason::DeniedName);
        }
    }

    #[test]
    fn a_denied_name_is_given_to_nothing() {
        let site = no_php();
        let root = &site.root;
        root.open_file(b"a.txt", &WRITE).expect("an ordinary name").write_at(0, b"<?php").expect("written");
        for name in [&b"x.php"[..], b"X.PHP", b".HtAccess"] {
            site.denied(root.open_file(name, &WRITE));
            site.denied(root.rename_new(b"a.txt", name));
            site.denied(root.rename_over(b"a.txt", name));
            site.denied(root.hard_link(b"a.txt", name));
            site.denied(root.make_link(b"a.txt", name));
            site.denied(root.make_directory(name, 0o755));
        }
        assert_eq!(std::fs::read_dir(site.directory.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn what_has_a_denied_name_is_read_and_removed_but_not_written_by_any_other() {
        let site = no_php();
        let root = &site.root;
        for name in ["index.php", "old.php"] {
            std::fs::write(site.path(name), "<?php").expect("a file");
        }
        let read = Opening { access: Access::Read, creation: Creation::Never, truncate: false, ..WRITE };
        root.open_file(b"index.php", &read).expect("read");
        root.make_link(b"index.php", b"there.txt").expect("a link");
        root.make_link(b"new.php", b"dangling.txt").expect("a link to nothing");
        root.make_link(b"there.txt", b"twice.txt").expect("a link to a link");
        for name in [&b"index.php"[..], b"there.txt", b"dangling.txt", b"twice.txt"] {
            site.denied(root.open_file(name, &WRITE));
            site.denied(root.open_file(name, &Opening { creation: Creation::Never, truncate: false, ..WRITE }));
            if name != b"dangling.txt" {
                site.denied(root.change(name, &Change { size: Some(0), ..Change::default() }));
            }
        }
        site.denied(root.hard_link(b"index.php", b"second.txt"));
        assert_eq!(std::fs::read(site.path("index.php")).expect("still there"), b"<?php");
        root.rename_new(b"old.php", b"old.txt").expect("taken out of service");
        root.remove_file(b"index.php").expect("removed");
        assert!(!Path::exists(&site.path("new.php")));
    }

    #[test]
    fn forced_permissions_hold_at_making_and_later() {
        let site = site(UploadPolicy {
            file_mode: "0640".parse().ok(),
            directory_mode: "2750".parse().ok(),
            ..UploadPolicy::default()
        });
        site.root.open_file(b"a", &Opening { mode: 0o777, ..WRITE }).expect("a file");
        site.root.make_directory(b"d", 0o777).expect("a directory");
        assert_eq!((site.mode("a"), site.mode("d")), (0o640, 0o2750));
        for name in [&b"a"[..], b"d"] {
            site.root.change(name, &Change { mode: Some(0o777), ..Change::default() }).expect("taken and not done");
        }
        assert_eq!((site.mode("a"), site.mode("d")), (0o640, 0o2750));
    }

    #[test]
    fn a_directory_keeps_and_passes_on_its_set_group_id_bit() {
        let site = site(UploadPolicy::default());
        std::fs::set_permissions(site.directory.path(), std::fs::Permissions::from_mode(0o2775)).expect("a mode");
        site.root.make_directory(b"d", 0o755).expect("a directory");
        assert_eq!(site.mode("d"), 0o2755, "inherited");
        site.root.change(b"d", &Change { mode: Some(0o700), ..Change::default() }).expect("changed");
        assert_eq!(site.mode("d"), 0o2700, "kept");
        site.root.open_file(b"f", &WRITE).expect("a file");
        site.root.change(b"f", &Change { mode: Some(0o6755), ..Change::default() }).expect("changed");
        assert_eq!(site.mode("f"), 0o755, "files get neither bit");
    }

    #[test]
    fn nothing_is_written_beyond_the_largest_size() {
        let site = site(UploadPolicy { max_file_size: "10".parse().ok(), ..UploadPolicy::default() });
        let beyond = |result: Result<(), Error>| assert_eq!(result.expect_err("refused").reason, Reason::OverMaximum);
        let file = site.root.open_file(b"a", &WRITE).expect("a file");
        file.write_at(0, b"0123456789").expect("just as much");
        beyond(file.write_at(10, b"x"));
        beyond(file.write_at(u64::MAX, b"x"));
        beyond(file.change(&Change { size: Some(11), ..Change::default() }));
        beyond(site.root.change(b"a", &Change { size: Some(11), ..Change::default() }));
        let end = site.root.open_file(b"a", &Opening { append: true, truncate: false, ..WRITE }).expect("opened");
        beyond(end.write_at(0, b"x"));
        std::fs::write(site.path("large"), [0; 100]).expect("a large file");
        let read = Opening { access: Access::Read, creation: Creation::Never, truncate: false, ..WRITE };
        let large = site.root.open_file(b"large", &read).expect("opened");
        beyond(Copy::new(&large, 0, None, &file, 0).map(drop));
        beyond(Copy::new(&large, 0, Some(5), &file, 6).map(drop));
        let mut last = Copy::new(&large, 95, Some(5), &file, 5).expect("the last five bytes");
        assert_eq!(last.step(), Ok(Copied::All(5)));
        site.root.change(b"large", &Change { size: Some(50), ..Change::default() }).expect("smaller is no harm");
        assert_eq!(std::fs::metadata(site.path("a")).expect("it").len(), 10);
    }
}
