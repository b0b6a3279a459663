//! Small disks of a test's own, which fill up, stand still and break.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::finish;

/// A filesystem of its own, unmounted when it goes.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) at: PathBuf,
    pub(crate) image: PathBuf,
}

/// Runs a program that must succeed.
#[track_caller]
pub(crate) fn run_tool(program: &str, arguments: &[&str]) {
    finish(Command::new(program).args(arguments), "").ok();
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

impl Disk {
    /// In memory.
    pub(crate) fn tmpfs(at: &Path, options: &str) -> Disk {
        run_tool("mount", &["-t", "tmpfs", "-o", options, "tmpfs", text(at)]);
        Disk { at: at.to_owned(), image: PathBuf::new() }
    }

    /// In a file of so many megabytes beside `at`, on which `make` makes a filesystem.
    pub(crate) fn image(at: &Path, megabytes: u64, make: &[&str]) -> Disk {
        Disk::image_with(at, megabytes, make, "loop")
    }

    /// The same, mounted with options.
    pub(crate) fn image_with(at: &Path, megabytes: u64, make: &[&str], options: &str) -> Disk {
        let image = at.with_extension("img");
        fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20)).expect("an image");
        let (program, arguments) = make.split_first().expect("a program");
        run_tool(program, &[arguments, &[text(&image)]].concat());
        Disk::mount(image, at, options)
    }

    /// A filesystem that there is already.
    pub(crate) fn mount(image: PathBuf, at: &Path, options: &str) -> Disk {
        run_tool("mount", &["-o", options, text(&image), text(at)]);
        Disk { at: at.to_owned(), image }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg("-l").arg(&self.at).status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be unmounted", self.at.display());
        }
    }
}
