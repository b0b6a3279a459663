//! `enclos account …`

use super::{Affected, Done, OperationError, Result, account, commit, no_account};
use crate::config::Ids;
use crate::control::outcome::{AccountView, Outcome};
use crate::control::store::Store;
use crate::domain::{AccountName, HomePath, LimitChange, Limits, Status, Terms, TermsChange};

pub(super) async fn add(
    store: &Store,
    ids: Ids,
    name: AccountName,
    (uid, gid): (u32, u32),
    home: HomePath,
) -> Result<Done> {
    check(ids, (uid, gid), &home)?;
    if store.account(&name).await?.is_some() {
        return Err(OperationError::AccountExists { name });
    }
    let view = AccountView {
        name,
        uid,
        gid,
        home,
        status: Status::Active,
        terms: Terms::default(),
        limits: Limits::default(),
        users: 0,
    };
    let mut change = store.change().await?;
    store.add_account(&mut change, &view).await?;
    commit(change).await?;
    Ok(Done::quietly(Outcome::Account(view)))
}

/// Whether an account may have this owner and this home.
pub(in crate::control) fn check(ids: Ids, (uid, gid): (u32, u32), home: &HomePath) -> Result<()> {
    check_owner(ids, uid)?;
    check_owner(ids, gid)?;
    if home.as_str() == "/" { Err(OperationError::WholeHost) } else { Ok(()) }
}

/// An account's files belong neither to root, nor to nobody, nor to a process of the node: with the id of one session,
/// another could reach into it.
fn check_owner(ids: Ids, id: u32) -> Result<()> {
    match id {
        0 => Err(OperationError::RootAccount),
        // chown(2) reads it as "leave it as it is".
        u32::MAX => Err(OperationError::NoId { id }),
        id if ids.contains(id) => Err(OperationError::NodeId { id, ids }),
        _ => Ok(()),
    }
}

pub(super) async fn show(store: &Store, name: &AccountName) -> Result<Done> {
    let found = store.accounts().await?.into_iter().find(|a| a.name == *name);
    match found {
        Some(view) => Ok(Done::quietly(Outcome::Account(view))),
        None => Err(no_account(store, name).await?),
    }
}

pub(super) async fn set_status(store: &Store, name: AccountName, status: Status) -> Result<Done> {
    let found = account(store, &name).await?;
    let mut change = store.change().await?;
    store.set_account_status(&mut change, found.id, status).await?;
    commit(change).await?;
    let sentence = format!("account {name} is {}", status.as_str());
    let affected = if status == Status::Disabled { Affected::Account(name) } else { Affected::Nobody };
    Ok(Done::said(sentence, affected))
}

/// Says anew when and from where an account may be used. Sessions end that would not be let in any more.
pub(super) async fn set_terms(store: &Store, name: AccountName, wanted: TermsChange) -> Result<Done> {
    let found = account(store, &name).await?;
    let mut change = store.change().await?;
    store.set_account_terms(&mut change, found.id, &wanted.apply(found.terms)).await?;
    commit(change).await?;
    Ok(Done { affected: Affected::AccountAgain(name.clone()), ..show(store, &name).await? })
}

/// Says what the programs of all its users may take together, from the next cell on. Sessions end that may take less.
pub(super) async fn set_limits(store: &Store, name: AccountName, wanted: LimitChange) -> Result<Done> {
    let found = account(store, &name).await?;
    let after = wanted.apply(found.limits);
    let mut change = store.change().await?;
    store.set_account_limits(&mut change, found.id, &after).await?;
    commit(change).await?;
    let is_narrower = found.limits.is_narrowed_by(&after);
    let affected = if is_narrower { Affected::Account(name.clone()) } else { Affected::Nobody };
    Ok(Done { affected, ..show(store, &name).await? })
}

/// Puts on record what was done elsewhere, about an account that there is.
pub(super) async fn note(store: &Store, name: &AccountName) -> Result<Done> {
    account(store, name).await?;
    commit(store.change().await?).await?;
    Ok(Done::said(String::new(), Affected::Nobody))
}

pub(super) async fn remove(store: &Store, name: AccountName, with_users: bool) -> Result<Done> {
    let found = account(store, &name).await?;
    let users = store.user_count(found.id).await?;
    if users > 0 && !with_users {
        return Err(OperationError::HasUsers { name, users });
    }
    let mut change = store.change().await?;
    store.remove_account(&mut change, found.id).await?;
    commit(change).await?;
    let sentence = format!("account {name} is removed; its files are untouched");
    Ok(Done::said(sentence, Affected::Account(name)))
}
