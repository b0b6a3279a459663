//! What can be done to the control database. The command line and the admin socket are two skins over this.
//!
//! Every operation says in a sentence what it did or what to do instead, and which live sessions it takes the ground from
//! under.

pub(super) mod accounts;
mod audit;
mod authenticators;
mod authorities;
mod bans;
mod credentials;
mod explaining;
pub(super) mod grants;
mod invitations;
#[cfg(test)]
mod on_postgres;
#[cfg(test)]
mod on_sqlite;
mod own_keys;
pub(super) mod programs;
mod users;

use serde::{Deserialize, Serialize};

use super::hashes::BadHash;
use super::keys::BadKey;
use super::krl::BadKrl;
use super::outcome::Outcome;
use super::passwords::PasswordError;
use super::store::{About, AuditPage, AuditQuery, Rights, Store, StoreError};
use crate::config::Ids;
use crate::domain::{
    AccountFacts, AccountName, Ban, BanOrigin, Banned, Contradiction, ForwardChange, HomePath, INVITE, InvitationId,
    KeyChange, LimitChange, Logins, Mode, OwnKeys, Principals, ProgramChange, QuotaChange, RelPath, Secret, Services,
    Status, TermsChange, Timestamp, UploadChange, UserFacts, UserName, View,
};

/// One request of an operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "names and fields are those of the commands")]
pub enum Operation {
    AccountAdd {
        name: AccountName,
        uid: u32,
        gid: u32,
        home: HomePath,
    },
    AccountList,
    AccountShow {
        name: AccountName,
    },
    AccountSetStatus {
        name: AccountName,
        status: Status,
    },
    AccountSetTerms {
        name: AccountName,
        change: TermsChange,
    },
    AccountSetLimits {
        name: AccountName,
        change: LimitChange,
    },
    AccountRemove {
        name: AccountName,
        with_users: bool,
    },
    /// Done already, by the command line in the filesystem: control puts it on record.
    QuotaSet {
        name: AccountName,
        path: RelPath,
        change: QuotaChange,
    },
    UserAdd {
        name: UserName,
        account: AccountName,
        services: Services,
        view: Option<View>,
        uploads: UploadChange,
        forwards: ForwardChange,
        programs: ProgramChange,
        limits: LimitChange,
    },
    UserSetView {
        name: UserName,
        view: Option<View>,
    },
    UserSetUploads {
        name: UserName,
        change: UploadChange,
    },
    UserSetForwards {
        name: UserName,
        change: ForwardChange,
    },
    UserSetTerms {
        name: UserName,
        change: TermsChange,
    },
    UserSetLimits {
        name: UserName,
        change: LimitChange,
    },
    UserSetServices {
        name: UserName,
        services: Services,
    },
    UserSetPrograms {
        name: UserName,
        change: ProgramChange,
    },
    UserList {
        account: Option<AccountName>,
        /// Only those whose names come after it.
        after: Option<UserName>,
        /// At most so many; never more than fit into one answer.
        most: u32,
    },
    UserShow {
        name: UserName,
    },
    UserSetStatus {
        name: UserName,
        status: Status,
    },
    UserRemove {
        name: UserName,
    },
    GrantAdd {
        user: UserName,
        path: RelPath,
        mode: Mode,
        no_exec: bool,
    },
    GrantList {
        user: Option<UserName>,
    },
    GrantRemove {
        user: UserName,
        path: RelPath,
    },
    KeyAdd {
        user: UserName,
        text: String,
        change: KeyChange,
    },
    KeySet {
        user: UserName,
        key: String,
        change: KeyChange,
    },
    KeyList {
        user: UserName,
    },
    KeyRemove {
        user: UserName,
        key: String,
    },
    Passwd {
        user: UserName,
        password: Option<Secret>,
    },
    PasswdHash {
        user: UserName,
        hash: Secret,
    },
    TotpEnrol {
        user: UserName,
    },
    TotpRemove {
        user: UserName,
    },
    UserSetLogins {
        name: UserName,
        logins: Logins,
    },
    Explain(Box<Asked>),
    UserSetPrincipals {
        name: UserName,
        principals: Principals,
    },
    CaAdd {
        holder: CaHolder,
        text: String,
        principals: Principals,
        change: KeyChange,
    },
    UserSetOwnKeys {
        name: UserName,
        own_keys: OwnKeys,
    },
    InviteAdd {
        user: UserName,
        ends: Timestamp,
        label: Option<String>,
        change: KeyChange,
    },
    InviteList {
        user: Option<UserName>,
    },
    InviteWithdraw {
        id: InvitationId,
    },
    CaList,
    CaRemove {
        authority: String,
    },
    CaRevoke {
        what: WhatToRevoke,
    },
    CaRevoked,
    CaUnrevoke {
        id: i64,
    },
    BanAdd {
        who: Banned,
        ends: Option<Timestamp>,
        reason: String,
    },
    BanList,
    BanRemove {
        who: Banned,
    },
    SessionList,
    Status,
    /// What is known of a user, for an examination of the host.
    Facts {
        user: UserName,
    },
    SessionKill {
        conn: u64,
    },
    Audit {
        query: AuditQuery,
        page: AuditPage,
        most: u32,
    },
    AuditSummary {
        query: AuditQuery,
    },
}

