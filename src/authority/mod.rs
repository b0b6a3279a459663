//! Claim + facts + circumstances -> principal or denial. Pure; the rules of access live only here.
//!
//! Runs in: the monitor. Trusts: the facts, which control read from its database; never the claim. The signature
//! behind a key claim was verified by the session (RFC 4252, 7); passwords were judged by control.
//! From [`Principal`] on, private fields and one constructor make the chain true: rights only shrink along it.

use std::net::IpAddr;

use crate::domain::{
    AccountFacts, AccountName, AsOf, Facts, ForwardPolicy, Grant, HomePath, KeyFacts, Proof, Scope, Services, Shown,
    Status, Terms, Timestamp, UploadPolicy, UserFacts, UserName, View,
};

/// When and from where somebody comes, as the monitor saw it.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// The time.
    pub now: Timestamp,
    /// The address of the connection.
    pub from: IpAddr,
}

/// Somebody proven, with what they may reach. Never leaves the monitor.
#[derive(Debug, Clone)]
pub struct Principal {
    account: AccountFacts,
    user: UserFacts,
    key: Option<KeyFacts>,
    scope: Scope,
    grants: Vec<Grant>,
    until: Option<Timestamp>,
    as_of: AsOf,
}

impl Principal {
    /// The account whose files are reached.
    pub fn account(&self) -> &AccountName {
        &self.account.name
    }

    /// Owner on disk.
    pub fn owner(&self) -> (u32, u32) {
        (self.account.uid, self.account.gid)
    }

    /// The tree that all grants lie in.
    pub fn home(&self) -> &HomePath {
        &self.account.home
    }

    /// The proven user.
    pub fn user(&self) -> &UserName {
        &self.user.name
    }

    /// The key that was proven, if it was one.
    pub fn key(&self) -> Option<&KeyFacts> {
        self.key.as_ref()
    }

    /// What may be opened.
    pub fn services(&self) -> Services {
        self.scope.services(self.user.services)
    }

    /// Whether programs get no terminal.
    pub fn no_terminal(&self) -> bool {
        self.scope.no_terminal
    }

    /// The key, if it may do less than its user: then it is somebody else as far as programs are concerned, for what one
    /// of them leaves behind, the other would run.
    pub fn narrow_key(&self) -> Option<&KeyFacts> {
        self.key.as_ref().filter(|_| !self.scope.is_whole())
    }

    /// When all of it ends; `None` for never.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// When all of this was so.
    pub fn as_of(&self) -> AsOf {
        self.as_of
    }

    /// How what may be reached is seen: with every credential the same way.
    pub fn view(&self) -> View {
        self.user.view()
    }

    /// How what is uploaded is written.
    pub fn uploads(&self) -> &UploadPolicy {
        &self.user.uploads
    }

    /// What may be forwarded, and in which network programs run.
    pub fn forwards(&self) -> &ForwardPolicy {
        &self.user.forwards
    }

    /// What may be reached; may be empty.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }
}

/// Why a claim was not believed. They differ in the audit trail and look alike to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// Nobody by that name.
    #[error("unknown user")]
    UnknownUser,
    /// The user has no such key.
    #[error("unknown key")]
    UnknownKey,
    /// The password is not the user's.
    #[error("wrong password")]
    WrongPassword,
    /// What was judged is not what was claimed: control and session disagree, which only a defect can cause.
    #[error("verdict does not fit the claim")]
    Mismatch,
    /// The user is disabled.
    #[error("user disabled")]
    UserDisabled,
    /// The account is disabled.
    #[error("account disabled")]
    AccountDisabled,
    /// Its time is over.
    #[error("{0} expired")]
    Expired(Holder),
    /// It may not come from there.
    #[error("{0} may not be used from this address")]
    Elsewhere(Holder),
}

/// Whose terms are not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The account's.
    Account,
    /// The user's.
    User,
    /// The key's.
    Key,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Holder::Account => "account",
            Holder::User => "user",
            Holder::Key => "key",
        })
    }
}

/// Decides one claim: the proof first, then whether user and account may be used, then the terms.
pub fn decide(proof: &Proof, facts: Option<&Facts>, at: &Circumstances) -> Result<Principal, Denial> {
    let facts = facts.ok_or(Denial::UnknownUser)?;
    admit(facts, proven(proof, &facts.shown)?, at)
}

