//! Landlock over the view: the session's own last word, on top of what its mounts allow.
//!
//! Trusts nothing of the kernel's version: what it supports is asked, and what is asked for must be enforced. Before
//! ABI 2 (Linux 5.19) every rename between directories would be refused, so there Landlock is not used and the node
//! says so at its start.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::error::Context;
use super::{Error, VIEW};
use crate::domain::{Bind, Layout, Mode};
use crate::sys;
use rustix::fs::FileType;

/// The newest version whose rules we know and the kernel has; `None` below ABI 2.
fn abi() -> Option<ABI> {
    match sys::landlock_abi() {
        ..=1 => None,
        2 => Some(ABI::V2),
        3 => Some(ABI::V3),
        4 => Some(ABI::V4),
        5 => Some(ABI::V5),
        // ABI 7 adds flags for the audit log and no rule; what comes later is taken up when it has been tried.
        6.. => Some(ABI::V6),
    }
}

/// Why Landlock cannot be used on this host; `None` when it can.
pub fn landlock_holds() -> Option<String> {
    abi()
        .is_none()
        .then(|| "the kernel has no Landlock of ABI 2 or later (Linux 5.19, CONFIG_SECURITY_LANDLOCK)".into())
}

/// Closes Landlock over the attached grants: their paths beneath [`VIEW`] (empty: the view itself) with their rights.
///
/// The directories that lead to them are not among them, so a session lists those from what it was told.
/// TCP, signals and abstract sockets are closed with it where the kernel can. Where it has no usable Landlock this
/// does nothing: the monitor has announced that, or refused to start.
pub fn confine_to_view(entries: &[(String, Mode)]) -> Result<(), Error> {
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::SessionLandlock) {
        return Ok(());
    }
    let Some(abi) = abi() else { return Ok(()) };
    let mut rules = open(abi)?;
    for (at, mode) in entries.iter().filter(|(_, mode)| *mode != Mode::Hidden) {
        rules = allow(rules, abi, format!("{VIEW}/{at}"), rights(abi, *mode))?;
    }
    enforce(rules)
}

/// What of the host a shell cell has.
pub(super) struct Host<'a> {
    /// May be run, wherever on the host it lies.
    pub first: &'a OwnedFd,
    /// May be read and run.
    pub programs: Vec<String>,
    /// Directories that are shown beside them.
    pub binds: &'a [Bind],
}

/// Whether abstract sockets of a network that is shared are closed with a shell cell's rules (Linux 6.12).
pub(super) fn closes_abstract_sockets() -> bool {
    abi().is_some_and(|abi| abi >= ABI::V6)
}

/// Closes Landlock over a shell cell: what of the host it has may be used, what is its own, and each grant as it says. Abstract
/// sockets and signals of other cells are closed with it where the kernel can.
pub(super) fn confine_shell(host: &Host<'_>, home: &str, layout: &Layout) -> Result<(), Error> {
    #[cfg(feature = "weaken")]
    if crate::weaken::off(crate::weaken::Layer::ShellLandlock) {
        return Ok(());
    }
    let Some(abi) = abi() else { return Ok(()) };
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .map_err(Error::Landlock)?;
    if abi >= ABI::V6 {
        rules = rules.scope(Scope::from_all(abi)).map_err(Error::Landlock)?;
    }
    let mut rules = rules.create().map_err(Error::Landlock)?;
    let run = AccessFs::Execute | AccessFs::ReadFile;
    rules = rules.add_rule(PathBeneath::new(host.first, run)).map_err(Error::Landlock)?;
    for path in &host.programs {
        rules = allow(rules, abi, path, AccessFs::from_read(abi))?;
    }
    let own = AccessFs::from_all(abi) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    rules = allow(rules, abi, "/", AccessFs::ReadDir.into())?;
    // Nothing there is to be written: least of all the number by which the kernel chooses whom to end when memory is short.
    rules = allow(rules, abi, "/proc", AccessFs::from_read(abi))?;
    for path in ["/dev", "/tmp", "/var/tmp", "/run", home] {
        rules = allow(rules, abi, path, own)?;
    }
    for bind in host.binds {
        let rights = if bind.is_writable() { own } else { AccessFs::from_read(abi) };
        rules = allow(rules, abi, bind.path().as_str(), rights)?;
    }
    for placed in layout.placed.iter().filter(|p| p.grant.is_visible()) {
        let rights = match placed.grant.mode {
            Mode::Ro => AccessFs::from_read(abi),
            Mode::Rw => own,
            mode => rights(abi, mode),
        };
        rules = allow(rules, abi, format!("/{}", placed.at), rights)?;
    }
    enforce(rules)
}

/// Closes Landlock over the directories that control keeps its database and its socket in. Nothing else of the host can
/// be opened, read or written afterwards.
pub(super) fn confine_to_directories(directories: &[&Path], files: &[PathBuf]) -> Result<(), Error> {
    let Some(abi) = abi() else { return Ok(()) };
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .map_err(Error::Landlock)?
        .create()
        .map_err(Error::Landlock)?;
    for directory in directories {
        rules = allow(rules, abi, directory, rights(abi, Mode::Rw))?;
    }
    // A host need not have all of them; what is missing is not there to be read.
    for file in files.iter().filter(|file| file.exists()) {
        rules = allow(rules, abi, file, AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    enforce(rules)
}

fn enforce(rules: RulesetCreated) -> Result<(), Error> {
    let status: RestrictionStatus = rules.restrict_self().map_err(Error::Landlock)?;
    if status.ruleset == RulesetStatus::FullyEnforced { Ok(()) } else { Err(Error::NotEnforced) }
}

fn open(abi: ABI) -> Result<RulesetCreated, Error> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .map_err(Error::Landlock)?;
    if abi >= ABI::V4 {
        rules = rules.handle_access(AccessNet::from_all(abi)).map_err(Error::Landlock)?;
    }
    if abi >= ABI::V6 {
        rules = rules.scope(Scope::from_all(abi)).map_err(Error::Landlock)?;
    }
    rules.create().map_err(Error::Landlock)
}

fn allow(
    rules: RulesetCreated,
    abi: ABI,
    path: impl AsRef<Path>,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, Error> {
    let target = PathFd::new(path).map_err(Error::View)?;
    let stat = rustix::fs::fstat(&target).step("look at a grant")?;
    // The kernel takes rights on directories for directories only.
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let rights = if is_directory { rights } else { rights & AccessFs::from_file(abi) };
    rules.add_rule(PathBeneath::new(target, rights)).map_err(Error::Landlock)
}

/// Nothing is executed, and no device is made, whatever the grant.
fn rights(abi: ABI, mode: Mode) -> BitFlags<AccessFs> {
    match mode {
        Mode::Ro => AccessFs::from_read(abi) & !BitFlags::from(AccessFs::Execute),
        Mode::Rw => AccessFs::from_all(abi) & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock),
        Mode::Upload => {
            let makes = AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::MakeDir;
            let clears_up = AccessFs::RemoveFile | AccessFs::RemoveDir | AccessFs::Refer | AccessFs::Truncate;
            AccessFs::from_all(abi) & (makes | clears_up)
        }
        Mode::Hidden => BitFlags::EMPTY,
    }
}
