//! One SFTP channel: the engine, and how much its client can take.

use crate::domain::{AccountName, UserName};
use crate::files::{self, Root};
use crate::sftp::{Broken, Engine, Settings, Totals};

/// Answers that are sealed at once; more wait as unserved requests, which are smaller.
const MOST_AT_ONCE: usize = 512 * 1024;

/// An engine and what is known of its client's window.
#[derive(Debug)]
pub(super) struct SftpChannel {
    engine: Engine,
    /// Bytes handed to the SSH library beyond the client's window. An upper bound: the library sends them by itself as
    /// the window opens.
    pending: usize,
}

/// How the answers leave, and what is known of the window they leave through.
pub(super) trait Outlet {
    /// Bytes that the client takes before it has to open its window again (RFC 4254, section 5.2).
    fn window(&self) -> usize;
    /// Whether bytes handed over before still wait for the window or the end of a key exchange.
    fn is_behind(&self) -> bool;
    /// Hands bytes over.
    fn send(&mut self, bytes: Vec<u8>) -> Result<(), super::transport::SshError>;
}

/// Why a channel ends early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The client broke a rule of SFTP.
    Broken(Broken),
    /// The connection failed.
    Ssh(super::transport::SshError),
}

impl SftpChannel {
    /// An engine over the whole view.
    pub(super) fn new(
        root: Root,
        user: &UserName,
        account: &AccountName,
        owner_ids: (u32, u32),
        umask: u32,
    ) -> SftpChannel {
        let settings = Settings {
            user: user.to_string(),
            group: account.to_string(),
            owner_ids,
            own_ids: files::own_ids(),
            umask,
            start: b"/".to_vec(),
        };
        SftpChannel { engine: Engine::new(root, settings), pending: 0 }
    }

    /// Serves what arrived.
    pub(super) fn feed(&mut self, input: &[u8], outlet: &mut impl Outlet) -> Result<(), Stopped> {
        let mut out = Vec::new();
        let room = self.room(outlet);
        let fed = self.engine.feed(input, &mut out, room);
        self.send(out, outlet)?;
        fed.map_err(Stopped::Broken)?;
        self.resume(outlet)
    }

    /// Serves what waited, as far as the client's window goes.
    pub(super) fn resume(&mut self, outlet: &mut impl Outlet) -> Result<(), Stopped> {
        while self.engine.backlog() > 0 {
            let room = self.room(outlet);
            if room == 0 {
                break;
            }
            let mut out = Vec::new();
            let served = self.engine.resume(&mut out, room);
            let progress = !out.is_empty();
            self.send(out, outlet)?;
            served.map_err(Stopped::Broken)?;
            if !progress {
                break;
            }
        }
        Ok(())
    }

    /// Bytes moved over this channel.
    pub(super) fn totals(&self) -> Totals {
        self.engine.totals()
    }

    /// What may be produced now without anything but the last answer piling up in the SSH library.
    ///
    /// When nothing may, the client has been sent a full window, so it will open it again and `resume` is called.
    fn room(&mut self, outlet: &impl Outlet) -> usize {
        if !outlet.is_behind() {
            self.pending = 0;
        }
        outlet.window().saturating_sub(self.pending).min(MOST_AT_ONCE)
    }

    fn send(&mut self, bytes: Vec<u8>, outlet: &mut impl Outlet) -> Result<(), Stopped> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (length, before) = (bytes.len(), outlet.window());
        outlet.send(bytes).map_err(Stopped::Ssh)?;
        let sent = before.saturating_sub(outlet.window());
        self.pending += length.saturating_sub(sent);
        Ok(())
    }
}
