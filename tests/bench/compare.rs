//! Enclos beside OpenSSH, and where they fit bubblewrap, ProFTPD and rclone: throughput, small files, listings, storms of
//! requests, logins, programs, terminals, cells, memory.
//! `cargo bench --bench compare -- [--quick] [--only PART[,PART]]`; `tests/bench/newest-openssh` first fetches the newest
//! OpenSSH to measure. Parts can be measured one at a time: a full run of one keeps what is known of the others.
//!
//! The servers run on this machine at the same time, each in a control group of its own by which their processor time
//! and kernel memory are counted, children included. Runs are interleaved; what is printed are medians with the
//! smallest and largest value. The same client, the same cipher and key exchange for both; files lie in memory.
//! Needs root, on a machine that does nothing else.

mod cells;
mod cgroup;
mod client;
mod crowd;
mod fast;
mod files;
mod goals;
mod logins;
mod many;
mod peers;
mod plot;
mod programs;
mod report;
mod server;
mod storms;
mod terminals;
mod transfers;
mod trees;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use report::Report;
use server::{Place, Server};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    rounds: usize,
    file_size: u64,
    small_files: usize,
    logins: usize,
    idle: usize,
    listed: usize,
    requests: usize,
    programs: usize,
    keys: usize,
    cells: usize,
    /// Logins of which each hashes a password.
    passwords: usize,
    /// Uploads by others, beside which somebody types.
    others: usize,
    /// Connections that are held while more come and go, and how many those are.
    held: usize,
    come_and_go: usize,
    /// Files of the tree that rsync compares.
    tree: usize,
    /// How long connections rest before they are weighed: servers give memory back after a while, ours within four seconds.
    rest: Duration,
}

const FULL: Extent = Extent {
    rounds: 5,
    file_size: 1 << 30,
    small_files: 5_000,
    logins: 200,
    idle: 300,
    listed: 100_000,
    requests: 16_000,
    programs: 100,
    keys: 500,
    cells: 200,
    passwords: 50,
    others: 50,
    held: 2_000,
    come_and_go: 200,
    tree: 80_000,
    rest: Duration::from_secs(10),
};
const QUICK: Extent = Extent {
    rounds: 1,
    file_size: 1 << 28,
    small_files: 1_000,
    logins: 50,
    idle: 50,
    listed: 20_000,
    requests: 3_200,
    programs: 50,
    keys: 200,
    cells: 50,
    passwords: 10,
    others: 10,
    held: 100,
    come_and_go: 50,
    tree: 8_000,
    rest: Duration::from_secs(6),
};

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    #[default]
    Transfers,
    Ciphers,
    Files,
    Many,
    Requests,
    Logins,
    Crowd,
    Programs,
    Terminals,
    Trees,
    Cells,
    Peers,
}

impl Part {
    pub(crate) const ALL: [Part; 12] = [
        Part::Transfers,
        Part::Ciphers,
        Part::Files,
        Part::Many,
        Part::Requests,
        Part::Logins,
        Part::Crowd,
        Part::Programs,
        Part::Terminals,
        Part::Trees,
        Part::Cells,
        Part::Peers,
    ];

