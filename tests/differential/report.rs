//! Counts of a run, and the page they are written to.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::differences::TABLE;
use super::{ROUNDS, SEED};

/// What was sent, and how often each deliberate difference was met.
#[derive(Default)]
pub(crate) struct Counts {
    sent: BTreeMap<&'static str, u64>,
    differed: BTreeMap<usize, u64>,
}

impl Counts {
    pub(crate) fn sent(&mut self, request: &'static str) {
        *self.sent.entry(request).or_default() += 1;
    }

    pub(crate) fn differed(&mut self, row: usize) {
        *self.differed.entry(row).or_default() += 1;
    }

    pub(crate) fn all(&self) -> u64 {
        self.sent.values().sum()
    }
}

/// Writes `tests/results/differential.md`.
pub(crate) fn write(counts: &Counts) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/results/differential.md");
    std::fs::write(path, page(counts).expect("text")).expect("the page of results");
}

fn page(counts: &Counts) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    let differed: u64 = counts.differed.values().sum();
    writeln!(page, "# SFTP beside OpenSSH's `sftp-server`\n")?;
    writeln!(
        page,
        "Written by `tests/differential`: {ROUNDS} pairs of directory trees, random requests from seed {SEED} on,"
    )?;
    writeln!(
        page,
        "each sent to both servers. Answers (codes, names, attributes, data) and the trees in the end are compared.\n"
    )?;
    writeln!(
        page,
        "{} requests; {} answered alike, {differed} with a deliberate difference, 0 otherwise.\n",
        counts.all(),
        counts.all() - differed
    )?;
    writeln!(page, "## Deliberate differences\n")?;
    writeln!(page, "| what | OpenSSH | Enclos | why | seen |\n|---|---|---|---|---:|")?;
    for (row, known) in TABLE.iter().enumerate() {
        let seen = counts.differed.get(&row).copied().unwrap_or_default();
        writeln!(page, "| {} | {} | {} | {} | {seen} |", known.what, known.openssh, known.enclos, known.why)?;
    }
    writeln!(page, "\n## Requests\n\n| request | sent |\n|---|---:|")?;
    for (request, sent) in &counts.sent {
        writeln!(page, "| {request} | {sent} |")?;
    }
    Ok(page)
}
