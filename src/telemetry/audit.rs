//! The audit trail: every event as a type, and how it is written as JSON. `docs/audit.md` is made from [`KINDS`].
//!
//! Runs in: control, which writes it. Trusts nobody: text of peers is [`Escaped`], and no type here can hold a secret.

use std::sync::Arc;

use serde::Serialize;

use crate::domain::{AccountName, Escaped, Started, UserName};

mod kinds;
mod moment;

pub use kinds::{Field, KINDS, Kind, document};
pub use moment::Moment;

/// The version of the schema. It is raised when a field changes its meaning or goes; new kinds and new fields may come
/// without.
pub const VERSION: u32 = 1;

/// Where and for whom something happened; the same for all that happens on one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Who {
    /// The node's name.
    pub node: String,
    /// The connection, unique over all nodes and restarts; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The account, once somebody is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The user, once somebody is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// The address and port of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What was shown to be let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// The user id on the node of the operator who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<u32>,
}

/// What somebody was let in by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Credential {
    /// `publickey`, `password`, `publickey+totp`, ...
    pub method: String,
    /// The key's fingerprint, as `ssh-keygen -l` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The comment that the key came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Escaped>,
}

/// What happened. Each variant is a kind of [`KINDS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
#[expect(missing_docs, reason = "KINDS documents every kind and field, and a test holds it to this")]
pub enum Event {
    NodeStarted,
    NodeStopped,
    Login,
    LoginRefused {
        name: Escaped,
        method: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        fingerprint: Option<String>,
        why: String,
    },
    SessionEnded {
        seconds: u64,
        why: String,
    },
    SessionBroken {
        what: Escaped,
    },
    Refused {
        what: Escaped,
        why: Escaped,
    },
    ProtocolError {
        what: Escaped,
    },
    SftpOpened,
    SftpClosed {
        read: u64,
        written: u64,
    },
    ProgramStarted {
        number: u32,
        program: Started,
        command: Escaped,
        terminal: bool,
    },
    ProgramEnded {
        number: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<Escaped>,
    },
    ForwardOpened {
        to: Escaped,
    },
    ForwardListening {
        on: Escaped,
    },
    ForwardAccepted {
        on: Escaped,
        from: Escaped,
    },
    FileWritten {
        path: Escaped,
        bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        created: Option<bool>,
        closed: bool,
    },
    FileCopied {
        path: Escaped,
        from: Escaped,
    },
    FileRenamed {
        path: Escaped,
        to: Escaped,
    },
    FileRemoved {
        path: Escaped,
    },
    DirectoryCreated {
        path: Escaped,
    },
    DirectoryRemoved {
        path: Escaped,
    },
    ModeChanged {
        path: Escaped,
        mode: String,
    },
    FileResized {
        path: Escaped,
        size: u64,
    },
    LinkCreated {
        path: Escaped,
        target: Escaped,
    },
    NameAdded {
        path: Escaped,
        of: Escaped,
    },
    PolicyChanged {
        operation: String,
        detail: serde_json::Value,
    },
    Lost {
        count: u64,
    },
}

impl Event {
    /// Its name, as in `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::NodeStarted => "node-started",
            Event::NodeStopped => "node-stopped",
            Event::Login => "login",
            Event::LoginRefused { .. } => "login-refused",
            Event::SessionEnded { .. } => "session-ended",
            Event::SessionBroken { .. } => "session-broken",
            Event::Refused { .. } => "refused",
            Event::ProtocolError { .. } => "protocol-error",
            Event::SftpOpened => "sftp-opened",
            Event::SftpClosed { .. } => "sftp-closed",
            Event::ProgramStarted { .. } => "program-started",
            Event::ProgramEnded { .. } => "program-ended",
            Event::ForwardOpened { .. } => "forward-opened",
            Event::ForwardListening { .. } => "forward-listening",
            Event::ForwardAccepted { .. } => "forward-accepted",
            Event::FileWritten { .. } => "file-written",
            Event::FileCopied { .. } => "file-copied",
            Event::FileRenamed { .. } => "file-renamed",
            Event::FileRemoved { .. } => "file-removed",
            Event::DirectoryCreated { .. } => "directory-created",
            Event::DirectoryRemoved { .. } => "directory-removed",
            Event::ModeChanged { .. } => "mode-changed",
            Event::FileResized { .. } => "file-resized",
            Event::LinkCreated { .. } => "link-created",
            Event::NameAdded { .. } => "name-added",
            Event::PolicyChanged { .. } => "policy-changed",
            Event::Lost { .. } => "lost",
        }
    }

    /// The path that it is about, and the other one that it names.
    pub fn paths(&self) -> (Option<&Escaped>, Option<&Escaped>) {
        match self {
            Event::FileWritten { path, .. }
            | Event::FileRemoved { path }
            | Event::DirectoryCreated { path }
            | Event::DirectoryRemoved { path }
            | Event::ModeChanged { path, .. }
            | Event::FileResized { path, .. }
            | Event::LinkCreated { path, .. } => (Some(path), None),
            Event::FileCopied { path, from: other }
            | Event::FileRenamed { path, to: other }
            | Event::NameAdded { path, of: other } => (Some(path), Some(other)),
            _ => (None, None),
        }
    }
}

/// Who, with its JSON made once: it is most of each line.
#[derive(Debug)]
pub struct Head {
    /// Where and for whom.
    pub who: Who,
    json: String,
}

impl Head {
    /// For all records of one connection.
    pub fn new(who: Who) -> Arc<Head> {
        let json = object(&who);
        Arc::new(Head { who, json })
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Record {
    /// When.
    pub at: Moment,
    /// Where and for whom.
    pub head: Arc<Head>,
    /// What.
    pub event: Event,
}

impl Record {
    /// The record as one line of JSON, without the end of the line.
    pub fn line(&self) -> String {
        let (head, event) = (&self.head.json, object(&self.event));
        let mut line = String::with_capacity(head.len() + event.len() + 64);
        line.push_str(&format!("{{\"version\":{VERSION},\"time\":\"{}\"", self.at));
        for part in [head, &event] {
            let inside = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')).unwrap_or_default();
            if !inside.is_empty() {
                line.push(',');
                line.push_str(inside);
            }
        }
        line.push('}');
        line
    }

    /// About how much memory it takes.
    pub fn weight(&self) -> usize {
        let length = |text: Option<&Escaped>| text.map_or(0, |text| text.as_str().len());
        let (path, other) = self.event.paths();
        let more = match &self.event {
            Event::ProgramStarted { command, .. } => command.as_str().len(),
            Event::Refused { what, why } => what.as_str().len() + why.as_str().len(),
            Event::PolicyChanged { detail, .. } => 2 * detail.to_string().len(),
            _ => 0,
        };
        256 + length(path) + length(other) + more
    }
}

/// What is made of texts and numbers has a JSON form; were one not to have it, nothing of it would be told.
fn object(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

#[cfg(test)]
mod tests;
