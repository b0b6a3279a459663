//! What a home begins with: a copy of the host's `/etc/skel`, as useradd(8) makes it. Runs in: the user's own process, before it
//! becomes a shell; what it cannot read or write its user could not.

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Shown in cells as it is on the host.
const SKEL: &str = "/etc/skel";

/// Copies the host's first files into a home in which there is nothing at all yet.
pub(super) fn fill(home: &str) -> io::Result<()> {
    let (from, to) = (Path::new(SKEL), Path::new(home));
    if !from.is_dir() || fs::read_dir(to)?.next().is_some() {
        return Ok(());
    }
    copy(from, to)
}

/// Files, directories and links, with their permissions; nothing else can be a first file.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, new) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, new)?;
        } else if kind.is_dir() {
            fs::create_dir(&new)?;
            copy(&entry.path(), &new)?;
            fs::set_permissions(&new, entry.metadata()?.permissions())?;
        } else if kind.is_file() {
            // New, so that no link that another process of the account puts there is followed.
            let mode = entry.metadata()?.permissions().mode() & 0o777;
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(new)?;
            io::copy(&mut fs::File::open(entry.path())?, &mut file)?;
        }
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
}
