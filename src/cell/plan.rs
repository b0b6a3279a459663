//! Everything to be done to make one session's view, as plain data. Made only here, from a `Principal`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Privilege;
use crate::authority::Principal;
use crate::domain::{self, Bind, Grant, GrantId, HomePath, Layout, Mode, Placed, RelPath, Unplaced, View};

/// What an attach helper will do. It travels from the monitor to its helpers and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    home: HomePath,
    owner: (u32, u32),
    cell: Option<(u32, u32)>,
    layout: Layout,
    kind: Kind,
    user_home: Option<UserHome>,
    binds: Vec<Bind>,
}

/// What the node keeps in an account, below its home.
const HOMES: &str = ".enclos";

/// A user's own directory: home of its programs, and seen by its file transfers at the same path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserHome {
    /// Below the account's home.
    pub source: RelPath,
    /// Its path in the cell, without a leading `/`.
    pub at: String,
}

impl UserHome {
    fn of(principal: &Principal) -> Result<UserHome, Unserved> {
        let user = principal.user().as_str();
        let source = home_of(principal).parse().map_err(|_| Unserved::UserHome)?;
        // Where the account's own home has this path, the user's goes beside it.
        let is_taken = principal.home().components().take(2).eq(["home", user]);
        Ok(UserHome { source, at: format!("home/{user}{}", if is_taken { ".enclos" } else { "" }) })
    }

    /// In a view it is one more directory that may be written.
    fn placed(&self) -> Placed {
        let grant = Grant { id: GrantId(0), path: self.source.clone(), mode: Mode::Rw, no_exec: false };
        Placed { grant, at: self.at.clone(), nested: false }
    }
}

/// Which world the grants are attached in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// An empty one, at [`super::VIEW`]; nothing runs there.
    Files,
    /// A shell cell's, at the paths of the host.
    Shell,
}

/// Why a proven principal cannot be served. The text is for the client and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unserved {
    /// Its grants make no view.
    #[error(transparent)]
    Unplaced(#[from] Unplaced),
    /// What is shown to everybody would show the account.
    #[error("the server shows {path} to all programs, which the account's home overlaps; ask its operator")]
    Bind {
        /// On the host.
        path: String,
    },
    /// Its name makes no path.
    #[error("this login can have no home; ask the server's operator to rename it")]
    UserHome,
    /// An ordinary user serves only its own files.
    #[error("this server runs without root and serves only files of its own user; ask its operator")]
    ForeignOwner,
}

/// One mount to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Below the home.
    pub path: RelPath,
    /// Where it goes.
    pub target: Target,
    /// What is mounted there.
    pub source: Source,
}

/// Where a mount goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To this place in the view, without a leading `/`; empty for the view itself.
    View(String),
    /// Onto what has this name in the root of an earlier mount, the one with this number.
    Inside {
        /// Number of the step that made it.
        step: usize,
        /// One component.
        name: String,
    },
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// What a grant names, with its rights.
    Grant(Rights),
    /// A directory that leads to a nested grant, with the rights of the one around it. Being a mount point it cannot be
    /// renamed, so what is nested in it stays where the grants say.
    Way(Rights),
    /// Something empty that lets nobody in, over what is hidden.
    Cover,
}

/// Attributes of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    /// Nothing may be written.
    pub read_only: bool,
    /// Nothing may be executed.
    pub no_exec: bool,
}

impl Plan {
    /// Plans the view of a session that has the id `session_uid`.
    pub fn for_session(principal: &Principal, privilege: Privilege, session_uid: u32) -> Result<Plan, Unserved> {
        let owner = principal.owner();
        let cell = match privilege {
            Privilege::Root => Some((session_uid, session_uid)),
            Privilege::Rootless { uid, gid } if owner == (uid, gid) => None,
            Privilege::Rootless { .. } => return Err(Unserved::ForeignOwner),
        };
        let mut layout = Layout::of(principal.view(), principal.home(), &without_homes(principal.grants()))?;
        let has_home = principal.services().run_programs() && principal.view() == View::Host;
        let user_home = has_home.then(|| UserHome::of(principal)).transpose()?;
        if let Some(home) = &user_home {
            layout.home = format!("/{}", home.at);
            layout.placed.push(home.placed());
        }
        Ok(Plan {
            home: principal.home().clone(),
            owner,
            cell,
            layout,
            kind: Kind::Files,
            user_home,
            binds: Vec::new(),
        })
    }

