//! `enclos user …`

use super::args::{User, ViewSetting};
use super::forward_options::ForwardOptions;
use super::upload_options::UploadOptions;
use super::{CommandError, Context, Result};
use crate::control::Operation;
use crate::domain::{ForwardChange, Status, TermsChange, UploadChange, UserName};

pub(super) fn run(context: &Context<'_>, command: User) -> Result<()> {
    context.perform(match command {
        User::Add { name, account, service, view, uploads, forwards } => {
            let services = service.into_iter().collect();
            let (uploads, forwards) = (change(uploads)?, forward_change(forwards)?);
            Operation::UserAdd { name, account, services, view, uploads, forwards }
        }
        User::Set { name, view, uploads, forwards, terms } => {
            return set(context, &name, view, change(uploads)?, forward_change(forwards)?, terms.change());
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

/// What was said is done one after the other; the user is shown once.
fn set(
    context: &Context<'_>,
    name: &UserName,
    view: Option<ViewSetting>,
    uploads: UploadChange,
    forwards: ForwardChange,
    terms: Option<TermsChange>,
) -> Result<()> {
    let view = view.map(|view| Operation::UserSetView { name: name.clone(), view: view.0 });
    let uploads =
        (uploads != UploadChange::default()).then(|| Operation::UserSetUploads { name: name.clone(), change: uploads });
    let forwards = (forwards != ForwardChange::default())
        .then(|| Operation::UserSetForwards { name: name.clone(), change: forwards });
    let terms = terms.map(|change| Operation::UserSetTerms { name: name.clone(), change });
    let mut all: Vec<Operation> = [view, uploads, forwards, terms].into_iter().flatten().collect();
    let last =
        all.pop().ok_or_else(|| CommandError::Input("say what to change; see: enclos user set --help".to_owned()))?;
    for operation in all {
        context.ask(operation)?;
    }
    context.perform(last)
}
