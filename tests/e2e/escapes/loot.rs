//! What clients bring home. Whatever they print or fetch is searched for canaries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::world::{MARK, entries, remove};
use crate::harness::{Finished, finish};

/// A directory that clients fetch into, and what was found.
#[derive(Debug)]
pub(super) struct Loot {
    pub(super) dir: PathBuf,
    got: Vec<String>,
}

impl Loot {
    pub(super) fn new(dir: PathBuf) -> Loot {
        remove(&dir);
        fs::create_dir_all(&dir).expect("a directory");
        Loot { dir, got: Vec::new() }
    }

    /// Runs a client, whatever it comes to, and looks at what it says and has fetched.
    pub(super) fn run(&mut self, command: &mut Command, input: &str) -> Finished {
        let said = finish(command.current_dir(&self.dir), input);
        self.heard("printed", &said.stdout);
        self.heard("complained", &said.stderr);
        self.look();
        said
    }

    /// Looks at something that was said.
    pub(super) fn heard(&mut self, how: &str, text: &str) {
        if let Some(at) = text.find(MARK) {
            let shown: String = text[at..].chars().take(60).collect();
            self.got.push(format!("{how}: {shown}"));
        }
    }

    /// What was got since this was asked last.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.got)
    }

    /// Searches what was fetched, and clears it away.
    fn look(&mut self) {
        let mut front = vec![self.dir.clone()];
        while let Some(directory) = front.pop() {
            for entry in entries(&directory) {
                let meta = fs::symlink_metadata(&entry).expect("just listed");
                if meta.is_dir() {
                    front.push(entry);
                } else if meta.is_file() && holds_mark(&entry) {
                    self.got.push(format!("fetched {}", entry.display()));
                }
            }
        }
        entries(&self.dir).iter().for_each(|entry| remove(entry));
    }
}

fn holds_mark(path: &Path) -> bool {
    let content = fs::read(path).unwrap_or_default();
    content.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}
