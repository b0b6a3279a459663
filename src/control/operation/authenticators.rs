//! `enclos totp …`, and what a user has to show together.

use super::{Affected, Done, OperationError, Result, commit, user, users};
use crate::control::codes;
use crate::control::outcome::{AuthenticatorView, Outcome};
use crate::control::store::Store;
use crate::domain::{Logins, UserName};

/// Gives a user an authenticator. Sessions end that showed no code and would have to now.
pub(super) async fn enrol(store: &Store, name: UserName) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    if found.has_authenticator {
        return Err(OperationError::AuthenticatorExists { user: name });
    }
    let codes::Enrolment { secret, recovery } = codes::enrol();
    let kept: Vec<String> = recovery.iter().map(|code| codes::recovery_hash(code)).collect();
    let mut change = store.change().await?;
    store.add_authenticator(&mut change, found.id, &secret, &kept).await?;
    commit(change).await?;
    let uri = codes::uri(&name, &secret);
    let view = AuthenticatorView { user: name.clone(), secret, uri, recovery_codes: recovery };
    Ok(Done { outcome: Outcome::Authenticator(view), affected: Affected::UserAgain(name) })
}

/// Takes it away. Where a code has to be shown whatever else is, nobody gets in any more.
pub(super) async fn remove(store: &Store, name: UserName) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    if !found.has_authenticator {
        return Err(OperationError::NoAuthenticator { user: name });
    }
    let mut change = store.change().await?;
    store.remove_authenticator(&mut change, found.id).await?;
    commit(change).await?;
    Ok(Done::said(format!("the authenticator of {name} is removed"), Affected::UserAgain(name)))
}

/// Says what a user has to show together. Sessions end that showed less.
pub(super) async fn set_logins(store: &Store, name: UserName, logins: Logins) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let mut change = store.change().await?;
    store.set_user_logins(&mut change, found.id, &logins).await?;
    commit(change).await?;
    Ok(Done { affected: Affected::UserAgain(name.clone()), ..users::show(store, &name).await? })
}
