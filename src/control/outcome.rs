//! What an operation comes to, as data: the command line makes tables of it, and `--json` prints it as it is.

use serde::{Deserialize, Serialize};

use crate::authority::Explanation;
use crate::domain::{
    AccountName, AuthorityId, Ban, Certified, Facts, ForwardPolicy, HomePath, InvitationId, KeyId, Limits, Logins,
    Mode, OwnKeys, Principals, ProgramPolicy, RelPath, Scope, Services, Status, Terms, Timestamp, UploadPolicy,
    UserName, View,
};

/// The result of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "kebab-case")]
pub enum Outcome {
    /// Done; the sentence says what.
    Done(String),
    /// One account.
    Account(AccountView),
    /// Several.
    Accounts(Vec<AccountView>),
    /// One user.
    User(UserView),
    /// Several.
    Users(Vec<UserView>),
    /// A grant that was made.
    Grant(GrantView),
    /// Several.
    Grants(Vec<GrantView>),
    /// A key that was added.
    Key(KeyView),
    /// Several.
    Keys(Vec<KeyView>),
    /// An invitation that was made.
    Invitation(InvitationView),
    /// Several.
    Invitations(Vec<InvitationView>),
    /// An authority that was added.
    Authority(AuthorityView),
    /// Several.
    Authorities(Vec<AuthorityView>),
    /// What is not believed any more.
    Revocations(Vec<RevocationView>),
    /// An authenticator that was added.
    Authenticator(AuthenticatorView),
    /// What a login comes to.
    Explanation(Box<ExplanationView>),
    /// What an import did.
    Import(super::transfer::ImportView),
    /// Bans.
    Bans(Vec<Ban>),
    /// Live sessions.
    Sessions(Vec<SessionView>),
    /// What is known of a user.
    Facts(Box<Facts>),
    /// Events of the audit trail.
    Events(Vec<EventView>),
    /// What was changed, by path.
    Changes(Vec<ChangedPath>),
}

/// An event of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// Its number in the database.
    pub id: i64,
    /// As docs/audit.md has it.
    pub event: serde_json::Value,
}

/// What was done to a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedPath {
    /// The path; with `/...` behind it all that lies in it.
    pub path: String,
    /// By whom.
    pub users: std::collections::BTreeSet<String>,
    /// How many times it was made.
    pub created: u64,
    /// How many times it was written.
    pub written: u64,
    /// How many bytes in all.
    pub bytes: u64,
    /// How many times it was renamed, or something to it.
    pub renamed: u64,
    /// How many times its permissions or its size were changed.
    pub altered: u64,
    /// How many times it was removed.
    pub removed: u64,
    /// When it was changed first.
    pub first: String,
    /// When it was changed last.
    pub last: String,
}

impl ChangedPath {
    /// Nothing yet.
    pub(super) fn at(path: &str, time: &str, user: &str) -> ChangedPath {
        ChangedPath {
            path: path.to_owned(),
            users: [user.to_owned()].into(),
            created: 0,
            written: 0,
            bytes: 0,
            renamed: 0,
            altered: 0,
            removed: 0,
            first: time.to_owned(),
            last: time.to_owned(),
        }
    }

    /// The same with more.
    pub(super) fn and(&mut self, other: ChangedPath) {
        self.users.extend(other.users);
        self.created += other.created;
        self.written += other.written;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.renamed += other.renamed;
        self.altered += other.altered;
        self.removed += other.removed;
        self.first = std::mem::take(&mut self.first).min(other.first);
        self.last = std::mem::take(&mut self.last).max(other.last);
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Its name.
    pub name: AccountName,
    /// Owner of its files.
    pub uid: u32,
    /// Group of its files.
    pub gid: u32,
    /// Its tree.
    pub home: HomePath,
    /// Whether its users may log in.
    pub status: Status,
    /// When and from where.
    pub terms: Terms,
    /// What the programs of all its users may take together.
    pub limits: Limits,
    /// How many users it has.
    pub users: u32,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserView {
    /// Its login name.
    pub name: UserName,
    /// Its account.
    pub account: AccountName,
    /// What it may open.
    pub services: Services,
    /// Whether it may log in.
    pub status: Status,
    /// When and from where.
    pub terms: Terms,
    /// How it sees what it may reach.
    pub view: View,
    /// How what it uploads is written.
    pub uploads: UploadPolicy,
    /// What it may forward, and in which network.
    pub forwards: ForwardPolicy,
    /// How its programs are run.
    pub programs: ProgramPolicy,
    /// What they may take.
    pub limits: Limits,
    /// What it may reach.
    pub grants: Vec<GrantView>,
    /// How many keys it has.
    pub keys: u32,
    /// Whether it has a password.
    pub password: bool,
    /// Whether it has an authenticator.
    pub totp: bool,
    /// What it has to show together; empty for as usual.
    pub logins: Logins,
    /// Names of which a certificate has to say one; empty for its own.
    pub principals: Principals,
    /// Whether the keys are taken that it puts into its own `authorized_keys`.
    pub own_keys: OwnKeys,
}

/// A new authenticator. Shown once: nobody can read it back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthenticatorView {
    /// Whose.
    pub user: UserName,
    /// For typing into an app.
    pub secret: String,
    /// What a QR code of it holds.
    pub uri: String,
    /// Each good for one login without the app.
    pub recovery_codes: Vec<String>,
}

impl std::fmt::Debug for AuthenticatorView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuthenticatorView({})", self.user)
    }
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// Whose.
    pub user: UserName,
    /// Of which account.
    pub account: AccountName,
    /// Below the account's home.
    pub path: RelPath,
    /// Its rights.
    pub mode: Mode,
    /// Whether programs there may not be run.
    pub no_exec: bool,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Its number, by which it can be removed.
    pub id: KeyId,
    /// Whose.
    pub user: UserName,
    /// As `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// `ssh-ed25519`, `ssh-rsa`, ...
    pub algorithm: String,
    /// The comment it came with.
    pub label: String,
    /// Where it comes from.
    pub origin: KeyOrigin,
    /// What it may do of what its user may.
    pub scope: Scope,
    /// When and from where it may be used.
    pub terms: Terms,
}

