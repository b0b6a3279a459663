//! Where in a client's view each grant lies.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Grant, HomePath, RelPath};

/// How a client sees what it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// Every path is the one it has on the host; the client starts in the first grant.
    Host,
    /// `/` is the grant; with several, each is a directory in `/`.
    Rooted,
}

impl View {
    /// As written in commands, JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            View::Host => "host",
            View::Rooted => "rooted",
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A view we do not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("view {text:?} is not known; use host or rooted")]
pub struct UnknownView {
    text: String,
}

impl std::str::FromStr for View {
    type Err = UnknownView;

    fn from_str(text: &str) -> Result<Self, UnknownView> {
        match text {
            "host" => Ok(View::Host),
            "rooted" => Ok(View::Rooted),
            _ => Err(UnknownView { text: text.chars().take(64).collect() }),
        }
    }
}

/// A grant and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The grant.
    pub grant: Grant,
    /// Its path in the view, without a leading `/`; empty when it is the view itself.
    pub at: String,
    /// Whether it lies inside another grant.
    pub nested: bool,
}

/// All grants in their places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Every grant after those that it lies in.
    pub placed: Vec<Placed>,
    /// Where a client starts: an absolute path in the view.
    pub start: String,
    /// What `~` stands for: an absolute path in the view.
    pub home: String,
}

/// Why grants cannot be laid out. The text is for the client and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unplaced {
    /// There is nothing to reach.
    #[error("no directory is granted to this login; ask the account's owner for one")]
    NoGrant,
    /// Two grants would have the same name.
    #[error("two directories named {name:?} are granted to this login; ask the server's operator to remove one")]
    Clash {
        /// The common name.
        name: String,
    },
    /// Rights of Landlock add up from a directory to what lies in it, so they cannot end inside a readable one.
    #[error(
        "the upload directory {path:?} lies inside {outer:?}, which can be read; ask the server's operator to grant one of them only"
    )]
    ReadableDropBox {
        /// The upload grant.
        path: RelPath,
        /// The readable one around it.
        outer: RelPath,
    },
    /// A hidden directory shows nothing of what is in it.
    #[error(
        "{path:?} lies inside {outer:?}, which is hidden from this login; ask the server's operator to remove one of the two"
    )]
    InsideHidden {
        /// The grant.
        path: RelPath,
        /// The hidden one around it.
        outer: RelPath,
    },
    /// More text than one message takes.
    #[error("the paths granted to this login are too long together; ask the server's operator for fewer")]
    TooLong,
    /// More mounts than a session can look after.
    #[error("grants to this login lie too deep in one another; ask the server's operator for fewer")]
    TooDeep,
}

impl Layout {
    /// Most bytes that all paths on disk and in the view may have together.
    pub const MOST_PATH_BYTES: usize = 48 * 1024;
    /// Most components that the places of nested grants may have together. Each may be a mount, and each is looked at
    /// before and after everything that is done by name.
    pub const MOST_NESTED_COMPONENTS: usize = 1024;

    /// Gives every grant its place. What is hidden and lies in no grant is left out: it is not seen anyway.
    pub fn of(view: View, home: &HomePath, grants: &[Grant]) -> Result<Layout, Unplaced> {
        grants.iter().try_for_each(|grant| check_nesting(grants, grant))?;
        let outermost: Vec<&Grant> =
            grants.iter().filter(|g| g.is_visible() && around(grants, g).next().is_none()).collect();
        let first = outermost.first().ok_or(Unplaced::NoGrant)?;
        let tops = match view {
            View::Host => outermost.iter().map(|g| (&g.path, host_path(home, &g.path))).collect(),
            View::Rooted => rooted(&outermost)?,
        };
        let start = match view {
            View::Host => format!("/{}", host_path(home, &first.path)),
            View::Rooted => "/".to_owned(),
        };
        let mut placed = Vec::with_capacity(grants.len());
        for grant in grants {
            placed.extend(place(grant, &tops));
        }
        placed.sort_by_key(|p| p.grant.path.components().count());
        if placed.iter().map(|p| p.at.len() + p.grant.path.as_str().len()).sum::<usize>() > Self::MOST_PATH_BYTES {
            return Err(Unplaced::TooLong);
        }
        let nested = placed.iter().filter(|p| p.nested);
        if nested.map(|p| p.at.split('/').count()).sum::<usize>() > Self::MOST_NESTED_COMPONENTS {
            return Err(Unplaced::TooDeep);
        }
        let home = start.clone();
        Ok(Layout { placed, start, home })
    }
}

/// Where the outermost grants lie.
type Tops<'a> = BTreeMap<&'a RelPath, String>;

/// The visible or hidden grants that one lies in.
fn around<'a>(grants: &'a [Grant], inner: &Grant) -> impl Iterator<Item = &'a Grant> {
    grants.iter().filter(move |g| g.path != inner.path && g.path.contains(&inner.path))
}

fn host_path(home: &HomePath, path: &RelPath) -> String {
    let parts: Vec<&str> = home.components().chain(path.components()).collect();
    parts.join("/")
}

