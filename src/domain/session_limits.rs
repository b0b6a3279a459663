//! How many sessions there may be at the same time, how long one may last and rest, and how fast it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ByteCount;

/// Limits of the sessions of an account, a user or a credential. The default is none. As text:
/// `sessions=3 lasting=3600 idle=900 bandwidth=10M`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLimits {
    /// Most of them at the same time, on all nodes together.
    pub at_once: Option<u32>,
    /// Seconds after which one ends.
    pub lasting: Option<u32>,
    /// Seconds without a byte either way after which one ends.
    #[serde(default)]
    pub idle: Option<u32>,
    /// Bytes in a second, each way, of all sessions of one user on one node together.
    #[serde(default)]
    pub bandwidth: Option<ByteCount>,
}

/// Why a text says no limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no limit of sessions")]
pub struct BadSessionLimits(String);

impl SessionLimits {
    /// The least bandwidth that can be kept to: with less, a session would do little but wait.
    pub const LEAST_BANDWIDTH: u64 = 64 << 10;
}

/// Of several limits the narrowest.
pub fn narrowest<T: Ord>(limits: impl IntoIterator<Item = Option<T>>) -> Option<T> {
    limits.into_iter().flatten().min()
}

/// What binds one session by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Seconds without a byte either way after which it ends.
    pub idle: Option<u32>,
    /// Bytes in a second, each way, that it has together with the others of its user.
    pub of_user: Option<ByteCount>,
    /// The same together with those that use the same key.
    pub of_key: Option<ByteCount>,
}

impl Bounds {
    /// Whether others leave less.
    pub fn is_narrowed_by(&self, others: &Bounds) -> bool {
        fn narrows<T: Ord>(other: Option<T>, this: Option<T>) -> bool {
            other.is_some_and(|other| this.is_none_or(|this| other < this))
        }
        narrows(others.idle, self.idle) || narrows(others.of_user, self.of_user) || narrows(others.of_key, self.of_key)
    }

    /// The bandwidths that it has to keep to, all of them.
    pub fn bandwidths(&self) -> impl Iterator<Item = ByteCount> {
        [self.of_user, self.of_key].into_iter().flatten()
    }
}

impl fmt::Display for SessionLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [("sessions", self.at_once), ("lasting", self.lasting), ("idle", self.idle)];
        let mut said: Vec<String> =
            numbers.iter().filter_map(|(name, limit)| limit.map(|limit| format!("{name}={limit}"))).collect();
        said.extend(self.bandwidth.map(|bandwidth| format!("bandwidth={bandwidth}")));
        f.write_str(&said.join(" "))
    }
}

fn bandwidth(text: &str) -> Option<ByteCount> {
    text.parse::<ByteCount>().ok().filter(|bandwidth| bandwidth.get() >= SessionLimits::LEAST_BANDWIDTH)
}

impl std::str::FromStr for SessionLimits {
    type Err = BadSessionLimits;

    fn from_str(text: &str) -> Result<Self, BadSessionLimits> {
        let mut limits = SessionLimits::default();
        for word in text.split_whitespace() {
            let bad = || BadSessionLimits(word.chars().take(64).collect());
            let (name, limit) = word.split_once('=').ok_or_else(bad)?;
            let number = || limit.parse::<u32>().ok().filter(|limit| *limit > 0).ok_or_else(bad);
            let is_twice = match name {
                "sessions" => limits.at_once.replace(number()?).is_some(),
                "lasting" => limits.lasting.replace(number()?).is_some(),
                "idle" => limits.idle.replace(number()?).is_some(),
                "bandwidth" => limits.bandwidth.replace(bandwidth(limit).ok_or_else(bad)?).is_some(),
                _ => true,
            };
            if is_twice {
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
        for text in [
            "sessions",
            "sessions=0",
            "sessions=-1",
            "sessions=1 sessions=2",
            "more=3",
            "lasting=99999999999",
            "bandwidth=1K",
            "bandwidth=fast",
        ] {
            assert!(text.parse::<SessionLimits>().is_err(), "{text}");
        }
    }

    #[test]
    fn bounds_are_narrowed_by_any_that_leaves_less() {
        let bounds = |idle, of_user: &str| Bounds { idle, of_user: of_user.parse().ok(), of_key: None };
        assert!(!bounds(Some(9), "1M").is_narrowed_by(&bounds(Some(9), "1M")));
        assert!(!bounds(Some(9), "1M").is_narrowed_by(&bounds(None, "")));
        for narrower in [bounds(Some(8), "1M"), bounds(Some(9), "64K")] {
            assert!(bounds(Some(9), "1M").is_narrowed_by(&narrower) && bounds(None, "").is_narrowed_by(&narrower));
        }
    }

    proptest! {
        #[test]
        fn limits_are_read_as_they_are_written(
            numbers in proptest::array::uniform3(proptest::option::of(1..u32::MAX)),
            bandwidth in proptest::option::of(SessionLimits::LEAST_BANDWIDTH..u64::from(u32::MAX)),
        ) {
            let [at_once, lasting, idle] = numbers;
            let bandwidth = bandwidth.and_then(|bytes| ByteCount::try_from(bytes).ok());
            let limits = SessionLimits { at_once, lasting, idle, bandwidth };
            prop_assert_eq!(limits.to_string().parse::<SessionLimits>(), Ok(limits));
        }

        #[test]
        fn no_text_is_too_hard(text in "\\PC{0,40}") {
            if let Ok(limits) = text.parse::<SessionLimits>() {
                prop_assert_eq!(limits.to_string().parse::<SessionLimits>(), Ok(limits));
            }
        }
    }
}
