//! What a session and the worker of a shell cell say to one another about programs, and what the monitor tells a worker.
//!
//! A session may be captured, and so may a worker: it runs beside the user's programs, which can trace it. So neither
//! tells the other more than the user could do anyway.

use serde::{Deserialize, Serialize};

use super::{Forward, Forwarded};

/// From a shell cell to the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromCell {
    /// Still our own code: the root is built, and its mount namespace comes with the message.
    Built,
    /// A step of its birth failed; the process ends.
    Failed {
        /// Which, and what the kernel said.
        what: String,
    },
    /// The worker runs, and takes orders.
    Ready,
}

/// From the monitor to a shell cell, and then to its worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum WorkerOrder {
    /// The grants are attached: give up everything and begin.
    Attached,
    /// One more session may start programs; a channel to it comes with the message.
    Join,
    /// Nobody is connected any more: end when the last program has.
    Linger,
}

/// Size of a terminal (RFC 4254, 6.2): columns and rows of characters, then of pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Columns of characters.
    pub columns: u16,
    /// Rows of characters.
    pub rows: u16,
    /// Width in pixels; 0 if unknown.
    pub width: u16,
    /// Height in pixels; 0 if unknown.
    pub height: u16,
}

/// A terminal that a client asked for (RFC 4254, 6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Value of `TERM`.
    pub kind: String,
    /// Its size.
    pub size: Size,
    /// Modes as pairs of opcode and value (RFC 4254, 8).
    pub modes: Vec<(u8, u32)>,
}

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A login shell.
    Shell,
    /// A command line for the shell, unmodified; bytes, not text.
    Command(Vec<u8>),
    /// A command line of one of the services that are programs of their own, which no shell sees.
    Direct(Vec<u8>),
    /// The user's forced command.
    Forced {
        /// What was asked for; nothing where a shell was.
        original: Option<Vec<u8>>,
    },
}

/// Why a program was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStarted {
    /// What is wrong and what to do, for the client.
    pub sentence: String,
    /// The exit status that the client gets.
    pub status: u8,
}

/// Starts one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// What.
    pub program: Program,
    /// The terminal it runs on; without one it gets pipes.
    pub terminal: Option<Terminal>,
    /// Variables on top of what every program gets.
    pub environment: Vec<(String, String)>,
    /// What a login shell's terminal shows first, unless the user wants none of it (`.hushlogin`).
    pub greeting: Option<String>,
}

/// From a session to the worker. `number` is the session's own for the program.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// Start a program. Answered by `Started` or `Failed`.
    Start {
        /// Chosen by the session.
        number: u32,
        /// What and how.
        start: Box<Start>,
    },
    /// The terminal has another size now.
    Resize {
        /// Which program's.
        number: u32,
        /// Its size.
        size: Size,
    },
    /// Sends a signal to the program's process group (RFC 4254, 6.9), by name without `SIG`.
    Signal {
        /// Which program.
        number: u32,
        /// As in the RFC: `TERM`, `INT`, ...
        name: String,
    },
    /// Something about a forward.
    Forward {
        /// Chosen by the session.
        number: u32,
        /// What.
        what: Forward,
    },
    /// The channel is gone: whoever still reads or writes the terminal is told so (SIGHUP).
    HangUp {
        /// Which program.
        number: u32,
    },
}

/// How a program ended (RFC 4254, 6.10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// By itself.
    Exit(u8),
    /// By a signal.
    Signal {
        /// Its name without `SIG`.
        name: String,
        /// Whether it left a core.
        core: bool,
    },
}

/// From the worker to a session.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// It runs. With a terminal its other side comes with the message; without, its input, its output and its errors.
    Started {
        /// As asked.
        number: u32,
    },
    /// It does not run.
    Failed {
        /// As asked.
        number: u32,
        /// Why.
        why: NotStarted,
    },
    /// What becomes of a forward.
    Forward {
        /// As asked.
        number: u32,
        /// What.
        what: Forwarded,
    },
    /// It has ended.
    Ended {
        /// As asked.
        number: u32,
        /// How.
        how: Ended,
    },
}
