//! The only interface of a cell's own network: a new one is down, and nothing in the cell could reach anything on
//! localhost.
//!
//! Runs in: the newborn cell, while it still has the capability for it.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::cell::error::{Context, Error};

/// `RTM_NEWLINK` (rtnetlink(7)).
const NEW_LINK: u16 = 16;
/// `NLM_F_REQUEST | NLM_F_ACK` (netlink(7)).
const REQUEST_AND_ACK: u16 = 1 | 4;
/// `NLMSG_ERROR`, which an acknowledgement is, with error 0.
const ERROR: u16 = 2;
/// Number of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;
/// `IFF_UP` (netdevice(7)).
const UP: u32 = 1;
/// A header of 16 bytes and `struct ifinfomsg` (rtnetlink(7)).
const LENGTH: u32 = 32;

/// Brings the loopback interface up.
pub(super) fn bring_up() -> Result<(), Error> {
    ask().step("bring up the cell's own network")
}

fn ask() -> Result<(), Errno> {
    // Protocol 0 is that of routes and interfaces (`NETLINK_ROUTE`).
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    rustix::net::sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0_u8; 256];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    verdict(answer.get(..length).unwrap_or_default())
}

fn request() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(&LENGTH.to_ne_bytes());
    message.extend_from_slice(&NEW_LINK.to_ne_bytes());
    message.extend_from_slice(&REQUEST_AND_ACK.to_ne_bytes());
    // Sequence and port, the family with its padding, and the type of the interface.
    message.extend_from_slice(&[0; 12]);
    for word in [LOOPBACK, UP, UP] {
        message.extend_from_slice(&word.to_ne_bytes());
    }
    message
}

fn verdict(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(code)) => Err(Errno::from_raw_os_error(code.saturating_neg())),
        _ => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_length_that_it_says() {
        assert_eq!(request().len(), usize::try_from(LENGTH).expect("a small number"));
    }

    #[test]
    fn an_answer_is_believed_only_if_it_says_yes() {
        let answer =
            |kind: u16, code: i32| [[0; 4].as_slice(), &kind.to_ne_bytes(), &[0; 10], &code.to_ne_bytes()].concat();
        assert_eq!(verdict(&answer(ERROR, 0)), Ok(()));
        assert_eq!(verdict(&answer(ERROR, -1)), Err(Errno::PERM));
        assert_eq!(verdict(&answer(NEW_LINK, 0)), Err(Errno::PROTO));
        assert_eq!(verdict(&[]), Err(Errno::PROTO));
    }
}
