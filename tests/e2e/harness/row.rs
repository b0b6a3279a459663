//! A row of a table in `tests/results`: what was driven, and what was seen of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::identity::Identity;
use super::process::finish;

/// Left in `target/test-clients/rows` when it goes, also when a step fails; `tests/run` makes the table of all of them.
#[derive(Debug)]
pub(crate) struct Row {
    table: &'static str,
    identity: Identity,
    subject: &'static str,
    version: String,
    seen: Vec<String>,
}

impl Row {
    /// A row for `tests/results/TABLE.md`; `version` is what the subject says of itself.
    pub(crate) fn new(table: &'static str, identity: Identity, subject: &'static str, version: String) -> Row {
        Row { table, identity, subject, version, seen: Vec::new() }
    }

    /// A step has been done and looked at.
    pub(crate) fn saw(&mut self, step: &str) {
        self.seen.push(step.to_owned());
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let who = match self.identity {
            Identity::Root => "root",
            Identity::Ordinary(_) => "rootless",
        };
        let rows = installed().join("rows").join(self.table);
        let verdict = if std::thread::panicking() { "FAILED after these" } else { "works" };
        let row = format!("{}|{}|{}|{verdict}\n", self.subject, self.version, self.seen.join("; "));
        fs::create_dir_all(&rows).expect("a place for rows");
        fs::write(rows.join(format!("{}.{who}", self.subject)), row).expect("write a row");
    }
}

/// What installed clients lie in, beside the build's own output.
pub(crate) fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-clients")
}

/// The first line that a program prints of its version.
pub(crate) fn version_of(program: &mut Command) -> String {
    let said = finish(program, "");
    let text = said.stderr + &said.stdout;
    let digit = |part: &&str| part.bytes().any(|b| b.is_ascii_digit());
    let part = text.lines().flat_map(|l| l.split(['|', ',', '('])).find(digit).unwrap_or("?");
    part.split(" compiled").next().unwrap_or(part).trim().to_owned()
}
