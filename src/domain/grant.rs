//! Grants: directories of an account that a user may reach, and how. Among several that lie in one another the innermost
//! decides.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{GrantId, RelPath};

/// The rights of a grant. They become attributes of a mount and rules of Landlock, so they hold for every program and
/// protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Read and write.
    Rw,
    /// Read only.
    Ro,
    /// A drop box: new files may be made, nothing may be listed or read.
    Upload,
    /// Nothing: a part of another grant that is taken out of it.
    Hidden,
}

impl Mode {
    /// Every mode there is.
    pub const ALL: [Mode; 4] = [Mode::Rw, Mode::Ro, Mode::Upload, Mode::Hidden];

    /// As written in commands, JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Rw => "rw",
            Mode::Ro => "ro",
            Mode::Upload => "upload",
            Mode::Hidden => "hidden",
        }
    }

    /// Whether it allows all that `other` does.
    pub fn covers(self, other: Mode) -> bool {
        self == other || self == Mode::Rw || other == Mode::Hidden
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Mode) -> Mode {
        if other.covers(self) {
            self
        } else if self.covers(other) {
            other
        } else {
            Mode::Hidden
        }
    }

    /// Whether what is there already may be read.
    pub fn reads(self) -> bool {
        matches!(self, Mode::Rw | Mode::Ro)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A mode we do not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mode {text:?} is not known; use rw, ro, upload or hidden")]
pub struct UnknownMode {
    text: String,
}

impl std::str::FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let known = Mode::ALL.into_iter().find(|m| m.as_str() == text);
        known.ok_or_else(|| UnknownMode { text: text.chars().take(64).collect() })
    }
}

/// One directory of the account that a user may reach; inside another one it may be a file as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its row in the control database.
    pub id: GrantId,
    /// Below the account's home.
    pub path: RelPath,
    /// What may be done there.
    pub mode: Mode,
    /// Whether programs that lie there may not be run, from a shell cell either.
    pub no_exec: bool,
}

impl Grant {
    /// Whether it allows all that `other` does, were they on the same directory.
    fn covers(&self, other: &Grant) -> bool {
        self.mode.covers(other.mode) && (!self.no_exec || other.no_exec || other.mode == Mode::Hidden)
    }

    /// Whether there is anything to reach by it.
    pub fn is_visible(&self) -> bool {
        self.mode != Mode::Hidden
    }
}

/// The grant that decides about a path: the innermost one around it.
pub fn deciding<'a>(grants: &'a [Grant], path: &RelPath) -> Option<&'a Grant> {
    let around = grants.iter().filter(|g| g.path.contains(path));
    around.max_by_key(|g| g.path.components().count())
}

/// Whether anything that `before` allows is not allowed by `after`.
///
/// Between the paths that are named in the two lists nothing changes, so those paths are all that has to be looked at.
pub fn narrows(before: &[Grant], after: &[Grant]) -> bool {
    let is_narrower = |path: &RelPath| match (deciding(before, path), deciding(after, path)) {
        (None, _) => false,
        (Some(had), None) => had.is_visible(),
        (Some(had), Some(has)) => !has.covers(had),
    };
    before.iter().chain(after).any(|g| is_narrower(&g.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(list: &[(&str, Mode)]) -> Vec<Grant> {
        let grant = |(path, mode): &(&str, Mode)| Grant {
            id: GrantId(1),
            path: path.parse().expect("a path"),
            mode: *mode,
            no_exec: false,
        };
        list.iter().map(grant).collect()
    }

    #[test]
    fn modes_read_back_as_they_are_written() {
        for mode in Mode::ALL {
            assert_eq!(mode.as_str().parse::<Mode>().expect("own text"), mode);
        }
        assert!("rwx".parse::<Mode>().is_err());
    }

    #[test]
    fn the_innermost_grant_decides() {
        let all = grants(&[("www", Mode::Rw), ("www/config", Mode::Ro), ("www/config/secret", Mode::Hidden)]);
        let mode = |path: &str| deciding(&all, &path.parse().expect("a path")).map(|g| g.mode);
        assert_eq!(mode("www/index.html"), Some(Mode::Rw));
        assert_eq!(mode("www/config/a"), Some(Mode::Ro));
        assert_eq!(mode("www/config/secret/b"), Some(Mode::Hidden));
        assert_eq!(mode("mail"), None);
    }

    #[test]
    fn taking_away_is_told_from_giving() {
        let whole = grants(&[("www", Mode::Rw)]);
        let partly = grants(&[("www", Mode::Rw), ("www/config", Mode::Ro)]);
        let less = grants(&[("www", Mode::Rw), ("www/config", Mode::Hidden)]);
        assert!(narrows(&whole, &partly));
        assert!(narrows(&partly, &less));
        assert!(!narrows(&partly, &whole));
        assert!(!narrows(&less, &partly));
        assert!(!narrows(&whole, &whole));
        assert!(narrows(&whole, &[]));
        assert!(!narrows(&grants(&[("x", Mode::Hidden)]), &[]));
    }

    #[test]
    fn reading_and_uploading_are_different_rights() {
        let (read, drop) = (grants(&[("in", Mode::Ro)]), grants(&[("in", Mode::Upload)]));
        assert!(narrows(&read, &drop) && narrows(&drop, &read));
        assert!(!narrows(&drop, &grants(&[("in", Mode::Rw)])));
    }

    #[test]
    fn what_may_no_longer_be_run_is_taken_away() {
        let may_run = grants(&[("www", Mode::Rw)]);
        let mut may_not = may_run.clone();
        may_not[0].no_exec = true;
        assert!(narrows(&may_run, &may_not));
        assert!(!narrows(&may_not, &may_run));
    }

    #[test]
    fn a_wider_grant_further_up_takes_nothing_away() {
        assert!(!narrows(&grants(&[("www/site1", Mode::Ro)]), &grants(&[("www", Mode::Rw)])));
        assert!(narrows(&grants(&[("www", Mode::Rw)]), &grants(&[("www/site1", Mode::Rw)])));
    }
}
