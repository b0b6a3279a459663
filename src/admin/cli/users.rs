//! `enclos user …`

use super::args::User;
use super::{Context, Result};
use crate::control::Operation;
use crate::domain::Status;

pub(super) fn run(context: &Context<'_>, command: User) -> Result<()> {
    context.perform(match command {
        User::Add { name, account, service, view } => {
            Operation::UserAdd { name, account, services: service.into_iter().collect(), view }
        }
        User::Set { name, view } => Operation::UserSetView { name, view: view.0 },
        User::List { account } => Operation::UserList { account },
        User::Show { name } => Operation::UserShow { name },
        User::Enable { name } => Operation::UserSetStatus { name, status: Status::Active },
        User::Disable { name } => Operation::UserSetStatus { name, status: Status::Disabled },
        User::Remove { name } => Operation::UserRemove { name },
    })
}
