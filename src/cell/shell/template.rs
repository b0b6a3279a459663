//! The template of shell cells: everything that all of them share, mounted once. A cell takes these mounts over into a
//! root of its own; being forked it has copies of them.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode as Bits, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount, open_tree, unmount,
};
use rustix::thread::UnshareFlags;

use super::host::{DEVICE_LINKS, DEVICES, ETC_DIRECTORIES, ETC_FILES, LARGEST_ETC_FILE, OWN_SETTINGS, PROGRAMS};
use super::small::{attach_at, directory, file, link, small_filesystem};
use crate::cell::error::{Context, Error};
use crate::sys::{self, MountAttr};

/// Where the shared mounts lie in the template.
pub(super) const SHARED: &str = "/shared";
/// Where a cell puts its root together, in its own copy of the template.
pub(super) const BUILD: &str = "/build";

/// What the template holds, by its names in a cell's root.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    /// Mounts beneath [`SHARED`].
    pub mounts: Vec<String>,
    /// Links of the host's root, and where they lead.
    pub links: Vec<(String, Vec<u8>)>,
}

impl Contents {
    /// Directories that everybody may read and run programs from.
    pub(super) fn readable(&self) -> impl Iterator<Item = String> {
        self.mounts.iter().filter(|name| *name != "dev").map(|name| format!("/{name}"))
    }
}

/// What can be told of the host's settings without reading them: which files they are, how long, and when each was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(Vec<Option<Setting>>);

/// One file, wherever it leads. Of a directory, of which cells have a view, it only matters which it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Setting {
    file: (u64, u64),
    length: i64,
    /// When its content or its mode was, in seconds and nanoseconds.
    changed: (i64, u64),
}

impl Settings {
    /// As they are now.
    pub fn now() -> Settings {
        let of = |name: &&str| {
            let stat = rustix::fs::stat(format!("/etc/{name}")).ok()?;
            let (file, length) = ((stat.st_dev, stat.st_ino), stat.st_size);
            Some(Setting { file, length, changed: (stat.st_ctime, stat.st_ctime_nsec) })
        };
        let of_directory = |name: &&str| {
            let stat = rustix::fs::lstat(format!("/etc/{name}")).ok()?;
            Some(Setting { file: (stat.st_dev, stat.st_ino), ..Setting::default() })
        };
        Settings(ETC_FILES.iter().map(of).chain(ETC_DIRECTORIES.iter().map(of_directory)).collect())
    }
}

/// Moves this process, which must have a single thread, into a template that it makes.
pub(super) fn enter() -> Result<Contents, Error> {
    sys::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS)
        .step("make the shell template's namespaces")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).step("make all mounts private")?;
    // A user namespace may mount a `/proc` only where one is to be seen already that shows as much. This one stays in the
    // template and comes into no cell.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let processes = open_tree(CWD, "/proc", flags).step("clone the host's /proc")?;
    let root = small_filesystem(64, 64, 0o755)?;
    for place in [SHARED, BUILD] {
        directory(&root, place.trim_start_matches('/'))?;
    }
    let shared = small_filesystem(64, 256, 0o755)?;
    move_mount(&root, "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step("attach the template")?;
    attach_at(&shared, &root, SHARED.trim_start_matches('/'))?;
    let mut contents = Contents::default();
    for name in PROGRAMS {
        share_programs(&shared, name, &mut contents)?;
    }
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::OwnRoot) {
        share_programs(&shared, "tmp", &mut contents)?;
    }
    share_devices(&shared)?;
    share_settings(&shared)?;
    directory(&shared, "processes")?;
    attach_at(&processes, &shared, "processes")?;
    contents.mounts.extend(["dev".to_owned(), "etc".to_owned()]);
    rustix::process::fchdir(&root).step("step into the template")?;
    rustix::process::pivot_root(".", ".").step("make the template the root")?;
    unmount(".", UnmountFlags::DETACH).step("drop the host's tree")?;
    rustix::process::chdir("/").step("stand on the template")?;
    Ok(contents)
}

