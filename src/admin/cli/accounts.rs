//! `enclos account …`

use super::args::Account;
use super::{Context, Result};
use crate::control::Operation;
use crate::domain::Status;

pub(super) fn run(context: &Context<'_>, command: Account) -> Result<()> {
    context.perform(match command {
        Account::Add { name, uid, gid, home } => Operation::AccountAdd { name, uid, gid, home },
        Account::List => Operation::AccountList,
        Account::Show { name } => Operation::AccountShow { name },
        Account::Enable { name } => Operation::AccountSetStatus { name, status: Status::Active },
        Account::Disable { name } => Operation::AccountSetStatus { name, status: Status::Disabled },
        Account::Remove { name, with_users } => Operation::AccountRemove { name, with_users },
    })
}