/// Decides about a session again that proved its claim when it began: `facts` say what has become of what it showed.
pub fn decide_again(facts: Option<&Facts>, at: &Circumstances) -> Result<Principal, Denial> {
    let facts = facts.ok_or(Denial::UnknownUser)?;
    match &facts.shown {
        Shown::Key(key) => admit(facts, Some(key), at),
        Shown::RightPassword => admit(facts, None, at),
        Shown::UnknownKey => Err(Denial::UnknownKey),
        Shown::WrongPassword => Err(Denial::WrongPassword),
    }
}

/// Whether a key that was only offered is worth a signature (RFC 4252, 7, `SSH_MSG_USERAUTH_PK_OK`). It proves
/// nothing and makes no principal.
pub fn worth_a_signature(facts: Option<&Facts>, at: &Circumstances) -> bool {
    facts.is_some_and(|f| match &f.shown {
        Shown::Key(key) => may_be_used(f, Some(key), at).is_ok(),
        _ => false,
    })
}

/// What was shown is good; what it comes to.
fn admit(facts: &Facts, key: Option<&KeyFacts>, at: &Circumstances) -> Result<Principal, Denial> {
    may_be_used(facts, key, at)?;
    let scope = key.map(|key| key.scope.clone()).unwrap_or_default();
    let grants = scope.grants(&facts.grants);
    let ends = [facts.account.terms.expires, facts.user.terms.expires, key.and_then(|key| key.terms.expires)];
    Ok(Principal {
        account: facts.account.clone(),
        user: facts.user.clone(),
        key: key.cloned(),
        scope,
        grants,
        until: ends.into_iter().flatten().min(),
        as_of: facts.as_of,
    })
}

fn may_be_used(facts: &Facts, key: Option<&KeyFacts>, at: &Circumstances) -> Result<(), Denial> {
    standing(facts)?;
    let holders = [(Holder::Account, Some(&facts.account.terms)), (Holder::User, Some(&facts.user.terms))];
    let key = (Holder::Key, key.map(|key| &key.terms));
    for (holder, terms) in holders.into_iter().chain([key]) {
        terms.map_or(Ok(()), |terms| met(terms, holder, at))?;
    }
    Ok(())
}

fn met(terms: &Terms, holder: Holder, at: &Circumstances) -> Result<(), Denial> {
    if terms.expires.is_some_and(|end| end <= at.now) {
        return Err(Denial::Expired(holder));
    }
    if terms.from.allow(at.from) { Ok(()) } else { Err(Denial::Elsewhere(holder)) }
}

fn proven<'a>(proof: &Proof, shown: &'a Shown) -> Result<Option<&'a KeyFacts>, Denial> {
    match (proof, shown) {
        (Proof::Key(_), Shown::Key(key)) => Ok(Some(key)),
        (Proof::Password(_), Shown::RightPassword) => Ok(None),
        (Proof::Key(_), Shown::UnknownKey) => Err(Denial::UnknownKey),
        (Proof::Password(_), Shown::WrongPassword) => Err(Denial::WrongPassword),
        _ => Err(Denial::Mismatch),
    }
}

