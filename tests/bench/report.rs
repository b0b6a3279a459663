//! What was measured: kept by part, row and side, shown as tables and plots, written as JSON. Parts that were not measured
//! this time are kept from the last full run of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::server::{Server, said};
use crate::transfers::KEX;
use crate::{Extent, Part, goals, plot};

/// What a number counts, and whether more of it is better.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "MiB/s")]
    MibPerSecond,
    #[serde(rename = "1/s")]
    PerSecond,
    #[serde(rename = "s/GiB")]
    SecondsPerGib,
    #[serde(rename = "ms each")]
    MillisecondsEach,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "KiB")]
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

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    part: Part,
    name: String,
    unit: Unit,
    /// By whose they are.
    values: BTreeMap<String, Values>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Values {
    median: f64,
    smallest: f64,
    largest: f64,
    /// In the order in which they were measured.
    all: Vec<f64>,
}

impl Values {
    fn add(&mut self, value: f64) {
        self.all.push(value);
        let mut sorted = self.all.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |n: usize| sorted.get(n).copied().unwrap_or_default();
        self.median = (at((sorted.len() - 1) / 2) + at(sorted.len() / 2)) / 2.0;
        (self.smallest, self.largest) = (at(0), at(sorted.len() - 1));
    }

    fn shown(&self) -> String {
        format!("{} ({} to {})", short(self.median), short(self.smallest), short(self.largest))
    }
}

/// All rows, in the order in which they were first measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    machine: String,
    method: String,
    versions: BTreeMap<String, String>,
    /// When each part was measured, and what.
    #[serde(default)]
    runs: BTreeMap<Part, Run>,
    rows: Vec<Row>,
    #[serde(skip)]
    part: Part,
}

/// When something was measured, and what.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Run {
    date: String,
    commit: String,
}

impl Run {
    fn now() -> Result<Run> {
        let here = || {
            let mut git = Command::new("git");
            git.current_dir(env!("CARGO_MANIFEST_DIR"));
            git
        };
        let commit = said(here().args(["rev-parse", "--short=10", "HEAD"]))?;
        let is_changed = !said(here().args(["status", "--porcelain", "--", "src", "Cargo.lock", "deploy"]))?.is_empty();
        let commit = if is_changed { format!("{commit} with changes") } else { commit };
        Ok(Run { date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(), commit })
    }
}

impl Report {
    pub(crate) fn new(servers: &[Server], extent: Extent) -> Result<Report> {
        let client = servers.first().map(|s| s.version().to_owned()).unwrap_or_default();
        let versions = servers.iter().map(|s| (s.name().to_owned(), s.version().to_owned())).collect();
        Ok(Report {
            machine: machine()?,
            method: method(extent, &client),
            versions,
            runs: BTreeMap::new(),
            rows: Vec::new(),
            part: Part::Transfers,
        })
    }

    /// What follows belongs to this part.
    pub(crate) fn begin(&mut self, part: Part) -> Result<()> {
        self.part = part;
        self.runs.insert(part, Run::now()?);
        Ok(())
    }

    /// Adds one measurement.
    pub(crate) fn note(&mut self, name: &str, unit: Unit, server: &Server, value: f64) {
        self.note_of(name, unit, server.name(), value);
    }

    /// The same of something that is no server.
    pub(crate) fn note_of(&mut self, name: &str, unit: Unit, whose: &str, value: f64) {
        let part = self.part;
        if !self.rows.iter().any(|row| row.part == part && row.name == name) {
            self.rows.push(Row { part, name: name.to_owned(), unit, values: BTreeMap::new() });
        }
        let row = self.rows.iter_mut().find(|row| row.part == part && row.name == name);
        if let Some(row) = row {
            row.values.entry(whose.to_owned()).or_default().add(value);
        }
    }

    /// Takes note of another program that is measured.
    pub(crate) fn version(&mut self, name: &str, version: String) {
        self.versions.insert(name.to_owned(), version);
    }

