//! The file of a node: one record a line, put aside when it has grown, and only whole lines in it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How many older files are kept.
const KEPT: u32 = 4;

/// The file.
#[derive(Debug)]
pub(in crate::control) struct AuditFile {
    path: PathBuf,
    largest: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
}

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("write the audit file {}", path.display())]
pub struct NotWritten {
    path: PathBuf,
    source: io::Error,
}

impl AuditFile {
    /// One that is opened when something is written.
    pub(in crate::control) fn new(path: PathBuf, largest: u64) -> AuditFile {
        AuditFile { path, largest, open: None }
    }

    /// Appends whole lines, all of them or none.
    pub(in crate::control) fn append(&mut self, lines: &[u8]) -> Result<(), NotWritten> {
        self.try_append(lines).map_err(|source| {
            self.open = None;
            NotWritten { path: self.path.clone(), source }
        })
    }

    fn try_append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|open| open.length >= self.largest) {
            self.open = None;
            put_aside(&self.path)?;
        }
        let open = match self.open.take() {
            Some(open) if is_there(&self.path, &open.file) => open,
            _ => open(&self.path)?,
        };
        let Open { mut file, length } = open;
        if let Err(error) = file.write_all(lines) {
            // Half a line is worse than none; the next attempt writes it again.
            file.set_len(length)?;
            return Err(error);
        }
        self.open = Some(Open { file, length: length + lines.len() as u64 });
        Ok(())
    }
}

/// Whether it still has its name: an operator may have moved it away.
fn is_there(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let named = fs::metadata(path).map(|found| (found.dev(), found.ino()));
    let opened = file.metadata().map(|found| (found.dev(), found.ino()));
    matches!((named, opened), (Ok(one), Ok(other)) if one == other)
}

/// A line that an earlier process left unfinished is finished, so that the next one stands by itself.
fn open(path: &Path) -> io::Result<Open> {
    let mut file = File::options().create(true).append(true).read(true).mode(0o600).open(path)?;
    let mut length = file.metadata()?.len();
    let mut last = [b'\n'];
    if let Some(at) = length.checked_sub(1) {
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut last, at)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
        length += 1;
    }
    Ok(Open { file, length })
}

fn put_aside(path: &Path) -> io::Result<()> {
    let older = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..KEPT).rev() {
        rename_if_there(&older(number), &older(number + 1))?;
    }
    rename_if_there(path, &older(1))
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn files_are_put_aside_and_the_oldest_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.jsonl");
        let mut file = AuditFile::new(path.clone(), 9);
        for number in 0..14 {
            file.append(format!("line {number:02}\n").as_bytes()).expect("written");
        }
        assert_eq!(read(&path), "line 12\nline 13\n");
        assert_eq!(read(&directory.path().join("audit.jsonl.4")), "line 04\nline 05\n");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 5);
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.jsonl");
        fs::write(&path, "{\"half\":").expect("a file");
        AuditFile::new(path.clone(), 1000).append(b"{}\n").expect("written");
        assert_eq!(read(&path), "{\"half\":\n{}\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.jsonl");
        let mut file = AuditFile::new(path.clone(), 1000);
        file.append(b"one\n").expect("written");
        fs::rename(&path, directory.path().join("moved")).expect("moved");
        file.append(b"two\n").expect("written");
        assert_eq!(read(&path), "two\n");
    }
}
