//! `enclos user …`

use super::args::{User, ViewSetting};
use super::upload_options::UploadOptions;
use super::{CommandError, Context, Result};
use crate::control::Operation;
use crate::domain::{Status, UploadChange, UserName};

pub(super) fn run(context: &Context<'_>, command: User) -> Result<()> {
    context.perform(match command {
        User::Add { name, account, service, view, uploads } => {
            let services = service.into_iter().collect();
            Operation::UserAdd { name, account, services, view, uploads: change(uploads)? }
        }
        User::Set { name, view, uploads } => return set(context, name, view, change(uploads)?),
        User::List { account } => Operation::UserList { account },
        User::Show { name } => Operation::UserShow { name },
        User::Enable { name } => Operation::UserSetStatus { name, status: Status::Active },
        User::Disable { name } => Operation::UserSetStatus { name, status: Status::Disabled },
        User::Remove { name } => Operation::UserRemove { name },
    })
}

fn change(options: UploadOptions) -> Result<UploadChange> {
    options.change().map_err(|bad| CommandError::Input(bad.to_string()))
}

/// What was said about the view is done first, then the rest; the user is shown once.
fn set(context: &Context<'_>, name: UserName, view: Option<ViewSetting>, uploads: UploadChange) -> Result<()> {
    let view = view.map(|view| Operation::UserSetView { name: name.clone(), view: view.0 });
    let uploads = (uploads != UploadChange::default()).then_some(Operation::UserSetUploads { name, change: uploads });
    match (view, uploads) {
        (Some(first), Some(last)) => {
            context.ask(first)?;
            context.perform(last)
        }
        (Some(only), None) | (None, Some(only)) => context.perform(only),
        (None, None) => Err(CommandError::Input("say what to change; see: enclos user set --help".to_owned())),
    }
}
