//! What programs may take of the machine: memory, processes and processor time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ByteCount, Setting};

/// Memory: an amount, or a part of what the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Memory {
    /// So many bytes.
    Bytes(ByteCount),
    /// So many hundredths of the machine's.
    Percent(u8),
}

/// Most processes and threads at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Processes(u32);

/// Processor time, in hundredths of one processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpu(u32);

/// Why a text is no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLimit {
    /// Not memory.
    #[error("{0:?} is no amount of memory: write 512M, 2G or, for a part of the machine's, 25% (at least 16M)")]
    Memory(String),
    /// Not a number of processes.
    #[error("{0:?} is no number of processes: write one from {least} to {most}", least = Processes::LEAST, most = Processes::MOST)]
    Processes(String),
    /// Not a part of a processor.
    #[error("{0:?} is no processor time: write 50% for half a processor, 150% for one and a half (5% to 100000%)")]
    Cpu(String),
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

fn percent(text: &str) -> Option<u32> {
    let digits = text.strip_suffix('%')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

impl Memory {
    /// With less not even a shell begins.
    const LEAST: u64 = 16 << 20;

    /// The amount, on a machine with so many bytes.
    pub fn of(self, machine: u64) -> u64 {
        match self {
            Memory::Bytes(count) => count.get(),
            Memory::Percent(percent) => (machine / 100 * u64::from(percent)).max(Self::LEAST),
        }
    }
}

impl Processes {
    const LEAST: u32 = 8;
    const MOST: u32 = 4_000_000;

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Cpu {
    /// The number of hundredths.
    pub fn percent(self) -> u32 {
        self.0
    }
}

impl std::str::FromStr for Memory {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let refused = || BadLimit::Memory(shortened(text));
        if text.ends_with('%') {
            let percent = percent(text).and_then(|p| u8::try_from(p).ok()).filter(|p| (1..=100).contains(p));
            return percent.map(Memory::Percent).ok_or_else(refused);
        }
        let count: ByteCount = text.parse().map_err(|_| refused())?;
        if count.get() < Self::LEAST { Err(refused()) } else { Ok(Memory::Bytes(count)) }
    }
}

impl std::str::FromStr for Processes {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let is_number = text.bytes().all(|b| b.is_ascii_digit());
        let number = is_number.then(|| text.parse().ok()).flatten();
        let number = number.filter(|n| (Self::LEAST..=Self::MOST).contains(n));
        number.map(Processes).ok_or_else(|| BadLimit::Processes(shortened(text)))
    }
}

impl std::str::FromStr for Cpu {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let percent = percent(text).filter(|p| (5..=100_000).contains(p));
        percent.map(Cpu).ok_or_else(|| BadLimit::Cpu(shortened(text)))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Memory::Bytes(count) => count.fmt(f),
            Memory::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

by_text!(BadLimit: Memory, Processes, Cpu);

/// What the programs of a user, or of all users of an account together, may take; `None`: nothing is said about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, of files in the cell's own directories too.
    pub memory: Option<Memory>,
    /// Processes and threads.
    pub processes: Option<Processes>,
    /// Processor time.
    pub cpu: Option<Cpu>,
}

impl Limits {
    /// What is said here, and for the rest what is said there.
    #[must_use]
    pub fn or(self, general: Limits) -> Limits {
        Limits {
            memory: self.memory.or(general.memory),
            processes: self.processes.or(general.processes),
            cpu: self.cpu.or(general.cpu),
        }
    }

    /// Whether what runs by these limits may take more than by the other ones. What is not said is said by the node, whose
    /// word nobody here knows: a change to or from it counts.
    pub fn is_narrowed_by(&self, after: &Limits) -> bool {
        let memory = match (self.memory, after.memory) {
            (Some(Memory::Bytes(before)), Some(Memory::Bytes(after))) => after < before,
            (Some(Memory::Percent(before)), Some(Memory::Percent(after))) => after < before,
            (before, after) => before != after,
        };
        memory || is_less(self.processes, after.processes) || is_less(self.cpu, after.cpu)
    }
}

fn is_less<T: PartialOrd>(before: Option<T>, after: Option<T>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => after < before,
        (before, after) => before.is_some() != after.is_some(),
    }
}

/// What is to be changed of [`Limits`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "names are those of the limits")]
pub struct LimitChange {
    pub memory: Setting<Memory>,
    pub processes: Setting<Processes>,
    pub cpu: Setting<Cpu>,
}

/// What becomes of the limits of what a directory with everything in it takes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaChange {
    /// Most bytes; the kernel makes whole KiB of them.
    pub space: Setting<u64>,
    /// Most files and directories.
    pub files: Setting<u64>,
}

impl LimitChange {
    /// The limits with the change made.
    #[must_use]
    pub fn apply(self, mut limits: Limits) -> Limits {
        self.memory.apply(&mut limits.memory);
        self.processes.apply(&mut limits.processes);
        self.cpu.apply(&mut limits.cpu);
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_as_they_are_written() {
        for text in ["512M", "2G", "25%", "100%"] {
            assert_eq!(text.parse::<Memory>().expect(text).to_string(), text);
        }
        for text in ["", "%", "0%", "101%", "-1%", "1.5G", "15M", "+5%", "lots"] {
            assert!(text.parse::<Memory>().is_err(), "{text:?}");
        }
        assert_eq!("200".parse::<Processes>().map(|p| p.to_string()), Ok("200".to_owned()));
        assert_eq!("150%".parse::<Cpu>().map(|c| c.to_string()), Ok("150%".to_owned()));
        for text in ["", "7", "-8", "+8", "4000001", "many"] {
            assert!(text.parse::<Processes>().is_err(), "{text:?}");
        }
        for text in ["", "150", "4%", "1e2%", "100001%", "%"] {
            assert!(text.parse::<Cpu>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_part_is_one_of_the_machine() {
        let memory = |text: &str| text.parse::<Memory>().expect(text).of(8 << 30);
        assert_eq!(memory("512M"), 512 << 20);
        assert_eq!(memory("50%"), (8 << 30) / 100 * 50);
        assert_eq!("1%".parse::<Memory>().expect("a part").of(1 << 20), Memory::LEAST, "a shell still begins");
    }

    #[test]
    fn less_is_narrower_and_so_is_what_cannot_be_compared() {
        let with = |memory: Option<&str>, processes: Option<&str>| Limits {
            memory: memory.map(|m| m.parse().expect("memory")),
            processes: processes.map(|p| p.parse().expect("a number")),
            cpu: None,
        };
        let free = with(None, None);
        assert!(!free.is_narrowed_by(&free));
        assert!(free.is_narrowed_by(&with(Some("1G"), None)) && with(None, Some("9")).is_narrowed_by(&free));
        assert!(with(Some("1G"), None).is_narrowed_by(&with(Some("512M"), None)));
        assert!(!with(Some("512M"), Some("10")).is_narrowed_by(&with(Some("1G"), Some("11"))));
        assert!(with(Some("1G"), None).is_narrowed_by(&with(Some("50%"), None)));
        assert!(with(None, Some("11")).is_narrowed_by(&with(None, Some("10"))));
    }

    #[test]
    fn what_is_said_of_one_goes_before_what_is_said_of_all() {
        let of = |memory: &str| Limits { memory: memory.parse().ok(), ..Limits::default() };
        let general = Limits { processes: "100".parse().ok(), ..of("1G") };
        let both = of("2G").or(general);
        assert_eq!((both.memory, both.processes), (of("2G").memory, general.processes));
    }
}
