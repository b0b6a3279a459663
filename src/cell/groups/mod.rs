//! Control groups: what the programs of a cell, and those of all cells of an account together, may take of the machine.
//!
//! Owns: the groups of this node, one for each account and in it one for each cell, and what is written into them. Runs in:
//! the monitor. Trusts: the kernel's files, whose names are ours; the directory that the node may make groups in was given
//! to it by whoever started it (systemd's `Delegate=yes`) or named by the operator.
//!
//! Version 2 of control groups is used where the node was started in a group of its own that has controllers. A group that
//! the operator names is used in either version: in version 1 a cell has to move, which waits for the whole kernel (20 ms at
//! times), so it is not done unasked.

mod files;
mod find;
mod writes;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::domain::Limits;
use files::{
    NODE, busy, controllers, give, give_all, has_groups, is_in_the_way, kill, limit, lock, make, remove_left,
    remove_tree, take_back, try_out,
};
pub use find::Controller;
use find::{Tree, Version};
pub use writes::Amounts;

/// Where the kernel tells of groups.
const MOUNTS: &str = "/proc/self/mountinfo";
const OWN: &str = "/proc/self/cgroup";

/// Why a group cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[error("{step} {}", path.display())]
pub struct GroupError {
    step: &'static str,
    path: PathBuf,
    source: Errno,
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GroupError {
    let path = path.to_owned();
    move |error| GroupError { step, path, source: Errno::from_io_error(&error).unwrap_or(Errno::IO) }
}

/// A tree that cells get groups in.
#[derive(Debug)]
struct Root {
    version: Version,
    /// This node's own directory.
    directory: PathBuf,
    /// The same, locked for as long as a process has it that may make cells.
    _lock: Flock<File>,
    /// The group around it, where that is the one which the service manager starts processes in.
    own: Option<PathBuf>,
    controllers: Vec<Controller>,
}

/// The groups of a node.
#[derive(Debug, Default)]
pub struct Groups {
    roots: Vec<Root>,
    /// What was written into the groups of accounts and cells, by their directories: those of an account come before its
    /// cells'.
    amounts: BTreeMap<PathBuf, Amounts>,
    /// Groups that could not be removed while something in them was still ending.
    leaving: Vec<PathBuf>,
    /// Whether nothing is bounded at the moment, so that another process can begin.
    gave_way: bool,
}

/// Which kinds of limits hold, or why not.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    missing: Vec<(Controller, String)>,
}

impl Findings {
    /// Why limits of this kind do not hold; `None` when they do.
    pub fn missing(&self, controller: Controller) -> Option<&str> {
        self.missing.iter().find(|(of, _)| *of == controller).map(|(_, why)| why.as_str())
    }
}

/// The groups of one cell, one in each tree.
#[derive(Debug)]
pub struct Group {
    places: Vec<PathBuf>,
}

/// What puts a process into a cell's groups.
#[derive(Debug, Default)]
pub struct Doors {
    /// Directory of the group of version 2, for the fork itself.
    pub whole: Option<OwnedFd>,
    /// Files of the groups of version 1, for the process to write into.
    pub parts: Vec<OwnedFd>,
}

impl Groups {
    /// Finds out where groups can be made, takes the place, and removes what an earlier run of the same node left there.
    /// `named` is a group that the operator names, `mark` this node's own name, the same at each start.
    ///
    /// Must be called before anything is forked: a group that holds processes gives nothing to groups in it, so this process
    /// may have to move aside.
    pub fn prepare(named: Option<&str>, mark: &str) -> (Groups, Findings) {
        let mut groups = Groups::default();
        let mut missing: Vec<(Controller, String)> = Vec::new();
        let trees = match (fs::read_to_string(MOUNTS), fs::read_to_string(OWN)) {
            (Ok(mounts), Ok(own)) => find::trees(&mounts, &own),
            _ => Vec::new(),
        };
        let usable: Vec<&Tree> = trees.iter().filter(|t| named.is_some() || t.version == Version::Two).collect();
        for tree in &usable {
            match groups.take(tree, named, mark) {
                Ok(refused) => missing.extend(refused),
                Err(error) => {
                    let why = format!("{error}: {}", error.source);
                    missing.extend(Controller::ALL.map(|controller| (controller, why.clone())));
                }
            }
        }
        let held: Vec<Controller> = groups.roots.iter().flat_map(|root| root.controllers.iter().copied()).collect();
        missing.retain(|(controller, _)| !held.contains(controller));
        for controller in Controller::ALL {
            let is_told = missing.iter().any(|(of, _)| *of == controller);
            if !held.contains(&controller) && !is_told {
                missing.push((controller, find::why_not(&trees, named.is_some())));
            }
        }
        (groups, Findings { missing })
    }