    /// Plans the shell cell of a principal; `uid` is the id that its programs have. Paths in it are the host's.
    pub fn for_shell(principal: &Principal, privilege: Privilege, uid: u32) -> Result<Plan, Unserved> {
        let files = Plan::for_session(principal, privilege, uid)?;
        let user_home = UserHome::of(principal)?;
        let home = format!("/{}", user_home.at);
        let grants = without_homes(&without_drop_boxes(principal.grants()));
        let mut layout = match Layout::of(View::Host, principal.home(), &grants) {
            Err(Unplaced::NoGrant) => Layout { placed: Vec::new(), start: home.clone(), home: home.clone() },
            layout => layout?,
        };
        layout.home = home;
        #[cfg(feature = "weaken")]
        let files = match crate::weaken::off(crate::weaken::Layer::OwnUid) {
            true => Plan { cell: None, ..files },
            false => files,
        };
        Ok(Plan { layout, kind: Kind::Shell, user_home: Some(user_home), ..files })
    }

    /// The same plan for another id.
    #[must_use]
    pub fn with_ids(&self, uid: u32) -> Plan {
        Plan { cell: self.cell.map(|_| (uid, uid)), ..self.clone() }
    }

    /// The same plan for a shell cell that shows these directories of the host too. One that an account's home lies in, or that
    /// lies in one, is refused: what is in a home is shown by grants alone.
    pub fn with_binds(self, binds: &[Bind]) -> Result<Plan, Unserved> {
        match binds.iter().find(|bind| bind.overlaps(self.home.as_str())) {
            Some(bind) => Err(Unserved::Bind { path: bind.path().to_string() }),
            None => Ok(Plan { binds: binds.to_vec(), ..self }),
        }
    }

    /// Directories of the host that are shown beside its programs.
    pub fn binds(&self) -> &[Bind] {
        &self.binds
    }

    /// The user's own directory: in a shell cell, and in the view of whoever has one.
    pub fn user_home(&self) -> Option<&UserHome> {
        self.user_home.as_ref()
    }

    /// Which world it is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether somebody has to watch its places while programs run in it: what is nested lies on names of the account's.
    pub fn needs_guard(&self) -> bool {
        self.kind == Kind::Shell && self.layout.placed.iter().any(|p| p.nested)
    }

    /// A plan for nobody: the directory `granted` in `home`, for the cell that is built at a start to see which layers
    /// hold. The home is the node's own.
    pub fn for_trial(
        home: HomePath,
        granted: RelPath,
        owner: (u32, u32),
        cell: Option<(u32, u32)>,
        kind: Kind,
    ) -> Plan {
        let at = match kind {
            Kind::Files => String::new(),
            Kind::Shell => format!("{}/{granted}", home.as_str().trim_start_matches('/')),
        };
        let grant = Grant { id: GrantId(0), path: granted, mode: Mode::Rw, no_exec: true };
        let placed = vec![Placed { grant, at, nested: false }];
        Plan {
            home,
            owner,
            cell,
            layout: Layout { placed, start: "/".to_owned(), home: "/".to_owned() },
            kind,
            user_home: None,
            binds: Vec::new(),
        }
    }

    /// The account's home.
    pub fn home(&self) -> &HomePath {
        &self.home
    }

    /// Owner on disk (uid, gid).
    pub fn owner(&self) -> (u32, u32) {
        self.owner
    }

    /// Ids of the session, where they are to differ from the owner's.
    pub fn cell(&self) -> Option<(u32, u32)> {
        self.cell
    }

