//! `enclos invite`: one-time names, by which somebody's key becomes a user's.

use sha2::{Digest, Sha256};

use super::credentials::{check_scope, scope_and_terms};
use super::{Affected, Done, OperationError, Result, commit, user};
use crate::control::certificates::hexadecimal;
use crate::control::keys::{self, ParsedKey};
use crate::control::outcome::{InvitationView, KeyOrigin, Outcome};
use crate::control::store::{About, NewInvitation, Store};
use crate::domain::{InvitationId, InviteCode, KeyBlob, KeyChange, Timestamp, UserName};

/// Most that one user may have at a time.
const MOST: usize = 100;
/// Longest that one may be open.
const LONGEST: i64 = 90 * 86_400;

/// Under what the secret of an invitation is kept.
pub(in crate::control) fn hash(code: &InviteCode) -> String {
    hexadecimal(&Sha256::digest(code.expose().as_bytes()))
}

/// Makes one. Its name is shown this once.
pub(super) async fn add(
    store: &Store,
    name: UserName,
    ends: Timestamp,
    label: Option<String>,
    change: KeyChange,
) -> Result<Done> {
    let (account, found) = user(store, &name).await?;
    let now = crate::control::times::now();
    if ends <= now || ends.0 - now.0 > LONGEST {
        return Err(OperationError::BadInvitationEnd);
    }
    let open = store.invitations(Some(found.id)).await?.iter().filter(|i| i.redeemed.is_none() && i.ends > now).count();
    if open >= MOST {
        return Err(OperationError::TooManyInvitations { user: name });
    }
    let (scope, terms) = scope_and_terms(&change);
    check_scope(&account, &found, &store.grants(found.id).await?, &scope)?;
    let code = InviteCode::from_random(rand::random());
    let label = label.unwrap_or_else(|| "by invitation".to_owned());
    let new = NewInvitation { hash: &hash(&code), label: &label, expires: ends, scope: &scope, terms: &terms };
    let mut transaction = store.change().await?;
    let id = store.add_invitation(&mut transaction, found.id, &new).await?;
    commit(transaction).await?;
    let login = Some(code.login_name());
    let view = InvitationView { id, user: name, label, ends, login, redeemed: None, fingerprint: None, scope, terms };
    Ok(Done::quietly(Outcome::Invitation(view)))
}

pub(super) async fn list(store: &Store, name: Option<UserName>) -> Result<Done> {
    let of = match &name {
        Some(name) => Some(user(store, name).await?.1.id),
        None => None,
    };
    Ok(Done::quietly(Outcome::Invitations(store.invitations(of).await?)))
}

/// Withdraws one that nobody has taken up.
pub(super) async fn withdraw(store: &Store, id: InvitationId) -> Result<Done> {
    let found = store.invitations(None).await?.into_iter().find(|invitation| invitation.id == id);
    let user = found.ok_or(OperationError::NoInvitation { id })?.user;
    let store = &store.about(About::User(user));
    let mut change = store.change().await?;
    if !store.remove_invitation(&mut change, id).await? {
        return Err(OperationError::NoInvitation { id });
    }
    commit(change).await?;
    Ok(Done::said(format!("invitation {id} is withdrawn"), Affected::Nobody))
}

/// Gives an invitation to a key, which becomes its user's. Once; of two at the same moment, on whatever nodes, one has it.
/// Whoever asks again with the same key is told the same again: the answer may have been lost.
pub(in crate::control) async fn redeem(
    store: &Store,
    code: &InviteCode,
    blob: &KeyBlob,
) -> Result<Option<(UserName, String)>> {
    let Some(invited) = store.invitation(&hash(code)).await? else { return Ok(None) };
    if store.is_key_revoked(blob).await? {
        return Ok(None);
    }
    let key = ParsedKey {
        scope: invited.facts.scope.clone(),
        terms: invited.facts.terms.clone(),
        ..keys::of_blob(blob.clone(), &invited.label)?
    };
    let id = invited.facts.id;
    let store = &store.about(About::User(invited.user.clone()));
    let mut change = store.change().await?;
    let Some(login) = store.redeem(&mut change, id, &key).await? else {
        drop(change);
        return Ok(store.is_redeemed_by(id, &key.fingerprint).await?.then_some((invited.user, key.fingerprint)));
    };
    // Whose it is already, with whatever scope, it stays.
    if !store.has_key(&mut change, login, &key.fingerprint).await? {
        store.add_key(&mut change, login, &key, KeyOrigin::Invite).await?;
    }
    commit(change).await?;
    Ok(Some((invited.user, key.fingerprint)))
}
