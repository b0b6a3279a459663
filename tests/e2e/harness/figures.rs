//! Figures for a table in `tests/results`: what was counted and measured, row by row.

use std::fs;

use super::identity::Identity;
use super::row::installed;

/// Rows of one test, left in `target/test-clients/figures` when it goes; `tests/run` makes the table of all of them.
#[derive(Debug)]
pub(crate) struct Figures {
    table: &'static str,
    part: &'static str,
    who: &'static str,
    rows: String,
}

impl Figures {
    /// Rows for `tests/results/TABLE.md`.
    pub(crate) fn new(table: &'static str, identity: Identity) -> Figures {
        Figures::of_part(table, "all", identity)
    }

    /// A part of them, where several tests have rows in one table.
    pub(crate) fn of_part(table: &'static str, part: &'static str, identity: Identity) -> Figures {
        let who = if identity == Identity::Root { "root" } else { "rootless" };
        Figures { table, part, who, rows: String::new() }
    }

    /// One more row; its first column says which node it was measured on.
    pub(crate) fn row(&mut self, columns: &[&str]) {
        self.rows += &format!("| {} | {} |\n", self.who, columns.join(" | "));
    }
}

impl Drop for Figures {
    fn drop(&mut self) {
        let place = installed().join("figures").join(self.table);
        fs::create_dir_all(&place).expect("a place for figures");
        fs::write(place.join(format!("{}.{}", self.part, self.who)), &self.rows).expect("write figures");
    }
}
