//! Enclos beside OpenSSH: throughput, small files, listings, storms of requests, logins, memory.
//! `cargo bench --bench compare -- [--quick]`; `tests/bench/newest-openssh` first fetches the newest OpenSSH to measure.
//!
//! Both servers run on this machine at the same time, each in a control group of its own by which their processor time
//! and kernel memory are counted, children included. Runs are interleaved; what is printed are medians with the
//! smallest and largest value. The same client, the same cipher and key exchange for both; files lie in memory.
//! Needs root, on a machine that does nothing else.

mod cgroup;
mod logins;
mod report;
mod server;
mod storms;
mod transfers;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

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
}

const FULL: Extent = Extent {
    rounds: 5,
    file_size: 1 << 30,
    small_files: 5_000,
    logins: 200,
    idle: 300,
    listed: 100_000,
    requests: 16_000,
};
const QUICK: Extent =
    Extent { rounds: 1, file_size: 1 << 28, small_files: 1_000, logins: 50, idle: 50, listed: 20_000, requests: 3_200 };

fn main() -> Result<()> {
    let extent = extent()?;
    ensure!(rustix::process::geteuid().is_root(), "the benchmark needs root: it makes control groups and starts sshd");
    let place = Place::new()?;
    let servers = [Server::openssh(&place)?, Server::enclos(&place)?];
    let mut report = Report::new(&servers, extent)?;
    transfers::measure(&place, &servers, extent, &mut report)?;
    storms::measure(&servers, extent, &mut report)?;
    logins::measure(&servers, extent, &mut report)?;
    println!("{}", report.table());
    report.save(extent.rounds == FULL.rounds)
}

/// What was asked for; cargo itself adds `--bench`.
fn extent() -> Result<Extent> {
    let mut extent = FULL;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => extent = QUICK,
            "--bench" => {}
            other => bail!("{other:?} is not known; the only option is --quick"),
        }
    }
    Ok(extent)
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
