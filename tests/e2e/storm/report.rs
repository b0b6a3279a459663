//! What the storm brought, kind by kind: for `tests/results/faults.md`, and for whoever looks for the cause of a failure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::loads::Load;
use crate::harness::{Figures, Identity};

/// Faults that are told of when the storm fails.
const TOLD: usize = 10;

#[derive(Debug, Default)]
struct Tally {
    count: u64,
    lost: u64,
    probes: Vec<Duration>,
    recoveries: Vec<Duration>,
}

pub(super) struct Tallies {
    identity: Identity,
    seed: u64,
    kinds: BTreeMap<&'static str, Tally>,
    last: VecDeque<&'static str>,
    count: u64,
    /// What the load was told and did, once it has ended.
    load: Option<String>,
    /// How many beginnings of uploads are kept; nothing else is left.
    beginnings: Option<usize>,
}

impl Tallies {
    pub(super) fn new(identity: Identity, seed: u64) -> Tallies {
        let (kinds, last) = (BTreeMap::new(), VecDeque::new());
        Tallies { identity, seed, kinds, last, count: 0, load: None, beginnings: None }
    }

    /// A fault is about to happen.
    pub(super) fn begin(&mut self, kind: &'static str) {
        self.count += 1;
        self.kinds.entry(kind).or_default().count += 1;
        self.last.push_back(kind);
        if self.last.len() > TOLD {
            self.last.pop_front();
        }
    }

    fn current(&mut self) -> Option<&mut Tally> {
        let kind = self.last.back()?;
        self.kinds.get_mut(kind)
    }

    /// Somebody else logged in and worked, so fast.
    pub(super) fn looked(&mut self, took: Duration) {
        if let Some(tally) = self.current() {
            tally.probes.push(took);
        }
    }

    /// Everybody worked again, after so long.
    pub(super) fn recovered(&mut self, after: Duration) {
        if let Some(tally) = self.current() {
            tally.recoveries.push(after);
        }
    }

    /// So much was acknowledged and is not there.
    pub(super) fn lost(&mut self, broken: usize) {
        if let Some(tally) = self.current() {
            tally.lost += broken as u64;
        }
    }

    /// The load has ended.
    pub(super) fn end(&mut self, loads: &[Load]) {
        let acknowledged: u64 = loads.iter().filter_map(Load::journal).map(|journal| journal.acknowledged).sum();
        let sum = |of: fn(&Load) -> u64| loads.iter().map(of).sum::<u64>();
        let (steps, cuts) = (sum(|l| l.pace.steps()), sum(|l| l.pace.cuts()));
        let resumed = sum(|l| l.pace.resumed());
        self.load = Some(format!(
            "{steps} steps, {acknowledged} acknowledgements kept, cut off {cuts} times, {resumed} cut uploads gone on with"
        ));
    }

    /// Nothing was left behind but so many beginnings of uploads.
    pub(super) fn is_clean(&mut self, beginnings: usize) {
        self.beginnings = Some(beginnings);
    }
}

fn slowest(times: &[Duration]) -> String {
    times.iter().max().map_or("-".to_owned(), |time| format!("{} ms", time.as_millis()))
}

fn median(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).map_or("-".to_owned(), |time| format!("{} ms", time.as_millis()))
}

impl Drop for Tallies {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the storm of ENCLOS_STORM_SEED={} failed at fault {}", self.seed, self.count);
            eprintln!("the last faults, the latest last: {:#?}", self.last);
        }
        let mut figures = Figures::new("faults", self.identity);
        for (kind, tally) in &self.kinds {
            let Tally { count, lost, probes, recoveries } = tally;
            let recovery = format!("{} / {}", median(recoveries), slowest(recoveries));
            figures.row(&[kind, &count.to_string(), &lost.to_string(), &slowest(probes), &recovery]);
        }
        let lost: u64 = self.kinds.values().map(|tally| tally.lost).sum();
        let verdict = match (&self.load, self.beginnings) {
            (Some(load), Some(kept)) => {
                format!("{load}, {kept} hidden beginnings of others kept for a day; nothing else left behind")
            }
            (Some(load), None) => format!("{load}; FAILED: something is left behind"),
            (None, _) => "FAILED".to_owned(),
        };
        figures.row(&["all", &self.count.to_string(), &lost.to_string(), "-", &verdict]);
    }
}
