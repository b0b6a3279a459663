//! `enclos grant …`

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode as Bits, mkdirat};
use nix::unistd::{Gid, Uid, fchown};

use super::args::Grant;
use super::{CommandError, Context, Result, report};
use crate::control::{AccountView, GrantView, Operation, Outcome};
use crate::domain::{AccountName, RelPath};

pub(super) fn run(context: &Context<'_>, command: Grant) -> Result<()> {
    match command {
        Grant::Add { user, path, mode, create } => {
            let outcome = context.ask(Operation::GrantAdd { user, path, mode })?;
            if let Outcome::Grant(grant) = &outcome {
                look_at_directory(context, grant, create)?;
            }
            report::print(&outcome, context.json)
        }
        Grant::List { user } => context.perform(Operation::GrantList { user }),
        Grant::Remove { user, path } => context.perform(Operation::GrantRemove { user, path }),
    }
}

/// A grant may be given before its directory exists, but mostly a missing one is a slip.
fn look_at_directory(context: &Context<'_>, grant: &GrantView, create: bool) -> Result<()> {
    let account = account_of(context, &grant.account)?;
    if create {
        return make(&account, &grant.path);
    }
    let directory = std::path::Path::new(account.home.as_str()).join(grant.path.as_str());
    if matches!(std::fs::metadata(&directory), Err(e) if e.kind() == std::io::ErrorKind::NotFound) {
        eprintln!(
            "enclos: note: {} does not exist yet; {} cannot use this grant before it does (--create makes it)",
            directory.display(),
            grant.user
        );
    }
    Ok(())
}

fn account_of(context: &Context<'_>, name: &AccountName) -> Result<AccountView> {
    match context.ask(Operation::AccountShow { name: name.clone() })? {
        Outcome::Account(account) => Ok(account),
        _ => Err(CommandError::Input(format!("account {name} cannot be looked up"))),
    }
}

/// Makes the directory and the ones above it, one beneath the other, owned by the account. The path belongs to the
/// account, so no link in it is followed.
pub(super) fn make(account: &AccountView, path: &RelPath) -> Result<()> {
    let failed = |source| CommandError::System { step: "make the granted directory", source };
    let no_links = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut directory: OwnedFd = openat2(AT_FDCWD, account.home.as_str(), no_links).map_err(failed)?;
    for name in path.components() {
        directory = step_into(&directory, name, account).map_err(failed)?;
    }
    Ok(())
}

fn step_into(parent: &OwnedFd, name: &str, account: &AccountView) -> nix::Result<OwnedFd> {
    let is_new = match mkdirat(parent.as_fd(), name, Bits::from_bits_truncate(0o755)) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(errno) => return Err(errno),
    };
    let beneath = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let directory = openat2(parent.as_fd(), name, beneath)?;
    if is_new {
        fchown(&directory, Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid)))?;
    }
    Ok(directory)
}
