//! Control groups as meters: processor time, kernel memory, and who is in them. Version 1 or 2, whichever is mounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A group that one server and its children are in; removed with this value.
#[derive(Debug)]
pub(crate) struct Group {
    version: Version,
    cpu: PathBuf,
    memory: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    pub(crate) fn new(name: &str) -> Result<Group> {
        let name = format!("enclos-bench-{}-{name}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let group = if root.join("cgroup.controllers").exists() {
            let whole = root.join(&name);
            Group { version: Version::Two, cpu: whole.clone(), memory: whole }
        } else {
            let (cpu, memory) = (root.join("cpuacct").join(&name), root.join("memory").join(&name));
            Group { version: Version::One, cpu, memory }
        };
        for dir in [&group.cpu, &group.memory] {
            fs::create_dir_all(dir).with_context(|| format!("make the control group {}", dir.display()))?;
        }
        Ok(group)
    }

    /// Shell text that puts the shell in the group.
    pub(crate) fn enter(&self) -> String {
        let enter = |dir: &Path| format!("echo $$ > {}/cgroup.procs; ", dir.display());
        match self.version {
            Version::One => enter(&self.cpu) + &enter(&self.memory),
            Version::Two => enter(&self.cpu),
        }
    }

    /// Processor time of everything that is or was in the group.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        match self.version {
            Version::One => Ok(Duration::from_nanos(number(&self.cpu.join("cpuacct.usage"))?)),
            Version::Two => Ok(Duration::from_micros(field(&self.cpu.join("cpu.stat"), "usage_usec")?)),
        }
    }

    /// Bytes of kernel memory, without the page cache.
    pub(crate) fn kernel_memory(&self) -> Result<u64> {
        match self.version {
            Version::One => number(&self.memory.join("memory.kmem.usage_in_bytes")),
            Version::Two => field(&self.memory.join("memory.stat"), "kernel"),
        }
    }

    /// Process ids in the group, and in those that the server has made beneath it.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        let mut processes = Vec::new();
        let mut dirs = vec![self.cpu.clone()];
        while let Some(dir) = dirs.pop() {
            // One beneath may go while we look.
            let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) else { continue };
            for line in text.lines() {
                processes.push(line.parse().context("a process id")?);
            }
            let beneath = fs::read_dir(&dir).into_iter().flatten().flatten();
            dirs.extend(beneath.map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
        processes.sort_unstable();
        Ok(processes)
    }

    /// Proportional share of all processes' memory, in bytes.
    pub(crate) fn pss(&self) -> Result<u64> {
        let mut kib = 0;
        for pid in self.processes()? {
            // A process may end while we look.
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
            let line = text.lines().find_map(|l| l.strip_prefix("Pss:"));
            kib += line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(kib * 1024)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in [&self.cpu, &self.memory] {
            if dir.exists()
                && let Err(error) = fs::remove_dir(dir)
            {
                eprintln!("{} is left behind: {error}", dir.display());
            }
        }
    }
}

fn number(file: &Path) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    text.trim().parse().with_context(|| format!("{} is no number", file.display()))
}

fn field(file: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let value = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    value.context("a missing field")?.trim().parse().with_context(|| format!("{name} in {}", file.display()))
}
