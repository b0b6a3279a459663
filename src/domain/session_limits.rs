//! How many sessions there may be at the same time, and how long one may last.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Limits of the sessions of an account, a user or a credential. The default is none. As text: `sessions=3 lasting=3600`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLimits {
    /// Most of them at the same time on one node.
    pub at_once: Option<u32>,
    /// Seconds after which one ends.
    pub lasting: Option<u32>,
}

/// Why a text says no limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no limit of sessions")]
pub struct BadSessionLimits(String);

impl fmt::Display for SessionLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = [("sessions", self.at_once), ("lasting", self.lasting)];
        let said = said.iter().filter_map(|(name, limit)| limit.map(|limit| format!("{name}={limit}")));
        f.write_str(&said.collect::<Vec<_>>().join(" "))
    }
}

impl std::str::FromStr for SessionLimits {
    type Err = BadSessionLimits;

    fn from_str(text: &str) -> Result<Self, BadSessionLimits> {
        let mut limits = SessionLimits::default();
        for word in text.split_whitespace() {
            let bad = || BadSessionLimits(word.chars().take(64).collect());
            let (name, limit) = word.split_once('=').ok_or_else(bad)?;
            let limit = limit.parse::<u32>().ok().filter(|limit| *limit > 0).ok_or_else(bad)?;
            let place = match name {
                "sessions" => &mut limits.at_once,
                "lasting" => &mut limits.lasting,
                _ => return Err(bad()),
            };
            if place.replace(limit).is_some() {
                return Err(bad());
            }
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["sessions", "sessions=0", "sessions=-1", "sessions=1 sessions=2", "more=3", "lasting=99999999999"]
        {
            assert!(text.parse::<SessionLimits>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn limits_are_read_as_they_are_written(at_once in proptest::option::of(1..u32::MAX), lasting in proptest::option::of(1..u32::MAX)) {
            let limits = SessionLimits { at_once, lasting };
            prop_assert_eq!(limits.to_string().parse::<SessionLimits>(), Ok(limits));
        }

        #[test]
        fn no_text_is_too_hard(text in "\\PC{0,40}") {
            prop_assert!(text.parse::<SessionLimits>().is_ok_and(|l| l.to_string().len() <= text.len() + 1) || !text.trim().is_empty());
        }
    }
}
