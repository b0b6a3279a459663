//! `enclos key …` and `enclos passwd`

use super::{Affected, Done, OperationError, Result, commit, user};
use crate::control::keys;
use crate::control::outcome::{KeyView, Outcome};
use crate::control::passwords;
use crate::control::store::Store;
use crate::domain::{Secret, UserName};

pub(super) async fn add_key(store: &Store, name: UserName, text: &str) -> Result<Done> {
    let key = keys::parse(text)?;
    let (_, found) = user(store, &name).await?;
    if store.keys(found.id).await?.iter().any(|k| k.fingerprint == key.fingerprint) {
        return Err(OperationError::KeyExists { user: name, fingerprint: key.fingerprint });
    }
    let mut change = store.change().await?;
    store.add_key(&mut change, found.id, &key).await?;
    commit(change).await?;
    let views = views(store, &name).await?;
    let added = views.into_iter().find(|v| v.fingerprint == key.fingerprint);
    let added = added.ok_or_else(|| OperationError::NoKey { user: name, key: key.fingerprint })?;
    Ok(Done::quietly(Outcome::Key(added)))
}

pub(super) async fn list_keys(store: &Store, name: UserName) -> Result<Done> {
    Ok(Done::quietly(Outcome::Keys(views(store, &name).await?)))
}

pub(super) async fn remove_key(store: &Store, name: UserName, key: String) -> Result<Done> {
    let wanted = |v: &KeyView| v.fingerprint == key || v.id.to_string() == key;
    let Some(view) = views(store, &name).await?.into_iter().find(wanted) else {
        return Err(OperationError::NoKey { user: name, key });
    };
    let mut change = store.change().await?;
    store.remove_key(&mut change, view.id).await?;
    commit(change).await?;
    let sentence = format!("key {} of {name} is removed", view.fingerprint);
    Ok(Done::said(sentence, Affected::Key(name, view.fingerprint)))
}

async fn views(store: &Store, name: &UserName) -> Result<Vec<KeyView>> {
    let (_, found) = user(store, name).await?;
    let view = |k: crate::control::store::StoredKey| KeyView {
        id: k.id,
        user: name.clone(),
        fingerprint: k.fingerprint,
        algorithm: k.algorithm,
        label: k.label,
    };
    Ok(store.keys(found.id).await?.into_iter().map(view).collect())
}

/// Sets or removes a password. Sessions that logged in with the old one end.
pub(super) async fn set_password(store: &Store, name: UserName, password: Option<Secret>) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let (hash, sentence) = match password {
        Some(secret) if secret.expose().is_empty() => return Err(OperationError::EmptyPassword),
        Some(secret) => (Some(hash_aside(secret).await?), format!("password of {name} is set")),
        None => (None, format!("password of {name} is removed")),
    };
    let mut change = store.change().await?;
    store.set_password(&mut change, found.id, hash.as_deref()).await?;
    commit(change).await?;
    Ok(Done::said(sentence, Affected::Password(name)))
}

/// Hashing takes some 20 ms of a core; logins go on meanwhile.
async fn hash_aside(secret: Secret) -> Result<String> {
    let hashed = tokio::task::spawn_blocking(move || passwords::hash(&secret)).await;
    Ok(hashed.map_err(|_| passwords::PasswordError::Busy)??)
}
