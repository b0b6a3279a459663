//! `enclos grant …`

use super::users::grants_of;
use super::{Affected, Done, OperationError, Result, commit, user};
use crate::control::outcome::{GrantView, Outcome};
use crate::control::store::Store;
use crate::domain::{Facts, Grant, Mode, RelPath, UserName};

/// Adds a grant, or changes the rights of one. Taking rights away ends live sessions; giving them waits for the next.
pub(super) async fn add(store: &Store, name: UserName, path: RelPath, mode: Mode) -> Result<Done> {
    let (account, found) = user(store, &name).await?;
    let grants = store.grants(found.id).await?;
    let mut change = store.change().await?;
    let narrowed = match grants.iter().find(|g| g.path == path) {
        Some(before) => {
            store.set_grant_mode(&mut change, before.id, mode).await?;
            before.mode == Mode::Rw && mode == Mode::Ro
        }
        None => {
            check_room(&name, &grants, &path)?;
            store.add_grant(&mut change, found.id, &path, mode).await?;
            false
        }
    };
    commit(change).await?;
    let affected = if narrowed { Affected::User(name.clone()) } else { Affected::Nobody };
    let view = GrantView { user: name, account: account.name, path, mode };
    Ok(Done { outcome: Outcome::Grant(view), affected })
}

/// Several grants are shown by their last component, so those must differ.
fn check_room(user: &UserName, grants: &[Grant], path: &RelPath) -> Result<()> {
    if grants.len() >= Facts::MOST_GRANTS {
        return Err(OperationError::TooManyGrants { user: user.clone(), most: Facts::MOST_GRANTS });
    }
    let length = |p: &RelPath| p.as_str().len();
    if grants.iter().map(|g| length(&g.path)).sum::<usize>() + length(path) > Facts::MOST_PATH_BYTES {
        return Err(OperationError::LongGrants { user: user.clone(), most: Facts::MOST_PATH_BYTES });
    }
    let name = |p: &RelPath| p.file_name().unwrap_or("home").to_owned();
    match grants.iter().find(|g| name(&g.path) == name(path)) {
        Some(same) => Err(OperationError::SameName { user: user.clone(), name: name(path), path: same.path.clone() }),
        None => Ok(()),
    }
}

pub(super) async fn list(store: &Store, of: Option<UserName>) -> Result<Done> {
    let mut views = Vec::new();
    match of {
        Some(name) => {
            let (account, found) = user(store, &name).await?;
            views.extend(grants_of(store, &found, &account.name).await?);
        }
        None => {
            for view in store.users(None).await? {
                let (account, found) = user(store, &view.name).await?;
                views.extend(grants_of(store, &found, &account.name).await?);
            }
        }
    }
    Ok(Done::quietly(Outcome::Grants(views)))
}

pub(super) async fn remove(store: &Store, name: UserName, path: RelPath) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let grants = store.grants(found.id).await?;
    let Some(grant) = grants.into_iter().find(|g| g.path == path) else {
        return Err(OperationError::NoGrant { user: name, path });
    };
    let mut change = store.change().await?;
    store.remove_grant(&mut change, grant.id).await?;
    commit(change).await?;
    Ok(Done::said(format!("{name} may no longer reach {path}"), Affected::User(name)))
}