    /// The grants and their places in the view.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The mounts to be made, in this order.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::with_capacity(self.layout.placed.len());
        let mut made: BTreeMap<RelPath, (usize, Rights)> = BTreeMap::new();
        for placed in &self.layout.placed {
            let Placed { grant, at, .. } = placed;
            let around = made
                .iter()
                .filter(|(p, _)| placed.nested && p.contains(&grant.path))
                .max_by_key(|(p, _)| p.components().count());
            let mut target = Target::View(at.clone());
            if let Some((outer, (step, rights))) = around.map(|(p, made)| (p.clone(), *made)) {
                let mut inside = step;
                for way in grant.path.between(&outer) {
                    let name = way.file_name().unwrap_or_default().to_owned();
                    steps.push(Step {
                        path: way.clone(),
                        target: Target::Inside { step: inside, name },
                        source: Source::Way(rights),
                    });
                    inside = steps.len() - 1;
                    made.insert(way, (inside, rights));
                }
                let name = grant.path.file_name().unwrap_or_default().to_owned();
                target = Target::Inside { step: inside, name };
            }
            // Nothing runs in a session, so nothing needs to be executable there, whatever the grant says.
            let no_exec = grant.no_exec || self.kind == Kind::Files;
            let rights = Rights { read_only: grant.mode == Mode::Ro, no_exec };
            let source = if grant.is_visible() { Source::Grant(rights) } else { Source::Cover };
            steps.push(Step { path: grant.path.clone(), target, source });
            made.insert(grant.path.clone(), (steps.len() - 1, rights));
        }
        // In a session's view it is among the grants.
        let own = self.user_home.iter().filter(|_| self.kind == Kind::Shell);
        steps.extend(own.map(|home| Step {
            path: home.source.clone(),
            target: Target::View(home.at.clone()),
            source: Source::Grant(Rights { read_only: false, no_exec: false }),
        }));
        steps
    }
}

/// Where a principal's own directory lies in the account. A key that may do less than its user has one of its own: what it
/// left in the user's `.bashrc`, the user's own shell would run with all of the user's rights.
fn home_of(principal: &Principal) -> String {
    let user = principal.user();
    match principal.narrow_key() {
        None => format!("{HOMES}/home/{user}"),
        // Of the characters of a fingerprint only this one cannot stand in a name.
        Some(key) => format!("{HOMES}/keys/{user}/{}", key.home.replace('/', "_")),
    }
}

/// The homes of an account's users lie in it, and are theirs: a grant around them does not show them.
fn without_homes(grants: &[Grant]) -> Vec<Grant> {
    let mut grants = grants.to_vec();
    let Ok(homes) = HOMES.parse::<RelPath>() else { return grants };
    let is_named = grants.iter().any(|g| homes.contains(&g.path));
    if !is_named && domain::deciding(&grants, &homes).is_some_and(Grant::is_visible) {
        grants.push(Grant { id: GrantId(0), path: homes, mode: Mode::Hidden, no_exec: false });
    }
    grants
}

/// That nothing of others in a drop box is seen, replaced or removed is kept by the session that writes into it. No right
/// of the kernel's says so, and programs have nobody else over them: a cell shows no drop box.
fn without_drop_boxes(grants: &[Grant]) -> Vec<Grant> {
    grants.iter().filter(|g| g.mode != Mode::Upload).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::View;

    fn steps(grants: &[(&str, Mode)]) -> Vec<(String, String)> {
        let grant = |(path, mode): &(&str, Mode)| Grant {
            id: GrantId(1),
            path: path.parse().expect("a path"),
            mode: *mode,
            no_exec: false,
        };
        let grants: Vec<Grant> = grants.iter().map(grant).collect();
        let home: HomePath = "/srv/acme".parse().expect("a path");
        let layout = Layout::of(View::Rooted, &home, &grants).expect("a layout");
        let plan =
            Plan { home, owner: (1, 1), cell: None, layout, kind: Kind::Files, user_home: None, binds: Vec::new() };
        let shown = |step: Step| {
            let source = match step.source {
                Source::Grant(Rights { read_only: true, .. }) => "ro",
                Source::Grant(_) => "rw",
                Source::Way(_) => "way",
                Source::Cover => "cover",
            };
            let target = match step.target {
                Target::View(at) => format!("/{at}"),
                Target::Inside { step, name } => format!("{step}:{name}"),
            };
            (format!("{source} {}", step.path), target)
        };
        plan.steps().into_iter().map(shown).collect()
    }

    fn owned(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn grants_beside_one_another_are_mounted_in_the_view() {
        assert_eq!(
            steps(&[("www/site1", Mode::Rw), ("logs", Mode::Ro)]),
            owned(&[("ro logs", "/logs"), ("rw www/site1", "/site1")])
        );
    }

    #[test]
    fn what_leads_to_a_nested_grant_is_held_in_its_place() {
        assert_eq!(
            steps(&[("www", Mode::Rw), ("www/a/b/secret", Mode::Hidden), ("www/a/public", Mode::Ro)]),
            owned(&[
                ("rw www", "/"),
                ("way www/a", "0:a"),
                ("ro www/a/public", "1:public"),
                ("way www/a/b", "1:b"),
                ("cover www/a/b/secret", "3:secret"),
            ])
        );
    }
}
