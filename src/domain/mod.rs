//! The nouns of Enclos: account, user, grant, claim, facts.
//!
//! Owns: plain values that were checked once, when they were made. No I/O, no clock, no other room of ours.
//! Runs in: every process. Trusts: nobody; a constructor that takes bytes from outside says what it refuses.

#[macro_use]
mod by_text;

mod attempt;
mod audit;
mod ban;
mod bind;
mod block;
mod byte_count;
mod certificate;
mod claim;
mod direct;
mod duration;
mod factor;
mod facts;
mod forward;
mod grant;
mod hours;
mod invitation;
mod key_line;
mod layer;
mod limits;
mod name;
mod name_pattern;
mod own_keys;
mod path;
mod programs;
mod scope;
mod seat;
mod service;
mod session_limits;
mod sources;
mod upload;
mod variables;
mod view;

pub use attempt::Attempt;
pub use audit::{Deed, Escaped, Finish, PeerText, Started};
pub use ban::{Ban, BanOrigin, Banned};
pub use bind::{BadBind, Bind};
pub use block::Block;
pub use byte_count::{BadByteCount, ByteCount};
pub use certificate::{
    AuthorityFacts, BadPrincipals, CertificateFacts, CertificateKind, Certified, Credential, CriticalOption,
    Extensions, Flaw, Principals,
};
pub use claim::{CertificateBlob, Claim, ClaimedName, KeyBlob, Proof, Secret, TooLong};
pub use direct::{DIRECT, DirectCommand, NotDirect};
pub use duration::seconds;
pub use factor::{BadLogins, Factor, Factors, Logins};
pub use facts::{
    AccountFacts, AccountId, AsOf, AuthorityId, Facts, GrantId, InvitationId, KeyFacts, KeyId, Shown, Status,
    UserFacts, UserId,
};
pub use forward::{BadPermits, ForwardChange, ForwardPolicy, Network, Permits, UnknownNetwork};
pub use grant::{Grant, Mode, UnknownMode, deciding, narrows};
pub use hours::{BadHours, Hours, Opening};
pub use invitation::{INVITE, InvitationFacts, InviteCode, Welcome};
pub use key_line::{BadLine, KeyLine, KeyOption};
pub use layer::{Layer, LayerReport, UnknownLayer};
pub use limits::{BadLimit, Cpu, LimitChange, Limits, Memory, Processes, QuotaChange};
pub use name::{AccountName, BadName, UserName};
pub use name_pattern::{BadPattern, NamePattern, NamePatterns};
pub use own_keys::{KeyFile, OwnKeys, UnknownOwnKeys};
pub use path::{BadPath, HomePath, RelPath};
pub use programs::{
    BadProgram, ForcedCommand, LastLogin, Linger, ProgramChange, ProgramPolicy, Shell, Terminals, UnknownTerminals,
};
pub use scope::{BadScope, Contradiction, KeyChange, Scope, ScopePaths, Terms, TermsChange};
pub use seat::{Common, ForEach, MonitorId, Seat};
pub use service::{Service, Services, UnknownService};
pub use session_limits::{BadSessionLimits, Bounds, SessionLimits, narrowest};
pub use sources::{BadSource, Sources};
pub use upload::{
    BadMode, DirectoryMode, FileMode, Setting, UNFINISHED, Umask, UnknownUploads, UploadChange, UploadPolicy, Uploads,
    is_unfinished,
};
pub use variables::{BadVariablePattern, VariablePattern, is_harmless};
pub use view::{Layout, Placed, UnknownView, Unplaced, View};

/// Number of one connection on one node since its monitor started; it joins the log lines of all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ConnId(pub u64);

impl std::fmt::Display for ConnId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Seconds since 1970-01-01T00:00:00Z, handed in by whoever owns a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Timestamp(pub i64);
