//! Patterns of file names that a user may not make: `*.php`, `.htaccess`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One pattern. `*` stands for any bytes and `?` for one. Letters of ASCII match in either case: web servers decide by
/// `x.PHP` as they do by `x.php`. Only a name without its directory is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It cannot be one.
    #[error(
        "{0:?} is not a pattern of file names: use 1 to {longest} bytes without '/' and control characters, such as *.php or .htaccess",
        longest = NamePattern::LONGEST
    )]
    Text(String),
    /// Nothing could be uploaded any more.
    #[error("{0:?} matches every name: to take writing away, use: enclos grant add USER PATH --mode ro")]
    Everything(String),
    /// There are too many.
    #[error("more than {most} patterns of file names cannot be kept for one user", most = NamePatterns::MOST)]
    TooMany,
}

impl NamePattern {
    /// Longest pattern, in bytes.
    pub const LONGEST: usize = 64;

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name fits the pattern.
    pub fn matches(&self, name: &[u8]) -> bool {
        matches(self.0.as_bytes(), name)
    }
}

/// Goes forward through both; after a mismatch the last `*` takes one byte more. No input makes this worse than the product
/// of both lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut looked) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(looked) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, looked));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted.eq_ignore_ascii_case(byte) => {
                at += 1;
                looked += 1;
            }
            _ => {
                let Some((back, taken)) = star else { return false };
                star = Some((back, taken + 1));
                (at, looked) = (back + 1, taken + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|left| *left == b'*')
}

impl std::str::FromStr for NamePattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let cut = || text.chars().take(NamePattern::LONGEST).collect();
        if text.is_empty() || text.len() > Self::LONGEST || text.chars().any(|c| c == '/' || c.is_control()) {
            return Err(BadPattern::Text(cut()));
        }
        if text.bytes().all(|b| b == b'*') {
            return Err(BadPattern::Everything(cut()));
        }
        Ok(Self(text.to_owned()))
    }
}

by_text!(BadPattern: NamePattern);

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Several patterns; a name fits if it fits one. As text, one in a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<NamePattern>", into = "Vec<NamePattern>")]
pub struct NamePatterns(Vec<NamePattern>);

impl NamePatterns {
    /// Most patterns of one user.
    pub const MOST: usize = 64;

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a name fits one of them.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &NamePattern> {
        self.0.iter()
    }

    /// Whether each of the `other` ones is among these.
    pub fn contain(&self, other: &NamePatterns) -> bool {
        other.0.iter().all(|pattern| self.0.contains(pattern))
    }
}

impl TryFrom<Vec<NamePattern>> for NamePatterns {
    type Error = BadPattern;

    fn try_from(mut patterns: Vec<NamePattern>) -> Result<Self, BadPattern> {
        patterns.sort();
        patterns.dedup();
        if patterns.len() > Self::MOST { Err(BadPattern::TooMany) } else { Ok(Self(patterns)) }
    }
}

impl From<NamePatterns> for Vec<NamePattern> {
    fn from(patterns: NamePatterns) -> Vec<NamePattern> {
        patterns.0
    }
}

impl std::str::FromStr for NamePatterns {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        text.lines().map(str::parse).collect::<Result<Vec<_>, _>>()?.try_into()
    }
}

impl fmt::Display for NamePatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(NamePattern::as_str).collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &[u8]) -> bool {
        pattern.parse::<NamePattern>().expect(pattern).matches(name)
    }

    #[test]
    fn a_pattern_is_about_the_whole_name_in_either_case() {
        assert!(fits("*.php", b"x.php") && fits("*.php", b"X.PhP") && fits("*.php", b".php"));
        assert!(!fits("*.php", b"x.php5") && !fits("*.php", b"x.php.jpg") && !fits("*.php", b"php"));
        assert!(fits("*.php*", b"x.php5") && fits("*.php.*", b"x.php.jpg") && fits("*.ph?", b"a.phP"));
        assert!(fits(".htaccess", b".HTACCESS") && !fits(".htaccess", b"x.htaccess"));
        assert!(fits("a*b*c", b"aXbbYc") && !fits("a*b*c", b"aXbbYcd") && fits("*.php", b"\xff\n.php"));
        assert!(fits("é*", "é.txt".as_bytes()) && !fits("é*", "É.txt".as_bytes()));
    }

    #[test]
    fn a_hard_pattern_does_not_take_long() {
        let name = vec![b'a'; 255];
        assert!(!fits("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", &name));
    }

    #[test]
    fn what_could_not_be_kept_or_would_stop_everything_is_refused() {
        for text in ["", "a/b", "a\nb", "*", "**", &"x".repeat(65)] {
            assert!(text.parse::<NamePattern>().is_err(), "{text:?}");
        }
        let many: Vec<NamePattern> = (0..65).map(|n| format!("{n}").parse().expect("a pattern")).collect();
        assert_eq!(NamePatterns::try_from(many), Err(BadPattern::TooMany));
        let two: NamePatterns = "b\na\nb".parse().expect("patterns");
        assert_eq!(two.to_string(), "a\nb");
    }
}