/// What a login comes to, and what it could do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplanationView {
    /// Whose.
    pub user: UserName,
    /// What is shown at it.
    pub shown: Vec<String>,
    /// From where it comes.
    pub from: std::net::IpAddr,
    /// When, in seconds since 1970.
    pub at: Timestamp,
    /// The decisions, each with its rule.
    #[serde(flatten)]
    pub decided: Explanation,
}

/// Where a key of a user comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyOrigin {
    /// Somebody added it with `enclos key add`.
    Operator,
    /// An invitation was taken up with it.
    Invite,
    /// The user put it into its own `authorized_keys`.
    Own,
}

impl KeyOrigin {
    /// As written in JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyOrigin::Operator => "operator",
            KeyOrigin::Invite => "invite",
            KeyOrigin::Own => "own",
        }
    }
}

impl std::str::FromStr for KeyOrigin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [KeyOrigin::Operator, KeyOrigin::Invite, KeyOrigin::Own].into_iter().find(|o| o.as_str() == text).ok_or(())
    }
}

/// An invitation. Its name is shown once: nobody can read it back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationView {
    /// Its number, by which it can be withdrawn.
    pub id: InvitationId,
    /// Whose login it is for.
    pub user: UserName,
    /// What the key will be labelled.
    pub label: String,
    /// Until when it can be taken up.
    pub ends: Timestamp,
    /// The name to log in with, once.
    pub login: Option<String>,
    /// When somebody took it up.
    pub redeemed: Option<Timestamp>,
    /// With which key.
    pub fingerprint: Option<String>,
    /// What the key may do of what its user may.
    pub scope: Scope,
    /// When and from where it may be used.
    pub terms: Terms,
}

impl std::fmt::Debug for InvitationView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InvitationView({} for {})", self.id, self.user)
    }
}

/// An authority whose certificates are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityView {
    /// Its number, by which it can be removed.
    pub id: AuthorityId,
    /// The account for whose users it speaks, if it is one account's.
    pub account: Option<AccountName>,
    /// The user for whom it speaks, if it is one user's.
    pub user: Option<UserName>,
    /// As `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// `ssh-ed25519`, `ssh-rsa`, ...
    pub algorithm: String,
    /// The comment it came with.
    pub label: String,
    /// Names of which a certificate has to say one; empty for the user's own.
    pub principals: Principals,
    /// What its certificates may do of what their user may.
    pub scope: Scope,
    /// When and from where they may be used.
    pub terms: Terms,
}

/// Something that is not believed any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationView {
    /// Its number, by which it can be taken back.
    pub id: i64,
    /// What.
    #[serde(flatten)]
    pub what: Revoked,
}

/// A key, for itself, as an authority's, and in certificates; or certificates of an authority, without one of any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "names are those of the list")]
pub enum Revoked {
    Key { fingerprint: String },
    KeySha1 { digest: String },
    KeyId { authority: Option<String>, key_id: String },
    Serials { authority: Option<String>, from: u64, to: u64 },
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Number of its connection.
    pub conn: u64,
    /// Its user.
    pub user: UserName,
    /// Its account.
    pub account: AccountName,
    /// The client's address and port.
    pub peer: String,
    /// Fingerprint of the key it logged in with; absent for a password.
    pub fingerprint: Option<String>,
    /// The certificate of that key, if it showed one.
    pub certificate: Option<Certified>,
    /// Its process.
    pub pid: u32,
    /// User id of its process.
    pub uid: u32,
    /// When it logged in, in seconds since 1970.
    pub since: i64,
    /// When its programs end, in seconds since 1970, if the connection is gone and they were let go on.
    pub lingers_until: Option<i64>,
}
