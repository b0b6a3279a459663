//! What our processes say to one another. Every message is one datagram of at most [`super::Link::LONGEST`] bytes.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Deeds, Note};
use crate::domain::{
    AccountName, AsOf, Ban, Banned, Block, Bounds, Certified, Claim, ClaimedName, Common, ConnId, Credential, Factors,
    Facts, ForEach, ForwardPolicy, Grant, HomePath, KeyBlob, KeyFile, LastLogin, Layout, Limits, MonitorId,
    ProgramPolicy, Seat, Services, Timestamp, UploadPolicy, UserName, Welcome,
};

/// From a session, the least trusted of our processes, to the monitor. The monitor holds the table of what may be
/// said in which phase.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromSession {
    /// Forked, and still our own code on nobody's behalf: the session's mount namespace comes with the message, for
    /// the monitor to attach grants in.
    Born,
    /// Confined, and waiting for a connection.
    Ready,
    /// What the PROXY header says that the connection began with. Answered by `Admitted`, or by the end of the session.
    Header(Heading),
    /// A client offers a key without proof (RFC 4252, 7): is it worth a signature? Answered by [`ToSession::Probed`].
    Probe {
        /// The name typed.
        user: ClaimedName,
        /// The key offered.
        key: KeyBlob,
    },
    /// A client shows something for a name. Answered by `Granted`, `Denied` or `Unavailable`.
    Claim(Claim),
    /// What stands in the user's own `authorized_keys`, which has changed. Answered by `OwnKeysSeen`.
    OwnKeys(KeyFile),
    /// The client asks for a program: the principal's shell cell is needed. Answered by `Cell` or `NoCell`.
    OpenCell,
    /// The connection is over and the process ends by itself: one that ends without this has crashed. Not answered.
    Left,
    /// The client did nothing for as long as it may: that is why the connection is over. Not answered.
    Idle,
    /// Something for the log and the audit trail. Not answered.
    Event(Event),
    /// What the client did, for the audit trail. Not answered.
    Did(Deeds),
}

impl FromSession {
    /// Whether an answer is waited for.
    pub fn is_question(&self) -> bool {
        matches!(
            self,
            FromSession::Header(_) | FromSession::Probe { .. } | FromSession::Claim(_) | FromSession::OpenCell
        )
    }
}

/// What a session reports. Values are bounded, and escaped where they are printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A channel began to serve SFTP.
    SftpOpened,
    /// A request for something that the user may not open, or that does not exist.
    Refused {
        /// What was asked for, as a fixed phrase of ours.
        what: String,
        /// Why not: what the client was told.
        why: String,
    },
    /// The peer broke a protocol rule and was disconnected.
    ProtocolError {
        /// Which rule, as a fixed phrase of ours.
        what: String,
    },
    /// Bytes moved over a finished SFTP channel.
    SftpClosed {
        /// Bytes that the client read from files.
        read: u64,
        /// Bytes that the client wrote to files.
        written: u64,
    },
    /// The session's code panicked; the process ends.
    Panicked {
        /// Source file and line.
        place: String,
    },
}

/// Whether a connection begins with a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeaderRule {
    /// It must.
    Required,
    /// It may.
    Optional,
}

/// What a PROXY header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heading {
    /// The client has this address.
    From(SocketAddr),
    /// The client is the one whose address the kernel sees.
    Own,
    /// It is missing or malformed.
    Bad {
        /// In which way, as a fixed phrase of ours.
        what: String,
    },
}

/// From the monitor to a session.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToSession {
    /// Serve this connection; the TCP socket comes with the message.
    Serve {
        /// Its number.
        conn: ConnId,
        /// The client's address.
        peer: SocketAddr,
        /// What the client is to be told before it logs in.
        notice: Option<Notice>,
        /// Whether a PROXY header comes first; `None` when one would be garbage.
        header: Option<HeaderRule>,
    },
    /// Answer to `Header`: the client may begin.
    Admitted,
    /// Answer to `Header`: it may not come in from there. The sentence is for it.
    TurnedAway {
        /// What to say before hanging up.
        sentence: String,
    },
    /// Answer to `Probe`.
    Probed {
        /// Whether a signature with this key would be looked at.
        worth: Worth,
    },
    /// The claim was believed, and its grants are attached beneath `/view`.
    Granted(Box<Granted>),
    /// The key is a user's from now on, and nothing is attached: the client reads this, and that is all.
    Invited {
        /// What is said.
        welcome: Box<Welcome>,
        /// The key, as `ssh-keygen -l` prints it.
        key: String,
    },
    /// It was not. The session is told no more than the client.
    Denied,
    /// It was right, and more is to be shown for the same name.
    More {
        /// Any of these may be the next.
        left: Factors,
    },
    /// The claim was believed, but there is nothing to serve; the sentence is for the client.
    Unavailable {
        /// What is wrong and what to do.
        sentence: String,
    },
    /// Control has looked at the user's own keys, or is away.
    OwnKeysSeen,
    /// The cell is there; a channel to its worker comes with the message.
    Cell,
    /// It cannot be had; the sentence is for the client.
    NoCell {
        /// What is wrong and what to do.
        sentence: String,
    },
    /// Disconnect and end.
    End(EndReason),
}

