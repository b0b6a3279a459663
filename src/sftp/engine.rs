//! The engine: bytes in, bytes out. Every complete packet in what just arrived is served, and the answers leave together.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use super::codes::{self, LONGEST_PACKET};
use super::extended;
use super::failure::Failure;
use super::handles::Handles;
use super::jobs::Jobs;
use super::journal::{Journal, Newborn};
use super::reader::Reader;
use crate::domain::Timestamp;
use crate::files::{self, Attributes, File, Reason, Root};

/// Most bytes of requests that wait for their answers to be read. A client that sends requests and reads no answer
/// reaches it; one that keeps several hundred requests in flight does not.
const MOST_WAITING: usize = 4 * 1024 * 1024;
/// What the buffer of waiting requests keeps once it is empty: small requests fit. The room for a large one is asked for
/// at once when its length is known, and is not kept while a client rests.
const KEPT: usize = 4 * 1024;

/// How a channel is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Shown as owner of what the account owns.
    pub user: String,
    /// Shown as its group.
    pub group: String,
    /// Owner on disk (uid, gid), as clients see it.
    pub owner_ids: (u32, u32),
    /// The ids that this process has, as which the kernel shows it the owner's.
    pub own_ids: (u32, u32),
    /// Permission bits that new files and directories never get.
    pub umask: u32,
    /// Where relative paths begin: an absolute path in the view.
    pub start: Vec<u8>,
    /// What `~` stands for: an absolute path.
    pub home: Vec<u8>,
    /// In which order the client sends the two paths of SYMLINK.
    pub links: LinkOrder,
}

/// The draft has the link first and its target second (section 6.10). OpenSSH's server has read them the other way round
/// from the beginning, and so most clients send them that way to everybody; some do it only to servers that call
/// themselves OpenSSH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkOrder {
    /// As OpenSSH has it.
    #[default]
    TargetFirst,
    /// As in the draft.
    LinkFirst,
}

impl LinkOrder {
    /// The order of a client that calls itself `ident` (RFC 4253, section 4.2).
    pub fn of_client(ident: &[u8]) -> LinkOrder {
        let strict = [&b"SSH-2.0-AsyncSSH"[..], b"SSH-2.0-WinSCP", b"SSH-2.0-phpseclib_3", b"SSH-2.0-ssh2js"];
        let is_strict = strict.iter().any(|begin| ident.starts_with(begin));
        if is_strict { LinkOrder::LinkFirst } else { LinkOrder::TargetFirst }
    }
}

impl Settings {
    /// Owner and group as a client sees them.
    pub(super) fn shown(&self, attributes: &Attributes) -> (u32, u32) {
        let shown = |id: u32, own: u32, owner: u32| if id == own { owner } else { id };
        (
            shown(attributes.uid, self.own_ids.0, self.owner_ids.0),
            shown(attributes.gid, self.own_ids.1, self.owner_ids.1),
        )
    }

    /// The ids that the kernel knows by those that a client sees.
    pub(super) fn meant(&self, (uid, gid): (u32, u32)) -> (u32, u32) {
        let meant = |id: u32, own: u32, owner: u32| if id == owner { own } else { id };
        (meant(uid, self.own_ids.0, self.owner_ids.0), meant(gid, self.own_ids.1, self.owner_ids.1))
    }

    /// Names of owner and group as a client sees them; others are shown by number.
    pub(super) fn names(&self, attributes: &Attributes) -> (Cow<'_, str>, Cow<'_, str>) {
        let (uid, gid) = self.shown(attributes);
        let name = |id: u32, own: u32, name| if id == own { Cow::Borrowed(name) } else { Cow::Owned(id.to_string()) };
        (name(uid, self.owner_ids.0, self.user.as_str()), name(gid, self.owner_ids.1, self.group.as_str()))
    }

    pub(super) fn now(&self) -> Timestamp {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

/// Why a channel cannot be served any further. The text is for the log and for the client's standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A length field over the longest packet; often the output of a shell start-up file.
    #[error("a packet of {length} bytes was announced; at most 262144 are taken")]
    TooLong {
        /// As announced.
        length: u32,
    },
    /// A packet without a type or request number.
    #[error("a packet is too short to have a request number")]
    TooShort,
    /// Something other than INIT came first, or INIT came again.
    #[error("the first packet, and only the first, must be INIT")]
    Order,
    /// A part of a grant that has rights of its own was exchanged.
    #[error("a directory or file that is granted to you on its own was replaced on the server; log in again")]
    Replaced,
    /// Requests pile up because their answers are not read.
    #[error("too many requests wait because their answers are not read")]
    Backlog,
}

/// Bytes moved so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Read from files.
    pub read: u64,
    /// Written to files.
    pub written: u64,
}

/// What a request handler comes to: its answer is in the buffer, or this is why not.
pub(super) type Served = Result<(), Failure>;

