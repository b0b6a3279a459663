//! Directories of the host that cells show beside its programs: a database's socket, other versions of PHP.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::HomePath;

/// One such directory, shown at the path that it has on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bind {
    path: HomePath,
    writable: bool,
}

/// Why a text names no such directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBind {
    /// Not a path.
    #[error(
        "{0:?} is no directory to be shown: write its whole path, such as /run/mysqld, with :rw behind it if programs may write there"
    )]
    Path(String),
    /// One that shows what is nobody's business, or that a cell has of its own.
    #[error("{0} cannot be shown: name a directory in it that is meant for everybody")]
    Forbidden(String),
}

/// What is not shown, with all that is in it: the host's settings and processes, and what each cell has of its own.
const CLOSED: &[&str] = &["/dev", "/etc", "/proc", "/root", "/sys", "/tmp", "/usr", "/var/tmp"];

impl Bind {
    /// Its path.
    pub fn path(&self) -> &HomePath {
        &self.path
    }

    /// The same, as a place in a cell: without a leading `/`.
    pub fn place(&self) -> &str {
        self.path.as_str().trim_start_matches('/')
    }

    /// Whether programs may write there.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether one of the two lies in the other, or is it.
    pub fn overlaps(&self, other: &str) -> bool {
        let parts =
            |path: &'_ str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        parts(self.path.as_str()).iter().zip(&parts(other)).all(|(one, other)| one == other)
    }
}

impl std::str::FromStr for Bind {
    type Err = BadBind;

    fn from_str(text: &str) -> Result<Self, BadBind> {
        let (path, writable) = match text.strip_suffix(":rw") {
            Some(path) => (path, true),
            None => (text.strip_suffix(":ro").unwrap_or(text), false),
        };
        let path: HomePath = path.parse().map_err(|_| BadBind::Path(text.chars().take(64).collect()))?;
        let bind = Bind { path, writable };
        // One component, such as /srv or /run, holds what is of everybody.
        let is_wide = bind.path.components().count() < 2;
        match is_wide && bind.path.as_str() != "/opt" || CLOSED.iter().any(|closed| bind.overlaps(closed)) {
            true => Err(BadBind::Forbidden(bind.path.to_string())),
            false => Ok(bind),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, if self.writable { ":rw" } else { "" })
    }
}

by_text!(BadBind: Bind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_read_only_unless_said() {
        for (text, shown, writable) in [
            ("/run/mysqld", "/run/mysqld", false),
            ("/opt", "/opt", false),
            ("/opt/php/8.3:ro", "/opt/php/8.3", false),
            ("/var/cache/shared:rw", "/var/cache/shared:rw", true),
        ] {
            let bind: Bind = text.parse().expect(text);
            assert_eq!((bind.to_string().as_str(), bind.is_writable()), (shown, writable));
        }
    }

    #[test]
    fn what_is_nobodys_business_cannot_be_shown() {
        for text in [
            "/",
            "/srv",
            "/home",
            "/run",
            "/var",
            "/etc/mysql",
            "/proc/1",
            "/root/x",
            "/tmp/x",
            "/usr/local",
            "/dev/shm:rw",
        ] {
            assert!(matches!(text.parse::<Bind>(), Err(BadBind::Forbidden(_))), "{text}");
        }
        for text in ["", "run/mysqld", "/run/../etc", ":rw", "/run/x\n"] {
            assert!(matches!(text.parse::<Bind>(), Err(BadBind::Path(_))), "{text:?}");
        }
    }

    #[test]
    fn paths_overlap_by_their_components() {
        let bind: Bind = "/srv/shared".parse().expect("a bind");
        assert!(bind.overlaps("/srv/shared/acme") && bind.overlaps("/srv") && bind.overlaps("/srv/shared/"));
        assert!(!bind.overlaps("/srv/shared2") && !bind.overlaps("/var/shared"));
    }
}
