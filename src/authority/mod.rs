//! Claim + facts + circumstances -> principal or denial. Pure; the rules of access live only here.
//!
//! Runs in: the monitor. Trusts: the facts, which control read from its database; never the claim. The signature
//! behind a key claim was verified by the session (RFC 4252, 7), that on a certificate by control; passwords were judged by
//! control.
//! From [`Principal`] on, private fields and one constructor make the chain true: rights only shrink along it.

mod certificates;
mod explain;

use std::net::IpAddr;

use crate::domain::{
    AccountFacts, AccountName, AsOf, Bounds, Contradiction, Credential, Factor, Factors, Facts, Flaw, ForEach,
    ForwardPolicy, Grant, HomePath, Hours, InvitationFacts, KeyFacts, LastLogin, Limits, OwnKeys, ProgramPolicy, Proof,
    Scope, Services, SessionLimits, Shown, Status, Terms, Timestamp, UploadPolicy, UserFacts, UserId, UserName, View,
    Welcome, narrowest,
};

pub use certificates::Unfit;
pub use explain::{Answer, Explanation, Limited, Verdict, explain};

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
    key: Option<ProvenKey>,
    shown: Factors,
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
        self.key.as_ref().map(|key| &key.facts)
    }

    /// The same as it was shown.
    pub fn credential(&self) -> Option<&Credential> {
        self.key.as_ref().map(|key| &key.shown)
    }

    /// All that was shown.
    pub fn shown(&self) -> Factors {
        self.shown
    }

    /// What may be opened.
    pub fn services(&self) -> Services {
        self.scope.services(self.user.services)
    }

    /// The key, if it may do less than its user: then it is somebody else as far as programs are concerned, for what one
    /// of them leaves behind, the other would run. Where the user's home may hold keys, so is one that is good for less long
    /// or from fewer places: it would leave a better one behind.
    pub fn narrow_key(&self) -> Option<&KeyFacts> {
        let may_leave_keys = self.user.own_keys == OwnKeys::Taken;
        let is_limited = |key: &KeyFacts| key.certified.is_some() || key.terms != Terms::default();
        self.key().filter(|key| !self.scope.is_whole() || (may_leave_keys && is_limited(key)))
    }

    /// Whether the keys are taken that the user's home holds. Of whoever may do less than the user they are not.
    pub fn takes_own_keys(&self) -> bool {
        self.user.own_keys == OwnKeys::Taken && self.narrow_key().is_none()
    }

    /// When all of it ends; `None` for never.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// When a session of it that begins then ends; `None` for never.
    pub fn until_if_begun(&self, since: Timestamp) -> Option<Timestamp> {
        let lasting = self.session_limits().into_iter().filter_map(|(_, limits)| limits.lasting).min();
        let end = lasting.map(|seconds| Timestamp(since.0.saturating_add(i64::from(seconds))));
        self.until.into_iter().chain(end).min()
    }

    fn holder_of_key(&self) -> Holder {
        match self.key() {
            Some(key) if key.certified.is_some() => Holder::Certificate,
            _ => Holder::Key,
        }
    }

    /// Whose limits of sessions bind it, and what they are. All of them have to be met, so each only narrows.
    pub fn session_limits(&self) -> [(Holder, SessionLimits); 3] {
        let of_key = self.key().map(|key| key.terms.sessions).unwrap_or_default();
        [
            (Holder::Account, self.account.terms.sessions),
            (Holder::User, self.user.terms.sessions),
            (self.holder_of_key(), of_key),
        ]
    }

    /// What binds a session of it by itself. Each of account, user and key only narrows.
    pub fn bounds(&self) -> Bounds {
        let (account, user) = (self.account.terms.sessions, self.user.terms.sessions);
        let key = self.key().map(|key| key.terms.sessions).unwrap_or_default();
        Bounds {
            idle: narrowest([account.idle, user.idle, key.idle]),
            of_user: narrowest([account.bandwidth, user.bandwidth]),
            of_key: key.bandwidth,
        }
    }

    /// How many sessions there may be at the same time.
    pub fn most_sessions(&self) -> ForEach<Option<u32>> {
        let [account, user, key] = self.session_limits().map(|(_, limits)| limits.at_once);
        ForEach { account, user, key }
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

    /// How programs are run.
    pub fn programs(&self) -> &ProgramPolicy {
        &self.user.programs
    }

    /// What the user's programs may take.
    pub fn limits(&self) -> Limits {
        self.user.limits
    }

    /// What the programs of all users of the account may take together.
    pub fn account_limits(&self) -> Limits {
        self.account.limits
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// Nobody by that name.
    #[error("unknown user")]
    UnknownUser,
    /// The user has no such key.
    #[error("unknown key")]
    UnknownKey,
    /// The invitation is somebody's already.
    #[error("invitation was taken up before")]
    TakenUp,
    /// The key, the certificate or its authority was revoked.
    #[error("revoked")]
    Revoked,
    /// The certificate is worth nothing.
    #[error(transparent)]
    Flawed(#[from] Flaw),
    /// No authority that is trusted with the user has signed it.
    #[error("certificate of an authority that is not trusted with this user")]
    UnknownAuthority,
    /// It is not for this user, or not to be used so.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The password is not the user's.
    #[error("wrong password")]
    WrongPassword,
    /// The code is not the user's, or was taken before.
    #[error("wrong code")]
    WrongCode,
    /// A code came before anything else.
    #[error("a code without a key or a password")]
    CodeAlone,
    /// What was shown is right, and leads nowhere for this user.
    #[error("no way in by this method")]
    NoWay,
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
    /// All of it is right, and it is not the time for it.
    #[error("outside the hours of the {holder}: {hours}")]
    Closed {
        /// Whose hours.
        holder: Holder,
        /// Which.
        hours: Hours,
    },
    /// User and credential leave nothing of one another.
    #[error("nothing is left of what the user and the credential may: {0}")]
    Contradiction(#[from] Contradiction),
}

impl Denial {
    /// What whoever was denied may be told: they have proven who they are.
    pub fn told(&self) -> Option<String> {
        match self {
            Denial::Closed { hours, .. } => Some(format!("you may log in at these hours only: {hours}")),
            _ => None,
        }
    }
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
    /// The certificate's.
    Certificate,
    /// The invitation's.
    Invitation,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Holder::Account => "account",
            Holder::User => "user",
            Holder::Key => "key",
            Holder::Certificate => "certificate",
            Holder::Invitation => "invitation",
        })
    }
}

