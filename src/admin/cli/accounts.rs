//! `enclos account …`

use super::args::Account;
use super::{CommandError, Context, Result};
use crate::control::Operation;
use crate::domain::{LimitChange, Status};

pub(super) fn run(context: &Context<'_>, command: Account) -> Result<()> {
    context.perform(match command {
        Account::Add { name, uid, gid, home } => Operation::AccountAdd { name, uid, gid, home },
        Account::Set { name, terms, limits } => {
            let terms = terms.change().map(|change| Operation::AccountSetTerms { name: name.clone(), change });
            let limits = Some(limits.change()).filter(|change| *change != LimitChange::default());
            let limits = limits.map(|change| Operation::AccountSetLimits { name, change });
            let nothing = || CommandError::Input("say what to change; see: enclos account set --help".to_owned());
            match (terms, limits) {
                (Some(terms), Some(limits)) => {
                    context.ask(terms)?;
                    limits
                }
                (terms, limits) => terms.or(limits).ok_or_else(nothing)?,
            }
        }
        Account::List => Operation::AccountList,
        Account::Show { name } => Operation::AccountShow { name },
        Account::Enable { name } => Operation::AccountSetStatus { name, status: Status::Active },
        Account::Disable { name } => Operation::AccountSetStatus { name, status: Status::Disabled },
        Account::Remove { name, with_users } => Operation::AccountRemove { name, with_users },
    })
}
