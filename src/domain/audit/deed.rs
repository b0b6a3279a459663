//! What a client does once it is in, as its session reports it. A session may be captured: what it says here is about its
//! own client and nobody else, and whose it is says the monitor.

use serde::{Deserialize, Serialize};

use super::PeerText;

/// One thing that a client did. Paths are those of the host, as the client said them: `..` and links in them stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// A file that was made, cut or written to was closed.
    Wrote {
        /// Its path when it was opened.
        path: PeerText,
        /// How many bytes were written to it.
        bytes: u64,
        /// Whether it was made by that; `None` where the filesystem does not tell.
        made: Option<bool>,
        /// Whether the client closed it, rather than went away.
        closed: bool,
    },
    /// A file was copied on the server.
    Copied {
        /// From where.
        from: PeerText,
        /// To where.
        path: PeerText,
    },
    /// A file or directory got another name; what had that name before is gone.
    Renamed {
        /// The old name.
        path: PeerText,
        /// The new name.
        to: PeerText,
    },
    /// A file or link was removed.
    Removed {
        /// Its path.
        path: PeerText,
    },
    /// A directory was made.
    MadeDirectory {
        /// Its path.
        path: PeerText,
    },
    /// An empty directory was removed.
    RemovedDirectory {
        /// Its path.
        path: PeerText,
    },
    /// Permissions were changed.
    ChangedMode {
        /// Of what.
        path: PeerText,
        /// What the client asked for.
        mode: u32,
    },
    /// A file was cut or grown by name.
    Resized {
        /// Its path.
        path: PeerText,
        /// Its size now.
        size: u64,
    },
    /// A symbolic link was made.
    MadeLink {
        /// Its path.
        path: PeerText,
        /// What it says.
        target: PeerText,
    },
    /// A file got one more name.
    MadeName {
        /// The new name.
        path: PeerText,
        /// One that it had.
        of: PeerText,
    },
    /// A program was started.
    Started {
        /// Number of the program on its connection.
        number: u32,
        /// What was asked for.
        what: Started,
        /// The command line; empty for a shell.
        command: PeerText,
        /// Whether it has a terminal.
        terminal: bool,
    },
    /// A program ended.
    Ended {
        /// As it was started.
        number: u32,
        /// How.
        how: Finish,
    },
    /// A connection was made for the client.
    Connected {
        /// Host and port, or the path of a socket.
        to: PeerText,
    },
    /// A port or socket is listened on for the client.
    Listening {
        /// Address and port, or the path of a socket, or `agent`.
        on: PeerText,
    },
    /// Somebody connected to what is listened on, and the client took it.
    Accepted {
        /// As in `Listening`.
        on: PeerText,
        /// From where; empty for a socket.
        from: PeerText,
    },
}

/// What kind of program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Started {
    /// A login shell.
    Shell,
    /// A command, by the shell.
    Command,
    /// One of the programs of `rsync`, `git` and `scp`, without a shell.
    Direct,
    /// The user's forced command.
    Forced,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// By itself, with this status.
    Exit(u8),
    /// By a signal.
    Signal(PeerText),
}

impl Deed {
    /// About how many bytes it takes in a message.
    pub fn weight(&self) -> usize {
        let length = |text: &PeerText| text.as_unchecked_bytes().len() + 2;
        let texts = match self {
            Deed::Wrote { path, .. }
            | Deed::Removed { path }
            | Deed::MadeDirectory { path }
            | Deed::RemovedDirectory { path }
            | Deed::ChangedMode { path, .. }
            | Deed::Resized { path, .. } => length(path),
            Deed::Copied { from: one, path: other }
            | Deed::Renamed { path: one, to: other }
            | Deed::MadeLink { path: one, target: other }
            | Deed::MadeName { path: one, of: other }
            | Deed::Accepted { on: one, from: other } => length(one) + length(other),
            Deed::Started { command, .. } => length(command),
            Deed::Ended { how: Finish::Signal(name), .. } => length(name),
            Deed::Ended { .. } => 0,
            Deed::Connected { to } => length(to),
            Deed::Listening { on } => length(on),
        };
        texts + 24
    }
}