/// What somebody has proven so far on one connection; worth something for that user alone.
#[derive(Debug, Clone)]
pub struct Proven {
    user: UserId,
    key: Option<ProvenKey>,
    shown: Factors,
    as_of: AsOf,
}

#[derive(Debug, Clone)]
struct ProvenKey {
    shown: Credential,
    facts: KeyFacts,
}

impl ProvenKey {
    /// What was shown, as the key that it comes to.
    fn of(shown: Credential, facts: &Facts, at: &Circumstances) -> Result<ProvenKey, Denial> {
        let is_certificate = matches!(shown, Credential::Certificate(_));
        let found = match (&facts.shown, is_certificate) {
            (Shown::Key(key), false) => (**key).clone(),
            (Shown::Certificate(certificate), true) => certificates::vouched(certificate, &facts.user, at)?,
            (Shown::UnknownKey, false) => return Err(Denial::UnknownKey),
            (Shown::RevokedKey, false) => return Err(Denial::Revoked),
            (Shown::UnknownAuthority, true) => return Err(Denial::UnknownAuthority),
            (Shown::Flawed(flaw), true) => return Err((*flaw).into()),
            _ => return Err(Denial::Mismatch),
        };
        Ok(ProvenKey { shown, facts: found })
    }
}

impl Proven {
    /// What is still to be shown, each of which may be the next.
    pub fn left(&self, facts: &UserFacts) -> Factors {
        let ways = facts.logins.ways(facts.has_authenticator);
        let open = ways.into_iter().filter(|way| way.contain(self.shown.without(CODE)));
        open.fold(Factors::NONE, |left, way| left.and(way.without(self.shown)))
    }
}

/// A key, alone or with a certificate.
const KEY: Factors = Factors::NONE.with(Factor::Key);

/// A code, which is worth something only after something else.
const CODE: Factors = Factors::NONE.with(Factor::Code);

/// What a claim comes to.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Enough was shown.
    In(Box<Principal>),
    /// It was right, and more is needed.
    More(Box<Proven>, Factors),
    /// The key may take up an invitation, if it is the first to do so; and that is what it will be told.
    Invited(Box<Welcome>),
}

