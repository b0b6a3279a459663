//! `enclos explain`: gathers what the rules are asked about. They are asked in `authority`.

use base64ct::{Base64, Encoding};

use super::credentials::{is_named, views};
use super::{Asked, Done, OperationError, Result, user};
use crate::authority::{self, Circumstances};
use crate::control::outcome::{ExplanationView, Outcome};
use crate::control::serve::certified;
use crate::control::store::{Known, Presented, Store, StoreError, now};
use crate::control::{certificates, hours, keys};
use crate::domain::{
    AccountFacts, AsOf, Attempt, CertificateBlob, ClaimedName, Facts, KeyBlob, Proof, RelPath, Secret, Shown,
    Timestamp, UserName,
};

/// What is shown at the login, and what is known of it.
type Step = (Proof, Option<Facts>);

pub(super) async fn explain(store: &Store, asked: Asked) -> Result<Done> {
    let now = asked.at.unwrap_or(Timestamp(now()));
    let known = async |shown: Presented<'_>| {
        let mut known = known(store, &asked.user, shown).await?;
        hours::look_again(&mut known, now);
        Ok::<_, OperationError>(known)
    };
    let account = known(Presented::Nothing).await?.account;
    let (mut steps, mut shown): (Vec<Step>, Vec<String>) = Default::default();
    if let Some(certificate) = asked.key.as_deref().and_then(certificate_of) {
        shown.push("certificate".to_owned());
        let facts = match certificates::parse(&certificate) {
            Ok(parsed) => {
                let mut known = known(Presented::Certificate(&parsed)).await?;
                let verdict = certified(&mut known, &parsed).unwrap_or_else(Shown::Flawed);
                facts(known, verdict)
            }
            Err(flaw) => facts(known(Presented::Nothing).await?, Shown::Flawed(flaw)),
        };
        steps.push((Proof::Certificate(certificate), Some(facts)));
    } else if let Some(key) = &asked.key {
        let blob = key_of(store, &asked.user, key).await?;
        let mut known = known(Presented::Key(&blob)).await?;
        let fingerprint = known.key.as_ref().map_or_else(|| "an unknown key".to_owned(), |key| key.fingerprint.clone());
        shown.push(format!("key {fingerprint}"));
        let verdict = match known.key.take() {
            Some(_) if known.is_revoked => Shown::RevokedKey,
            found => found.map_or(Shown::UnknownKey, |key| Shown::Key(Box::new(key))),
        };
        steps.push((Proof::Key(blob), Some(facts(known, verdict))));
    }
    let nothing = Secret::new("").expect("nothing is not too long");
    if asked.password {
        let known = known(Presented::Nothing).await?;
        let verdict = if known.password.is_some() { Shown::RightPassword } else { Shown::WrongPassword };
        shown.push("password".to_owned());
        steps.push((Proof::Password(nothing.clone()), Some(facts(known, verdict))));
    }
    if steps.is_empty() {
        return Err(OperationError::NothingShown);
    }
    if asked.totp {
        let known = known(Presented::Nothing).await?;
        let verdict = if known.user.has_authenticator { Shown::RightCode } else { Shown::WrongCode };
        shown.push("code".to_owned());
        steps.push((Proof::Code(nothing), Some(facts(known, verdict))));
    }
    let at = Circumstances { now, from: asked.from };
    let attempts = attempts(&account, &asked)?;
    let decided = authority::explain(&steps, &at, &attempts);
    let view = ExplanationView { user: asked.user, shown, from: at.from, at: at.now, decided };
    Ok(Done::quietly(Outcome::Explanation(Box::new(view))))
}

fn facts(known: Known, shown: Shown) -> Facts {
    let Known { account, user, grants, .. } = known;
    Facts { account, user, grants, shown, code_waived: false, as_of: AsOf::default() }
}

/// What is known of a user when nothing is shown.
pub(super) async fn facts_of(store: &Store, name: &UserName) -> Result<Done> {
    let known = known(store, name, Presented::Nothing).await?;
    Ok(Done::quietly(Outcome::Facts(Box::new(facts(known, Shown::UnknownKey)))))
}

async fn known(store: &Store, name: &UserName, shown: Presented<'_>) -> Result<Known> {
    let claimed = ClaimedName::new(name.as_str()).expect("a name of a user is not too long");
    match store.known(&claimed, shown).await? {
        Some(known) => Ok(known),
        // Tells which name may be meant.
        None => {
            Err(user(store, name).await.err().unwrap_or(OperationError::NoUser { name: name.clone(), nearest: None }))
        }
    }
}

/// A certificate by its text, as `ssh-keygen -s` writes it.
fn certificate_of(text: &str) -> Option<CertificateBlob> {
    let mut words = text.split_whitespace();
    words.next().filter(|kind| kind.ends_with("-cert-v01@openssh.com"))?;
    CertificateBlob::new(Base64::decode_vec(words.next()?).ok()?).ok()
}

/// A key by its text, or one of the user's by its number or fingerprint.
async fn key_of(store: &Store, name: &UserName, text: &str) -> Result<KeyBlob> {
    let is_name = text.starts_with("SHA256:") || text.bytes().all(|b| b.is_ascii_digit());
    if !is_name {
        let keys = keys::parse(text)?;
        let count = keys.len();
        let only = keys.into_iter().next().filter(|_| count == 1);
        return Ok(only.ok_or(keys::BadKey::OneOnly { count })?.blob);
    }
    let gone = || OperationError::NoKey { user: name.clone(), key: text.chars().take(64).collect() };
    let view = views(store, name).await?.into_iter().find(|view| is_named(view, text)).ok_or_else(gone)?;
    let encoded = store.encoded_key(view.id).await?.ok_or_else(gone)?;
    let wrong = |_| StoreError::Row { what: "public key", text: view.fingerprint.clone() };
    Ok(KeyBlob::new(encoded).map_err(wrong)?)
}

fn attempts(account: &AccountFacts, asked: &Asked) -> Result<Vec<Attempt>> {
    let paths = |texts: &[String], attempt: fn(RelPath) -> Attempt| {
        texts.iter().map(|text| Ok(attempt(below_home(account, text)?))).collect::<Result<Vec<_>>>()
    };
    let mut attempts = paths(&asked.read, Attempt::Read)?;
    attempts.extend(paths(&asked.write, Attempt::Write)?);
    attempts.extend(asked.service.iter().map(|service| Attempt::Service(*service)));
    attempts.extend(asked.forward.iter().map(|(host, port)| Attempt::Forward { host: host.clone(), port: *port }));
    Ok(attempts)
}

/// A whole path of the host has to lie in the account's home.
fn below_home(account: &AccountFacts, text: &str) -> Result<RelPath> {
    let Some(whole) = text.strip_prefix('/') else { return Ok(text.parse()?) };
    let (whole, mut home) = (whole.parse::<RelPath>()?, account.home.components());
    let mut rest = whole.components();
    if home.by_ref().all(|part| rest.next() == Some(part)) {
        return Ok(rest.collect::<Vec<_>>().join("/").parse()?);
    }
    let (account, home) = (account.name.clone(), account.home.clone());
    Err(OperationError::OutsideHome { path: text.chars().take(4096).collect(), account, home })
}