/// One SFTP channel.
#[derive(Debug)]
pub struct Engine {
    pub(super) root: Root,
    pub(super) settings: Settings,
    pub(super) handles: Handles,
    pub(super) totals: Totals,
    pub(super) jobs: Jobs,
    pub(super) journal: Option<Box<dyn Journal>>,
    pub(super) newborn: Newborn,
    greeted: bool,
    /// Bytes that arrived and are not served; served ones before `served` are not yet moved out.
    waiting: Vec<u8>,
    served: usize,
}

impl Engine {
    /// A channel on which nothing has been said.
    pub fn new(root: Root, settings: Settings) -> Engine {
        Engine {
            root,
            settings,
            handles: Handles::default(),
            totals: Totals::default(),
            jobs: Jobs::default(),
            journal: None,
            newborn: Newborn::default(),
            greeted: false,
            waiting: Vec::new(),
            served: 0,
        }
    }

    /// Takes what arrived, in whatever pieces, serves the complete packets and appends their answers to `out`. Once
    /// `out` holds `room` bytes no further packet is begun; it waits for [`Engine::resume`]. So do those that come after
    /// one about a file which a request that takes long is busy with ([`Engine::is_busy`]).
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>, room: usize) -> Result<(), Broken> {
        let rest = self.complete_first(input)?;
        self.resume(out, room)?;
        if self.backlog() > 0 {
            // More than one packet waited, and the last of them may be complete only now.
            self.keep(rest)?;
            return self.resume(out, room);
        }
        let mut rest = rest;
        while out.len() < room {
            let Some((packet, after)) = split(rest)? else { break };
            if self.jobs.hold_up(packet) {
                break;
            }
            self.serve(packet, out)?;
            rest = after;
        }
        self.keep(rest)
    }

    /// Goes on with packets that waited for room.
    pub fn resume(&mut self, out: &mut Vec<u8>, room: usize) -> Result<(), Broken> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut result = Ok(());
        while out.len() < room {
            let rest = waiting.get(self.served..).unwrap_or_default();
            match split(rest) {
                Ok(Some((packet, _))) if self.jobs.hold_up(packet) => break,
                Ok(Some((packet, after))) => {
                    self.served = waiting.len() - after.len();
                    result = self.serve(packet, out);
                }
                Ok(None) => break,
                Err(broken) => result = Err(broken),
            }
            if result.is_err() {
                break;
            }
        }
        self.waiting = waiting;
        if self.served == self.waiting.len() {
            self.waiting.clear();
            self.waiting.shrink_to(KEPT);
            self.served = 0;
        }
        result
    }

    /// Bytes that arrived and are not served.
    pub fn backlog(&self) -> usize {
        self.waiting.len() - self.served
    }

    /// Bytes moved so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// If the beginning of a packet waits, adds just what completes it; so what follows is served from where it arrived
    /// and not copied.
    fn complete_first<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Broken> {
        if self.waiting.is_empty() {
            return Ok(input);
        }
        let mut rest = input;
        loop {
            let pending = self.waiting.get(self.served..).unwrap_or_default();
            let missing = match pending.first_chunk::<4>() {
                None => 4 - pending.len(),
                Some(length) => (4 + checked_length(*length)?).saturating_sub(pending.len()),
            };
            if missing == 0 || rest.is_empty() {
                return Ok(rest);
            }
            let (part, after) = rest.split_at(missing.min(rest.len()));
            self.keep(part)?;
            rest = after;
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.backlog() + bytes.len() > MOST_WAITING {
            return Err(Broken::Backlog);
        }
        if self.served > 0 {
            self.waiting.drain(..self.served);
            self.served = 0;
        }
        if let (true, Some(length)) = (self.waiting.is_empty(), bytes.first_chunk::<4>()) {
            self.waiting.reserve_exact(4 + checked_length(*length)?);
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// A path of the client in the view: relative ones begin at the start directory. As with OpenSSH an empty one names
    /// nothing, against the draft (section 6.2); only what finds out a path takes it for the start directory. Uploads that
    /// are not whole have names that are nobody's to say.
    pub(super) fn path<'p>(&self, path: &'p [u8]) -> Result<Cow<'p, [u8]>, Failure> {
        let is_nobodys = path.is_empty() || files::names_a_partial(path);
        if is_nobodys { Err(files::Error::new(Reason::NotFound).into()) } else { Ok(self.in_start(path)) }
    }

    /// As [`Engine::path`], where an empty path is the start directory.
    pub(super) fn in_start<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        if path.starts_with(b"/") { Cow::Borrowed(path) } else { beneath(&self.settings.start, path) }
    }

    fn serve(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let mut reader = Reader::new(packet);
        let kind = reader.u8().map_err(|_| Broken::TooShort)?;
        let number = reader.u32().map_err(|_| Broken::TooShort)?;
        match (kind, self.greeted) {
            (codes::INIT, false) => {
                self.greet(out);
                Ok(())
            }
            (codes::INIT, true) | (_, false) => Err(Broken::Order),
            (kind, true) if by_handle(kind) && !(kind == codes::CLOSE && self.gives_a_name(reader)) => {
                self.answer(kind, number, reader, out);
                Ok(())
            }
            (kind, true) => {
                let before = out.len();
                self.check_place()?;
                self.answer(kind, number, reader, out);
                // What was found while something was being exchanged is not told.
                self.check_place().inspect_err(|_| out.truncate(before))
            }
        }
    }

    /// Whether closing a handle has its file take a name: an upload that shows when it is whole.
    fn gives_a_name(&mut self, mut close: Reader<'_>) -> bool {
        close.string().is_ok_and(|handle| self.handles.file(handle).is_ok_and(File::is_uploading))
    }

    fn check_place(&self) -> Result<(), Broken> {
        if self.root.is_in_place() { Ok(()) } else { Err(Broken::Replaced) }
    }

    /// INIT carries a version where requests have their number. Whatever it is, the answer is 3, as OpenSSH's: who cannot
    /// speak that goes away.
    fn greet(&mut self, out: &mut Vec<u8>) {
        self.greeted = true;
        extended::put_version(out);
    }

    fn answer(&mut self, kind: u8, id: u32, reader: Reader<'_>, out: &mut Vec<u8>) {
        let before = out.len();
        if let Err(failure) = self.dispatch(kind, id, reader, out) {
            out.truncate(before);
            failure.answer(id, out);
        }
    }

    fn dispatch(&mut self, kind: u8, id: u32, reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        match kind {
            codes::OPEN => self.open(id, reader, out),
            codes::CLOSE => self.close(id, reader, out),
            codes::READ => self.read(id, reader, out),
            codes::WRITE => self.write(id, reader, out),
            codes::LSTAT => self.lstat(id, reader, out),
            codes::FSTAT => self.fstat(id, reader, out),
            codes::SETSTAT => self.setstat(id, reader, out),
            codes::FSETSTAT => self.fsetstat(id, reader, out),
            codes::OPENDIR => self.opendir(id, reader, out),
            codes::READDIR => self.readdir(id, reader, out),
            codes::REMOVE => self.remove(id, reader, out),
            codes::MKDIR => self.mkdir(id, reader, out),
            codes::RMDIR => self.rmdir(id, reader, out),
            codes::REALPATH => self.realpath(id, reader, out),
            codes::STAT => self.stat(id, reader, out),
            codes::RENAME => self.rename(id, reader, out),
            codes::READLINK => self.readlink(id, reader, out),
            codes::SYMLINK => self.symlink(id, reader, out),
            codes::EXTENDED => self.extended(id, reader, out),
            _ => Err(Failure::Unknown),
        }
    }
}

