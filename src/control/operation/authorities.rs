//! `enclos ca …`: authorities whose certificates are taken, and what is not believed any more.

use super::credentials::{check_scope, narrowed};
use super::{Affected, CaHolder, Done, OperationError, Result, WhatToRevoke, account, commit, user};
use crate::control::certificates;
use crate::control::keys::{self, ParsedKey};
use crate::control::krl;
use crate::control::outcome::{AuthorityView, Outcome, Revoked};
use crate::control::store::{Change, Domain, Store};
use crate::domain::{AccountName, CertificateBlob, KeyChange, Principals, UserFacts, UserName};

/// Most that is revoked at a time besides a list.
const MOST_REVOKED: usize = 1000;

/// Adds the authorities of a text, all or none.
pub(super) async fn add(
    store: &Store,
    holder: CaHolder,
    text: &str,
    principals: &Principals,
    change: KeyChange,
) -> Result<Done> {
    let keys = keys::parse(text)?;
    let domain = domain(store, &holder).await?;
    let mut transaction = store.change().await?;
    let mut added = Vec::with_capacity(keys.len());
    for key in keys {
        let key = narrowed(key, &change)?;
        if let CaHolder::User { name } = &holder {
            let (owner, found) = user(store, name).await?;
            check_scope(&owner, &found, &store.grants(found.id).await?, &key.scope)?;
        }
        added.push(add_one(store, &mut transaction, &holder, domain, key, principals).await?);
    }
    commit(transaction).await?;
    let mut views = store.authorities().await?;
    views.retain(|view| added.contains(&view.fingerprint) && is_of(view, &holder));
    Ok(Done::quietly(match views.len() {
        1 => Outcome::Authority(views.remove(0)),
        _ => Outcome::Authorities(views),
    }))
}

/// Adds one; the names may be said by its line or beside it.
async fn add_one(
    store: &Store,
    change: &mut Change,
    holder: &CaHolder,
    domain: Domain,
    key: ParsedKey,
    principals: &Principals,
) -> Result<String> {
    let of_line = key.authority.clone().unwrap_or_default();
    let principals = match (of_line.is_unsaid(), principals.is_unsaid()) {
        (false, false) => return Err(OperationError::TwoPrincipals),
        (true, _) => principals.clone(),
        (false, true) => of_line,
    };
    let is_there = store.authorities().await?.iter().any(|a| a.fingerprint == key.fingerprint && is_of(a, holder));
    if is_there {
        return Err(OperationError::AuthorityExists { fingerprint: key.fingerprint });
    }
    store.add_authority(change, domain, &key, &principals).await?;
    Ok(key.fingerprint)
}

/// Adds an authority that stands among a user's keys (`cert-authority`).
pub(super) async fn add_for_user(store: &Store, change: &mut Change, of: &UserFacts, key: ParsedKey) -> Result<String> {
    let holder = CaHolder::User { name: of.name.clone() };
    add_one(store, change, &holder, Domain::User(of.id), key, &Principals::default()).await
}

async fn domain(store: &Store, holder: &CaHolder) -> Result<Domain> {
    Ok(match holder {
        CaHolder::Everybody => Domain::Everybody,
        CaHolder::Account { name } => Domain::Account(account(store, name).await?.id),
        CaHolder::User { name } => Domain::User(user(store, name).await?.1.id),
    })
}

fn is_of(view: &AuthorityView, holder: &CaHolder) -> bool {
    let (account, user): (Option<&AccountName>, Option<&UserName>) = match holder {
        CaHolder::Everybody => (None, None),
        CaHolder::Account { name } => (Some(name), None),
        CaHolder::User { name } => (None, Some(name)),
    };
    view.account.as_ref() == account && view.user.as_ref() == user
}

pub(super) async fn list(store: &Store) -> Result<Done> {
    Ok(Done::quietly(Outcome::Authorities(store.authorities().await?)))
}

/// Takes no certificates of an authority any more. Sessions end that it let in.
pub(super) async fn remove(store: &Store, named: &str) -> Result<Done> {
    let all = store.authorities().await?;
    let found: Vec<&AuthorityView> =
        all.iter().filter(|a| a.id.to_string() == named || a.fingerprint == named).collect();
    let [one] = found.as_slice() else {
        return Err(match found.is_empty() {
            true => OperationError::NoAuthority { named: named.to_owned() },
            false => OperationError::SeveralAuthorities { named: named.to_owned() },
        });
    };
    let mut change = store.change().await?;
    store.remove_authority(&mut change, one.id).await?;
    commit(change).await?;
    let affected = match (&one.user, &one.account) {
        (Some(user), _) => Affected::UserAgain(user.clone()),
        (None, Some(account)) => Affected::AccountAgain(account.clone()),
        (None, None) => Affected::EverybodyAgain,
    };
    Ok(Done::said(format!("authority {} is removed", one.fingerprint), affected))
}

