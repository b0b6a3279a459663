//! `enclos key …` and `enclos passwd`

use super::authorities::add_for_user;
use super::grants::check_layout;
use super::programs::check_forced;
use super::{Affected, Done, OperationError, Result, commit, user};
use crate::control::hashes::Stored;
use crate::control::keys::{self, ParsedKey};
use crate::control::outcome::{KeyOrigin, KeyView, Outcome};
use crate::control::passwords;
use crate::control::store::Store;
use crate::domain::{AccountFacts, Grant, KeyChange, Scope, Secret, Services, Setting, Terms, UserFacts, UserName};

/// Adds all keys of a text, or none.
pub(super) async fn add_keys(store: &Store, name: UserName, text: &str, change: KeyChange) -> Result<Done> {
    let keys = keys::parse(text)?;
    let (account, found) = user(store, &name).await?;
    let mut known: Vec<String> = store.keys(found.id).await?.into_iter().map(|k| k.fingerprint).collect();
    let grants = store.grants(found.id).await?;
    let mut transaction = store.change().await?;
    let mut added = Vec::with_capacity(keys.len());
    let mut authorities = 0;
    for key in keys {
        let key = narrowed(key, &change)?;
        if key.authority.is_some() {
            check_scope(&account, &found, &grants, &key.scope)?;
            add_for_user(store, &mut transaction, &found, key).await?;
            authorities += 1;
            continue;
        }
        if known.contains(&key.fingerprint) {
            return Err(OperationError::KeyExists { user: name, fingerprint: key.fingerprint });
        }
        check_scope(&account, &found, &grants, &key.scope)?;
        store.forgive_key(&mut transaction, found.id, &key.fingerprint).await?;
        added.push(store.add_key(&mut transaction, found.id, &key, KeyOrigin::Operator).await?);
        known.push(key.fingerprint);
    }
    commit(transaction).await?;
    if authorities > 0 {
        let keys = added.len();
        let sentence = format!(
            "{name} has {authorities} more of: authorities (enclos ca list), and {keys} more of: keys (enclos key list {name})"
        );
        return Ok(Done::quietly(Outcome::Done(sentence)));
    }
    let mut views: Vec<KeyView> = views(store, &name).await?;
    views.retain(|view| added.contains(&view.id));
    Ok(Done::quietly(match views.len() {
        1 => Outcome::Key(views.remove(0)),
        _ => Outcome::Keys(views),
    }))
}

/// What is said of a key that is not there yet.
pub(super) fn scope_and_terms(change: &KeyChange) -> (Scope, Terms) {
    (change.scope(Scope::default()), change.terms.clone().apply(Terms::default()))
}

/// A key with what was said beside it. Both narrow.
pub(super) fn narrowed(key: ParsedKey, change: &KeyChange) -> Result<ParsedKey> {
    let has_sources = !key.terms.from.is_everywhere();
    if has_sources && matches!(change.terms.from, Setting::Set(_)) {
        return Err(OperationError::TwoSources);
    }
    let scope = key.scope.and(change.scope(Scope::default()))?;
    let expires = key.terms.expires;
    let mut terms = change.terms.clone().apply(key.terms);
    terms.expires = terms.expires.into_iter().chain(expires).min();
    Ok(ParsedKey { scope, terms, ..key })
}

/// A scope that leaves nothing is a slip, as is one whose parts find no place in the view. Grants may change later: then the
/// key is told so at its next login.
pub(super) fn check_scope(account: &AccountFacts, user: &UserFacts, grants: &[Grant], scope: &Scope) -> Result<()> {
    let left = scope.grants(grants);
    if scope.paths.is_some() && left.is_empty() && !grants.is_empty() {
        return Err(OperationError::EmptyScope { user: user.name.clone() });
    }
    if scope.services.is_some() && scope.services(user.services) == Services::NONE {
        return Err(OperationError::NoServiceLeft { user: user.name.clone(), services: user.services });
    }
    let programs = scope.programs(&user.programs)?;
    if programs.forced_command != user.programs.forced_command {
        check_forced(&user.name, scope.services(user.services), &programs)?;
    }
    scope.forwards(&user.forwards)?;
    check_layout(account, user, &left)
}

/// Says anew what a key may do, when and from where. Sessions end that it would not let in as they are.
pub(super) async fn set_key(store: &Store, name: UserName, key: String, change: KeyChange) -> Result<Done> {
    let (account, found) = user(store, &name).await?;
    let Some(view) = views(store, &name).await?.into_iter().find(|view| is_named(view, &key)) else {
        return Err(OperationError::NoKey { user: name, key });
    };
    let scope = change.scope(view.scope);
    check_scope(&account, &found, &store.grants(found.id).await?, &scope)?;
    let terms = change.terms.apply(view.terms);
    let mut transaction = store.change().await?;
    store.set_key(&mut transaction, view.id, &scope, &terms).await?;
    // What an operator has said of a key is not undone by what its user writes.
    store.adopt_key(&mut transaction, view.id).await?;
    commit(transaction).await?;
    let outcome = Outcome::Key(KeyView { scope, terms, origin: KeyOrigin::Operator, ..view });
    Ok(Done { outcome, affected: Affected::UserAgain(name) })
}

pub(super) fn is_named(view: &KeyView, key: &str) -> bool {
    view.fingerprint == key || view.id.to_string() == key
}

pub(super) async fn list_keys(store: &Store, name: UserName) -> Result<Done> {
    Ok(Done::quietly(Outcome::Keys(views(store, &name).await?)))
}

pub(super) async fn remove_key(store: &Store, name: UserName, key: String) -> Result<Done> {
    let Some(view) = views(store, &name).await?.into_iter().find(|view| is_named(view, &key)) else {
        return Err(OperationError::NoKey { user: name, key });
    };
    let (_, found) = user(store, &name).await?;
    let mut change = store.change().await?;
    store.remove_key(&mut change, view.id).await?;
    // Nor does it come back by the user's own file.
    store.refuse_key(&mut change, found.id, &view.fingerprint).await?;
    commit(change).await?;
    let sentence = format!("key {} of {name} is removed", view.fingerprint);
    Ok(Done::said(sentence, Affected::Key(name, view.fingerprint)))
}

pub(super) async fn views(store: &Store, name: &UserName) -> Result<Vec<KeyView>> {
    let (_, found) = user(store, name).await?;
    let view = |k: crate::control::store::StoredKey| KeyView {
        id: k.id,
        user: name.clone(),
        fingerprint: k.fingerprint,
        algorithm: k.algorithm,
        label: k.label,
        origin: k.origin,
        scope: k.scope,
        terms: k.terms,
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

/// Takes over a hash that was made elsewhere. Sessions that logged in with the old password end.
pub(super) async fn set_hash(store: &Store, name: UserName, hash: Secret) -> Result<Done> {
    hash.expose().parse::<Stored>()?;
    let (_, found) = user(store, &name).await?;
    let mut change = store.change().await?;
    store.set_password(&mut change, found.id, Some(hash.expose())).await?;
    commit(change).await?;
    Ok(Done::said(format!("password of {name} is set by its hash"), Affected::Password(name)))
}

/// Hashing takes some 20 ms of a core; logins go on meanwhile.
async fn hash_aside(secret: Secret) -> Result<String> {
    let hashed = tokio::task::spawn_blocking(move || passwords::hash(&secret)).await;
    Ok(hashed.map_err(|_| passwords::PasswordError::Unfinished)??)
}
