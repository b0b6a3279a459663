//! What one credential may do of what its user may. It narrows, and can do nothing else.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    BadPermits, BadProgram, ByteCount, ForcedCommand, ForwardPolicy, Grant, Hours, Mode, Opening, Permits,
    ProgramPolicy, RelPath, Service, Services, SessionLimits, Setting, Sources, Terminals, Timestamp, deciding,
};

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
    /// What is run whatever is asked for.
    pub forced_command: Option<ForcedCommand>,
    /// At most these places may be connected to.
    pub permit_open: Option<Permits>,
    /// At most these may be listened on.
    pub permit_listen: Option<Permits>,
}

/// Why nothing is left of what two may that hold at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Each forces another command.
    #[error("two commands are forced, {0:?} and {1:?}, and only one can be run")]
    Commands(String, String),
    /// What both permit is too much to be kept.
    #[error("the places that both permit are too many")]
    Places(#[from] BadPermits),
    /// No directory is in both.
    #[error("no directory lies in what both are good for")]
    Nowhere,
}

impl Contradiction {
    fn commands(one: &ForcedCommand, other: &ForcedCommand) -> Contradiction {
        Contradiction::Commands(one.to_string(), other.to_string())
    }
}

/// Of two forced commands the one, if they do not differ.
fn one_command(
    one: Option<ForcedCommand>,
    other: Option<ForcedCommand>,
) -> Result<Option<ForcedCommand>, Contradiction> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(Contradiction::commands(&one, &other)),
        (one, other) => Ok(one.or(other)),
    }
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

    /// What lies in both.
    fn and(&self, other: &ScopePaths) -> Result<ScopePaths, Contradiction> {
        let inside = |these: &ScopePaths, those: &ScopePaths| {
            these.0.iter().filter(|path| those.0.iter().any(|other| other.contains(path))).cloned().collect::<Vec<_>>()
        };
        let both = [inside(self, other), inside(other, self)].concat();
        ScopePaths::try_from(both).map_err(|_| Contradiction::Nowhere)
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

    /// What is left of where a user may forward.
    pub fn forwards(&self, of_user: &ForwardPolicy) -> Result<ForwardPolicy, Contradiction> {
        Ok(of_user.narrowed(self.permit_open.as_ref(), self.permit_listen.as_ref())?)
    }

    /// What is left of how a user's programs are run.
    pub fn programs(&self, of_user: &ProgramPolicy) -> Result<ProgramPolicy, Contradiction> {
        Ok(ProgramPolicy {
            shell: of_user.shell.clone(),
            forced_command: one_command(of_user.forced_command.clone(), self.forced_command.clone())?,
            terminals: if self.no_terminal { Terminals::Refused } else { of_user.terminals },
            linger: of_user.linger,
        })
    }

    /// What a forced command leaves (`command=` of a key, `force-command` of a certificate). That of OpenSSH's SFTP server
    /// leaves SFTP, or reading by it, and what is no program.
    pub fn forcing(command: &str) -> Result<Scope, BadProgram> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let mode = match words.as_slice() {
            ["internal-sftp"] => None,
            ["internal-sftp", "-R"] => Some(Mode::Ro),
            ["internal-sftp", ..] => return Err(BadProgram::SftpOptions),
            _ => return Ok(Scope { forced_command: Some(command.parse()?), ..Scope::default() }),
        };
        let is_left = |service: &Service| {
            matches!(service, Service::Sftp | Service::ForwardLocal | Service::ForwardRemote | Service::Agent)
        };
        let services = Some(Service::ALL.into_iter().filter(is_left).collect());
        Ok(Scope { mode, services, ..Scope::default() })
    }

    /// Both narrowings at once.
    pub fn and(self, other: Scope) -> Result<Scope, Contradiction> {
        let permits = |one: Option<Permits>, other: Option<Permits>| match (one, other) {
            (Some(one), Some(other)) => one.and(&other).map(Some),
            (one, other) => Ok(one.or(other)),
        };
        Ok(Scope {
            paths: match (self.paths, other.paths) {
                (Some(one), Some(other)) => Some(one.and(&other)?),
                (one, other) => one.or(other),
            },
            mode: match (self.mode, other.mode) {
                (Some(one), Some(other)) => Some(one.and(other)),
                (one, other) => one.or(other),
            },
            services: match (self.services, other.services) {
                (Some(one), Some(other)) => Some(one.and(other)),
                (one, other) => one.or(other),
            },
            no_terminal: self.no_terminal || other.no_terminal,
            forced_command: one_command(self.forced_command, other.forced_command)?,
            permit_open: permits(self.permit_open, other.permit_open)?,
            permit_listen: permits(self.permit_listen, other.permit_listen)?,
        })
    }

    /// The same with these services at most.
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
    /// How many sessions there may be, and how long one may last.
    #[serde(default)]
    pub sessions: SessionLimits,
    /// At these hours alone.
    #[serde(default)]
    pub hours: Option<Hours>,
    /// What the hours come to, at the moment that whoever made these terms looked at the clock.
    #[serde(default)]
    pub open: Opening,
}

