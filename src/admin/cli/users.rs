//! `enclos user …`

use super::args::User;
use super::forward_options::ForwardOptions;
use super::upload_options::UploadOptions;
use super::{CommandError, Context, Result};
use crate::control::Operation;
use crate::domain::{BadLogins, ForwardChange, Logins, Status, UploadChange};

pub(super) fn run(context: &Context<'_>, command: User) -> Result<()> {
    context.perform(match command {
        User::Add { name, account, service, view, uploads, forwards } => {
            let services = service.into_iter().collect();
            let (uploads, forwards) = (change(uploads)?, forward_change(forwards)?);
            Operation::UserAdd { name, account, services, view, uploads, forwards }
        }
        User::Set { name, view, uploads, forwards, terms, login } => {
            let view = view.map(|view| Operation::UserSetView { name: name.clone(), view: view.0 });
            let terms = terms.change().map(|change| Operation::UserSetTerms { name: name.clone(), change });
            let logins = logins(&login)?.map(|logins| Operation::UserSetLogins { name: name.clone(), logins });
            let change = Some(change(uploads)?).filter(|change| *change != UploadChange::default());
            let uploads = change.map(|change| Operation::UserSetUploads { name: name.clone(), change });
            let change = Some(forward_change(forwards)?).filter(|change| *change != ForwardChange::default());
            let forwards = change.map(|change| Operation::UserSetForwards { name, change });
            return set(context, [view, terms, logins, uploads, forwards].into_iter().flatten().collect());
        }
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

fn forward_change(options: ForwardOptions) -> Result<ForwardChange> {
    options.change().map_err(|bad| CommandError::Input(bad.to_string()))
}

/// What was said of ways in, if anything.
fn logins(said: &[String]) -> Result<Option<Logins>> {
    let read = |text: &str| text.parse().map_err(|bad: BadLogins| CommandError::Input(bad.to_string()));
    match said {
        [] => Ok(None),
        [only] if only == "none" => Ok(Some(Logins::default())),
        several => read(&several.join(",")).map(Some),
    }
}

/// What was said is done one after the other; the user is shown once.
fn set(context: &Context<'_>, mut asked: Vec<Operation>) -> Result<()> {
    let nothing = || CommandError::Input("say what to change; see: enclos user set --help".to_owned());
    let last = asked.pop().ok_or_else(nothing)?;
    for operation in asked {
        context.ask(operation)?;
    }
    context.perform(last)
}