/// What an operator wants explained: a login, and what it could do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names are those of the command's options")]
pub struct Asked {
    pub user: UserName,
    /// A public key, or the number or fingerprint of one that is known.
    pub key: Option<String>,
    pub password: bool,
    pub totp: bool,
    pub from: std::net::IpAddr,
    pub at: Option<crate::domain::Timestamp>,
    /// Below the account's home, or whole paths of the host.
    pub read: Vec<String>,
    pub write: Vec<String>,
    pub service: Vec<crate::domain::Service>,
    pub forward: Vec<(String, u16)>,
}

/// For whom an authority speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "names are those of the options")]
pub enum CaHolder {
    Everybody,
    Account { name: AccountName },
    User { name: UserName },
}

/// What is to be believed no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "names are those of the options")]
pub enum WhatToRevoke {
    File { text: String },
    Serials { authority: String, from: u64, to: u64 },
    KeyId { authority: String, key_id: String },
    Krl { base64: String },
}

impl Operation {
    /// Whom it may take something from; on every node their sessions are looked at again.
    pub(super) fn about(&self) -> About {
        match self {
            Operation::Passwd { user, .. } | Operation::PasswdHash { user, .. } => About::Password(user.clone()),
            Operation::UserSetView { name, .. }
            | Operation::UserSetUploads { name, .. }
            | Operation::UserSetForwards { name, .. }
            | Operation::UserSetServices { name, .. }
            | Operation::UserSetPrograms { name, .. }
            | Operation::UserSetTerms { name, .. }
            | Operation::UserSetLimits { name, .. }
            | Operation::UserSetLogins { name, .. }
            | Operation::UserSetPrincipals { name, .. }
            | Operation::UserSetOwnKeys { name, .. }
            | Operation::CaAdd { holder: CaHolder::User { name }, .. }
            | Operation::UserAdd { name, .. }
            | Operation::UserSetStatus { name, .. }
            | Operation::UserRemove { name } => About::User(name.clone()),
            Operation::GrantAdd { user, .. }
            | Operation::GrantRemove { user, .. }
            | Operation::InviteAdd { user, .. }
            | Operation::KeyAdd { user, .. }
            | Operation::KeySet { user, .. }
            | Operation::TotpEnrol { user }
            | Operation::TotpRemove { user }
            | Operation::KeyRemove { user, .. } => About::User(user.clone()),
            Operation::AccountAdd { name, .. }
            | Operation::AccountSetStatus { name, .. }
            | Operation::AccountSetTerms { name, .. }
            | Operation::CaAdd { holder: CaHolder::Account { name }, .. }
            | Operation::AccountSetLimits { name, .. }
            | Operation::QuotaSet { name, .. }
            | Operation::AccountRemove { name, .. } => About::Account(name.clone()),
            Operation::BanAdd { .. } | Operation::BanRemove { .. } => About::Bans,
            // Those that only ask, and whatever is not thought of here.
            _ => About::Anyone,
        }
    }
}

