//! `enclos user …`

use super::args::{User, YesOrNo};
use super::view_setting::ViewSetting;
use super::{CommandError, Context, Result, authorities, report};
use crate::control::{Operation, Outcome};
use crate::domain::{
    AccountName, BadLogins, ForwardChange, LimitChange, Logins, OwnKeys, ProgramChange, Service, Setting, Status,
    UploadChange, UserName,
};

pub(super) fn run(context: &Context<'_>, command: User) -> Result<()> {
    context.perform(match command {
        User::Add { name, account, service, view, uploads, forwards, programs, limits } => {
            let services = service.into_iter().collect();
            let (uploads, forwards) = (good(uploads.change())?, good(forwards.change())?);
            let programs = good(programs.change())?;
            let limits = limits.change();
            Operation::UserAdd { name, account, services, view, uploads, forwards, programs, limits }
        }
        User::Set { name, view, service, uploads, forwards, terms, login, principal, own_keys, programs, limits } => {
            let (uploads, forwards) = (good(uploads.change())?, good(forwards.change())?);
            let programs = good(programs.change())?;
            let terms = terms.change().map(|change| Operation::UserSetTerms { name: name.clone(), change });
            let logins = logins(&login)?.map(|logins| Operation::UserSetLogins { name: name.clone(), logins });
            let principals = if principal.is_empty() { None } else { Some(authorities::principals(principal)?) };
            let principals =
                principals.map(|principals| Operation::UserSetPrincipals { name: name.clone(), principals });
            let own_keys = own_keys.map(|answer| match answer {
                YesOrNo::Yes => OwnKeys::Taken,
                YesOrNo::No => OwnKeys::Refused,
            });
            let own_keys = own_keys.map(|own_keys| Operation::UserSetOwnKeys { name: name.clone(), own_keys });
            let limits = limits.change();
            let limits = (limits != LimitChange::default())
                .then(|| Operation::UserSetLimits { name: name.clone(), change: limits });
            let mut asked: Vec<Operation> =
                terms.into_iter().chain(logins).chain(principals).chain(limits).chain(own_keys).collect();
            asked.extend(changes(&name, view, service, uploads, forwards, programs));
            return set(context, asked);
        }
        User::List { account } => return list(context, account),
        User::Show { name } => Operation::UserShow { name },
        User::Enable { name } => Operation::UserSetStatus { name, status: Status::Active },
        User::Disable { name } => Operation::UserSetStatus { name, status: Status::Disabled },
        User::Remove { name } => Operation::UserRemove { name },
    })
}

/// Users of one page: what is asked for, held and printed at a time.
const PAGE: u32 = 500;

/// Lists page by page: nobody holds all of them.
fn list(context: &Context<'_>, account: Option<AccountName>) -> Result<()> {
    let mut pages = report::Pages::begin(context.json)?;
    let mut after = None;
    loop {
        let asked = Operation::UserList { account: account.clone(), after: after.take(), most: PAGE };
        let Outcome::Users(users) = context.ask(asked)? else {
            return Err(CommandError::Input("users cannot be listed".to_owned()));
        };
        pages.print(&users)?;
        after = users.last().map(|user| user.name.clone());
        if users.len() < PAGE as usize {
            return pages.end();
        }
    }
}

fn good<T, E: std::fmt::Display>(change: std::result::Result<T, E>) -> Result<T> {
    change.map_err(|bad| CommandError::Input(bad.to_string()))
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

/// What is to be changed, one operation after the other.
fn changes(
    name: &UserName,
    view: Option<ViewSetting>,
    service: Vec<Service>,
    uploads: UploadChange,
    forwards: ForwardChange,
    programs: ProgramChange,
) -> Vec<Operation> {
    let name = || name.clone();
    let frees = programs.forced_command == Setting::Unset;
    let services = (!service.is_empty())
        .then(|| Operation::UserSetServices { name: name(), services: service.into_iter().collect() });
    let view = view.map(|view| Operation::UserSetView { name: name(), view: view.0 });
    let uploads =
        (uploads != UploadChange::default()).then(|| Operation::UserSetUploads { name: name(), change: uploads });
    let forwards =
        (forwards != ForwardChange::default()).then(|| Operation::UserSetForwards { name: name(), change: forwards });
    let programs =
        (programs != ProgramChange::default()).then(|| Operation::UserSetPrograms { name: name(), change: programs });
    // A forced command goes before the service that it needs, and comes after it.
    let order = match frees {
        true => [programs, services, view, uploads, forwards],
        false => [services, view, uploads, forwards, programs],
    };
    order.into_iter().flatten().collect()
}

/// Does all of them, and shows the user once.
fn set(context: &Context<'_>, mut changes: Vec<Operation>) -> Result<()> {
    let Some(last) = changes.pop() else {
        return Err(CommandError::Input("say what to change; see: enclos user set --help".to_owned()));
    };
    for change in changes {
        context.ask(change)?;
    }
    context.perform(last)
}
