//! Channels and SFTP of a peer (RFC 4254), with windows as it likes.

use std::io;

use super::peer::{Peer, message, take_string};
use crate::harness::string;

/// Largest packet of data that is sent.
const LARGEST: usize = 32_000;

/// A peer with one channel on which SFTP is served.
pub(super) struct Files {
    pub(super) peer: Peer,
    /// The server's number of the channel.
    pub(super) theirs: u32,
    room: usize,
    come: Vec<u8>,
}

/// Opens a session channel by our number, and says by which the server knows it, and how much room it gives.
pub(super) fn open_channel(peer: &mut Peer, ours: u32, window: u32, largest: u32) -> io::Result<Option<(u32, u32)>> {
    peer.send(&ask_for_channel(ours, window, largest))?;
    loop {
        let got = peer.receive()?;
        let number = |at: usize| got.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        match got.first() {
            Some(&message::CHANNEL_OPEN_CONFIRMATION) => return Ok(number(5).zip(number(9))),
            Some(&message::CHANNEL_OPEN_FAILURE) => return Ok(None),
            Some(&message::DISCONNECT) => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
    }
}

pub(super) fn ask_for_channel(ours: u32, window: u32, largest: u32) -> Vec<u8> {
    let numbers: Vec<u8> = [ours, window, largest].iter().flat_map(|n| n.to_be_bytes()).collect();
    [&[message::CHANNEL_OPEN][..], &string(b"session"), &numbers].concat()
}

/// A request on a channel that wants an answer.
pub(super) fn request(theirs: u32, name: &str, rest: &[u8]) -> Vec<u8> {
    [&[message::CHANNEL_REQUEST][..], &theirs.to_be_bytes(), &string(name.as_bytes()), &[1], rest].concat()
}

pub(super) fn about(kind: u8, theirs: u32) -> Vec<u8> {
    [&[kind][..], &theirs.to_be_bytes()].concat()
}

pub(super) fn data(theirs: u32, bytes: &[u8]) -> Vec<u8> {
    [&[message::CHANNEL_DATA][..], &theirs.to_be_bytes(), &string(bytes)].concat()
}

pub(super) fn adjust(theirs: u32, by: u32) -> Vec<u8> {
    [&[message::CHANNEL_WINDOW_ADJUST][..], &theirs.to_be_bytes(), &by.to_be_bytes()].concat()
}

impl Files {
    /// With so much room for what the server sends.
    pub(super) fn open(mut peer: Peer, window: u32) -> io::Result<Files> {
        let opened = open_channel(&mut peer, 0, window, LARGEST as u32)?;
        let (theirs, room) = opened.ok_or_else(|| io::Error::other("no channel is opened"))?;
        peer.send(&request(theirs, "subsystem", &string(b"sftp")))?;
        peer.receive_kind(message::CHANNEL_SUCCESS)?;
        let mut files = Files { peer, theirs, room: room as usize, come: Vec::new() };
        files.write(&[0, 0, 0, 5, 1, 0, 0, 0, 3])?;
        Ok(files)
    }

    /// Waits for VERSION, which the server sends as soon as there is room for it.
    pub(super) fn greeted(mut self) -> io::Result<Files> {
        match self.packet()?.first() {
            Some(2) => Ok(self),
            other => Err(io::Error::other(format!("{other:?} instead of VERSION"))),
        }
    }

    /// Sends bytes as the server gives room for them.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.room == 0 {
                self.hear()?;
                continue;
            }
            let (part, after) = rest.split_at(rest.len().min(self.room).min(LARGEST));
            self.peer.send(&data(self.theirs, part))?;
            self.room -= part.len();
            rest = after;
        }
        Ok(())
    }

    fn hear(&mut self) -> io::Result<()> {
        let got = self.peer.receive()?;
        let (kind, rest) = got.split_first().ok_or(io::ErrorKind::InvalidData)?;
        if *kind == message::KEXINIT {
            // After a gibibyte the server wants other keys.
            return self.peer.take_part(&got);
        }
        let (channel, mut rest) = rest.split_at_checked(4).unwrap_or_default();
        if channel != [0; 4] && *kind != message::DISCONNECT {
            return Ok(());
        }
        match *kind {
            message::CHANNEL_WINDOW_ADJUST => {
                let by = rest.first_chunk().map_or(0, |by| u32::from_be_bytes(*by));
                self.room += by as usize;
            }
            message::CHANNEL_DATA => self.come.extend(take_string(&mut rest).unwrap_or_default()),
            message::CHANNEL_CLOSE | message::DISCONNECT => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
        Ok(())
    }

    /// The next packet of SFTP: its type and what follows.
    pub(super) fn packet(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut rest = &self.come[..];
            if let Some(packet) = take_string(&mut rest) {
                let packet = packet.to_vec();
                let used = 4 + packet.len();
                self.come.drain(..used);
                return Ok(packet);
            }
            self.hear()?;
        }
    }

    /// How much may be sent before the server opens its window again.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// One request and its answer.
    pub(super) fn ask(&mut self, kind: u8, body: &[u8]) -> io::Result<Vec<u8>> {
        self.write(&sftp(kind, 1, body))?;
        self.packet()
    }

    pub(super) fn stat(&mut self, path: &str) -> io::Result<()> {
        match self.ask(17, &string(path.as_bytes()))?.first() {
            Some(105) => Ok(()),
            other => Err(io::Error::other(format!("{other:?} in answer to a stat"))),
        }
    }

    /// The handle of what is opened: a file by these flags, or a directory without any.
    pub(super) fn handle(&mut self, path: &str, flags: Option<u32>) -> io::Result<Vec<u8>> {
        let answer = match flags {
            Some(flags) => self.ask(3, &[&string(path.as_bytes())[..], &flags.to_be_bytes(), &[0; 4]].concat())?,
            None => self.ask(11, &string(path.as_bytes()))?,
        };
        match answer.split_first() {
            Some((102, rest)) => Ok(rest[4..].to_vec()),
            _ => Err(io::Error::other(format!("{answer:?} in answer to an open"))),
        }
    }
}

/// A request of SFTP, with its length.
pub(super) fn sftp(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    string(&[&[kind][..], &id.to_be_bytes(), body].concat())
}

/// READ; a handle is sent as it came, with its length.
pub(super) fn read(id: u32, handle: &[u8], offset: u64, length: u32) -> Vec<u8> {
    sftp(5, id, &[handle, &offset.to_be_bytes(), &length.to_be_bytes()].concat())
}

/// WRITE.
pub(super) fn write(id: u32, handle: &[u8], offset: u64, bytes: &[u8]) -> Vec<u8> {
    sftp(6, id, &[handle, &offset.to_be_bytes(), &string(bytes)].concat())
}