/// One grant is the view itself, several are directories in it.
fn rooted<'a>(outermost: &[&'a Grant]) -> Result<Tops<'a>, Unplaced> {
    if let [only] = outermost {
        return Ok(Tops::from([(&only.path, String::new())]));
    }
    let mut tops = Tops::new();
    for grant in outermost {
        let name = grant.path.file_name().unwrap_or("home").to_owned();
        if tops.values().any(|taken| *taken == name) {
            return Err(Unplaced::Clash { name });
        }
        tops.insert(&grant.path, name);
    }
    Ok(tops)
}

/// Whether a grant may lie in those that it lies in, also where none of them can be reached yet.
fn check_nesting(grants: &[Grant], grant: &Grant) -> Result<(), Unplaced> {
    for outer in around(grants, grant) {
        if !outer.is_visible() {
            return Err(Unplaced::InsideHidden { path: grant.path.clone(), outer: outer.path.clone() });
        }
        if grant.mode == super::Mode::Upload && outer.mode.reads() {
            return Err(Unplaced::ReadableDropBox { path: grant.path.clone(), outer: outer.path.clone() });
        }
    }
    Ok(())
}

fn place(grant: &Grant, tops: &Tops<'_>) -> Option<Placed> {
    let (top, at) = tops.iter().find(|(path, _)| path.contains(&grant.path))?;
    let below = grant.path.components().skip(top.components().count());
    let parts: Vec<&str> = at.split('/').filter(|c| !c.is_empty()).chain(below).collect();
    Some(Placed { grant: grant.clone(), at: parts.join("/"), nested: **top != grant.path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{GrantId, Mode};

    fn grant(path: &str, mode: Mode) -> Grant {
        Grant { id: GrantId(1), path: path.parse().expect("a path"), mode, no_exec: false }
    }

    fn lay_out(view: View, grants: &[(&str, Mode)]) -> Result<Layout, Unplaced> {
        let grants: Vec<Grant> = grants.iter().map(|(path, mode)| grant(path, *mode)).collect();
        Layout::of(view, &"/srv/acme".parse().expect("a path"), &grants)
    }

    fn places(layout: &Layout) -> Vec<&str> {
        layout.placed.iter().map(|p| p.at.as_str()).collect()
    }

    #[test]
    fn one_grant_is_the_root_and_several_are_directories_in_it() {
        let one = lay_out(View::Rooted, &[("www/site1", Mode::Rw)]).expect("a view");
        assert_eq!((places(&one), one.start.as_str()), (vec![""], "/"));
        let several = lay_out(View::Rooted, &[("www/site1", Mode::Rw), ("logs", Mode::Ro)]).expect("a view");
        assert_eq!(places(&several), ["logs", "site1"]);
    }

    #[test]
    fn nested_grants_lie_in_their_outer_one() {
        let wanted = [("www/config", Mode::Ro), ("www", Mode::Rw), ("www/a/secret", Mode::Hidden)];
        let rooted = lay_out(View::Rooted, &wanted).expect("a view");
        assert_eq!(places(&rooted), ["", "config", "a/secret"]);
        let host = lay_out(View::Host, &wanted).expect("a view");
        assert_eq!(places(&host), ["srv/acme/www", "srv/acme/www/config", "srv/acme/www/a/secret"]);
        assert_eq!(host.start, "/srv/acme/www");
    }

    #[test]
    fn the_home_itself_has_a_place_too() {
        assert_eq!(places(&lay_out(View::Host, &[(".", Mode::Rw)]).expect("a view")), ["srv/acme"]);
        assert_eq!(places(&lay_out(View::Rooted, &[(".", Mode::Rw), ("www", Mode::Ro)]).expect("a view")), ["", "www"]);
    }

    #[test]
    fn what_cannot_be_laid_out_is_told() {
        assert_eq!(lay_out(View::Rooted, &[]).expect_err("nothing"), Unplaced::NoGrant);
        assert_eq!(lay_out(View::Host, &[("www", Mode::Hidden)]).expect_err("nothing"), Unplaced::NoGrant);
        let clash = [("a/x", Mode::Rw), ("b/x", Mode::Rw)];
        assert!(matches!(lay_out(View::Rooted, &clash), Err(Unplaced::Clash { .. })));
        assert!(lay_out(View::Host, &clash).is_ok());
        let drop_box = [("www", Mode::Ro), ("www/in", Mode::Upload)];
        assert!(matches!(lay_out(View::Host, &drop_box), Err(Unplaced::ReadableDropBox { .. })));
        let hidden = [("www", Mode::Rw), ("www/x", Mode::Hidden), ("www/x/y", Mode::Ro)];
        assert!(matches!(lay_out(View::Rooted, &hidden), Err(Unplaced::InsideHidden { .. })));
    }

    #[test]
    fn what_is_hidden_outside_every_grant_has_no_place() {
        let wanted = [("www", Mode::Rw), ("mail", Mode::Hidden)];
        assert_eq!(places(&lay_out(View::Rooted, &wanted).expect("a view")), [""]);
    }
}
