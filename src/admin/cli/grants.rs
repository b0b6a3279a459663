//! `enclos grant …`

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode as Bits, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::args::Grant;
use super::{CommandError, Context, Result, report};
use crate::control::{AccountView, Operation, Outcome, UserView};
use crate::domain::{Mode, RelPath, UserName};

pub(super) fn run(context: &Context<'_>, command: Grant) -> Result<()> {
    match command {
        Grant::Add { user, path, mode, noexec, create } => {
            let made = if create { make(&account_of(context, &user)?, &path)? } else { Made::default() };
            add(context, Operation::GrantAdd { user, path, mode, no_exec: noexec }, made)
        }
        Grant::List { user } => context.perform(Operation::GrantList { user }),
        Grant::Remove { user, path } => context.perform(Operation::GrantRemove { user, path }),
    }
}

fn add(context: &Context<'_>, operation: Operation, made: Made) -> Result<()> {
    match context.ask(operation) {
        Ok(outcome) => {
            look_at_directory(context, &outcome)?;
            report::print(&outcome, context.json)
        }
        Err(refused) => {
            made.undo()?;
            Err(refused)
        }
    }
}

/// A grant may be given before its directory exists, but mostly a missing one is a slip. What is hidden need not be there.
fn look_at_directory(context: &Context<'_>, outcome: &Outcome) -> Result<()> {
    let Outcome::Grant(grant) = outcome else { return Ok(()) };
    if grant.mode == Mode::Hidden {
        return Ok(());
    }
    let account = account_of(context, &grant.user)?;
    let directory = std::path::Path::new(account.home.as_str()).join(grant.path.as_str());
    if matches!(std::fs::metadata(&directory), Err(e) if e.kind() == std::io::ErrorKind::NotFound) {
        eprintln!(
            "enclos: note: {} does not exist yet; nothing of {} can be served before it does (--create makes it)",
            directory.display(),
            grant.user
        );
    }
    Ok(())
}

fn account_of(context: &Context<'_>, user: &UserName) -> Result<AccountView> {
    let found = context.ask(Operation::UserShow { name: user.clone() })?;
    let Outcome::User(UserView { account: name, .. }) = found else {
        return Err(CommandError::Input(format!("user {user} cannot be looked up")));
    };
    context.account(&name)
}

/// Directories that were made, outermost first, each as its name in the one above.
#[derive(Default)]
pub(super) struct Made(Vec<(OwnedFd, String)>);

impl Made {
    /// Removes them again, unless something lies in them by now.
    fn undo(self) -> Result<()> {
        for (parent, name) in self.0.into_iter().rev() {
            match unlinkat(&parent, name.as_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) => {}
                Err(Errno::ENOTEMPTY | Errno::ENOENT) => return Ok(()),
                Err(source) => return Err(CommandError::System { step: "remove the directory again", source }),
            }
        }
        Ok(())
    }
}

/// Makes the directory and the ones above it, one beneath the other, owned by the account. The path belongs to the
/// account, so no link in it is followed.
pub(super) fn make(account: &AccountView, path: &RelPath) -> Result<Made> {
    let no_links = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let home = account.home.as_str();
    let mut directory: OwnedFd = openat2(AT_FDCWD, home, no_links).map_err(|source| {
        failed("open the account's home (it must exist, and no link may lead to it)", home, source)
    })?;
    let mut made = Made::default();
    for name in path.components() {
        let (inner, is_new) =
            step_into(&directory, name, account).map_err(|source| failed("make", &format!("{home}/{path}"), source))?;
        if is_new {
            made.0.push((directory, name.to_owned()));
        }
        directory = inner;
    }
    Ok(made)
}

fn failed(what: &'static str, path: &str, source: Errno) -> CommandError {
    CommandError::File { what, path: path.into(), source: source.into() }
}

fn step_into(parent: &OwnedFd, name: &str, account: &AccountView) -> nix::Result<(OwnedFd, bool)> {
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
    Ok((directory, is_new))
}
