//! What a home begins with: a copy of the host's `/etc/skel`, as useradd(8) makes it. Runs in: the user's own process, before it
//! becomes a shell; what it cannot read or write its user could not.

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// Shown in cells as it is on the host.
const SKEL: &str = "/etc/skel";
/// How long a shell waits for another that fills the same home, and how often it looks.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Copies the host's first files into a home in which there is nothing at all yet, as far as they can be. Of several shells that
/// begin at the same moment one does, and the others wait for it. The error is the first of those there were.
pub(super) fn fill(home: &str) -> io::Result<()> {
    let (from, to) = (Path::new(SKEL), Path::new(home));
    if !from.is_dir() {
        return Ok(());
    }
    let directory = fs::File::open(to)?;
    if !is_empty(to)? {
        // Somebody else may be about to fill it.
        return wait_for(&directory, FlockOperation::NonBlockingLockShared).map(drop);
    }
    // Whoever holds it for longer is no shell that fills a home; the files can be copied by hand.
    if wait_for(&directory, FlockOperation::NonBlockingLockExclusive)? && is_empty(to)? {
        return copy(from, to);
    }
    Ok(())
}

fn is_empty(directory: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(directory)?.next().is_none())
}

/// Takes a lock; says whether it could be had in good time.
fn wait_for(directory: &fs::File, lock: FlockOperation) -> io::Result<bool> {
    for _ in 0..LOOKS {
        match rustix::fs::flock(directory, lock) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => sleep(PAUSE),
            // A filesystem without locks.
            Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(false)
}

/// Files, directories and links, with their permissions; nothing else can be a first file. One that cannot be copied keeps no
/// other away.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut whole = Ok(());
    for entry in fs::read_dir(from)? {
        let copied = entry.and_then(|entry| copy_one(&entry, &to.join(entry.file_name())));
        whole = whole.and(copied);
    }
    whole
}

fn copy_one(entry: &fs::DirEntry, new: &Path) -> io::Result<()> {
    let kind = entry.file_type()?;
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(entry.path())?, new)?;
    } else if kind.is_dir() {
        fs::create_dir(new)?;
        let inner = copy(&entry.path(), new);
        fs::set_permissions(new, entry.metadata()?.permissions())?;
        inner?;
    } else if kind.is_file() {
        // New, so that no link that another process of the account puts there is followed.
        let mode = entry.metadata()?.permissions().mode() & 0o777;
        let mut old = fs::File::open(entry.path())?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(new)?;
        io::copy(&mut old, &mut file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_copied_with_its_permissions() {
        let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let mode = |at: &str| fs::metadata(to.path().join(at)).expect("it is there").permissions().mode() & 0o777;
        fs::create_dir(from.path().join("bin")).expect("a directory");
        fs::write(from.path().join("bin/tool"), "text").expect("a file");
        fs::set_permissions(from.path().join("bin/tool"), PermissionsExt::from_mode(0o750)).expect("its mode");
        fs::set_permissions(from.path().join("bin"), PermissionsExt::from_mode(0o500)).expect("its mode");
        std::os::unix::fs::symlink("bin/tool", from.path().join("link")).expect("a link");
        copy(from.path(), to.path()).expect("copied");
        assert_eq!((mode("bin"), mode("bin/tool"), mode("link")), (0o500, 0o750, 0o750));
        assert_eq!(fs::read_link(to.path().join("link")).expect("a link"), Path::new("bin/tool"));
    }

    #[test]
    fn what_cannot_be_copied_keeps_nothing_else_away() {
        let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        for name in ["a", "b", "c"] {
            fs::create_dir(from.path().join(name)).expect("a directory");
            fs::write(from.path().join(name).join("file"), name).expect("a file");
        }
        fs::write(to.path().join("b"), "in the way").expect("a file");
        let failed = copy(from.path(), to.path()).expect_err("one cannot be copied");
        assert_eq!(failed.kind(), io::ErrorKind::AlreadyExists);
        assert!(["a", "c"].iter().all(|name| to.path().join(name).join("file").is_file()));
        assert_eq!(fs::read(to.path().join("b")).expect("a file"), b"in the way");
    }

    #[test]
    fn who_comes_while_a_home_is_filled_waits_for_it() {
        let home = tempfile::tempdir().expect("a directory");
        let (one, other) = [(); 2].map(|()| fs::File::open(home.path()).expect("a directory")).into();
        assert!(wait_for(&one, FlockOperation::NonBlockingLockExclusive).expect("an answer"));
        let waits = std::thread::spawn(move || wait_for(&other, FlockOperation::NonBlockingLockShared));
        sleep(3 * PAUSE);
        assert!(!waits.is_finished(), "it does not wait");
        drop(one);
        assert!(waits.join().expect("a thread").expect("an answer"));
    }
}
