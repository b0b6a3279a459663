//! How long a shell cell takes, beside bubblewrap.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::Extent;
use crate::client::{Client, execute, hang_up};
use crate::report::{Report, Unit};
use crate::server::{Place, Server, among_mounts, said};

pub(crate) const ABOUT: &str = "Enclos: from the monitor's order of a cell to the worker in it saying that it is ready, as the log \
    has it: process, namespaces, root, attached grants, filters, and the worker's own start. bubblewrap: from its start to \
    the end of `true` in it, with `/usr` of the host, own namespaces, `/proc`, `/dev`, `/tmp` and one directory bound; it has \
    no idmapped mount, no filter and nobody who takes orders. One after another.";

pub(crate) fn measure(place: &Place, extent: Extent, report: &mut Report) -> Result<()> {
    report.version("bubblewrap", said(Command::new("bwrap").arg("--version")).context("bubblewrap is needed")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (row, mounts) in [("ready", 0), ("ready among 1,000 more mounts of the host", 1000)] {
        let server = Server::enclos_of_cells(place, mounts)?;
        for round in 0..extent.rounds {
            eprintln!("cells, round {} of {}, {mounts} more mounts", round + 1, extent.rounds);
            note(report, row, "bubblewrap", bubblewrap(server.files(), mounts, extent.cells)?)?;
            note(report, row, "Enclos", runtime.block_on(cells(&server, extent.cells))?)?;
        }
    }
    Ok(())
}

fn note(report: &mut Report, row: &str, whose: &str, mut took: Vec<f64>) -> Result<()> {
    took.sort_by(f64::total_cmp);
    for part in [50, 95] {
        let value = took.get(took.len() * part / 100).context("something was measured")?;
        report.note_of(&format!("{row}, p{part}"), Unit::Milliseconds, whose, *value);
    }
    Ok(())
}

/// Runs a program on one connection after another until so many cells were made; milliseconds of each. A connection that
/// comes before the cell of the last has gone joins that.
async fn cells(server: &Server, count: usize) -> Result<Vec<f64>> {
    let before = server.said().len();
    let client = Client::new(server)?.named(server.runner());
    let mut took = Vec::new();
    for _ in 0..2 * count {
        let ssh = client.connect().await?;
        execute(&ssh, "true").await?;
        hang_up(ssh).await?;
        took = server.said().get(before..).unwrap_or_default().lines().filter_map(readiness).collect();
        if took.len() >= count {
            break;
        }
    }
    ensure!(took.len() >= count, "the log tells of {} cells, not of {count}", took.len());
    Ok(took)
}

/// What a line of the log says about it.
fn readiness(line: &str) -> Option<f64> {
    let (_, number) = line.split_once("a cell is ready")?.1.split_once("took_us=")?;
    let microseconds: f64 = number.split_whitespace().next()?.parse().ok()?;
    Some(microseconds / 1e3)
}

fn bubblewrap(files: &Path, mounts: usize, count: usize) -> Result<Vec<f64>> {
    let cell = format!(
        "bwrap --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc \
         --dev /dev --tmpfs /tmp --bind {0} {0} --unshare-all --die-with-parent /usr/bin/true",
        files.display()
    );
    let timed = format!("a=$EPOCHREALTIME; {cell} || exit 1; b=$EPOCHREALTIME; echo $((${{b/./}} - ${{a/./}}))");
    let script = format!("{} for m in $(seq {count}); do {timed}; done", among_mounts(files, mounts)?);
    let ended = Command::new("unshare").args(["--mount", "bash", "-c", &script]).output()?;
    ensure!(ended.status.success(), "bubblewrap: {}", String::from_utf8_lossy(&ended.stderr));
    let lines = String::from_utf8(ended.stdout)?;
    lines.lines().map(|line| Ok(line.parse::<f64>()? / 1e3)).collect()
}
