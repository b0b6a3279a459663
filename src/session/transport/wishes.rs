//! What a client wants of a program, in the library's words and in ours; and the program's way back to the client.

use bytes::Bytes;
use russh::{ChannelId, Pty, Sig, server};

use super::STDERR;
use crate::session::programs;
use crate::session::surroundings::Surroundings;
use crate::wire::{Ended, Size, Terminal};

/// The terminal and the variables that a client wants for a program.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) terminal: Option<Terminal>,
    pub(super) environment: Vec<(String, String)>,
}

/// Variables a client may set for one program, and their longest value.
const MOST_VARIABLES: usize = 32;
const LONGEST_VALUE: usize = 1024;
/// Longest name of a terminal.
const LONGEST_NAME: usize = 64;

impl Wishes {
    /// Takes note of a variable; says whether it is one that a client may set.
    pub(super) fn add(&mut self, around: &Surroundings, name: &str, value: &str) -> bool {
        let is_accepted = around.accepts(name);
        #[cfg(feature = "weaken")]
        let is_accepted = is_accepted || crate::weaken::off(crate::weaken::Layer::Variables);
        let is_taken = is_accepted && value.len() <= LONGEST_VALUE && self.environment.len() < MOST_VARIABLES;
        if is_taken {
            self.environment.push((name.to_owned(), value.to_owned()));
        }
        is_taken
    }
}

pub(super) fn size(columns: u32, rows: u32, width: u32, height: u32) -> Size {
    let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    Size { columns: small(columns), rows: small(rows), width: small(width), height: small(height) }
}

/// The terminal of a request.
pub(super) fn terminal(kind: &str, size: Size, modes: &[(Pty, u32)]) -> Terminal {
    let modes = modes.iter().map(|(opcode, value)| (*opcode as u8, *value)).collect();
    Terminal { kind: kind.chars().take(LONGEST_NAME).collect(), size, modes }
}

/// Its name in RFC 4254, 6.10.
pub(super) fn signal_name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}

/// The channel of a program, as its relay writes to it.
#[derive(Clone)]
pub(super) struct HandleSink {
    pub(super) id: ChannelId,
    pub(super) handle: server::Handle,
}

impl programs::Sink for HandleSink {
    async fn send(&self, bytes: Bytes, is_error: bool) -> bool {
        match is_error {
            false => self.handle.data(self.id, bytes).await.is_ok(),
            true => self.handle.extended_data(self.id, STDERR, bytes).await.is_ok(),
        }
    }

    /// A client that is gone needs to hear nothing.
    async fn finish(&self, how: Ended) {
        let said = match how {
            Ended::Exit(code) => self.handle.exit_status_request(self.id, code.into()).await,
            Ended::Signal { name, core } => {
                let signal = Sig::Custom(name);
                self.handle.exit_signal_request(self.id, signal, core, String::new(), String::new()).await
            }
        };
        let is_there = said.is_ok() && self.handle.eof(self.id).await.is_ok();
        if is_there && self.handle.close(self.id).await.is_err() {
            // It went in between.
        }
    }
}
