//! What one credential may do of what its user may. It narrows, and can do nothing else.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Grant, Mode, RelPath, Services, Setting, Sources, Timestamp, deciding};

/// The narrowing that a credential carries. The default is all that the user may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Only what lies in these directories of the account; `None` for wherever the user may.
    pub paths: Option<ScopePaths>,
    /// At most these rights there.
    pub mode: Option<Mode>,
    /// At most these services.
    pub services: Option<Services>,
    /// Whether programs get no terminal.
    pub no_terminal: bool,
}

/// The directories of a scope, at least one and not too many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<RelPath>", into = "Vec<RelPath>")]
pub struct ScopePaths(Vec<RelPath>);

/// Why directories make no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadScope {
    /// None is given.
    #[error("a scope needs at least one directory")]
    Nothing,
    /// There are too many.
    #[error("a scope of more than {most} directories cannot be kept; name one further up", most = ScopePaths::MOST)]
    TooMany,
    /// They are too long.
    #[error("the directories of a scope are longer than {most} bytes together; name one further up", most = ScopePaths::MOST_BYTES)]
    Long,
    /// One is no path.
    #[error(transparent)]
    Path(#[from] super::BadPath),
}

impl ScopePaths {
    /// Most directories of one scope.
    pub const MOST: usize = 16;
    /// Most bytes of their paths together.
    pub const MOST_BYTES: usize = 4096;

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &RelPath> {
        self.0.iter()
    }
}

impl TryFrom<Vec<RelPath>> for ScopePaths {
    type Error = BadScope;

    fn try_from(mut paths: Vec<RelPath>) -> Result<Self, BadScope> {
        paths.sort();
        paths.dedup();
        match paths.len() {
            0 => Err(BadScope::Nothing),
            n if n > Self::MOST => Err(BadScope::TooMany),
            _ if paths.iter().map(|p| p.as_str().len()).sum::<usize>() > Self::MOST_BYTES => Err(BadScope::Long),
            _ => Ok(ScopePaths(paths)),
        }
    }
}

impl From<ScopePaths> for Vec<RelPath> {
    fn from(paths: ScopePaths) -> Vec<RelPath> {
        paths.0
    }
}

/// One path in a line, which no path can hold.
impl std::str::FromStr for ScopePaths {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        text.lines().map(str::parse).collect::<Result<Vec<RelPath>, _>>()?.try_into()
    }
}

impl std::fmt::Display for ScopePaths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.iter().map(RelPath::as_str).collect::<Vec<_>>().join("\n"))
    }
}

impl Scope {
    /// Whether it takes nothing away.
    pub fn is_whole(&self) -> bool {
        *self == Scope::default()
    }

    /// What is left of a user's services.
    pub fn services(&self, of_user: Services) -> Services {
        self.services.map_or(of_user, |only| of_user.and(only))
    }

    /// What is left of a user's grants.
    pub fn grants(&self, of_user: &[Grant]) -> Vec<Grant> {
        let mut left: Vec<Grant> = match &self.paths {
            None => of_user.to_vec(),
            Some(paths) => paths.iter().flat_map(|path| beneath(path, of_user)).collect(),
        };
        for grant in &mut left {
            grant.mode = self.mode.map_or(grant.mode, |most| grant.mode.and(most));
        }
        // In their order: in the first of them a client starts.
        let mut seen = BTreeSet::new();
        left.retain(|grant| seen.insert(grant.path.clone()));
        without_remains(left)
    }

    /// Both narrowings at once.
    #[must_use]
    pub fn and_services(self, services: Services) -> Scope {
        Scope { services: Some(self.services(services)), ..self }
    }
}

/// The part of the grants that lies in a directory: what decides about it, and what is nested in it.
fn beneath(path: &RelPath, grants: &[Grant]) -> Vec<Grant> {
    let itself = deciding(grants, path).map(|around| Grant { path: path.clone(), ..around.clone() });
    let inside = grants.iter().filter(|g| path.contains(&g.path) && g.path != *path).cloned();
    itself.into_iter().chain(inside).collect()
}

/// Hiding hides something that is shown around it, and shows nothing inside it: what is left of neither is left out.
fn without_remains(mut grants: Vec<Grant>) -> Vec<Grant> {
    let mut outer_first = grants.clone();
    outer_first.sort_by_key(|g| g.path.components().count());
    let mut kept: Vec<Grant> = Vec::with_capacity(grants.len());
    for grant in outer_first {
        let stands = match deciding(&kept, &grant.path) {
            None => grant.is_visible(),
            Some(around) => around.is_visible(),
        };
        if stands {
            kept.push(grant);
        }
    }
    grants.retain(|grant| kept.iter().any(|k| k.path == grant.path));
    grants
}

/// When and from where an account, a user or a credential may be used. The default is always and from everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// From then on no more.
    pub expires: Option<Timestamp>,
    /// From these addresses alone.
    pub from: Sources,
}

/// What becomes of [`Terms`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "names are those of the terms")]
pub struct TermsChange {
    pub expires: Setting<Timestamp>,
    pub from: Setting<Sources>,
}

impl TermsChange {
    /// The terms with the change made.
    #[must_use]
    pub fn apply(self, mut terms: Terms) -> Terms {
        self.expires.apply(&mut terms.expires);
        let mut from = Some(terms.from);
        self.from.apply(&mut from);
        Terms { expires: terms.expires, from: from.unwrap_or_default() }
    }
}

