//! What the control database knows that bears on one claim. Facts are not decisions: `authority` makes those.

use serde::{Deserialize, Serialize};

use super::{
    AccountName, CertificateFacts, Certified, Flaw, ForwardPolicy, Grant, HomePath, InvitationFacts, LastLogin, Limits,
    Logins, OwnKeys, Principals, ProgramPolicy, Scope, Services, Terms, UploadPolicy, UserName, View,
};

macro_rules! id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub i64);

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id! {
    /// Row of an account.
    AccountId
}
id! {
    /// Row of a user.
    UserId
}
id! {
    /// Row of a grant.
    GrantId
}
id! {
    /// Row of a public key.
    KeyId
}
id! {
    /// Row of an authority.
    AuthorityId
}
id! {
    /// Row of an invitation.
    InvitationId
}

/// Whether an account or a user may be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// May log in.
    Active,
    /// May not, until enabled again.
    Disabled,
}

impl Status {
    /// As written in JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Disabled => "disabled",
        }
    }
}

/// The account that a user belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountFacts {
    /// Its row.
    pub id: AccountId,
    /// Its name.
    pub name: AccountName,
    /// Owner of every file on disk.
    pub uid: u32,
    /// Group of every file on disk.
    pub gid: u32,
    /// The tree that grants lie in.
    pub home: HomePath,
    /// Whether anybody may log in.
    pub status: Status,
    /// When and from where.
    pub terms: Terms,
    /// What the programs of all its users may take together.
    pub limits: Limits,
}

/// The user named by a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserFacts {
    /// Its row.
    pub id: UserId,
    /// Its login name.
    pub name: UserName,
    /// Whether it may log in.
    pub status: Status,
    /// When and from where.
    pub terms: Terms,
    /// What it may open.
    pub services: Services,
    /// How it sees what it was granted, if that was said.
    pub view: Option<View>,
    /// How what it uploads is written.
    pub uploads: UploadPolicy,
    /// What it may forward, and in which network.
    pub forwards: ForwardPolicy,
    /// What has to be shown together.
    pub logins: Logins,
    /// Names of which a certificate has to say one, in place of its own.
    pub principals: Principals,
    /// Whether it has an authenticator.
    pub has_authenticator: bool,
    /// Whether the keys are taken that it puts into its own `authorized_keys`.
    pub own_keys: OwnKeys,
    /// How its programs are run.
    pub programs: ProgramPolicy,
    /// What its programs may take.
    pub limits: Limits,
    /// When it logged in before, if it has a shell.
    pub last_login: Option<LastLogin>,
}

impl UserFacts {
    /// How it sees what it was granted. Unless told otherwise, a user who can run programs sees the paths of the host,
    /// as those programs do.
    pub fn view(&self) -> View {
        self.view.unwrap_or(if self.services.run_programs() { View::Host } else { View::Rooted })
    }
}

/// A key of the user that is the one claimed, or one that a certificate vouches for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    /// `SHA256:` and base64, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The comment it was added with.
    pub label: String,
    /// What it may do of what the user may.
    pub scope: Scope,
    /// When and from where it may be used.
    pub terms: Terms,
    /// What a home of its own is named after, when it may do less than its user.
    pub home: String,
    /// The certificate that vouches for it, if one does.
    pub certified: Option<Certified>,
}

/// What the database makes of the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    /// This key is the user's, and here it is.
    Key(Box<KeyFacts>),
    /// The user has no such key.
    UnknownKey,
    /// It is an invitation that was named, and these are facts about the user whom it is for.
    Invitation(Box<InvitationFacts>),
    /// The key was revoked, for everybody.
    RevokedKey,
    /// An authority that is trusted with this user has signed this certificate.
    Certificate(Box<CertificateFacts>),
    /// No authority that is trusted with this user has signed it.
    UnknownAuthority,
    /// The certificate is worth nothing.
    Flawed(Flaw),
    /// The password is the user's.
    RightPassword,
    /// It is not, or the user has none.
    WrongPassword,
    /// The code is one of the user's authenticator, and was not taken before.
    RightCode,
    /// It is not.
    WrongCode,
}

/// Everything known that bears on one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The account.
    pub account: AccountFacts,
    /// The user.
    pub user: UserFacts,
    /// The user's grants, in the order in which they were given.
    pub grants: Vec<Grant>,
    /// What the proof is worth.
    pub shown: Shown,
    /// Whether a code was shown of late, with the same key or password from the same address.
    pub code_waived: bool,
    /// When this was so.
    pub as_of: AsOf,
}

/// A moment in the history of the database as one run of control counts it: which run, and how many times it had
/// withdrawn something; and as all nodes count it. Two equal ones have nothing withdrawn between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsOf {
    /// Drawn at random when control starts.
    pub run: u64,
    /// Counted from 0.
    pub withdrawals: u64,
    /// The number of the latest change to the database.
    pub change: i64,
}

impl Facts {
    /// Most grants that one user may have.
    pub const MOST_GRANTS: usize = 64;

    /// Most bytes that the paths of one user's grants may have together: all facts travel in one message of 64 KiB.
    pub const MOST_PATH_BYTES: usize = 32 * 1024;
}