/// Says by which names certificates may be made out to a user.
pub(super) async fn set_principals(store: &Store, name: UserName, principals: Principals) -> Result<Done> {
    let (_, found) = user(store, &name).await?;
    let mut change = store.change().await?;
    store.set_user_principals(&mut change, found.id, &principals).await?;
    commit(change).await?;
    Ok(Done { affected: Affected::UserAgain(name.clone()), ..super::users::show(store, &name).await? })
}

/// Believes something no more, on every node. Sessions end that rest on it.
pub(super) async fn revoke(store: &Store, what: WhatToRevoke) -> Result<Done> {
    let revoked = read(store, what).await?;
    let mut change = store.change().await?;
    let mut news = 0;
    for one in &revoked {
        news += usize::from(store.revoke(&mut change, one).await?);
    }
    commit(change).await?;
    let sentence = match (news, revoked.len()) {
        (0, _) => "all of it was revoked before".to_owned(),
        (1, 1) => "it is revoked".to_owned(),
        (news, all) => format!("{news} of {all} entries are new and revoked"),
    };
    Ok(Done::said(sentence, Affected::EverybodyAgain))
}

async fn read(store: &Store, what: WhatToRevoke) -> Result<Vec<Revoked>> {
    Ok(match what {
        WhatToRevoke::File { text } => {
            text.lines().map(str::trim).filter(|line| is_entry(line)).try_fold(Vec::new(), |mut all, line| match all
                .len()
            {
                MOST_REVOKED => Err(OperationError::TooManyRevoked),
                _ => {
                    all.push(of_line(line)?);
                    Ok(all)
                }
            })?
        }
        WhatToRevoke::Serials { authority, from, to } => {
            if from > to || to == 0 {
                return Err(OperationError::NoSerials { from, to });
            }
            vec![Revoked::Serials { authority: Some(fingerprint_of(store, authority).await?), from, to }]
        }
        WhatToRevoke::KeyId { authority, key_id } => {
            vec![Revoked::KeyId { authority: Some(fingerprint_of(store, authority).await?), key_id }]
        }
        WhatToRevoke::Krl { base64 } => {
            let bytes = data_encoding::BASE64.decode(base64.as_bytes());
            krl::parse(&bytes.map_err(|_| krl::BadKrl::Damaged)?)?
        }
    })
}

fn is_entry(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

/// A key, or a certificate: that one by its number if it has one and else by its name, as `ssh-keygen -k` has it.
fn of_line(line: &str) -> Result<Revoked> {
    let encoded = line.split_whitespace().nth(1).unwrap_or_default();
    if line.split_whitespace().next().is_some_and(|kind| kind.ends_with("-cert-v01@openssh.com")) {
        let bytes = data_encoding::BASE64.decode(encoded.as_bytes()).map_err(|_| OperationError::NoCertificate)?;
        let blob = CertificateBlob::new(bytes).map_err(|_| OperationError::NoCertificate)?;
        let parsed = certificates::parse(&blob).map_err(|_| OperationError::NoCertificate)?;
        let authority = Some(parsed.authority.sha256.clone());
        return Ok(match parsed.serial() {
            0 => Revoked::KeyId { authority, key_id: parsed.key_id().to_owned() },
            serial => Revoked::Serials { authority, from: serial, to: serial },
        });
    }
    let key = keys::parse(line)?.into_iter().next().ok_or(keys::BadKey::Malformed)?;
    Ok(Revoked::Key { fingerprint: key.fingerprint })
}

/// The fingerprint of an authority that is named by it, or by its number. One that was removed may still be named.
async fn fingerprint_of(store: &Store, named: String) -> Result<String> {
    if named.starts_with("SHA256:") {
        return Ok(named);
    }
    let found = store.authorities().await?.into_iter().find(|a| a.id.to_string() == named);
    found.map(|a| a.fingerprint).ok_or(OperationError::NoAuthority { named })
}

pub(super) async fn revoked(store: &Store) -> Result<Done> {
    Ok(Done::quietly(Outcome::Revocations(store.revocations().await?)))
}

/// Believes something again.
pub(super) async fn unrevoke(store: &Store, id: i64) -> Result<Done> {
    let mut change = store.change().await?;
    if !store.unrevoke(&mut change, id).await? {
        return Err(OperationError::NoRevocation { id });
    }
    commit(change).await?;
    Ok(Done::quietly(Outcome::Done(format!("revocation {id} is taken back"))))
}