/// A relative path beneath a directory. The root of the view is the beginning of every path anyway.
pub(super) fn beneath<'p>(directory: &[u8], path: &'p [u8]) -> Cow<'p, [u8]> {
    match directory {
        b"/" => Cow::Borrowed(path),
        directory => Cow::Owned([directory, b"/", path].concat()),
    }
}

/// Whether a request is about an open file alone. It stays the one that was opened, whatever its name leads to now.
fn by_handle(kind: u8) -> bool {
    matches!(kind, codes::READ | codes::WRITE | codes::CLOSE | codes::FSTAT | codes::FSETSTAT)
}

fn checked_length(field: [u8; 4]) -> Result<usize, Broken> {
    let length = u32::from_be_bytes(field);
    match usize::try_from(length) {
        Ok(fits) if fits <= LONGEST_PACKET => Ok(fits),
        _ => Err(Broken::TooLong { length }),
    }
}

/// A packet without its length field, and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The first packet; `None` while it is incomplete.
fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, Broken> {
    let Some((field, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    Ok(rest.split_at_checked(checked_length(*field)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_follow_the_draft_are_known() {
        for (ident, order) in [
            (&b"SSH-2.0-OpenSSH_9.2"[..], LinkOrder::TargetFirst),
            (b"SSH-2.0-AsyncSSH_2.24.1", LinkOrder::LinkFirst),
            (b"SSH-2.0-WinSCP_release_6.5", LinkOrder::LinkFirst),
            (b"SSH-2.0-phpseclib_3.0 (openssl)", LinkOrder::LinkFirst),
            (b"SSH-2.0-ssh2js1.17.0", LinkOrder::LinkFirst),
            (b"SSH-2.0-paramiko_5.1.0", LinkOrder::TargetFirst),
            (b"", LinkOrder::TargetFirst),
        ] {
            assert_eq!(LinkOrder::of_client(ident), order, "{}", ident.escape_ascii());
        }
    }
}