/// What becomes of [`Terms`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "names are those of the terms")]
pub struct TermsChange {
    pub expires: Setting<Timestamp>,
    pub from: Setting<Sources>,
    pub sessions: Setting<u32>,
    pub lasting: Setting<u32>,
    pub idle: Setting<u32>,
    pub bandwidth: Setting<ByteCount>,
    pub hours: Setting<Hours>,
}

impl TermsChange {
    /// The terms with the change made.
    #[must_use]
    pub fn apply(self, mut terms: Terms) -> Terms {
        self.expires.apply(&mut terms.expires);
        self.sessions.apply(&mut terms.sessions.at_once);
        self.lasting.apply(&mut terms.sessions.lasting);
        self.idle.apply(&mut terms.sessions.idle);
        self.bandwidth.apply(&mut terms.sessions.bandwidth);
        self.hours.apply(&mut terms.hours);
        let mut from = Some(terms.from);
        self.from.apply(&mut from);
        terms.from = from.unwrap_or_default();
        terms
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
    pub forced_command: Setting<ForcedCommand>,
    pub permit_open: Setting<Permits>,
    pub permit_listen: Setting<Permits>,
}

impl KeyChange {
    /// The scope with the change made.
    #[must_use]
    pub fn scope(&self, mut scope: Scope) -> Scope {
        self.paths.clone().apply(&mut scope.paths);
        self.mode.apply(&mut scope.mode);
        self.services.apply(&mut scope.services);
        scope.no_terminal = self.no_terminal.unwrap_or(scope.no_terminal);
        self.forced_command.clone().apply(&mut scope.forced_command);
        self.permit_open.clone().apply(&mut scope.permit_open);
        self.permit_listen.clone().apply(&mut scope.permit_listen);
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

        /// Programs and forwards as well.
        #[test]
        fn programs_and_places_only_shrink(
            commands in (0..3_usize, 0..3_usize), no_terminal in any::<bool>(), places in (0..3_usize, 0..3_usize)
        ) {
            let command = |n: usize| [None, Some("date"), Some("id")][n].map(|text| text.parse().expect("a command"));
            let place = |n: usize| ["any", "*:80", "db:1,db:80"][n].parse::<Permits>().expect("a list");
            let programs = ProgramPolicy { forced_command: command(commands.0), ..ProgramPolicy::default() };
            let forwards = ForwardPolicy { permit_open: place(places.0), ..ForwardPolicy::default() };
            let scope = Scope {
                no_terminal, forced_command: command(commands.1), permit_open: Some(place(places.1)), ..Scope::default()
            };
            prop_assert!(!scope.forwards(&forwards).expect("few").is_narrowed_by(&forwards));
            match scope.programs(&programs) {
                Ok(left) => {
                    // Whoever had to run one command has to run that one.
                    prop_assert!(programs.forced_command.is_none() || left.forced_command == programs.forced_command);
                    prop_assert!(scope.forced_command.is_none() || left.forced_command == scope.forced_command);
                    prop_assert_eq!(left.terminals == Terminals::Refused, no_terminal);
                }
                Err(_) => prop_assert!(commands.0 != commands.1 && commands.0 > 0 && commands.1 > 0),
            }
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
