//! `enclos account …`

use super::args::Account;
use super::{CommandError, Context, Result};
use crate::control::Operation;
use crate::domain::Status;

pub(super) fn run(context: &Context<'_>, command: Account) -> Result<()> {
    context.perform(match command {
        Account::Add { name, uid, gid, home } => Operation::AccountAdd { name, uid, gid, home },
        Account::Set { name, terms } => {
            let said = || CommandError::Input("say what to change; see: enclos account set --help".to_owned());
            Operation::AccountSetTerms { name, change: terms.change().ok_or_else(said)? }
        }
        Account::List => Operation::AccountList,
        Account::Show { name } => Operation::AccountShow { name },
        Account::Enable { name } => Operation::AccountSetStatus { name, status: Status::Active },
        Account::Disable { name } => Operation::AccountSetStatus { name, status: Status::Disabled },
        Account::Remove { name, with_users } => Operation::AccountRemove { name, with_users },
    })
}
