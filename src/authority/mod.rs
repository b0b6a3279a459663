//! Claim + facts -> principal or denial. Pure; the rules of access live only here.
//!
//! Runs in: the monitor. Trusts: the facts, which control read from its database; never the claim. The signature
//! behind a key claim was verified by the session (RFC 4252, 7); passwords were judged by control.
//! From [`Principal`] on, private fields and one constructor make the chain true: rights only shrink along it.

use crate::domain::{
    AccountFacts, AccountName, AsOf, Facts, ForwardPolicy, Grant, HomePath, KeyFacts, LastLogin, ProgramPolicy, Proof,
    Services, Shown, Status, UploadPolicy, UserFacts, UserName, View,
};

/// Somebody proven, with what they may reach. Never leaves the monitor.
#[derive(Debug, Clone)]
pub struct Principal {
    account: AccountFacts,
    user: UserFacts,
    key: Option<KeyFacts>,
    grants: Vec<Grant>,
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
        self.user.services
    }

    /// When all of this was so.
    pub fn as_of(&self) -> AsOf {
        self.as_of
    }

    /// How what may be reached is seen.
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

    /// How programs are run.
    pub fn programs(&self) -> &ProgramPolicy {
        &self.user.programs
    }

    /// When and from where the user logged in before.
    pub fn last_login(&self) -> Option<LastLogin> {
        self.user.last_login
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
}

/// Decides one claim: the proof first, then the status of user and account.
pub fn decide(proof: &Proof, facts: Option<&Facts>) -> Result<Principal, Denial> {
    let facts = facts.ok_or(Denial::UnknownUser)?;
    let key = proven(proof, &facts.shown)?;
    standing(facts)?;
    Ok(Principal {
        account: facts.account.clone(),
        user: facts.user.clone(),
        key: key.cloned(),
        grants: facts.grants.clone(),
        as_of: facts.as_of,
    })
}

/// Whether a key that was only offered is worth a signature (RFC 4252, 7, `SSH_MSG_USERAUTH_PK_OK`). It proves
/// nothing and makes no principal.
pub fn worth_a_signature(facts: Option<&Facts>) -> bool {
    facts.is_some_and(|f| matches!(f.shown, Shown::Key(_)) && standing(f).is_ok())
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
            },
            user: UserFacts {
                id: UserId(1),
                name: "bob".parse().expect("a name"),
                status: Status::Active,
                services: Services::NONE.with(Service::Sftp),
                view: None,
                uploads: UploadPolicy::default(),
                forwards: ForwardPolicy::default(),
                programs: ProgramPolicy::default(),
                last_login: None,
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

    fn known_key() -> Shown {
        Shown::Key(KeyFacts { id: KeyId(1), fingerprint: "SHA256:x".into(), label: String::new() })
    }

    #[test]
    fn a_proven_key_and_a_right_password_make_a_principal() {
        assert!(decide(&key(), Some(&facts(known_key()))).is_ok());
        assert!(decide(&password(), Some(&facts(Shown::RightPassword))).is_ok());
    }

    #[test]
    fn a_verdict_on_something_else_proves_nothing() {
        assert_eq!(decide(&key(), Some(&facts(Shown::RightPassword))).expect_err("denied"), Denial::Mismatch);
        assert_eq!(decide(&password(), Some(&facts(known_key()))).expect_err("denied"), Denial::Mismatch);
        assert_eq!(decide(&password(), Some(&facts(Shown::UnknownKey))).expect_err("denied"), Denial::Mismatch);
    }

    #[test]
    fn nobody_and_the_disabled_are_denied_whatever_they_show() {
        assert_eq!(decide(&key(), None).expect_err("denied"), Denial::UnknownUser);
        let mut disabled = facts(known_key());
        disabled.user.status = Status::Disabled;
        assert_eq!(decide(&key(), Some(&disabled)).expect_err("denied"), Denial::UserDisabled);
        assert!(!worth_a_signature(Some(&disabled)));
        let mut closed = facts(Shown::RightPassword);
        closed.account.status = Status::Disabled;
        assert_eq!(decide(&password(), Some(&closed)).expect_err("denied"), Denial::AccountDisabled);
    }
}