    /// For people: a table for each part.
    pub(crate) fn tables(&self) -> String {
        let mut out = format!("\n{}\n\n{}\n\n", self.machine, self.method);
        for (name, version) in &self.versions {
            out.push_str(&format!("- {name}: {version}\n"));
        }
        for part in Part::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.part == part).collect();
            if !rows.is_empty() {
                out.push_str(&table(part, self.runs.get(&part), &rows));
            }
        }
        out
    }

    /// A plot for each part: how many times better than the other side each row is.
    fn plots(&self) -> impl Iterator<Item = (Part, String)> {
        Part::ALL.into_iter().filter_map(|part| {
            let [first, second] = part.sides();
            let ratio = |row: &Row| {
                let (one, other) = (row.values.get(first)?, row.values.get(second)?);
                Some((row.name.clone(), better(row.unit, one.median, other.median)?))
            };
            let rows: Vec<(String, f64)> = self.rows.iter().filter(|row| row.part == part).filter_map(ratio).collect();
            (!rows.is_empty()).then(|| (part, plot::bars(&format!("{}: {second} beside {first}", part.title()), &rows)))
        })
    }

    /// For programs: `target/bench/results.json`. A full run is kept in `tests/results`, also for readers; parts that it
    /// did not measure are those of the run before.
    pub(crate) fn save(mut self, is_full: bool) -> Result<()> {
        if is_full {
            let kept = place("tests/results/speed.json");
            self.keep_other_parts(&kept)?;
            write_json(&kept, &self)?;
            fs::create_dir_all(place("tests/results/speed"))?;
            for (part, plot) in self.plots() {
                fs::write(place(&format!("tests/results/speed/{}.svg", part.name())), plot)?;
            }
            let page = format!(
                "# Speed\n\nMade by `cargo bench --bench compare`. What limits the rows that miss their goal: [russh-limits.md](russh-limits.md).\n\
                 Looking up logins among a million users is measured by `cargo bench --bench lookup`.\n{}",
                self.tables()
            );
            fs::write(place("tests/results/speed.md"), page)?;
        }
        let file = place("target/bench/results.json");
        fs::create_dir_all(place("target/bench"))?;
        write_json(&file, &self)?;
        println!("\nwritten to {}", file.display());
        Ok(())
    }

    fn keep_other_parts(&mut self, kept: &Path) -> Result<()> {
        if !kept.exists() {
            return Ok(());
        }
        let before: Report = serde_json::from_str(&fs::read_to_string(kept)?).context("read the last results")?;
        let has = |part| self.rows.iter().any(|row| row.part == part);
        let others: Vec<Row> = before.rows.iter().filter(|row| !has(row.part)).cloned().collect();
        if others.is_empty() {
            return Ok(());
        }
        ensure!(before.machine == self.machine, "{} is of another machine; measure all parts", kept.display());
        for part in others.iter().map(|row| row.part).collect::<BTreeSet<_>>() {
            if let Some(run) = before.runs.get(&part) {
                self.runs.insert(part, run.clone());
            }
        }
        self.rows.extend(others);
        for (name, version) in before.versions {
            self.versions.entry(name).or_insert(version);
        }
        Ok(())
    }
}

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn write_json(file: &Path, report: &Report) -> Result<()> {
    fs::write(file, serde_json::to_string_pretty(report)? + "\n").with_context(|| format!("write {}", file.display()))
}

fn machine() -> Result<String> {
    let uname = rustix::system::uname();
    let cpu = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("", |l| l.trim_matches([' ', '\t', ':']));
    Ok(format!(
        "Linux {} {}, {} processors ({model})",
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy(),
        std::thread::available_parallelism()?
    ))
}

fn method(e: Extent, client: &str) -> String {
    format!(
        "{} rounds, interleaved; median (smallest to largest). Files in memory. Transfers by the sftp of {client}, and by a \
         faster client (russh, 64 requests of 255 KiB in flight): one file of {} MiB, {} files of 4 KiB. Listings, requests \
         (16 in flight), logins ({} a round) and programs by russh; {} idle logins. Key exchange {KEX} and aes128-gcm unless \
         said otherwise. Server CPU and kernel memory by control group, children included.",
        e.rounds,
        e.file_size >> 20,
        e.small_files,
        e.logins,
        e.idle
    )
}

fn table(part: Part, run: Option<&Run>, rows: &[&Row]) -> String {
    let [first, second] = part.sides();
    let mut out = format!("\n## {}\n\n{}\n", part.title(), part.about());
    if let Some(Run { date, commit }) = run {
        out.push_str(&format!("Measured on {date} at {commit}: [plot](speed/{}.svg).\n", part.name()));
    }
    // Whoever else was measured stands behind.
    let others: BTreeSet<&str> = rows.iter().flat_map(|row| row.values.keys().map(String::as_str)).collect();
    let others: Vec<&str> = others.into_iter().filter(|name| ![first, second].contains(name)).collect();
    let more = |cell: &dyn Fn(&str) -> String| others.iter().map(|name| cell(name)).collect::<String>();
    out.push_str(&format!("\n| | | {first} | {second} | {second} is | goal |{}\n", more(&|name| format!(" {name} |"))));
    out.push_str(&format!("|---|---|---|---|---|---|{}\n", more(&|_| "---|".to_owned())));
    for row in rows {
        let (one, other) = (row.values.get(first), row.values.get(second));
        let better = one.zip(other).and_then(|(one, other)| better(row.unit, one.median, other.median));
        let shown = |side: Option<&Values>| side.map_or_else(String::new, Values::shown);
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} |{}\n",
            row.name,
            row.unit.name(),
            shown(one),
            shown(other),
            better.map_or_else(String::new, |ratio| format!("{ratio:.2} x better")),
            goals::judge(&row.name, other.map(|o| o.median), better),
            more(&|name| format!(" {} |", shown(row.values.get(name))))
        ));
    }
    out
}

/// How many times better the second is.
fn better(unit: Unit, one: f64, other: f64) -> Option<f64> {
    let ratio = if unit.more_is_better() { other / one } else { one / other };
    (one > 0.0 && other > 0.0).then_some(ratio)
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