    /// Takes the place in one tree. Answers with the controllers that it has and will not give.
    fn take(&mut self, tree: &Tree, named: Option<&str>, mark: &str) -> Result<Vec<(Controller, String)>, GroupError> {
        let base = tree.directory(named);
        let is_own = named.is_none();
        if named.is_some() && !base.exists() {
            make(&base)?;
        }
        let (mut given, mut refused) = (tree.controllers.clone(), Vec::new());
        if tree.version == Version::Two {
            given = controllers(&base)?;
            if given.is_empty() && is_own {
                return Ok(refused);
            }
            refused = give(&base, &given, is_own)?;
            given.retain(|controller| refused.iter().all(|(of, _)| of != controller));
        }
        remove_left(&base, mark)?;
        // Two processes of one node may have cells: one that serves, and one before it that finishes what it began.
        let directory = base.join(format!("{mark}-{}", std::process::id()));
        make(&directory)?;
        let root = Root {
            version: tree.version,
            _lock: lock(&directory)?.ok_or_else(|| busy("lock the control group", &directory))?,
            directory,
            // The root of a tree may hold processes too, so there nobody had to move aside.
            own: (is_own && base.join(NODE).exists()).then_some(base),
            controllers: given,
        };
        if root.version == Version::Two {
            give_all(&root.directory, &root.controllers)?;
        }
        if let Err(error) = try_out(&root) {
            remove_tree(&root.directory)?;
            return Err(error);
        }
        self.roots.push(root);
        Ok(refused)
    }

    /// Whether cells are bounded by this controller.
    pub fn have(&self, controller: Controller) -> bool {
        self.roots.iter().any(|root| root.controllers.contains(&controller))
    }

    /// Takes all bounds off, where the service manager is going to start another process in the group around them: nothing can
    /// be in a group that bounds groups in it. Nothing new may be made until they are back.
    pub fn give_way(&mut self) -> Result<(), GroupError> {
        for root in self.roots.iter().filter(|root| root.own.is_some()) {
            for account in fs::read_dir(&root.directory).map_err(failed("list the control group", &root.directory))? {
                let account = account.map_err(failed("list the control group", &root.directory))?;
                if account.file_type().is_ok_and(|kind| kind.is_dir()) {
                    take_back(&account.path(), &root.controllers)?;
                }
            }
            take_back(&root.directory, &root.controllers)?;
            root.own.iter().try_for_each(|own| take_back(own, &root.controllers))?;
            self.gave_way = true;
        }
        Ok(())
    }

