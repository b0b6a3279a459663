//! What is written into a group, as plain data.

use super::find::{Controller, Version};
use crate::domain::Limits;

/// Limits as numbers; `None`: without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Bytes.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u32>,
    /// Hundredths of one processor.
    pub cpu: Option<u32>,
}

impl Amounts {
    /// Whatever can be read back as it was written: whole pages, and no group around is narrower.
    pub(super) const TRIAL: Amounts = Amounts { memory: Some(64 << 20), processes: Some(8), cpu: Some(50) };

    pub(super) fn of(limits: Limits, machine: u64) -> Amounts {
        Amounts {
            // The kernel counts in pages.
            memory: limits.memory.map(|memory| memory.of(machine) / PAGE * PAGE),
            processes: limits.processes.map(|processes| processes.get()),
            cpu: limits.cpu.map(|cpu| cpu.percent()),
        }
    }

    pub(super) fn within(self, around: &Amounts) -> Amounts {
        Amounts {
            memory: least(self.memory, around.memory),
            processes: least(self.processes, around.processes),
            cpu: least(self.cpu, around.cpu),
        }
    }
}

/// Largest page of the machines that this runs on.
const PAGE: u64 = 64 * 1024;

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub file: &'static str,
    pub value: String,
    /// Whether a kernel may have been built without it.
    pub may_be_absent: bool,
}

/// How long processor time is counted for, in microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;

/// What the files of a group are to say for these limits, in this order (kernel, admin-guide/cgroup-v2.rst and cgroup-v1/).
///
/// `memory.high` is not used: it makes a hog slow for ever, and with it whoever waits for a lock that it holds, where the
/// limit ends it. Nor is `memory.oom.group`: what takes too much ends, and the user's other programs go on. Processor time
/// and disks without a limit are still divided: every group has the same weight.
pub(super) fn of(version: Version, controllers: &[Controller], amounts: &Amounts) -> Vec<Write> {
    let must = |file, value| Write { file, value, may_be_absent: false };
    let may = |file, value| Write { file, value, may_be_absent: true };
    let writes = controllers.iter().map(|controller| match (version, controller) {
        // Of the disk as much again, where there is swap at all.
        (Version::Two, Controller::Memory) => {
            vec![must("memory.max", number(amounts.memory)), may("memory.swap.max", number(amounts.memory))]
        }
        (Version::One, Controller::Memory) => {
            let most = amounts.memory.map_or("-1".to_owned(), |most| most.to_string());
            vec![must("memory.limit_in_bytes", most)]
        }
        (_, Controller::Processes) => vec![must("pids.max", number(amounts.processes.map(u64::from)))],
        (Version::Two, Controller::Cpu) => {
            let quota = number(amounts.cpu.map(quota));
            // Without bandwidth control in the kernel (CFS_BANDWIDTH) there is none to be had, and nothing to be taken off.
            vec![Write { file: "cpu.max", value: format!("{quota} {PERIOD}"), may_be_absent: amounts.cpu.is_none() }]
        }
        (Version::One, Controller::Cpu) => {
            let quota = amounts.cpu.map_or("-1".to_owned(), |percent| quota(percent).to_string());
            let may_be_absent = amounts.cpu.is_none();
            vec![
                Write { file: "cpu.cfs_period_us", value: PERIOD.to_string(), may_be_absent },
                Write { file: "cpu.cfs_quota_us", value: quota, may_be_absent },
            ]
        }
        (_, Controller::Io) => Vec::new(),
    });
    writes.flatten().collect()
}

fn number(most: Option<u64>) -> String {
    most.map_or("max".to_owned(), |most| most.to_string())
}

fn quota(percent: u32) -> u64 {
    PERIOD / 100 * u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(version: Version, amounts: &Amounts) -> Vec<String> {
        let writes = of(version, &Controller::ALL, amounts);
        writes.into_iter().map(|w| format!("{}={}", w.file, w.value)).collect()
    }

    #[test]
    fn each_version_is_told_in_its_own_words() {
        let amounts = Amounts { memory: Some(1 << 30), processes: Some(200), cpu: Some(150) };
        assert_eq!(
            shown(Version::Two, &amounts),
            ["memory.max=1073741824", "memory.swap.max=1073741824", "pids.max=200", "cpu.max=150000 100000"]
        );
        assert_eq!(
            shown(Version::One, &amounts),
            ["memory.limit_in_bytes=1073741824", "pids.max=200", "cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000"]
        );
        assert_eq!(
            shown(Version::Two, &Amounts::default()),
            ["memory.max=max", "memory.swap.max=max", "pids.max=max", "cpu.max=max 100000"]
        );
        let none = shown(Version::One, &Amounts::default());
        assert_eq!(
            none,
            ["memory.limit_in_bytes=-1", "pids.max=max", "cpu.cfs_period_us=100000", "cpu.cfs_quota_us=-1"]
        );
    }

    #[test]
    fn a_group_is_told_only_what_it_has_controllers_for() {
        let amounts = Amounts { memory: Some(1 << 30), processes: Some(200), cpu: Some(150) };
        let writes = of(Version::Two, &[Controller::Processes], &amounts);
        assert_eq!(writes, [Write { file: "pids.max", value: "200".to_owned(), may_be_absent: false }]);
    }

    #[test]
    fn a_user_has_at_most_what_its_account_has() {
        let around = Amounts { memory: Some(100), processes: None, cpu: Some(50) };
        let own = Amounts { memory: Some(200), processes: Some(7), cpu: None };
        assert_eq!(own.within(&around), Amounts { memory: Some(100), processes: Some(7), cpu: Some(50) });
    }
}