/// Decides one claim: the proof first, then whether user and account may be used, then the terms, then whether it is enough
/// together with what was proven `earlier` on the same connection.
pub fn decide(
    proof: &Proof,
    facts: Option<&Facts>,
    at: &Circumstances,
    earlier: Option<Proven>,
) -> Result<Decision, Denial> {
    let facts = facts.ok_or(Denial::UnknownUser)?;
    if let Shown::Invitation(invitation) = &facts.shown {
        return invited(proof, invitation, facts, at);
    }
    let earlier = earlier.filter(|earlier| earlier.user == facts.user.id);
    let proven = and_now(earlier, proof, facts, at)?;
    may_be_used(facts, proven.key.as_ref().map(|key| &key.facts), at)?;
    let waived = if facts.code_waived { CODE } else { Factors::NONE };
    let shown = proven.shown.and(waived);
    if facts.user.logins.ways(facts.user.has_authenticator).into_iter().any(|way| shown.contain(way)) {
        return Ok(Decision::In(Box::new(principal(facts, proven.key, shown, (proven.as_of, at))?)));
    }
    match proven.left(&facts.user).without(waived) {
        // Right, and of no use to anybody: to be told apart from a wrong one by nobody.
        Factors::NONE => Err(Denial::NoWay),
        left => Ok(Decision::More(Box::new(proven), left)),
    }
}

/// Whether a key may take up an invitation. Nothing but a key can: it is bound, and no door is opened.
fn invited(proof: &Proof, invitation: &InvitationFacts, facts: &Facts, at: &Circumstances) -> Result<Decision, Denial> {
    if !matches!(proof, Proof::Key(_)) {
        return Err(Denial::Mismatch);
    }
    may_take_up(invitation, facts, at)?;
    let InvitationFacts { scope, terms, .. } = invitation;
    let ways = facts.user.logins.ways(facts.user.has_authenticator);
    let programs = scope.programs(&facts.user.programs)?;
    Ok(Decision::Invited(Box::new(Welcome {
        user: facts.user.name.clone(),
        services: scope.services(facts.user.services),
        grants: scope.grants(&facts.grants),
        until: [facts.account.terms.expires, facts.user.terms.expires, terms.expires].into_iter().flatten().min(),
        forced_command: programs.forced_command.map(|command| command.to_string()),
        needs_more: !ways.contains(&KEY),
    })))
}

fn may_take_up(invitation: &InvitationFacts, facts: &Facts, at: &Circumstances) -> Result<(), Denial> {
    if invitation.is_redeemed {
        return Err(Denial::TakenUp);
    }
    if invitation.expires <= at.now {
        return Err(Denial::Expired(Holder::Invitation));
    }
    may_be_used(facts, None, at)
}

/// Adds what is shown now to what was proven. A code proves nothing by itself, and is not even looked at then.
fn and_now(earlier: Option<Proven>, proof: &Proof, facts: &Facts, at: &Circumstances) -> Result<Proven, Denial> {
    let nothing = Proven { user: facts.user.id, key: None, shown: Factors::NONE, as_of: facts.as_of };
    let mut proven = match proof {
        Proof::Code(_) => earlier.ok_or(Denial::CodeAlone)?,
        _ => earlier.unwrap_or(nothing),
    };
    if let Some(credential) = proof.credential() {
        proven.key = Some(ProvenKey::of(credential, facts, at)?);
    }
    match (proof, &facts.shown) {
        (Proof::Key(_) | Proof::Certificate(_), _) => {}
        (Proof::Password(_), Shown::RightPassword) | (Proof::Code(_), Shown::RightCode) => {}
        (Proof::Password(_), Shown::WrongPassword) => return Err(Denial::WrongPassword),
        (Proof::Code(_), Shown::WrongCode) => return Err(Denial::WrongCode),
        _ => return Err(Denial::Mismatch),
    }
    proven.shown = proven.shown.with(proof.factor());
    Ok(proven)
}