    /// Puts the bounds back, as soon as the other process has taken them for the group around.
    pub fn come_back(&mut self) -> Result<(), GroupError> {
        let is_given = |root: &Root| {
            let control = root.own.as_ref().map(|own| own.join("cgroup.subtree_control"));
            let given = control.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
            let given = find::controllers(given.split_ascii_whitespace());
            root.controllers.iter().all(|controller| given.contains(controller))
        };
        if !self.gave_way || !self.roots.iter().filter(|root| root.own.is_some()).all(is_given) {
            return Ok(());
        }
        self.gave_way = false;
        for root in self.roots.iter().filter(|root| root.own.is_some()) {
            give_all(&root.directory, &root.controllers)?;
            for (place, amounts) in self.amounts.iter().filter(|(place, _)| place.starts_with(&root.directory)) {
                limit(root, place, amounts)?;
                if place.parent() == Some(&root.directory) {
                    give_all(place, &root.controllers)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the groups of a cell, in those of its account; `name` is nobody else's.
    pub fn make(
        &mut self,
        account: &str,
        name: &str,
        of_account: &Amounts,
        own: &Amounts,
    ) -> Result<Group, GroupError> {
        let mut group = Group { places: Vec::new() };
        for root in &self.roots {
            // The kernel's files in a group have names too, which an account could have as well.
            let around = root.directory.join(format!("account-{account}"));
            self.leaving.retain(|leaving| *leaving != around);
            match fs::create_dir(&around) {
                Ok(()) if root.version == Version::Two => give_all(&around, &root.controllers)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(failed("make the control group", &around))?,
            }
            limit(root, &around, of_account)?;
            self.amounts.insert(around.clone(), *of_account);
            let place = around.join(name);
            fs::create_dir(&place).map_err(failed("make the control group", &place))?;
            group.places.push(place.clone());
            limit(root, &place, own)?;
            self.amounts.insert(place, *own);
        }
        Ok(group)
    }

    /// What puts a process into them.
    pub fn doors(&self, group: &Group) -> Result<Doors, GroupError> {
        let mut doors = Doors::default();
        for (root, place) in self.roots.iter().zip(&group.places) {
            match root.version {
                Version::Two => {
                    let mut open = OpenOptions::new();
                    let flags = (OFlags::PATH | OFlags::DIRECTORY).bits().cast_signed();
                    let opened = open.read(true).custom_flags(flags).open(place);
                    doors.whole = Some(opened.map_err(failed("open the control group", place))?.into());
                }
                Version::One => {
                    let procs = place.join("cgroup.procs");
                    let opened = OpenOptions::new().write(true).open(&procs);
                    doors.parts.push(opened.map_err(failed("open the control group", &procs))?.into());
                }
            }
        }
        Ok(doors)
    }

    /// Ends everything in a cell's groups. (In those of version 1 there is no way to; whoever has a cell ends its first
    /// process, and with that all others.)
    pub fn kill(&self, group: &Group) -> Result<(), GroupError> {
        group.places.iter().try_for_each(|place| kill(place))
    }

    /// Removes a cell's groups, and its account's when it was the last one there; at once or a little later, for what is in
    /// them may still be ending.
    pub fn remove(&mut self, group: Group) {
        self.leaving.extend(group.places);
        self.tidy();
    }

    /// Whether something is still to be removed, or to be put back.
    pub fn is_untidy(&self) -> bool {
        !self.leaving.is_empty() || self.gave_way
    }

    /// Removes what could not be removed before: the kernel takes a moment for what was in it.
    pub fn tidy(&mut self) {
        // What is found empty here is looked at once more.
        for _ in 0..2 {
            self.remove_empty();
        }
    }

    fn remove_empty(&mut self) {
        for place in std::mem::take(&mut self.leaving) {
            self.amounts.remove(&place);
            let account = place.parent().filter(|around| self.roots.iter().all(|root| root.directory != **around));
            match (is_in_the_way(&place), account) {
                (true, _) => self.leaving.push(place),
                // The account's goes with the last one in it.
                (false, Some(account)) if !has_groups(account) => self.leaving.push(account.to_owned()),
                (false, _) => {}
            }
        }
    }

    /// Ends all that is in groups of this node and removes them, for the node ends. A group that was named stays.
    pub fn remove_all(&mut self) -> Result<(), GroupError> {
        let roots = std::mem::take(&mut self.roots);
        self.leaving.clear();
        roots.iter().try_for_each(|root| remove_tree(&root.directory))
    }
}

/// What limits come to on this machine: those of a user are at most those of its account.
pub fn amounts(own: Limits, of_account: Limits, machine: u64) -> (Amounts, Amounts) {
    let account = Amounts::of(of_account, machine);
    (Amounts::of(own, machine).within(&account), account)
}

/// How much memory this machine has.
pub fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(info.mem_unit.max(1).into())
}

#[cfg(test)]
mod tests;
