//! A number of bytes, as operators write it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Units by their letter, the largest first.
const UNITS: [(char, u64); 4] = [('T', 1 << 40), ('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

/// A number of bytes, at most what a file can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct ByteCount(u64);

/// Why a text is no number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a size: use a whole number of bytes, or one with K, M, G or T behind it, such as 100M")]
pub struct BadByteCount {
    text: String,
}

impl ByteCount {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for ByteCount {
    type Error = BadByteCount;

    fn try_from(bytes: u64) -> Result<Self, BadByteCount> {
        match i64::try_from(bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(BadByteCount { text: bytes.to_string() }),
        }
    }
}

impl From<ByteCount> for u64 {
    fn from(count: ByteCount) -> u64 {
        count.0
    }
}

impl std::str::FromStr for ByteCount {
    type Err = BadByteCount;

    fn from_str(text: &str) -> Result<Self, BadByteCount> {
        let refused = || BadByteCount { text: text.chars().take(64).collect() };
        let unit =
            text.chars().last().and_then(|last| UNITS.iter().find(|(name, _)| *name == last.to_ascii_uppercase()));
        let (digits, factor) = match unit {
            Some((_, factor)) => (text.get(..text.len() - 1).unwrap_or_default(), *factor),
            None => (text, 1),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let count = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(refused)?;
        ByteCount::try_from(count).map_err(|_| refused())
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(char, u64)| self.0 != 0 && self.0.is_multiple_of(*factor);
        match UNITS.iter().find(fits) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_with_their_unit() {
        for (text, bytes, shown) in [
            ("0", 0, "0"),
            ("1500", 1500, "1500"),
            ("100m", 100 << 20, "100M"),
            ("1024K", 1 << 20, "1M"),
            ("2T", 2 << 40, "2T"),
        ] {
            let count: ByteCount = text.parse().expect("a size");
            assert_eq!((count.get(), count.to_string().as_str()), (bytes, shown));
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "M", "-1", "1.5G", "1 G", "9999999T", "9223372036854775808", "ü"] {
            assert!(text.parse::<ByteCount>().is_err(), "{text:?}");
        }
    }
}