/// Decides about a session again: `shown` is what it showed when it began and would still be good, `credential` the key of
/// it, which the facts are about.
pub fn decide_again(
    facts: Option<&Facts>,
    credential: Option<&Credential>,
    shown: Factors,
    at: &Circumstances,
) -> Result<Principal, Denial> {
    let facts = facts.ok_or(Denial::UnknownUser)?;
    // Whoever showed a password besides may be good for something without the key.
    let key = credential.and_then(|credential| ProvenKey::of(credential.clone(), facts, at).ok());
    let shown = if key.is_some() { shown } else { shown.without(KEY) };
    may_be_used(facts, key.as_ref().map(|key| &key.facts), at)?;
    if !facts.user.logins.ways(facts.user.has_authenticator).into_iter().any(|way| shown.contain(way)) {
        return Err(Denial::NoWay);
    }
    principal(facts, key, shown, (facts.as_of, at))
}

/// Whether a key that was only offered is worth a signature (RFC 4252, 7, `SSH_MSG_USERAUTH_PK_OK`). It proves
/// nothing and makes no principal.
pub fn worth_a_signature(facts: Option<&Facts>, at: &Circumstances) -> bool {
    facts.is_some_and(|f| match &f.shown {
        Shown::Key(key) => {
            let ways = f.user.logins.ways(f.user.has_authenticator);
            ways.into_iter().any(|way| way.contains(Factor::Key)) && may_be_used(f, Some(key), at).is_ok()
        }
        Shown::Invitation(invitation) => may_take_up(invitation, f, at).is_ok(),
        _ => false,
    })
}

/// Whoever has shown enough, if it is the time for it.
fn principal(
    facts: &Facts,
    key: Option<ProvenKey>,
    shown: Factors,
    (as_of, at): (AsOf, &Circumstances),
) -> Result<Principal, Denial> {
    let terms = holders(facts, key.as_ref().map(|key| &key.facts));
    for (holder, terms) in &terms {
        within_hours(terms, *holder, at)?;
    }
    let scope = key.as_ref().map(|key| key.facts.scope.clone()).unwrap_or_default();
    let grants = scope.grants(&facts.grants);
    let ends = terms.iter().flat_map(|(_, terms)| [terms.expires, terms.open.end()]);
    let until = narrowest(ends);
    let user = UserFacts {
        forwards: scope.forwards(&facts.user.forwards)?,
        programs: scope.programs(&facts.user.programs)?,
        ..facts.user.clone()
    };
    Ok(Principal { account: facts.account.clone(), user, key, shown, scope, grants, until, as_of })
}

/// The principal that a user would be with all that is its own, for an examination of the host: nothing was shown, and
/// nobody is let in by it.
pub fn for_examination(facts: &Facts, at: &Circumstances) -> Result<Principal, Denial> {
    principal(facts, None, Factors::NONE, (facts.as_of, at))
}

fn may_be_used(facts: &Facts, key: Option<&KeyFacts>, at: &Circumstances) -> Result<(), Denial> {
    standing(facts)?;
    holders(facts, key).into_iter().try_for_each(|(holder, terms)| met(terms, holder, at))
}

/// All whose terms have to be met.
fn holders<'f>(facts: &'f Facts, key: Option<&'f KeyFacts>) -> Vec<(Holder, &'f Terms)> {
    let holders = [(Holder::Account, &facts.account.terms), (Holder::User, &facts.user.terms)];
    let holder = |key: &KeyFacts| if key.certified.is_some() { Holder::Certificate } else { Holder::Key };
    holders.into_iter().chain(key.map(|key| (holder(key), &key.terms))).collect()
}

/// This is looked at last, when everything else is right.
fn within_hours(terms: &Terms, holder: Holder, at: &Circumstances) -> Result<(), Denial> {
    match &terms.hours {
        Some(hours) if !terms.open.is_open(at.now) => Err(Denial::Closed { holder, hours: hours.clone() }),
        _ => Ok(()),
    }
}

fn met(terms: &Terms, holder: Holder, at: &Circumstances) -> Result<(), Denial> {
    if terms.expires.is_some_and(|end| end <= at.now) {
        return Err(Denial::Expired(holder));
    }
    if terms.from.allow(at.from) { Ok(()) } else { Err(Denial::Elsewhere(holder)) }
}

fn standing(facts: &Facts) -> Result<(), Denial> {
    match (facts.user.status, facts.account.status) {
        (Status::Active, Status::Active) => Ok(()),
        (Status::Disabled, _) => Err(Denial::UserDisabled),
        (_, Status::Disabled) => Err(Denial::AccountDisabled),
    }
}

#[cfg(test)]
mod tests;
