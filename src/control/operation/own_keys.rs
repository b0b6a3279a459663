//! A user's own `authorized_keys`: what stands there becomes its keys, as far as policy allows, and what goes from there goes.
//!
//! The text comes from a session, which has read the file with its user's rights. Nothing that is said there can do more than
//! the user, and nothing that an operator has taken back comes back by it.

use super::credentials::check_scope;
use super::{Affected, Done, OperationError, Result, commit, user};
use crate::control::keys::{self, ParsedKey};
use crate::control::outcome::KeyOrigin;
use crate::control::store::{About, Store, StoredKey};
use crate::domain::{KeyFile, OwnKeys, UserName, View};
use crate::telemetry::Causes;

/// Says whether a user's own keys are taken. Its sessions end: those of keys that are good for less long or from fewer places
/// have a home of their own from then on, so that what they leave behind is not taken for the user's.
pub(super) async fn set(store: &Store, name: UserName, own_keys: OwnKeys) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let has_home = found.services.run_programs() && found.view() == View::Host;
    if own_keys == OwnKeys::Taken && !has_home {
        return Err(OperationError::NoHome { user: name });
    }
    let mut change = store.change().await?;
    store.set_user_own_keys(&mut change, found.id, own_keys).await?;
    if own_keys == OwnKeys::Refused {
        store.remove_own_keys(&mut change, found.id).await?;
    }
    commit(change).await?;
    let affected = if own_keys == found.own_keys { Affected::Nobody } else { Affected::User(name.clone()) };
    Ok(Done { affected, ..super::users::show(store, &name).await? })
}

/// Most lines of one file that are told of one by one when they are not taken.
const MOST_LOGGED: u32 = 3;

/// What has to be done about the keys of a user so that they are those of its file.
#[derive(Debug, Default)]
struct Changes {
    added: Vec<ParsedKey>,
    changed: Vec<(StoredKey, ParsedKey)>,
    removed: Vec<StoredKey>,
}

/// What has become of the keys of a user, by their fingerprints.
#[derive(Debug, Default)]
pub(in crate::control) struct TakenOver {
    /// New ones.
    pub added: Vec<String>,
    /// With other options.
    pub changed: Vec<String>,
    /// Gone.
    pub removed: Vec<String>,
}

impl TakenOver {
    /// Whether some session may have come in by what does not hold any more.
    pub(in crate::control) fn takes_back(&self) -> bool {
        !self.changed.is_empty() || !self.removed.is_empty()
    }

    /// Whether nothing is other than it was.
    pub(in crate::control) fn is_nothing(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Takes over what stands in a user's file.
pub(in crate::control) async fn take_over(store: &Store, name: &UserName, file: &KeyFile) -> Result<TakenOver> {
    let (account, found) = user(store, name).await?;
    if found.own_keys != OwnKeys::Taken {
        return Ok(TakenOver::default());
    }
    let grants = store.grants(found.id).await?;
    let mut wanted: Vec<ParsedKey> = Vec::new();
    let mut not_taken = 0;
    for (number, line) in file.lines().take(KeyFile::MOST_LINES) {
        let key = one_key(line).map_err(OperationError::from);
        let key = key.and_then(|key| check_scope(&account, &found, &grants, &key.scope).map(|()| key));
        match key {
            Err(error) => {
                not_taken += 1;
                if not_taken <= MOST_LOGGED {
                    tracing::info!(user = %name, line = number, why = %Causes(&error), "a line of a user's own keys is not taken");
                }
            }
            Ok(key) if wanted.iter().any(|other| other.fingerprint == key.fingerprint) => {}
            Ok(_) if wanted.len() >= KeyFile::MOST_KEYS => {
                tracing::info!(user = %name, line = number, "a user has more own keys than are taken");
                break;
            }
            Ok(key) => wanted.push(key),
        }
    }
    if not_taken > MOST_LOGGED {
        tracing::info!(user = %name, lines = not_taken, "lines of a user's own keys are not taken");
    }
    let changes = changes(store, &found, wanted).await?;
    if changes.added.is_empty() && changes.changed.is_empty() && changes.removed.is_empty() {
        return Ok(TakenOver::default());
    }
    let store = &store.about(About::User(name.clone()));
    let mut change = store.change().await?;
    // An operator may have said meanwhile that they mean nothing.
    if !store.still_takes_own_keys(&mut change, found.id).await? {
        return Ok(TakenOver::default());
    }
    for key in &changes.added {
        store.add_key(&mut change, found.id, key, KeyOrigin::Own).await?;
        tracing::info!(user = %name, key = key.fingerprint, "a user has added a key");
    }
    for (old, new) in &changes.changed {
        store.set_key(&mut change, old.id, &new.scope, &new.terms).await?;
    }
    for key in &changes.removed {
        store.remove_key(&mut change, key.id).await?;
        tracing::info!(user = %name, key = key.fingerprint, "a user has removed a key");
    }
    commit(change).await?;
    Ok(TakenOver {
        added: changes.added.into_iter().map(|key| key.fingerprint).collect(),
        changed: changes.changed.into_iter().map(|(_, key)| key.fingerprint).collect(),
        removed: changes.removed.into_iter().map(|key| key.fingerprint).collect(),
    })
}

fn one_key(line: &str) -> std::result::Result<ParsedKey, keys::BadKey> {
    let key = keys::parse(line)?.into_iter().next().ok_or(keys::BadKey::Malformed)?;
    if key.authority.is_some() { Err(keys::BadKey::OwnAuthority) } else { Ok(key) }
}

async fn changes(store: &Store, of: &crate::domain::UserFacts, wanted: Vec<ParsedKey>) -> Result<Changes> {
    let known = store.keys(of.id).await?;
    let refused = store.refused_keys(of.id).await?;
    let mut changes = Changes::default();
    let is_wanted = |key: &&StoredKey| wanted.iter().any(|wanted| wanted.fingerprint == key.fingerprint);
    changes.removed =
        known.iter().filter(|key| key.origin == KeyOrigin::Own).filter(|key| !is_wanted(key)).cloned().collect();
    for key in wanted {
        match known.iter().find(|known| known.fingerprint == key.fingerprint) {
            Some(own) if own.origin == KeyOrigin::Own && (&own.scope, &own.terms) != (&key.scope, &key.terms) => {
                changes.changed.push((own.clone(), key));
            }
            // Whose it is already stays as it is.
            Some(_) => {}
            None if refused.contains(&key.fingerprint) || store.is_key_revoked(&key.blob).await? => {
                tracing::info!(user = %of.name, key = key.fingerprint, "a user's own key was taken back before");
            }
            None => changes.added.push(key),
        }
    }
    Ok(changes)
}
