//! `enclos grant …`

use super::users::grants_of;
use super::{Affected, Done, OperationError, Result, commit, user};
use crate::control::outcome::{GrantView, Outcome};
use crate::control::store::{Rights, Store};
use crate::domain::{
    AccountFacts, Facts, Grant, GrantId, HomePath, Layout, RelPath, Unplaced, UserFacts, UserName, View, deciding,
    narrows,
};

/// Adds a grant, or changes the rights of one. Taking rights away, here or from what lies around it, ends live sessions;
/// giving them waits for the next.
pub(super) async fn add(store: &Store, name: UserName, path: RelPath, rights: Rights) -> Result<Done> {
    let (account, found) = user(store, &name).await?;
    let before = store.grants(found.id).await?;
    let known = before.iter().find(|g| g.path == path).map(|g| g.id);
    let added = Grant { id: known.unwrap_or(GrantId(0)), path, mode: rights.mode, no_exec: rights.no_exec };
    let mut after: Vec<Grant> = before.iter().filter(|g| g.path != added.path).cloned().collect();
    after.push(added.clone());
    check_room(&name, &after)?;
    check_layout(&account, &found, &after)?;
    let mut change = store.change().await?;
    match known {
        Some(id) => store.set_grant_rights(&mut change, id, rights).await?,
        None => store.add_grant(&mut change, found.id, &added.path, rights).await?,
    }
    commit(change).await?;
    let affected = if narrows(&before, &after) { Affected::User(name.clone()) } else { Affected::Nobody };
    let view =
        GrantView { user: name, account: account.name, path: added.path, mode: added.mode, no_exec: added.no_exec };
    Ok(Done { outcome: Outcome::Grant(view), affected })
}

fn check_room(user: &UserName, grants: &[Grant]) -> Result<()> {
    if grants.len() > Facts::MOST_GRANTS {
        return Err(OperationError::TooManyGrants { user: user.clone(), most: Facts::MOST_GRANTS });
    }
    if grants.iter().map(|g| g.path.as_str().len()).sum::<usize>() > Facts::MOST_PATH_BYTES {
        return Err(OperationError::LongGrants { user: user.clone(), most: Facts::MOST_PATH_BYTES });
    }
    Ok(())
}

/// Whether a user whose grants are all known at once may have them.
pub(in crate::control) fn check_all(user: &UserName, view: View, home: &HomePath, grants: &[Grant]) -> Result<()> {
    check_room(user, grants)?;
    check_places(user, view, home, grants)
}

/// Whether all grants find a place in the user's view. A user without any is not wrong yet.
pub(super) fn check_layout(account: &AccountFacts, user: &UserFacts, grants: &[Grant]) -> Result<()> {
    check_places(&user.name, user.view(), &account.home, grants)
}

fn check_places(user: &UserName, view: View, home: &HomePath, grants: &[Grant]) -> Result<()> {
    let user_name = || user.clone();
    match Layout::of(view, home, grants) {
        Ok(_) | Err(Unplaced::NoGrant) => Ok(()),
        Err(Unplaced::Clash { name }) => {
            let has_name = |g: &&Grant| g.path.file_name().unwrap_or("home") == name;
            let path = grants.iter().find(has_name).map(|g| g.path.clone());
            let path =
                path.ok_or_else(|| OperationError::LongGrants { user: user_name(), most: Layout::MOST_PATH_BYTES })?;
            Err(OperationError::SameName { user: user_name(), name, path })
        }
        Err(Unplaced::ReadableDropBox { path, outer }) => {
            Err(OperationError::ReadableDropBox { user: user_name(), path, outer })
        }
        Err(Unplaced::InsideHidden { path, outer }) => {
            Err(OperationError::InsideHidden { user: user_name(), path, outer })
        }
        Err(Unplaced::TooDeep) => {
            Err(OperationError::DeepGrants { user: user_name(), most: Layout::MOST_NESTED_COMPONENTS })
        }
        Err(Unplaced::TooLong) => Err(OperationError::LongGrants { user: user_name(), most: Layout::MOST_PATH_BYTES }),
    }
}

pub(super) async fn list(store: &Store, of: Option<UserName>) -> Result<Done> {
    let mut views = Vec::new();
    match of {
        Some(name) => {
            let (account, found) = user(store, &name).await?;
            views.extend(grants_of(store, &found, &account.name).await?);
        }
        None => views = store.all_grants().await?,
    }
    Ok(Done::quietly(Outcome::Grants(views)))
}

pub(super) async fn remove(store: &Store, name: UserName, path: RelPath) -> Result<Done> {
    let (account, found) = user(store, &name).await?;
    let grants = store.grants(found.id).await?;
    let Some(grant) = grants.iter().find(|g| g.path == path) else {
        return Err(OperationError::NoGrant { user: name, path });
    };
    let after: Vec<Grant> = grants.iter().filter(|g| g.path != path).cloned().collect();
    // Nothing that is wrong already may keep an operator from taking away.
    if check_layout(&account, &found, &grants).is_ok() {
        check_layout(&account, &found, &after)?;
    }
    let mut change = store.change().await?;
    store.remove_grant(&mut change, grant.id).await?;
    commit(change).await?;
    if grant.is_visible() {
        let affected = if narrows(&grants, &after) { Affected::User(name.clone()) } else { Affected::Nobody };
        let sentence = match deciding(&after, &path) {
            None => format!("{name} may no longer reach {path}"),
            Some(outer) => format!("{name} has in {path} the rights of {} again ({})", outer.path, outer.mode),
        };
        Ok(Done::said(sentence, affected))
    } else {
        Ok(Done::said(format!("{path} is no longer hidden from {name}, from its next login on"), Affected::Nobody))
    }
}