fn standing(facts: &Facts) -> Result<(), Denial> {
    match (facts.user.status, facts.account.status) {
        (Status::Active, Status::Active) => Ok(()),
        (Status::Disabled, _) => Err(Denial::UserDisabled),
        (_, Status::Disabled) => Err(Denial::AccountDisabled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountId, GrantId, KeyBlob, KeyId, Mode, Secret, Service, UserId};

    fn facts(shown: Shown) -> Facts {
        Facts {
            account: AccountFacts {
                id: AccountId(1),
                name: "acme".parse().expect("a name"),
                uid: 5001,
                gid: 5001,
                home: "/srv/acme".parse().expect("a path"),
                status: Status::Active,
                terms: Terms::default(),
            },
            user: UserFacts {
                id: UserId(1),
                name: "bob".parse().expect("a name"),
                status: Status::Active,
                terms: Terms::default(),
                services: Services::NONE.with(Service::Sftp),
                view: None,
                uploads: UploadPolicy::default(),
                forwards: ForwardPolicy::default(),
            },
            grants: vec![Grant {
                id: GrantId(1),
                path: "www".parse().expect("a path"),
                mode: Mode::Rw,
                no_exec: false,
            }],
            shown,
            as_of: AsOf::default(),
        }
    }

    fn key() -> Proof {
        Proof::Key(KeyBlob::new(vec![1]).expect("short"))
    }

    fn password() -> Proof {
        Proof::Password(Secret::new("x").expect("short"))
    }

    fn key_facts() -> KeyFacts {
        KeyFacts {
            id: KeyId(1),
            fingerprint: "SHA256:x".into(),
            label: String::new(),
            scope: Scope::default(),
            terms: Terms::default(),
        }
    }

    fn here() -> Circumstances {
        Circumstances { now: Timestamp(1_000), from: "192.0.2.7".parse().expect("an address") }
    }

    fn known_key() -> Shown {
        Shown::Key(key_facts())
    }

    #[test]
    fn a_proven_key_and_a_right_password_make_a_principal() {
        assert!(decide(&key(), Some(&facts(known_key())), &here()).is_ok());
        assert!(decide(&password(), Some(&facts(Shown::RightPassword)), &here()).is_ok());
    }

    #[test]
    fn a_verdict_on_something_else_proves_nothing() {
        assert_eq!(decide(&key(), Some(&facts(Shown::RightPassword)), &here()).expect_err("denied"), Denial::Mismatch);
        assert_eq!(decide(&password(), Some(&facts(known_key())), &here()).expect_err("denied"), Denial::Mismatch);
        assert_eq!(
            decide(&password(), Some(&facts(Shown::UnknownKey)), &here()).expect_err("denied"),
            Denial::Mismatch
        );
    }

    #[test]
    fn nobody_and_the_disabled_are_denied_whatever_they_show() {
        assert_eq!(decide(&key(), None, &here()).expect_err("denied"), Denial::UnknownUser);
        let mut disabled = facts(known_key());
        disabled.user.status = Status::Disabled;
        assert_eq!(decide(&key(), Some(&disabled), &here()).expect_err("denied"), Denial::UserDisabled);
        assert!(!worth_a_signature(Some(&disabled), &here()));
        let mut closed = facts(Shown::RightPassword);
        closed.account.status = Status::Disabled;
        assert_eq!(decide(&password(), Some(&closed), &here()).expect_err("denied"), Denial::AccountDisabled);
    }

    #[test]
    fn the_terms_of_account_user_and_key_are_all_to_be_met() {
        let late = Terms { expires: Some(Timestamp(1_000)), ..Terms::default() };
        let elsewhere = Terms { from: "198.51.100.0/24".parse().expect("a list"), ..Terms::default() };
        let refused = [(&late, Denial::Expired as fn(Holder) -> Denial), (&elsewhere, Denial::Elsewhere)];
        for (terms, denial) in refused {
            let mut account = facts(known_key());
            account.account.terms = terms.clone();
            let mut user = facts(known_key());
            user.user.terms = terms.clone();
            let of_key = facts(Shown::Key(KeyFacts { terms: terms.clone(), ..key_facts() }));
            for (facts, holder) in [(account, Holder::Account), (user, Holder::User), (of_key, Holder::Key)] {
                assert_eq!(decide(&key(), Some(&facts), &here()).expect_err("denied"), denial(holder));
                assert_eq!(decide_again(Some(&facts), &here()).expect_err("denied"), denial(holder));
                assert!(!worth_a_signature(Some(&facts), &here()));
            }
        }
    }

    #[test]
    fn it_ends_when_the_first_of_its_terms_ends() {
        let mut known = facts(Shown::Key(KeyFacts {
            terms: Terms { expires: Some(Timestamp(3_000)), ..Terms::default() },
            ..key_facts()
        }));
        known.account.terms.expires = Some(Timestamp(2_000));
        let until = |facts: &Facts| decide(&key(), Some(facts), &here()).expect("in time").until();
        assert_eq!(until(&known), Some(Timestamp(2_000)));
        known.account.terms.expires = None;
        assert_eq!(until(&known), Some(Timestamp(3_000)));
    }

    #[test]
    fn a_key_with_a_scope_may_do_no_more_than_that() {
        let scope = Scope {
            paths: "www/releases".parse().ok(),
            mode: Some(Mode::Ro),
            services: Some(Services::NONE.with(Service::Shell)),
            no_terminal: true,
        };
        let narrow = facts(Shown::Key(KeyFacts { scope, ..key_facts() }));
        let principal = decide(&key(), Some(&narrow), &here()).expect("in");
        assert_eq!(principal.grants().iter().map(|g| g.path.as_str()).collect::<Vec<_>>(), ["www/releases"]);
        assert!(principal.grants().iter().all(|g| g.mode == Mode::Ro) && principal.no_terminal());
        assert_eq!(principal.services(), Services::NONE, "the user has no shell for the key to have");
        assert!(principal.narrow_key().is_some());
        let whole = decide(&key(), Some(&facts(known_key())), &here()).expect("in");
        assert!(whole.narrow_key().is_none() && whole.services().contains(Service::Sftp));
    }
}
