//! What was measured: kept by row and server, shown as a table, written as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::Extent;
use crate::server::Server;
use crate::transfers::KEX;

/// What a number counts, and whether more of it is better.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    MibPerSecond,
    PerSecond,
    SecondsPerGib,
    MillisecondsEach,
    Milliseconds,
    Kib,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::MibPerSecond => "MiB/s",
            Unit::PerSecond => "1/s",
            Unit::SecondsPerGib => "s/GiB",
            Unit::MillisecondsEach => "ms each",
            Unit::Milliseconds => "ms",
            Unit::Kib => "KiB",
        }
    }

    fn more_is_better(self) -> bool {
        matches!(self, Unit::MibPerSecond | Unit::PerSecond)
    }
}

#[derive(Debug)]
struct Row {
    name: String,
    unit: Unit,
    values: BTreeMap<&'static str, Vec<f64>>,
}

/// All rows, in the order in which they were first measured.
#[derive(Debug)]
pub(crate) struct Report {
    servers: Vec<(&'static str, String)>,
    extent: Extent,
    machine: String,
    client: String,
    rows: Vec<Row>,
}

/// Middle, smallest and largest.
fn spread(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = (sorted.len().checked_sub(1)?) / 2;
    let upper = sorted.len() / 2;
    let median = (sorted.get(middle)? + sorted.get(upper)?) / 2.0;
    Some((median, *sorted.first()?, *sorted.last()?))
}

impl Report {
    pub(crate) fn new(servers: &[Server], extent: Extent) -> Result<Report> {
        let uname = rustix::system::uname();
        let cpu = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let model =
            cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("", |l| l.trim_matches([' ', '\t', ':']));
        let machine = format!(
            "Linux {} {}, {} processors ({model})",
            uname.release().to_string_lossy(),
            uname.machine().to_string_lossy(),
            std::thread::available_parallelism()?
        );
        let client = servers.first().map(|s| s.version().to_owned()).unwrap_or_default();
        let servers = servers.iter().map(|s| (s.name(), s.version().to_owned())).collect();
        Ok(Report { servers, extent, machine, client, rows: Vec::new() })
    }

    /// Adds one measurement.
    pub(crate) fn note(&mut self, name: &str, unit: Unit, server: &Server, value: f64) {
        let at = self.rows.iter().position(|r| r.name == name);
        if let Some(row) = at.and_then(|at| self.rows.get_mut(at)) {
            row.values.entry(server.name()).or_default().push(value);
        } else {
            let values = BTreeMap::from([(server.name(), vec![value])]);
            self.rows.push(Row { name: name.to_owned(), unit, values });
        }
    }

    fn method(&self) -> String {
        let e = self.extent;
        format!(
            "{} rounds, interleaved; median (smallest to largest). Files in memory. Transfers by the sftp of {}: one file of \
             {} MiB, {} files of 4 KiB; listings, requests (16 in flight) and logins by russh ({} a round); {} idle logins. Key exchange {KEX} unless said otherwise. \
             Server CPU and kernel memory by control group, children included.",
            e.rounds,
            self.client,
            e.file_size >> 20,
            e.small_files,
            e.logins,
            e.idle
        )
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("\n{}\n{}\n\n", self.machine, self.method());
        for (name, version) in &self.servers {
            out.push_str(&format!("{name}: {version}\n"));
        }
        let [first, second] = self.columns();
        out.push_str(&format!("\n| | | {first} | {second} | ratio |\n|---|---|---|---|---|\n"));
        for row in &self.rows {
            let cell = |name| row.values.get(name).and_then(|v| spread(v));
            let (one, other) = (cell(first), cell(second));
            let ratio = match (one, other) {
                (Some((one, ..)), Some((other, ..))) if one > 0.0 && other > 0.0 => {
                    let better = if row.unit.more_is_better() { other / one } else { one / other };
                    format!("{better:.2} x better")
                }
                _ => String::new(),
            };
            let shown = |cell: Option<(f64, f64, f64)>| {
                cell.map_or_else(String::new, |(m, low, high)| {
                    format!("{} ({} to {})", short(m), short(low), short(high))
                })
            };
            out.push_str(&format!(
                "| {} | {} | {} | {} | {ratio} |\n",
                row.name,
                row.unit.name(),
                shown(one),
                shown(other)
            ));
        }
        out
    }

    fn columns(&self) -> [&'static str; 2] {
        let name = |at: usize| self.servers.get(at).map_or("", |(name, _)| *name);
        [name(0), name(1)]
    }

    /// For programs: `target/bench/results.json`; of a full run also for readers: `tests/results/speed.md`.
    pub(crate) fn save(&self, is_full: bool) -> Result<()> {
        if is_full {
            let page = format!(
                "# Speed beside OpenSSH\n\nMade by `cargo bench --bench compare`. A ratio says how many times better Enclos is.\n{}",
                self.table()
            );
            fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/results/speed.md"), page)?;
        }
        let rows: Vec<Value> = self.rows.iter().map(Row::to_json).collect();
        let servers: BTreeMap<_, _> = self.servers.iter().cloned().collect();
        let all = json!({ "machine": self.machine, "method": self.method(), "servers": servers, "rows": rows });
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        fs::create_dir_all(&dir)?;
        let file = dir.join("results.json");
        fs::write(&file, serde_json::to_string_pretty(&all)? + "\n")?;
        println!("\nwritten to {}", file.display());
        Ok(())
    }
}

impl Row {
    fn to_json(&self) -> Value {
        let of_server = |values: &Vec<f64>| {
            let (median, low, high) = spread(values).unwrap_or_default();
            json!({ "median": median, "smallest": low, "largest": high, "values": values })
        };
        let values: BTreeMap<_, _> = self.values.iter().map(|(name, v)| (*name, of_server(v))).collect();
        json!({ "row": self.name, "unit": self.unit.name(), "values": values })
    }
}

/// Three digits that mean something.
fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}