/// Why an operation was not done. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each text says what the fields are")]
pub enum OperationError {
    #[error("there is no account {name}{}", did_you_mean("account", .nearest.as_deref()))]
    NoAccount { name: AccountName, nearest: Option<String> },
    #[error("there is no user {name}{}", did_you_mean("user", .nearest.as_deref()))]
    NoUser { name: UserName, nearest: Option<String> },
    #[error("there is an account {name} already")]
    AccountExists { name: AccountName },
    #[error("there is a user {name} already; login names are unique over all accounts")]
    UserExists { name: UserName },
    #[error("account {name} still has users ({users}); remove them first, or give --with-users")]
    HasUsers { name: AccountName, users: u32 },
    #[error("an account cannot belong to root: give the uid and gid that own its files")]
    RootAccount,
    #[error("{id} is not an id that files can have; give the uid and gid that own the account's files")]
    NoId { id: u32 },
    #[error("{id} is an id of this node's own processes ({} to {}); give the uid and gid that own the account's files", .ids.first, .ids.first + (.ids.count - 1))]
    NodeId { id: u32, ids: Ids },
    #[error("the whole host cannot be an account's home; give the directory that its files lie in")]
    WholeHost,
    #[error("a user needs at least one service, for example --service sftp")]
    NoService,
    #[error(
        "the forced command of {user} would never be run: it needs --service {needs}; give it with: enclos user set {user} --service ..."
    )]
    NeverForced { user: UserName, needs: &'static str },
    #[error("{user} has no grant on {path}; list them with: enclos grant list {user}")]
    NoGrant { user: UserName, path: RelPath },
    #[error("{user} has {most} grants already, the most there can be; grant a directory further up")]
    TooManyGrants { user: UserName, most: usize },
    #[error("the paths of {user}'s grants are longer than {most} bytes together; grant a directory further up")]
    LongGrants { user: UserName, most: usize },
    #[error(
        "the grants to {user} that lie in other grants would have more than {most} directories on their ways together; grant or hide something further up"
    )]
    DeepGrants { user: UserName, most: usize },
    #[error("{user} has a grant named {name:?} already ({path}); two of them could not be told apart in its view")]
    SameName { user: UserName, name: String, path: RelPath },
    #[error(
        "the upload directory {path} would lie inside {outer}, which {user} can read: rights inside a readable directory cannot be only to upload; grant one of them only"
    )]
    ReadableDropBox { user: UserName, path: RelPath, outer: RelPath },
    #[error(
        "{path} would lie inside {outer}, which is hidden from {user}, and nothing in there can be granted; remove one of the two first"
    )]
    InsideHidden { user: UserName, path: RelPath, outer: RelPath },
    #[error("{user} has that key already ({fingerprint})")]
    KeyExists { user: UserName, fingerprint: String },
    #[error("{user} has no key {key:?}; give its number or fingerprint from: enclos key list {user}")]
    NoKey { user: UserName, key: String },
    #[error("the key's own from= and --from cannot both be kept; give one of the two")]
    TwoSources,
    #[error("with this scope {user} could reach nothing by the key; list its grants with: enclos grant list {user}")]
    EmptyScope { user: UserName },
    #[error("with these services {user} could open nothing by the key; it has {services}")]
    NoServiceLeft { user: UserName, services: Services },
    #[error("{user} has an authenticator already; if it is lost: enclos totp remove {user}, and enrol a new one")]
    AuthenticatorExists { user: UserName },
    #[error("{user} has no authenticator")]
    NoAuthenticator { user: UserName },
    #[error("an empty password is no password; give one, or --remove")]
    EmptyPassword,
    #[error("there is no session {conn}; list them with: enclos session list")]
    NoSession { conn: u64 },
    #[error("that would ban everybody; stop the node, or disable accounts instead")]
    BanOnAll,
    #[error("a reason is at most {} bytes on one line", Ban::LONGEST_REASON)]
    BadReason,
    #[error("{who} is not banned; list bans with: enclos ban list")]
    NoBan { who: Banned },
    #[error("no node is running here, so there are no sessions")]
    NotRunning,
    #[error(
        "{path} does not lie in the home of account {account} ({home}), where all grants are; give a path below it"
    )]
    OutsideHome { path: String, account: AccountName, home: HomePath },
    #[error(transparent)]
    Path(#[from] crate::domain::BadPath),
    #[error("say what is shown: --key FILE, --password, or both")]
    NothingShown,
    #[error(
        "{user} has no home of its own that only it can write to, so no own keys can be taken; that needs a service that runs \
         programs and --view host"
    )]
    NoHome { user: UserName },
    #[error("names that begin with {INVITE} are those of invitations; choose another for the user")]
    ReservedName,
    #[error("an invitation ends within 90 days from now; give --expires such as 2d, 12h or 2026-12-31")]
    BadInvitationEnd,
    #[error("{user} has a hundred open invitations; withdraw some: enclos invitation list {user}")]
    TooManyInvitations { user: UserName },
    #[error("there is no invitation {id} that could still be taken up; list them with: enclos invitation list")]
    NoInvitation { id: InvitationId },
    #[error("that authority is there already for the same users ({fingerprint})")]
    AuthorityExists { fingerprint: String },
    #[error("there is no authority {named:?}; give its number or fingerprint from: enclos ca list")]
    NoAuthority { named: String },
    #[error("there are several authorities {named}; give the number of one from: enclos ca list")]
    SeveralAuthorities { named: String },
    #[error("the line's own principals= and --principal cannot both be kept; give one of the two")]
    TwoPrincipals,
    #[error("{from}-{to} are no serial numbers; give one, or a range such as 10-20, from 1 on")]
    NoSerials { from: u64, to: u64 },
    #[error("the certificate cannot be read")]
    NoCertificate,
    #[error("more than 1000 keys cannot be revoked at a time; make a list of them with ssh-keygen -k, and use --krl")]
    TooManyRevoked,
    #[error("there is no revocation {id}; list them with: enclos ca revoked")]
    NoRevocation { id: i64 },
    #[error(transparent)]
    Krl(#[from] BadKrl),
    #[error("{0}; give one of the two")]
    Contradiction(#[from] Contradiction),
    #[error(transparent)]
    Key(#[from] BadKey),
    #[error(transparent)]
    Hash(#[from] BadHash),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn did_you_mean(what: &str, nearest: Option<&str>) -> String {
    nearest.map_or_else(|| format!("; list them with: enclos {what} list"), |n| format!("; did you mean {n}?"))
}

/// Live sessions that a change takes the ground from under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Affected {
    /// None.
    Nobody,
    /// All of one user.
    User(UserName),
    /// Those of a user that logged in with this key.
    Key(UserName, String),
    /// Those of a user that logged in with a password.
    Password(UserName),
    /// All of an account.
    Account(AccountName),
    /// Those of a user that would not be let in as they are any more.
    UserAgain(UserName),
    /// Those of an account that would not.
    AccountAgain(AccountName),
    /// All that would not.
    EverybodyAgain,
}

/// What an operation comes to.
#[derive(Debug)]
pub(super) struct Done {
    /// For whoever asked.
    pub outcome: Outcome,
    /// For whoever has sessions to end.
    pub affected: Affected,
}

impl Done {
    fn quietly(outcome: Outcome) -> Done {
        Done { outcome, affected: Affected::Nobody }
    }

    fn said(sentence: String, affected: Affected) -> Done {
        Done { outcome: Outcome::Done(sentence), affected }
    }
}

pub(super) use invitations::{hash as invitation_hash, redeem};
pub(super) use own_keys::take_over as take_over_own_keys;

type Result<T> = std::result::Result<T, OperationError>;

/// Carries out one operation on the database of a node whose processes have `ids`. Those on sessions need a running node
/// and are done there.
pub(super) async fn apply(store: &Store, ids: Ids, operation: Operation) -> Result<Done> {
    let store = &store.about(operation.about());
    match operation {
        Operation::AccountAdd { name, uid, gid, home } => accounts::add(store, ids, name, (uid, gid), home).await,
        Operation::AccountList => Ok(Done::quietly(Outcome::Accounts(store.accounts().await?))),
        Operation::AccountShow { name } => accounts::show(store, &name).await,
        Operation::AccountSetStatus { name, status } => accounts::set_status(store, name, status).await,
        Operation::AccountSetTerms { name, change } => accounts::set_terms(store, name, change).await,
        Operation::AccountSetLimits { name, change } => accounts::set_limits(store, name, change).await,
        Operation::QuotaSet { name, .. } => accounts::note(store, &name).await,
        Operation::AccountRemove { name, with_users } => accounts::remove(store, name, with_users).await,
        Operation::UserAdd { name, account, services, view, uploads, forwards, programs, limits } => {
            let policies = users::Policies { uploads, forwards, programs, limits };
            users::add(store, name, account, services, view, policies).await
        }
        Operation::UserSetUploads { name, change } => users::set_uploads(store, name, change).await,
        Operation::UserSetForwards { name, change } => users::set_forwards(store, name, change).await,
        Operation::UserSetTerms { name, change } => users::set_terms(store, name, change).await,
        Operation::UserSetLimits { name, change } => users::set_limits(store, name, change).await,
        Operation::UserSetServices { name, services } => programs::set_services(store, name, services).await,
        Operation::UserSetPrograms { name, change } => programs::set(store, name, change).await,
        Operation::UserSetView { name, view } => users::set_view(store, name, view).await,
        Operation::UserList { account, after, most } => users::list(store, account, after, most).await,
        Operation::UserShow { name } => users::show(store, &name).await,
        Operation::UserSetStatus { name, status } => users::set_status(store, name, status).await,
        Operation::UserRemove { name } => users::remove(store, name).await,
        Operation::GrantAdd { user, path, mode, no_exec } => {
            grants::add(store, user, path, Rights { mode, no_exec }).await
        }
        Operation::GrantList { user } => grants::list(store, user).await,
        Operation::GrantRemove { user, path } => grants::remove(store, user, path).await,
        Operation::KeyAdd { user, text, change } => credentials::add_keys(store, user, &text, change).await,
        Operation::KeySet { user, key, change } => credentials::set_key(store, user, key, change).await,
        Operation::KeyList { user } => credentials::list_keys(store, user).await,
        Operation::KeyRemove { user, key } => credentials::remove_key(store, user, key).await,
        Operation::Passwd { user, password } => credentials::set_password(store, user, password).await,
        Operation::TotpEnrol { user } => authenticators::enrol(store, user).await,
        Operation::TotpRemove { user } => authenticators::remove(store, user).await,
        Operation::UserSetLogins { name, logins } => authenticators::set_logins(store, name, logins).await,
        Operation::UserSetPrincipals { name, principals } => authorities::set_principals(store, name, principals).await,
        Operation::CaAdd { holder, text, principals, change } => {
            authorities::add(store, holder, &text, &principals, change).await
        }
        Operation::UserSetOwnKeys { name, own_keys } => own_keys::set(store, name, own_keys).await,
        Operation::InviteAdd { user, ends, label, change } => invitations::add(store, user, ends, label, change).await,
        Operation::InviteList { user } => invitations::list(store, user).await,
        Operation::InviteWithdraw { id } => invitations::withdraw(store, id).await,
        Operation::CaList => authorities::list(store).await,
        Operation::CaRemove { authority } => authorities::remove(store, &authority).await,
        Operation::CaRevoke { what } => authorities::revoke(store, what).await,
        Operation::CaRevoked => authorities::revoked(store).await,
        Operation::CaUnrevoke { id } => authorities::unrevoke(store, id).await,
        Operation::BanAdd { who, ends, reason } => {
            bans::add(store, Ban { who, ends, reason, origin: BanOrigin::Operator }).await
        }
        Operation::BanList => bans::list(store).await,
        Operation::BanRemove { who } => bans::remove(store, who).await,
        Operation::PasswdHash { user, hash } => credentials::set_hash(store, user, hash).await,
        Operation::Explain(asked) => explaining::explain(store, *asked).await,
        Operation::Facts { user } => explaining::facts_of(store, &user).await,
        Operation::Status => Ok(Done::quietly(Outcome::Done("no node is running here".to_owned()))),
        Operation::Audit { query, page, most } => audit::search(store, &query, page, most).await,
        Operation::AuditSummary { query } => audit::summary(store, &query).await,
        Operation::SessionList | Operation::SessionKill { .. } => Err(OperationError::NotRunning),
    }
}

async fn account(store: &Store, name: &AccountName) -> Result<AccountFacts> {
    match store.account(name).await? {
        Some(found) => Ok(found),
        None => Err(no_account(store, name).await?),
    }
}

async fn no_account(store: &Store, name: &AccountName) -> Result<OperationError> {
    let names = store.accounts().await?.into_iter().map(|a| a.name.to_string());
    Ok(OperationError::NoAccount { name: name.clone(), nearest: nearest(name.as_str(), names) })
}

async fn user(store: &Store, name: &UserName) -> Result<(AccountFacts, UserFacts)> {
    match store.user(name.as_str()).await? {
        Some(found) => Ok(found),
        None => {
            let nearest = nearest(name.as_str(), store.user_names().await?);
            Err(OperationError::NoUser { name: name.clone(), nearest })
        }
    }
}

/// The name that looks most like this one, if one does.
fn nearest(name: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    let closeness = |other: &String| strsim::jaro_winkler(name, other);
    names.into_iter().filter(|n| closeness(n) > 0.8).max_by(|a, b| closeness(a).total_cmp(&closeness(b)))
}

async fn commit(change: super::store::Change) -> Result<()> {
    Ok(change.commit().await.map_err(StoreError::from)?)
}
