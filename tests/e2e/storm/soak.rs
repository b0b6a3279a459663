//! The load of the storm without its faults, for as long as one likes: nothing may grow that serves all of them.
//!
//! `tests/run soak MINUTES` runs it and writes `tests/results/soak.md`.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::Storm;
use crate::harness::{Figures, Identity};

/// How often it is looked.
const GLANCE: Duration = Duration::from_secs(2);
/// The beginning, in which buffers and pools come to be.
const WARM_UP: Duration = Duration::from_secs(45);
/// Processes that serve everybody, as they are called; the node's own first.
const LASTING: [&str; 5] = ["enclos", "enclos-control", "enclos-zygote", "enclos-shells", "enclos-attach"];

/// What a process had at a moment.
#[derive(Debug, Clone, Copy)]
struct Point {
    minutes: f64,
    memory: f64,
    descriptors: f64,
}

/// Growth for each minute, by least squares.
fn slope(points: &[Point], of: fn(&Point) -> f64) -> f64 {
    let count = points.len() as f64;
    let mean = |of: &dyn Fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (at, value) = (mean(&|p| p.minutes), mean(&of));
    let above: f64 = points.iter().map(|p| (p.minutes - at) * (of(p) - value)).sum();
    let below: f64 = points.iter().map(|p| (p.minutes - at).powi(2)).sum();
    above / below
}

fn point(pid: u32, minutes: f64) -> Option<Point> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    let memory = line.trim().trim_end_matches(" kB").parse().ok()?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some(Point { minutes, memory, descriptors: descriptors as f64 })
}

pub(super) fn soak(identity: Identity) {
    let minutes = super::number("ENCLOS_SOAK_MINUTES").unwrap_or(4);
    let mut storm = Storm::begin(identity, 1);
    let (begin, whole) = (Instant::now(), Duration::from_secs(minutes * 60));
    let mut seen: BTreeMap<(usize, u32), Vec<Point>> = BTreeMap::new();
    while begin.elapsed() < whole {
        let next = Instant::now() + GLANCE;
        // Somebody new all the while; what is there for a login must go with it.
        while Instant::now() < next {
            storm.look();
        }
        if begin.elapsed() > WARM_UP {
            storm.glance(begin.elapsed().as_secs_f64() / 60.0, &mut seen);
        }
    }
    storm.all_go_on();
    let mut figures = Figures::new("soak", identity);
    for ((name, _), points) in seen.iter().filter(|(_, points)| points.len() > 10) {
        let (first, last) = (points[0], points[points.len() - 1]);
        let memory = slope(points, |p| p.memory);
        let descriptors = slope(points, |p| p.descriptors);
        figures.row(&[
            LASTING[*name],
            &format!("{:.0} / {:.0} KiB", first.memory, last.memory),
            &format!("{memory:+.1} KiB"),
            &format!("{} / {}", first.descriptors, last.descriptors),
            &format!("{descriptors:+.2}"),
        ]);
        // A login that leaves one behind leaves hundreds in a minute.
        assert!(descriptors < 20.0, "{}: {descriptors} more descriptors in a minute", LASTING[*name]);
        assert!(memory < 4096.0, "{}: {memory} KiB more in a minute", LASTING[*name]);
    }
    let loads: u64 = storm.loads.iter().map(|load| load.pace.steps()).sum();
    let told = format!("{loads} steps of work and {} logins in {minutes} minutes", storm.probe.looks());
    figures.row(&["all", &told, "-", "-", "-"]);
    storm.calm();
}

impl Storm {
    fn glance(&self, minutes: f64, seen: &mut BTreeMap<(usize, u32), Vec<Point>>) {
        for (place, name) in LASTING.iter().enumerate() {
            let pids = if place == 0 { vec![self.stage.node.pid()] } else { self.stage.processes(name) };
            for pid in pids {
                if let Some(point) = point(pid, minutes) {
                    seen.entry((place, pid)).or_default().push(point);
                }
            }
        }
    }
}
