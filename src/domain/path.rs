//! Where an account's home is, and which part of it a grant names.
//!
//! Both are checked component by component when they are made, and are opened later one beneath the other by the
//! kernel (`openat2`), never joined as text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest path we keep, in bytes (Linux `PATH_MAX` without its NUL).
const LONGEST: usize = 4095;
/// Longest component, in bytes (Linux `NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// Why a text is not a path we keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// A home that does not begin with `/`.
    #[error("path {text:?} is relative; give the full path, beginning with '/'")]
    Relative {
        /// As given.
        text: String,
    },
    /// A grant that begins with `/`.
    #[error("path {text:?} begins with '/'; give it relative to the account's home, for example www/site1")]
    Absolute {
        /// As given.
        text: String,
    },
    /// `..` among the components.
    #[error("path {text:?} contains '..'; name the directory itself")]
    Upward {
        /// As given.
        text: String,
    },
    /// NUL or a control character, which no listing could show.
    #[error("path {text:?} contains a control character")]
    Control {
        /// As given.
        text: String,
    },
    /// Longer than the kernel takes.
    #[error("path of {length} bytes is too long (at most 4095, each component at most 255)")]
    Long {
        /// Its length in bytes.
        length: usize,
    },
}

fn components(text: &str) -> Result<Vec<&str>, BadPath> {
    if text.len() > LONGEST || text.split('/').any(|c| c.len() > LONGEST_NAME) {
        return Err(BadPath::Long { length: text.len() });
    }
    if text.chars().any(char::is_control) {
        return Err(BadPath::Control { text: text.to_owned() });
    }
    let parts: Vec<&str> = text.split('/').filter(|c| !c.is_empty() && *c != ".").collect();
    if parts.contains(&"..") {
        return Err(BadPath::Upward { text: text.to_owned() });
    }
    Ok(parts)
}

/// A directory below an account's home: no leading `/`, no `..`, no empty or `.` component. Empty text and `.` both
/// mean the home itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(String);

impl RelPath {
    /// That of the home itself.
    pub fn from_home() -> RelPath {
        RelPath(String::new())
    }

    /// The path as text; `.` for the home itself.
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "." } else { &self.0 }
    }

    /// The components, outermost first; none for the home itself.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|c| !c.is_empty())
    }

    /// The last component, by which a grant is known in a `rooted` view; `None` for the home itself.
    pub fn file_name(&self) -> Option<&str> {
        self.components().last()
    }

    /// The directories on the way from `outer` to this one, neither included; none unless it lies in `outer`.
    pub fn between(&self, outer: &RelPath) -> Vec<RelPath> {
        let parts: Vec<&str> = self.components().collect();
        let way = (outer.components().count() + 1)..parts.len();
        let ends = way.filter(|_| outer.contains(self));
        ends.filter_map(|end| parts.get(..end)).map(|way| RelPath(way.join("/"))).collect()
    }

    /// Whether `other` is this directory or lies beneath it.
    pub fn contains(&self, other: &RelPath) -> bool {
        let mut theirs = other.components();
        self.components().all(|mine| theirs.next() == Some(mine))
    }
}

impl std::str::FromStr for RelPath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        if text.starts_with('/') {
            return Err(BadPath::Absolute { text: text.to_owned() });
        }
        Ok(Self(components(text)?.join("/")))
    }
}

impl TryFrom<String> for RelPath {
    type Error = BadPath;

    fn try_from(text: String) -> Result<Self, BadPath> {
        text.parse()
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> String {
        path.as_str().to_owned()
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The home of an account: an absolute path without `..`, `.` or doubled slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HomePath(String);

impl HomePath {
    /// The path as text, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, outermost first; none for `/`.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|c| !c.is_empty())
    }
}

impl std::str::FromStr for HomePath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        if !text.starts_with('/') {
            return Err(BadPath::Relative { text: text.to_owned() });
        }
        Ok(Self(format!("/{}", components(text)?.join("/"))))
    }
}

impl TryFrom<String> for HomePath {
    type Error = BadPath;

    fn try_from(text: String) -> Result<Self, BadPath> {
        text.parse()
    }
}

impl From<HomePath> for String {
    fn from(path: HomePath) -> String {
        path.0
    }
}

impl fmt::Display for HomePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_kept_without_its_noise() {
        let path: RelPath = "./www//site1/".parse().expect("a plain path");
        assert_eq!(path.as_str(), "www/site1");
        assert_eq!(path.file_name(), Some("site1"));
        assert_eq!("".parse::<RelPath>().expect("the home").as_str(), ".");
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        for text in ["..", "a/../b", "/etc", "a\0b", "a\nb"] {
            assert!(text.parse::<RelPath>().is_err(), "{text:?}");
        }
        assert!("srv".parse::<HomePath>().is_err());
        assert!("/srv/../etc".parse::<HomePath>().is_err());
        assert!("x/".repeat(3000).parse::<RelPath>().is_err());
    }

    #[test]
    fn containment_goes_by_components_not_by_text() {
        let www: RelPath = "www".parse().expect("a path");
        assert!(www.contains(&"www/site1".parse().expect("a path")));
        assert!(www.contains(&www));
        assert!(!www.contains(&"www2".parse().expect("a path")));
    }

    #[test]
    fn the_way_between_two_directories_is_what_lies_between_them() {
        let path = |text: &str| text.parse::<RelPath>().expect("a path");
        assert_eq!(path("a/b/c/d").between(&path("a")), [path("a/b"), path("a/b/c")]);
        assert_eq!(path("a/b").between(&path(".")), [path("a")]);
        assert!(path("a/b").between(&path("a")).is_empty());
        assert!(path("x/b/c").between(&path("a")).is_empty());
    }
}
