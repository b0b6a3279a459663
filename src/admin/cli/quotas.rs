//! `enclos quota …`: limits that the filesystem keeps and not the database, so they are set on the machine with the disk.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::table::layout;
use super::upload_options::or_none;
use super::{CommandError, Context, Result, report};
use crate::control::{AccountView, GrantView, Operation, Outcome};
use crate::domain::{AccountName, ByteCount, QuotaChange, RelPath, Setting};
use crate::files::quota::{self, Quota as Found, QuotaError, Usage};
use crate::telemetry::Causes;

#[derive(Debug, Subcommand)]
pub(super) enum Quota {
    /// Limit a directory with everything in it, whoever writes there
    Set(Set),
    /// List the homes and granted directories that have a limit, with what they take
    List {
        /// Only those of one account
        account: Option<AccountName>,
    },
    /// Let a directory take what it likes again
    Remove {
        account: AccountName,
        /// Path below the account's home; . for all of it
        path: RelPath,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("limits").required(true).multiple(true))]
pub(super) struct Set {
    account: AccountName,
    /// Path below the account's home; . for all of it
    path: RelPath,
    /// Most space on disk, such as 500M or 5G; none for any
    #[arg(long, group = "limits", value_name = "SIZE", value_parser = or_none::<ByteCount>)]
    space: Option<Setting<ByteCount>>,
    /// Most files and directories; none for any number
    #[arg(long, group = "limits", value_name = "NUMBER", value_parser = or_none::<NonZeroU64>)]
    files: Option<Setting<NonZeroU64>>,
}

/// A directory with a limit.
#[derive(Debug, Serialize)]
struct Limited {
    account: AccountName,
    path: RelPath,
    project: u32,
    /// Bytes.
    space: Much,
    files: Much,
}

#[derive(Debug, Serialize)]
struct Much {
    used: u64,
    most: Option<u64>,
}

pub(super) fn run(context: &Context<'_>, command: Quota) -> Result<()> {
    match command {
        Quota::List { account } => list(context, account.as_ref()),
        Quota::Set(set) => {
            only_root()?;
            let change = QuotaChange { space: set.space()?, files: set.files() };
            let found = context.account(&set.account)?;
            let limited = quota::limit(Path::new(found.home.as_str()), &set.path, change);
            let limited = limited.map_err(|source| failed(&found, &set.path, source))?;
            note(context, &set.account, &set.path, change)?;
            print(context, &[shown(set.account, set.path, limited)])
        }
        Quota::Remove { account: name, path } => {
            only_root()?;
            let found = context.account(&name)?;
            let home = Path::new(found.home.as_str());
            quota::lift(home, &path).map_err(|source| failed(&found, &path, source))?;
            note(context, &name, &path, QuotaChange { space: Setting::Unset, files: Setting::Unset })?;
            let done = format!("{} may take what it likes", shown_path(&found, &path));
            report::print(&Outcome::Done(done), context.json)
        }
    }
}

impl Set {
    fn space(&self) -> Result<Setting<u64>> {
        Ok(match self.space {
            None => Setting::Kept,
            Some(Setting::Set(bytes)) if bytes.get() == 0 => {
                return Err(CommandError::Input("no space at all is no limit; write none for any".to_owned()));
            }
            Some(setting) => setting.map(ByteCount::get),
        })
    }

    fn files(&self) -> Setting<u64> {
        self.files.map_or(Setting::Kept, |setting| setting.map(NonZeroU64::get))
    }
}

/// Has control put on record what was done here.
fn note(context: &Context<'_>, account: &AccountName, path: &RelPath, change: QuotaChange) -> Result<()> {
    let noted = context.ask(Operation::QuotaSet { name: account.clone(), path: path.clone(), change });
    let unnoted =
        |error| CommandError::Input(format!("it is done, and could not be put on record: {}", Causes(&error)));
    noted.map(drop).map_err(unnoted)
}

fn only_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(CommandError::Input("only root may limit what directories take on disk".to_owned()))
}

fn list(context: &Context<'_>, only: Option<&AccountName>) -> Result<()> {
    let Outcome::Accounts(accounts) = context.ask(Operation::AccountList)? else {
        return Err(CommandError::Input("accounts cannot be listed".to_owned()));
    };
    let Outcome::Grants(grants) = context.ask(Operation::GrantList { user: None })? else {
        return Err(CommandError::Input("grants cannot be listed".to_owned()));
    };
    if let Some(only) = only {
        context.account(only)?;
    }
    let mut rows = Vec::new();
    for account in accounts.iter().filter(|account| only.is_none_or(|only| account.name == *only)) {
        for path in directories(account, &grants) {
            match quota::of(Path::new(account.home.as_str()), &path) {
                Ok(found) => rows.extend(found.map(|found| shown(account.name.clone(), path, found))),
                // A grant may be given before its directory exists.
                Err(QuotaError::Open(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(account, &path, error)),
            }
        }
    }
    print(context, &rows)
}

/// The home of an account, and what is granted below it.
fn directories(account: &AccountView, grants: &[GrantView]) -> BTreeSet<RelPath> {
    let granted = grants.iter().filter(|grant| grant.account == account.name).map(|grant| grant.path.clone());
    granted.chain([RelPath::from_home()]).collect()
}

fn failed(account: &AccountView, path: &RelPath, source: QuotaError) -> CommandError {
    CommandError::Quota { path: shown_path(account, path), source }
}

fn shown_path(account: &AccountView, path: &RelPath) -> String {
    match path.file_name() {
        None => account.home.to_string(),
        Some(_) => format!("{}/{path}", account.home),
    }
}

fn shown(account: AccountName, path: RelPath, found: Found) -> Limited {
    let much = |usage: Usage| Much { used: usage.used, most: usage.most };
    Limited { account, path, project: found.project, space: much(found.space), files: much(found.files) }
}

fn print(context: &Context<'_>, rows: &[Limited]) -> Result<()> {
    if context.json {
        return report::say(&serde_json::to_string_pretty(rows)?);
    }
    let bytes = |bytes: u64| ByteCount::try_from(bytes).map_or_else(|_| bytes.to_string(), |count| count.to_string());
    let most = |most: Option<String>| most.unwrap_or_else(|| "any".to_owned());
    let row = |row: &Limited| {
        vec![
            row.account.to_string(),
            row.path.to_string(),
            bytes(row.space.used),
            most(row.space.most.map(bytes)),
            row.files.used.to_string(),
            most(row.files.most.map(|files| files.to_string())),
        ]
    };
    let heading = ["ACCOUNT", "PATH", "SPACE", "AT MOST", "FILES", "AT MOST"];
    report::say(&layout(&heading, &rows.iter().map(row).collect::<Vec<_>>()))
}