/// What an offered key is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Worth {
    /// Nothing.
    Nothing,
    /// A signature.
    Signature,
    /// A signature if it comes with a certificate, whoever the name is. An offer of a certificate looks like one of its key,
    /// so the two cannot be told apart before the signature is there.
    IfCertified,
}

/// What a session may serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Shown as owner in listings.
    pub user: UserName,
    /// Shown as group in listings.
    pub account: AccountName,
    /// Owner and group on disk, as which the client sees what is the account's.
    pub owner: (u32, u32),
    /// What the client may open.
    pub services: Services,
    /// The account's home; links that lead to a path in it are followed to where that path is seen.
    pub home: HomePath,
    /// What is attached beneath `/view`. The rights are enforced by the mounts; the session repeats them in Landlock and
    /// in its sentences.
    pub layout: Layout,
    /// How what the client uploads is written.
    pub uploads: UploadPolicy,
    /// What the client may forward, and in which network; the worker holds to it too.
    pub forwards: ForwardPolicy,
    /// How the client's programs are run.
    pub programs: ProgramPolicy,
    /// How long the client may rest, and how fast it is. For each bandwidth a page comes with the message that it shares with
    /// all sessions that are held to it together.
    pub bounds: Bounds,
    /// Whether the keys are taken that stand in the user's own `authorized_keys`.
    pub takes_own_keys: bool,
    /// When the user logged in before.
    pub last_login: Option<LastLogin>,
    /// Number of the filesystem whose files cover what is hidden.
    pub cover: Option<u64>,
}

/// What every client is told before it logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// The database has been away for so long that nobody is let in.
    NoLookups,
}

impl Notice {
    /// The sentence that the client reads in `SSH_MSG_USERAUTH_BANNER`.
    pub fn sentence(self) -> &'static str {
        match self {
            Notice::NoLookups => "the server cannot look up its users at the moment; try again later",
        }
    }
}

/// Why the monitor ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// The user, the account, a credential or a grant was withdrawn.
    Revoked,
    /// The node stops.
    Shutdown,
    /// An operator ended this one.
    Killed,
    /// Too much was guessed from there, or for that name.
    HeldBack,
    /// The client did not log in in time.
    TooSlow,
    /// An operator banned the address or the name.
    Banned,
    /// Its time is over.
    Over,
    /// Its client did nothing for as long as it may.
    Idle,
}

impl EndReason {
    /// The sentence that the client reads in `SSH_MSG_DISCONNECT`.
    pub fn sentence(self) -> &'static str {
        match self {
            EndReason::Revoked => "your access was withdrawn; ask the account's owner",
            EndReason::Shutdown => "the server is shutting down; try again later",
            EndReason::Over => "the time of this session is over; log in again if your time is not",
            EndReason::Idle => "nothing was sent for as long as this login may rest; log in again",
            EndReason::Killed => "this session was ended by an operator",
            EndReason::HeldBack => {
                "too many failed logins from your address or for this name; wait some minutes, or use a key"
            }
            EndReason::TooSlow => "logging in took too long; try again",
            EndReason::Banned => "your address or this name is banned here; ask the operator",
        }
    }
}

/// From the monitor to a zygote.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToZygote {
    /// Fork a session with this user id; its end of the monitor's channel comes with the message.
    Birth {
        /// Chosen by the monitor, comes back with the answer.
        slot: u32,
        /// Which session in that slot; comes back too.
        generation: u32,
        /// User and group id of the session.
        uid: u32,
    },
}

/// From a zygote to the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromZygote {
    /// Prepared, and waiting for births.
    Ready,
    /// Answer to `Birth`; a descriptor of the process (pidfd) comes with the message.
    Born {
        /// As asked.
        slot: u32,
        /// As asked.
        generation: u32,
        /// Process id as the monitor sees it.
        pid: u32,
    },
    /// The fork failed.
    Stillborn {
        /// As asked.
        slot: u32,
        /// As asked.
        generation: u32,
        /// The system's error number.
        errno: i32,
    },
}

/// What the monitor asks control.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Question {
    /// Facts about a key that was only offered.
    Probe {
        /// The name typed.
        user: ClaimedName,
        /// The key offered.
        key: KeyBlob,
    },
    /// Facts for a claim, with a verdict on its secret.
    Claim(Claim),
    /// Give an invitation to a key. Answered by [`FromControl::Redeemed`].
    Redeem {
        /// The name typed.
        user: ClaimedName,
        /// The key that signed.
        key: KeyBlob,
    },
    /// A seat for a session among those of all nodes. Answered by [`FromControl::Seated`], and given back by
    /// [`ToControl::Closed`].
    Seat {
        /// The session's connection.
        conn: ConnId,
        /// Whose it is.
        seat: Seat,
        /// How many the limits leave for other nodes: those of this one are counted already.
        left: ForEach<Option<u32>>,
    },
}

