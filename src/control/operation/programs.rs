//! `enclos user set`, as far as it is about services and programs.

use super::grants::check_layout;
use super::users::show;
use super::{Affected, Done, OperationError, Result, commit, user};
use crate::control::store::Store;
use crate::domain::{ForcedCommand, ProgramChange, ProgramPolicy, Service, Services, UserFacts, UserName};

/// Says what a user may open. What is taken away ends live sessions.
pub(super) async fn set_services(store: &Store, name: UserName, services: Services) -> Result<Done> {
    if services == Services::NONE {
        return Err(OperationError::NoService);
    }
    let (owner, found) = user(store, &name).await?;
    let before = found.services;
    check_forced(&name, services, &found.programs)?;
    // The view may follow from the services.
    let changed = UserFacts { services, ..found };
    check_layout(&owner, &changed, &store.grants(changed.id).await?)?;
    let mut change = store.change().await?;
    store.set_user_services(&mut change, changed.id, services).await?;
    commit(change).await?;
    let affected = if before.and(services) == before { Affected::Nobody } else { Affected::User(name.clone()) };
    Ok(Done { affected, ..show(store, &name).await? })
}

/// Says how a user's programs are run. What is taken away ends live sessions.
pub(super) async fn set(store: &Store, name: UserName, wanted: ProgramChange) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let after = wanted.apply(found.programs.clone());
    check_forced(&name, found.services, &after)?;
    let mut change = store.change().await?;
    store.set_user_programs(&mut change, found.id, &after).await?;
    commit(change).await?;
    let is_narrower = found.programs.is_narrowed_by(&after);
    let affected = if is_narrower { Affected::User(name.clone()) } else { Affected::Nobody };
    Ok(Done { affected, ..show(store, &name).await? })
}

/// A forced command that no service runs would only close every door.
pub(in crate::control) fn check_forced(user: &UserName, services: Services, programs: &ProgramPolicy) -> Result<()> {
    let (any, needs): (&[Service], _) = match &programs.forced_command {
        None => return Ok(()),
        Some(ForcedCommand::Sftp) => (&[Service::Sftp], "sftp"),
        Some(ForcedCommand::Command(_)) => (&[Service::Exec, Service::Shell], "exec"),
    };
    let is_run = any.iter().any(|service| services.contains(*service));
    if is_run { Ok(()) } else { Err(OperationError::NeverForced { user: user.clone(), needs }) }
}