/// What becomes of the scope and the terms of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "names are those of the scope")]
pub struct KeyChange {
    pub terms: TermsChange,
    pub paths: Setting<ScopePaths>,
    pub mode: Setting<Mode>,
    pub services: Setting<Services>,
    pub no_terminal: Option<bool>,
}

impl KeyChange {
    /// The scope with the change made.
    #[must_use]
    pub fn scope(&self, mut scope: Scope) -> Scope {
        self.paths.clone().apply(&mut scope.paths);
        self.mode.apply(&mut scope.mode);
        self.services.apply(&mut scope.services);
        scope.no_terminal = self.no_terminal.unwrap_or(scope.no_terminal);
        scope
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{GrantId, narrows};

    fn path(text: &str) -> RelPath {
        text.parse().expect("a path")
    }

    fn grants(list: &[(&str, Mode)]) -> Vec<Grant> {
        let grant = |(at, mode): &(&str, Mode)| Grant { id: GrantId(1), path: path(at), mode: *mode, no_exec: false };
        list.iter().map(grant).collect()
    }

    fn only(paths: &[&str], mode: Option<Mode>) -> Scope {
        let paths = paths.iter().map(|p| path(p)).collect::<Vec<_>>();
        Scope { paths: ScopePaths::try_from(paths).ok(), mode, ..Scope::default() }
    }

    fn shown(grants: &[Grant]) -> Vec<String> {
        grants.iter().map(|g| format!("{} {}", g.path, g.mode)).collect()
    }

    #[test]
    fn three_credentials_of_one_user_reach_three_things() {
        let user = grants(&[("www", Mode::Rw), ("www/config", Mode::Hidden), ("logs", Mode::Ro)]);
        assert_eq!(Scope::default().grants(&user).len(), 3);
        assert_eq!(shown(&only(&["www/releases"], None).grants(&user)), ["www/releases rw"]);
        let backup = Scope { mode: Some(Mode::Ro), ..Scope::default() };
        assert_eq!(shown(&backup.grants(&user)), ["www ro", "www/config hidden", "logs ro"]);
    }

    #[test]
    fn what_lies_outside_the_grants_stays_outside() {
        let user = grants(&[("www", Mode::Rw), ("www/config", Mode::Hidden)]);
        assert!(only(&["mail"], None).grants(&user).is_empty());
        assert!(only(&["www/config/x"], None).grants(&user).is_empty(), "hidden from the user, hidden from its key");
        assert_eq!(shown(&only(&["."], None).grants(&user)), ["www rw", "www/config hidden"]);
    }

    #[test]
    fn a_key_to_read_gets_nothing_out_of_a_drop_box() {
        let user = grants(&[("in", Mode::Upload), ("in/done", Mode::Ro)]);
        assert_eq!(shown(&only(&["in"], Some(Mode::Ro)).grants(&user)), ["in/done ro"]);
    }

    fn some_grants() -> impl Strategy<Value = Vec<Grant>> {
        let one = ("[ab](/[ab]){0,3}", 0..Mode::ALL.len(), any::<bool>()).prop_map(|(at, mode, no_exec)| Grant {
            id: GrantId(1),
            path: path(&at),
            mode: Mode::ALL[mode],
            no_exec,
        });
        proptest::collection::vec(one, 0..6).prop_map(|mut grants: Vec<Grant>| {
            grants.sort_by(|a, b| a.path.cmp(&b.path));
            grants.dedup_by(|a, b| a.path == b.path);
            // Nothing can be granted inside what is hidden.
            without_remains(grants)
        })
    }

    fn some_scope() -> impl Strategy<Value = Scope> {
        let paths = proptest::collection::vec("[ab](/[ab]){0,3}", 0..3);
        (paths, proptest::option::of(0..Mode::ALL.len())).prop_map(|(paths, mode)| {
            only(&paths.iter().map(String::as_str).collect::<Vec<_>>(), mode.map(|mode| Mode::ALL[mode]))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// The promise: whatever a scope says, nothing is allowed with it that is not allowed without.
        #[test]
        fn a_scope_only_narrows(user in some_grants(), scope in some_scope()) {
            let scoped = scope.grants(&user);
            prop_assert!(!narrows(&scoped, &user), "{:?} {scope:?} -> {:?}", shown(&user), shown(&scoped));
        }

        /// And what it leaves alone stays.
        #[test]
        fn the_whole_scope_takes_nothing(user in some_grants()) {
            prop_assert!(!narrows(&user, &Scope::default().grants(&user)));
        }

        #[test]
        fn a_narrower_user_makes_a_narrower_key(user in some_grants(), less in some_scope(), scope in some_scope()) {
            let narrowed = less.grants(&user);
            prop_assert!(!narrows(&scope.grants(&narrowed), &user));
        }

        #[test]
        fn services_only_shrink(of_user in any::<u16>(), of_key in any::<u16>()) {
            let pick = |bits: u16| super::super::Service::ALL.into_iter().enumerate()
                .filter(|(n, _)| bits & (1 << n) != 0).map(|(_, s)| s).collect::<Services>();
            let (user, key) = (pick(of_user), pick(of_key));
            let left = Scope::default().and_services(key).services(user);
            prop_assert!(left.iter().all(|s| user.contains(s) && key.contains(s)));
        }
    }
}
