//! Everything to be done to make one session's view, as plain data. Made only here, from a `Principal`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Privilege;
use crate::authority::Principal;
use crate::domain::{HomePath, Mode, RelPath};

/// What an attach helper will do. It travels from the monitor to its helpers and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    home: HomePath,
    owner: (u32, u32),
    cell: Option<(u32, u32)>,
    grants: Vec<PlannedGrant>,
}

/// One grant of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedGrant {
    /// Below the home.
    pub path: RelPath,
    /// Its rights.
    pub mode: Mode,
    /// Its name beneath the view; empty when it is the view itself.
    pub name: String,
}

/// Why a proven principal cannot be served. The text is for the client and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unserved {
    /// The user has no grant.
    #[error("no directory is granted to this login; ask the account's owner for one")]
    NoGrant,
    /// Two grants would have the same name.
    #[error("two directories named {name:?} are granted to this login; ask the server's operator to remove one")]
    Clash {
        /// The common name.
        name: String,
    },
    /// An ordinary user serves only its own files.
    #[error("this server runs without root and serves only files of its own user; ask its operator")]
    ForeignOwner,
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
        let wanted: Vec<(RelPath, Mode)> = principal.grants().iter().map(|g| (g.path.clone(), g.mode)).collect();
        Ok(Plan { home: principal.home().clone(), owner, cell, grants: rooted(wanted)? })
    }

    /// A plan for nobody: the directory `granted` in `home`, for the cell that is built at a start to see which layers
    /// hold. The home is the node's own.
    pub fn for_trial(home: HomePath, granted: RelPath, owner: (u32, u32), cell: Option<(u32, u32)>) -> Plan {
        Plan { home, owner, cell, grants: vec![PlannedGrant { path: granted, mode: Mode::Rw, name: String::new() }] }
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

    /// What is attached.
    pub fn grants(&self) -> &[PlannedGrant] {
        &self.grants
    }
}

/// Names the grants of a `rooted` view: one grant is the root itself, several are directories in it.
fn rooted(wanted: Vec<(RelPath, Mode)>) -> Result<Vec<PlannedGrant>, Unserved> {
    let single = wanted.len() == 1;
    let mut taken = BTreeSet::new();
    let mut grants = Vec::with_capacity(wanted.len());
    for (path, mode) in wanted {
        let name = if single { String::new() } else { path.file_name().unwrap_or("home").to_owned() };
        if !taken.insert(name.clone()) {
            return Err(Unserved::Clash { name });
        }
        grants.push(PlannedGrant { path, mode, name });
    }
    if grants.is_empty() { Err(Unserved::NoGrant) } else { Ok(grants) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(path: &str) -> (RelPath, Mode) {
        (path.parse().expect("a path"), Mode::Rw)
    }

    fn names(grants: &[PlannedGrant]) -> Vec<&str> {
        grants.iter().map(|g| g.name.as_str()).collect()
    }

    #[test]
    fn one_grant_is_the_root_and_several_are_directories_in_it() {
        assert_eq!(names(&rooted(vec![grant("www/site1")]).expect("a view")), [""]);
        let several = rooted(vec![grant("www/site1"), grant("logs"), grant(".")]).expect("a view");
        assert_eq!(names(&several), ["site1", "logs", "home"]);
    }

    #[test]
    fn nothing_granted_and_clashing_names_are_told() {
        assert_eq!(rooted(vec![]).expect_err("nothing to serve"), Unserved::NoGrant);
        assert!(matches!(rooted(vec![grant("a/x"), grant("b/x")]), Err(Unserved::Clash { .. })));
    }
}
