//! `enclos user …`

use super::grants::check_layout;
use super::programs::check_forced;
use super::{Affected, Done, OperationError, Result, account, commit, user};
use crate::control::outcome::{GrantView, Outcome};
use crate::control::store::Store;
use crate::domain::{
    AccountName, ForwardChange, ForwardPolicy, INVITE, LimitChange, Limits, ProgramChange, ProgramPolicy, Services,
    Status, TermsChange, UploadChange, UploadPolicy, UserFacts, UserName, View,
};

/// What a new user's policies say beyond the defaults.
pub(super) struct Policies {
    pub(super) uploads: UploadChange,
    pub(super) forwards: ForwardChange,
    pub(super) programs: ProgramChange,
    pub(super) limits: LimitChange,
}

/// Most users in one answer.
const MOST_LISTED: u32 = 1000;

pub(super) async fn add(
    store: &Store,
    name: UserName,
    of: AccountName,
    services: Services,
    view: Option<View>,
    policies: Policies,
) -> Result<Done> {
    if services == Services::NONE {
        return Err(OperationError::NoService);
    }
    if name.as_str().starts_with(INVITE) {
        return Err(OperationError::ReservedName);
    }
    let programs = policies.programs.apply(ProgramPolicy::default());
    check_forced(&name, services, &programs)?;
    let owner = account(store, &of).await?;
    if store.user(name.as_str()).await?.is_some() {
        return Err(OperationError::UserExists { name });
    }
    let mut change = store.change().await?;
    let id = store.add_user(&mut change, owner.id, &name, services, view).await?;
    store.set_user_uploads(&mut change, id, &policies.uploads.apply(UploadPolicy::default())).await?;
    store.set_user_forwards(&mut change, id, &policies.forwards.apply(ForwardPolicy::default())).await?;
    store.set_user_programs(&mut change, id, &programs).await?;
    store.set_user_limits(&mut change, id, &policies.limits.apply(Limits::default())).await?;
    commit(change).await?;
    show(store, &name).await
}

/// One page of users with their grants, by name. All of them may be more than anybody holds at once.
pub(super) async fn list(store: &Store, of: Option<AccountName>, after: Option<UserName>, most: u32) -> Result<Done> {
    if let Some(name) = &of {
        account(store, name).await?;
    }
    let mut views = store.users(of.as_ref(), after.as_ref(), most.clamp(1, MOST_LISTED)).await?;
    store.add_grants(&mut views).await?;
    Ok(Done::quietly(Outcome::Users(views)))
}

pub(super) async fn show(store: &Store, name: &UserName) -> Result<Done> {
    let Some(view) = store.user_view(name).await? else {
        return Err(user(store, name)
            .await
            .err()
            .unwrap_or(OperationError::NoUser { name: name.clone(), nearest: None }));
    };
    let mut views = vec![view];
    store.add_grants(&mut views).await?;
    Ok(Done::quietly(Outcome::User(views.remove(0))))
}

pub(super) async fn grants_of(store: &Store, of: &UserFacts, account: &AccountName) -> Result<Vec<GrantView>> {
    let grants = store.grants(of.id).await?;
    let view = |g: crate::domain::Grant| GrantView {
        user: of.name.clone(),
        account: account.clone(),
        path: g.path,
        mode: g.mode,
        no_exec: g.no_exec,
    };
    Ok(grants.into_iter().map(view).collect())
}

/// Says how a user sees its grants from the next login on; live sessions keep the view they have.
pub(super) async fn set_view(store: &Store, name: UserName, view: Option<View>) -> Result<Done> {
    let (owner, found) = user(store, &name).await?;
    let grants = store.grants(found.id).await?;
    let changed = UserFacts { view, ..found };
    check_layout(&owner, &changed, &grants)?;
    let mut change = store.change().await?;
    store.set_user_view(&mut change, changed.id, view).await?;
    commit(change).await?;
    show(store, &name).await
}

/// Says how what a user uploads is written. Names or sizes that are taken away end live sessions; all else waits for the
/// next.
pub(super) async fn set_uploads(store: &Store, name: UserName, wanted: UploadChange) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let after = wanted.apply(found.uploads.clone());
    let mut change = store.change().await?;
    store.set_user_uploads(&mut change, found.id, &after).await?;
    commit(change).await?;
    let is_narrower = found.uploads.is_narrowed_by(&after);
    let affected = if is_narrower { Affected::User(name.clone()) } else { Affected::Nobody };
    Ok(Done { affected, ..show(store, &name).await? })
}

/// Says what a user may forward and in which network. What is taken away ends live sessions.
pub(super) async fn set_forwards(store: &Store, name: UserName, wanted: ForwardChange) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let after = wanted.apply(found.forwards.clone());
    let mut change = store.change().await?;
    store.set_user_forwards(&mut change, found.id, &after).await?;
    commit(change).await?;
    let is_narrower = found.forwards.is_narrowed_by(&after);
    let affected = if is_narrower { Affected::User(name.clone()) } else { Affected::Nobody };
    Ok(Done { affected, ..show(store, &name).await? })
}

/// Says what a user's programs may take, from the next cell on. Sessions end that may take less.
pub(super) async fn set_limits(store: &Store, name: UserName, wanted: LimitChange) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let after = wanted.apply(found.limits);
    let mut change = store.change().await?;
    store.set_user_limits(&mut change, found.id, &after).await?;
    commit(change).await?;
    let affected = if found.limits.is_narrowed_by(&after) { Affected::User(name.clone()) } else { Affected::Nobody };
    Ok(Done { affected, ..show(store, &name).await? })
}

/// Says anew when and from where a user may log in. Sessions end that would not be let in any more.
pub(super) async fn set_terms(store: &Store, name: UserName, wanted: TermsChange) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let mut change = store.change().await?;
    store.set_user_terms(&mut change, found.id, &wanted.apply(found.terms)).await?;
    commit(change).await?;
    Ok(Done { affected: Affected::UserAgain(name.clone()), ..show(store, &name).await? })
}

pub(super) async fn set_status(store: &Store, name: UserName, status: Status) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let mut change = store.change().await?;
    store.set_user_status(&mut change, found.id, status).await?;
    commit(change).await?;
    let sentence = format!("user {name} is {}", status.as_str());
    let affected = if status == Status::Disabled { Affected::User(name) } else { Affected::Nobody };
    Ok(Done::said(sentence, affected))
}

pub(super) async fn remove(store: &Store, name: UserName) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let mut change = store.change().await?;
    store.remove_user(&mut change, found.id).await?;
    commit(change).await?;
    Ok(Done::said(format!("user {name} is removed"), Affected::User(name)))
}