/// From the monitor to control.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToControl {
    /// Asks for facts. Answered by [`FromControl::Answer`] with the same ticket.
    Ask {
        /// Number of the question.
        ticket: u64,
        /// What is asked.
        question: Question,
        /// The address that the client comes from.
        from: IpAddr,
    },
    /// A session began; also repeated for all live sessions when control was restarted.
    Opened(Box<SessionRecord>),
    /// What stands in the own `authorized_keys` of the user of a session. Answered by [`FromControl::OwnKeysSeen`].
    OwnKeys {
        /// Which session.
        conn: ConnId,
        /// What stands there.
        file: KeyFile,
    },
    /// The connection of a session is gone, and its programs go on.
    Lingers {
        /// Which.
        conn: ConnId,
        /// Until when at most.
        until: Timestamp,
    },
    /// A session ended, and with it what lingered of it.
    Closed {
        /// Which.
        conn: ConnId,
    },
    /// A source is penalised here, which other nodes and operators are to know.
    Penalised {
        /// Which.
        source: Block,
        /// For how long.
        seconds: u64,
        /// For what.
        reason: String,
    },
    /// The service is left to another process, and to its control.
    Leaving {
        /// Process id of the monitor that finishes what it has begun; operators find its control by that.
        pid: u32,
    },
    /// Something for the audit trail.
    Note(Box<Note>),
    /// The node stops, and says nothing more: write down what is not written yet, and end.
    Finish,
}

/// What a control is for, and so where operators find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Office {
    /// The node's.
    Service,
    /// That of a monitor that has left the service and finishes what it has begun.
    Leaving {
        /// Process id of the monitor.
        pid: u32,
    },
}

/// What a control is told when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Post {
    /// What it is for.
    pub office: Office,
    /// Whose it is.
    pub monitor: MonitorId,
}

/// A live session, as `session list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its connection.
    pub conn: ConnId,
    /// Its account.
    pub account: AccountName,
    /// Its user.
    pub user: UserName,
    /// What was attached.
    pub grants: Vec<Grant>,
    /// What may be opened.
    pub services: Services,
    /// How what it uploads is written.
    pub uploads: UploadPolicy,
    /// What it may forward, and in which network.
    pub forwards: ForwardPolicy,
    /// How its programs are run.
    pub programs: ProgramPolicy,
    /// What they may take, and what those of its account may together.
    pub limits: (Limits, Limits),
    /// How long it may rest, and how fast it is.
    pub bounds: Bounds,
    /// The client's address.
    pub peer: SocketAddr,
    /// All that was shown.
    pub shown: Factors,
    /// The proven key as it was shown; `None` for a password.
    pub credential: Option<Credential>,
    /// Its certificate, for people.
    pub certified: Option<Certified>,
    /// Whether the keys are taken that stand in the user's own `authorized_keys`.
    pub takes_own_keys: bool,
    /// Its fingerprint.
    pub fingerprint: Option<String>,
    /// Process id on the node.
    pub pid: u32,
    /// User id of the process.
    pub uid: u32,
    /// When it was granted.
    pub since: Timestamp,
    /// When it ends, if nothing is changed.
    pub until: Option<Timestamp>,
    /// Whether it has a seat, because there may be only so many like it.
    pub is_seated: bool,
    /// When the facts that granted it were so.
    pub as_of: AsOf,
}

/// From control to the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromControl {
    /// The database is open; questions are welcome.
    Ready,
    /// Answer to `Ask`.
    Answer {
        /// Number of the question.
        ticket: u64,
        /// What is known; `None` for an unknown user.
        facts: Option<Box<Facts>>,
        /// Whether certificates are taken at all, of anybody for anybody.
        takes_certificates: bool,
    },
    /// Answer to `Ask` for an invitation to be given.
    Redeemed {
        /// Number of the question.
        ticket: u64,
        /// The key that has it, as `ssh-keygen -l` prints it; `None` when it was not to be had any more.
        key: Option<String>,
    },
    /// Answer to `Ask` for a seat.
    Seated {
        /// As asked.
        ticket: u64,
        /// What the sessions of other nodes have in common with it that are as many as there may be; `None` when it has one.
        full: Option<Common>,
    },
    /// The database cannot be asked at the moment: the claim can be neither believed nor denied.
    Unable {
        /// Number of the question.
        ticket: u64,
    },
    /// Answer to `OwnKeys`.
    OwnKeysSeen {
        /// Of which session.
        conn: ConnId,
    },
    /// Tell clients this, or nothing, from now on.
    Notice(Option<Notice>),
    /// All bans follow, in place of those that were told before.
    BansBegin {
        /// Tells these from others that are told at the same time; of two the higher counts.
        round: u64,
    },
    /// Some of them.
    Bans {
        /// As at the beginning.
        round: u64,
        /// These.
        bans: Vec<Ban>,
    },
    /// These were all.
    BansEnd {
        /// As at the beginning.
        round: u64,
    },
    /// An operator lifted a ban or a penalty: what is outstanding for them is forgiven.
    Forgive(Banned),
    /// End these sessions.
    End {
        /// Which.
        conns: Vec<ConnId>,
        /// Why.
        reason: EndReason,
    },
}
