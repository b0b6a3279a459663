//! A socket between two of our processes: whole messages, never parts of them, and descriptors beside them.
//!
//! `SOCK_SEQPACKET` keeps message borders and tells when the peer is gone. Encoding is postcard.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroize;

/// What went wrong on a link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer ended or closed its side.
    #[error("the other process is gone")]
    Gone,
    /// A non-blocking call would have to wait.
    #[error("the link is not ready")]
    NotReady,
    /// A message exceeds [`Link::LONGEST`].
    #[error("message longer than {} bytes", Link::LONGEST)]
    Long,
    /// A message is not of the expected shape, or carries descriptors that were not expected.
    #[error("malformed message")]
    Malformed,
    /// The system refused.
    #[error("talk to another process of the node")]
    System(#[source] Errno),
}

impl From<Errno> for LinkError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => LinkError::NotReady,
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::CONNREFUSED => LinkError::Gone,
            errno => LinkError::System(errno),
        }
    }
}

/// A message and the descriptor that came with it.
#[derive(Debug)]
pub struct Received<M> {
    /// The message.
    pub message: M,
    /// The first descriptor; close-on-exec.
    pub fd: Option<OwnedFd>,
    /// Those after it, at most [`MOST_DESCRIPTORS`] in all.
    pub more: Vec<OwnedFd>,
}

/// Most descriptors that come with one message: the channel of a cell, and what leads into its control groups.
pub const MOST_DESCRIPTORS: usize = 5;

/// One end of a socket pair.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
}

impl Link {
    /// Longest message in bytes. A full set of facts (64 grants of 4 KiB paths do not occur; control refuses to
    /// store more than fits) and the longest key stay below it.
    pub const LONGEST: usize = 64 * 1024;

    /// Makes a connected pair, blocking and close-on-exec.
    pub fn pair() -> Result<(Link, Link), LinkError> {
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Link { socket: one }, Link { socket: other }))
    }

    /// Takes over a socket that was received.
    pub fn from_fd(socket: OwnedFd) -> Link {
        Link { socket }
    }

    /// Gives the socket up, to hand it to another process or to a runtime.
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }

    /// Sends one message, waiting for room.
    pub fn send<M: Serialize>(&self, message: &M, fd: Option<BorrowedFd<'_>>) -> Result<(), LinkError> {
        self.transmit(message, fd.as_slice(), SendFlags::NOSIGNAL)
    }

    /// Sends one message or says `NotReady`.
    pub fn try_send<M: Serialize>(&self, message: &M, fd: Option<BorrowedFd<'_>>) -> Result<(), LinkError> {
        self.transmit(message, fd.as_slice(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    /// Receives one message, waiting for it.
    pub fn recv<M: DeserializeOwned>(&self) -> Result<Received<M>, LinkError> {
        self.receive(RecvFlags::CMSG_CLOEXEC)
    }

    /// Receives one message or says `NotReady`.
    pub fn try_recv<M: DeserializeOwned>(&self) -> Result<Received<M>, LinkError> {
        self.receive(RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    /// Hears nothing more: what the peer sends from now on is refused to it. Our own messages still go.
    pub fn deafen(&self) -> Result<(), LinkError> {
        Ok(rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Read)?)
    }

    /// Sends one message with several descriptors, or says `NotReady`.
    pub fn try_send_with<M: Serialize>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        self.transmit(message, fds, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn transmit<M: Serialize>(&self, message: &M, fds: &[BorrowedFd<'_>], flags: SendFlags) -> Result<(), LinkError> {
        let mut bytes = postcard::to_stdvec(message).map_err(|_| LinkError::Malformed)?;
        if bytes.len() > Self::LONGEST {
            return Err(LinkError::Long);
        }
        let sent = rustix::io::retry_on_intr(|| match fds {
            // A session may call nothing that takes descriptors along.
            [] => rustix::net::send(&self.socket, &bytes, flags),
            fds => self.send_with(&bytes, fds, flags),
        });
        // A password may have been among them.
        bytes.zeroize();
        sent?;
        Ok(())
    }

    fn send_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::INVAL);
        }
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut ancillary, flags)
    }

    fn receive<M: DeserializeOwned>(&self, flags: RecvFlags) -> Result<Received<M>, LinkError> {
        // Asking for the length first costs a call and saves a buffer of the longest size each time.
        let length = self.next_length(flags)?;
        let mut bytes = vec![0_u8; length];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)
        })?;
        let fds: Vec<OwnedFd> = ancillary
            .drain()
            .filter_map(|m| match m {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(LinkError::Long);
        }
        let decoded = bytes.get(..got.bytes).and_then(|b| postcard::from_bytes(b).ok());
        bytes.zeroize();
        let message = decoded.ok_or(LinkError::Malformed)?;
        let mut fds = fds.into_iter();
        Ok(Received { message, fd: fds.next(), more: fds.collect() })
    }

    /// Length of the message that is received next, which stays where it is. A socket whose peer is gone has none.
    fn next_length(&self, flags: RecvFlags) -> Result<usize, LinkError> {
        let look = flags.difference(RecvFlags::CMSG_CLOEXEC) | RecvFlags::PEEK | RecvFlags::TRUNC;
        let (_, length) = rustix::io::retry_on_intr(|| rustix::net::recv(&self.socket, &mut [0_u8; 0], look))?;
        match length {
            0 => Err(LinkError::Gone),
            length if length > Self::LONGEST => Err(LinkError::Long),
            length => Ok(length),
        }
    }
}

/// The process that made the other end of a local socket, or listens on it (`SO_PEERCRED` of unix(7)).
pub fn peer_process(socket: impl AsFd) -> std::io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.pid.as_raw_nonzero().get().cast_unsigned())
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FromZygote, ToZygote};

    #[test]
    fn a_message_arrives_with_its_descriptor() {
        let (one, other) = Link::pair().expect("a pair");
        let (passed, _kept) = Link::pair().expect("a pair");
        one.send(&ToZygote::Birth { slot: 3, generation: 1, uid: 70 }, Some(passed.as_fd())).expect("sent");
        let got = other.recv::<ToZygote>().expect("received");
        assert!(matches!(got.message, ToZygote::Birth { slot: 3, generation: 1, uid: 70 }));
        assert!(got.fd.is_some());
    }

    #[test]
    fn a_peer_that_is_gone_is_told_apart_from_silence() {
        let (one, other) = Link::pair().expect("a pair");
        assert!(matches!(other.try_recv::<FromZygote>(), Err(LinkError::NotReady)));
        drop(one);
        assert!(matches!(other.try_recv::<FromZygote>(), Err(LinkError::Gone)));
    }

    #[test]
    fn garbage_is_an_error_and_not_a_panic() {
        let (one, other) = Link::pair().expect("a pair");
        rustix::net::send(&one, &[0xff; 40], SendFlags::empty()).expect("sent");
        assert!(matches!(other.recv::<FromZygote>(), Err(LinkError::Malformed)));
    }

    #[test]
    fn a_message_over_the_bound_is_not_sent() {
        let (one, _other) = Link::pair().expect("a pair");
        assert!(matches!(one.send(&vec![0_u8; Link::LONGEST], None), Err(LinkError::Long)));
    }
}