    /// What it is called on the command line, and its plot.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Transfers => "transfers",
            Part::Ciphers => "ciphers",
            Part::Files => "files",
            Part::Many => "many",
            Part::Requests => "requests",
            Part::Logins => "logins",
            Part::Crowd => "crowd",
            Part::Programs => "programs",
            Part::Terminals => "terminals",
            Part::Trees => "trees",
            Part::Cells => "cells",
            Part::Peers => "peers",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Part::Transfers => "Transfers",
            Part::Ciphers => "Transfers by other ciphers",
            Part::Files => "Many files",
            Part::Many => "Many transfers at once",
            Part::Requests => "Listings and requests",
            Part::Logins => "Logins",
            Part::Crowd => "Logins beside many others",
            Part::Programs => "Programs",
            Part::Terminals => "Terminals",
            Part::Trees => "rsync and git",
            Part::Cells => "Shell cells",
            Part::Peers => "Beside other servers",
        }
    }

    /// Whose figures stand beside ours.
    pub(crate) fn sides(self) -> [&'static str; 2] {
        match self {
            Part::Cells => ["bubblewrap", "Enclos"],
            _ => ["OpenSSH", "Enclos"],
        }
    }

    /// What a reader has to know.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Part::Transfers => transfers::ABOUT,
            Part::Ciphers => transfers::ABOUT_CIPHERS,
            Part::Files => files::ABOUT,
            Part::Many => many::ABOUT,
            Part::Requests => storms::ABOUT,
            Part::Logins => logins::ABOUT,
            Part::Crowd => crowd::ABOUT,
            Part::Programs => programs::ABOUT,
            Part::Terminals => terminals::ABOUT,
            Part::Trees => trees::ABOUT,
            Part::Cells => cells::ABOUT,
            Part::Peers => peers::ABOUT,
        }
    }
}

fn main() -> Result<()> {
    let (extent, parts) = asked()?;
    ensure!(rustix::process::geteuid().is_root(), "the benchmark needs root: it makes control groups and starts sshd");
    let place = Place::new()?;
    let servers = [Server::openssh(&place)?, Server::enclos(&place)?];
    let mut report = Report::new(&servers, extent)?;
    let measured = parts.into_iter().try_for_each(|part| measure(part, &place, &servers, extent, &mut report));
    println!("{}", report.tables());
    // What was measured before a failure is shown, and not kept.
    measured?;
    report.save(extent.rounds == FULL.rounds)
}

fn measure(part: Part, place: &Place, servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    report.begin(part)?;
    match part {
        Part::Transfers => transfers::measure(place, servers, extent, report),
        Part::Ciphers => transfers::measure_ciphers(place, servers, extent, report),
        Part::Files => files::measure(place, servers, extent, report),
        Part::Many => many::measure(servers, extent, report),
        Part::Requests => storms::measure(servers, extent, report),
        Part::Logins => logins::measure(place, servers, extent, report),
        Part::Crowd => crowd::measure(servers, extent, report),
        Part::Programs => programs::measure(servers, extent, report),
        Part::Terminals => terminals::measure(servers, extent, report),
        Part::Trees => trees::measure(place, servers, extent, report),
        Part::Cells => cells::measure(place, extent, report),
        Part::Peers => peers::measure(place, servers, extent, report),
    }
}

/// What was asked for; cargo itself adds `--bench`.
fn asked() -> Result<(Extent, BTreeSet<Part>)> {
    let (mut extent, mut parts) = (FULL, BTreeSet::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => extent = QUICK,
            "--only" => {
                for name in arguments.next().context("--only what?")?.split(',') {
                    parts.insert(part(name)?);
                }
            }
            "--bench" => {}
            other => bail!("{other:?} is not known; the options are --quick and --only PART[,PART]"),
        }
    }
    if parts.is_empty() {
        parts.extend(Part::ALL);
    }
    Ok((extent, parts))
}

fn part(name: &str) -> Result<Part> {
    let known = || Part::ALL.map(Part::name).join(", ");
    Part::ALL.into_iter().find(|part| part.name() == name).with_context(|| format!("{name:?} is none of {}", known()))
}

/// One measurement of one server: time that passed, and processor time that the server took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    wall: Duration,
    cpu: Duration,
}

/// Runs something and counts what `server` spends on it, up to the end of the processes that it needed for it.
pub(crate) fn taken(server: &Server, work: impl FnOnce() -> Result<()>) -> Result<Taken> {
    server.settle()?;
    let before = server.group().cpu()?;
    let begun = std::time::Instant::now();
    work().with_context(|| format!("with {}", server.name()))?;
    let wall = begun.elapsed();
    server.settle()?;
    Ok(Taken { wall, cpu: server.group().cpu()? - before })
}