/// A copy of what the host has at a path, with all that is mounted beneath it; nothing in it can be changed.
fn read_only_copy(path: &str) -> Result<OwnedFd, Error> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, path, flags).step("clone the host's programs")?;
    sys::set_mount_attr(&tree, MountAttr { read_only: true, recursive: true, ..MountAttr::default() })
        .step("close the host's programs")?;
    Ok(tree)
}

fn share_programs(shared: &OwnedFd, name: &str, contents: &mut Contents) -> Result<(), Error> {
    let path = format!("/{name}");
    let stat = match rustix::fs::lstat(&path) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno).step("look at the host's programs"),
    };
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let target = rustix::fs::readlink(&path, Vec::new()).step("look at the host's programs")?;
        contents.links.push((name.to_owned(), target.into_bytes()));
        return Ok(());
    }
    directory(shared, name)?;
    attach_at(&read_only_copy(&path)?, shared, name)?;
    contents.mounts.push(name.to_owned());
    Ok(())
}

/// `/dev` with the devices that everybody may have; a cell's own mounts go into its empty directories.
fn share_devices(shared: &OwnedFd) -> Result<(), Error> {
    let dev = small_filesystem(64, 64, 0o755)?;
    for empty in ["pts", "shm", "mqueue"] {
        directory(&dev, empty)?;
    }
    for (name, target) in DEVICE_LINKS {
        link(&dev, target.as_bytes(), name)?;
    }
    directory(shared, "dev")?;
    attach_at(&dev, shared, "dev")?;
    for name in DEVICES {
        file(&dev, name, b"", 0o666)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let device = open_tree(CWD, format!("/dev/{name}"), flags).step("clone a device")?;
        sys::set_mount_attr(&device, MountAttr { devices: true, no_exec: true, ..MountAttr::default() })
            .step("close a device")?;
        attach_at(&device, &dev, name)?;
    }
    close(&dev)
}

/// `/etc`: copies of files, views of directories, and empty files for what each cell has of its own.
fn share_settings(shared: &OwnedFd) -> Result<(), Error> {
    let etc = small_filesystem(8 * 1024, 512, 0o755)?;
    for name in ETC_FILES {
        if let Some(content) = setting(name)? {
            file(&etc, name, &content, 0o644)?;
        }
    }
    for name in OWN_SETTINGS {
        file(&etc, name, b"", 0o644)?;
    }
    link(&etc, b"../proc/self/mounts", "mtab")?;
    directory(shared, "etc")?;
    attach_at(&etc, shared, "etc")?;
    for name in ETC_DIRECTORIES {
        let path = format!("/etc/{name}");
        let is_directory =
            rustix::fs::lstat(&path).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
        if is_directory {
            directory(&etc, name)?;
            attach_at(&read_only_copy(&path)?, &etc, name)?;
        }
    }
    close(&etc)
}

/// What a file of the host's `/etc` says, wherever it leads; nothing for one that is not there, not for everybody, or not to
/// be read. Programs do without it, as they do on a host that has none.
fn setting(name: &str) -> Result<Option<Vec<u8>>, Error> {
    let opened =
        rustix::fs::open(format!("/etc/{name}"), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Bits::empty());
    let file = match opened {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::ACCESS | Errno::LOOP) => return Ok(None),
        // This process's own trouble, which passes.
        Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
            return Err(errno).step("read the host's settings");
        }
        Err(errno) => {
            tracing::warn!(name, %errno, "a setting of the host cannot be read; cells are without it");
            return Ok(None);
        }
    };
    let stat = rustix::fs::fstat(&file).step("read the host's settings")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_mode & 0o004 == 0 {
        return Ok(None);
    }
    let mut content = Vec::new();
    match file.take(LARGEST_ETC_FILE).read_to_end(&mut content) {
        Ok(_) => Ok(Some(content)),
        Err(error) => {
            tracing::warn!(name, %error, "a setting of the host cannot be read; cells are without it");
            Ok(None)
        }
    }
}

fn close(mount: &OwnedFd) -> Result<(), Error> {
    sys::set_mount_attr(mount, MountAttr { read_only: true, no_exec: true, ..MountAttr::default() })
        .step("close a part of the template")
}
