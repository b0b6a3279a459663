//! The matrix: what an attack is, by which protocols it can be expressed, and what came of it.
//!
//! A column is filled by one test, in all places, on a node of root and on a rootless one. What it saw is left as lines
//! in `target/test-clients/rows/escapes`, also when it fails; `tests/run` makes `tests/results/escapes.md` of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use super::clients::{ByClient, Client};
use super::forwards::Tunnel;
use super::list;
use super::world::{Kind, Place};
use crate::harness::{Identity, Raw, installed};

/// A way into the server: a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    /// SFTP packets as no client sends them.
    Packets,
    /// OpenSSH's `sftp`.
    Sftp,
    /// `scp` over SFTP.
    Scp,
    /// `scp -O`.
    OldScp,
    Rsync,
    Git,
    /// A program that a command starts.
    Exec,
    /// The same on a terminal, from a login shell.
    Shell,
    /// Forwards of ports and sockets.
    Forward,
    /// A session that has been captured: the attacker's system calls in the server's own process.
    Captured,
}

impl Protocol {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Protocol::Packets => "SFTP packets",
            Protocol::Sftp => "sftp",
            Protocol::Scp => "scp",
            Protocol::OldScp => "scp -O",
            Protocol::Rsync => "rsync",
            Protocol::Git => "git",
            Protocol::Exec => "exec",
            Protocol::Shell => "shell",
            Protocol::Forward => "forward",
            Protocol::Captured => "captured session",
        }
    }
}

/// Why an attack is not tried by a protocol. In the table it stands as its letter; `tests/run` has them in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// It has no request that says such a thing.
    NoRequest,
    /// The client sends what the packets of the first column are, and fewer of them.
    Packets,
    /// It takes a program of the attacker's, and here none runs.
    NoProgram,
    /// Programs that are started alone make the same calls in the same cell; exec stands for them.
    SameCell,
    /// What is attacked is not there: a session has no terminal, no `/proc`, no program.
    NotThere,
}

impl Reason {
    pub(super) fn letter(self) -> char {
        match self {
            Reason::NoRequest => 'a',
            Reason::Packets => 'b',
            Reason::NoProgram => 'c',
            Reason::SameCell => 'd',
            Reason::NotThere => 'e',
        }
    }
}

/// How an attack is done.
#[derive(Clone, Copy)]
pub(super) enum Means {
    /// By packets; what the answers tell is looked at by [`super::world::leak`], and here is said what else was got.
    Packets(fn(&mut Raw, &Place) -> Vec<String>),
    /// By these clients; what they print and fetch is looked at.
    Clients(&'static [Client], ByClient),
    /// By a program in a cell, with or without a terminal: a row of `scripts/attacks.py`.
    Program(&'static str),
    /// By forwards.
    Forward(fn(&mut Tunnel<'_>)),
    /// By a captured session: a row of `scripts/session.py`.
    Captured(&'static str),
}

/// A row of the matrix.
#[derive(Clone, Copy)]
pub(super) struct Attack {
    /// Rows of the list of escapes that it stands for.
    pub(super) rows: &'static str,
    /// What is attempted, in words.
    pub(super) what: &'static str,
    /// For which grants it makes sense.
    pub(super) grants: &'static [Kind],
    pub(super) means: &'static [Means],
}

impl Attack {
    /// How it is done by a protocol, or why it is not.
    pub(super) fn by(&self, protocol: Protocol) -> Result<Means, Reason> {
        let means = self.means.iter().copied().find(|means| match means {
            Means::Packets(_) => protocol == Protocol::Packets,
            Means::Clients(clients, _) => clients.iter().any(|client| client.protocol() == protocol),
            Means::Program(_) => [Protocol::Exec, Protocol::Shell].contains(&protocol),
            Means::Forward(_) => protocol == Protocol::Forward,
            Means::Captured(_) => protocol == Protocol::Captured,
        });
        means.ok_or_else(|| list::reason(self, protocol))
    }
}

/// What came of one attack by one protocol, over all places.
#[derive(Debug, Default)]
struct Cell {
    held: usize,
    got: Vec<String>,
}

/// A column while it is being filled.
#[derive(Debug)]
pub(super) struct Column {
    protocol: Protocol,
    identity: Identity,
    cells: BTreeMap<&'static str, Cell>,
}

impl Column {
    pub(super) fn new(protocol: Protocol, identity: Identity) -> Column {
        Column { protocol, identity, cells: BTreeMap::new() }
    }

    /// An attack was done from a place, and this was got, in words.
    pub(super) fn saw(&mut self, attack: &Attack, place: &Place, got: Vec<String>) {
        let cell = self.cells.entry(attack.what).or_default();
        if got.is_empty() {
            cell.held += 1;
        }
        cell.got.extend(got.into_iter().take(5).map(|what| format!("{}: {what}", place.name())));
    }

    /// Attacks by which something was got; what could not be tried has shown nothing.
    pub(super) fn breaches(&self) -> impl Iterator<Item = &'static str> {
        let is_breach = |got: &String| !["nothing was said", "the row failed"].iter().any(|none| got.contains(none));
        self.cells.iter().filter(move |(_, cell)| cell.got.iter().any(is_breach)).map(|(what, _)| *what)
    }

    /// Leaves the column for the table, and fails if anything was got or an attack was left out.
    #[track_caller]
    pub(super) fn close(self) {
        let mut lines = String::new();
        let (mut escapes, mut absent) = (Vec::new(), Vec::new());
        for attack in list::ALL {
            let said = match (attack.by(self.protocol), self.cells.get(attack.what)) {
                (Err(reason), _) => reason.letter().to_string(),
                (Ok(_), Some(cell)) if cell.got.is_empty() => cell.held.to_string(),
                (Ok(_), Some(cell)) => {
                    escapes.push(format!("{} {}: {:#?}", attack.rows, attack.what, cell.got));
                    format!("ESCAPED {}", cell.got.len())
                }
                (Ok(_), None) => {
                    absent.push(attack.what);
                    "NOT TRIED".to_owned()
                }
            };
            writeln!(lines, "{}|{}|{said}", attack.rows, attack.what).expect("a String takes every write");
        }
        let place = installed().join("rows/escapes");
        fs::create_dir_all(&place).expect("a place for rows");
        let who = if self.identity == Identity::ordinary() { "rootless" } else { "root" };
        fs::write(place.join(format!("{}.{who}", self.protocol.as_str())), lines).expect("write a column");
        assert!(escapes.is_empty(), "by {}:\n{}", self.protocol.as_str(), escapes.join("\n"));
        assert!(absent.is_empty(), "not tried by {}: {absent:?}", self.protocol.as_str());
    }
}
