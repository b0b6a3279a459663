//! The listening sockets. Bytes are never read here: an accepted socket goes to a session unread.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags, SocketType, sockopt};

use super::Error;

/// How many connections the kernel keeps for us; it is capped by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    /// The socket, non-blocking.
    pub(super) socket: OwnedFd,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

/// A socket that this process was started with: the service manager kept it while no process of ours ran, or made it.
#[derive(Debug)]
pub struct Inherited {
    /// The socket.
    pub socket: OwnedFd,
    /// The name that the service manager knows it by.
    pub name: String,
}

/// A listening socket of ours, as the service manager is to keep it for the process that comes after this one.
#[derive(Debug)]
pub struct ToKeep<'a> {
    /// The socket.
    pub socket: BorrowedFd<'a>,
    /// The name to keep it by.
    pub name: String,
}

/// Where the name of a socket begins that we gave to the service manager ourselves.
const OURS: &str = "listen-";

impl Listener {
    /// The name by which the service manager keeps it; a colon would end it (sd_notify(3), `FDNAME`).
    fn name(&self) -> String {
        format!("{OURS}{}", self.address).replace(':', "_")
    }

    /// What the service manager is to keep.
    pub(super) fn to_keep(&self) -> ToKeep<'_> {
        ToKeep { socket: self.socket.as_fd(), name: self.name() }
    }
}

/// Listens on all addresses, or none: on those sockets that are there already, and on new ones.
pub(super) fn open(addresses: &[SocketAddr], inherited: Vec<Inherited>) -> Result<Vec<Listener>, Error> {
    if addresses.is_empty() {
        return Err(Error::NoAddress);
    }
    let mut there = Vec::new();
    for Inherited { socket, name } in inherited {
        let address = take_over(&socket).map_err(super::system("take over a socket of the service manager's"))?;
        if addresses.contains(&address) {
            there.push(Listener { socket, address });
        } else if !name.starts_with(OURS) {
            return Err(Error::Unnamed { address });
        }
        // Otherwise `listen` named it before and does not any more.
    }
    let mut opened = Vec::new();
    for address in addresses {
        match there.iter().position(|listener| listener.address == *address) {
            Some(at) => opened.push(there.swap_remove(at)),
            None => opened.push(bind_one(*address).map_err(|source| Error::Listen { address: *address, source })?),
        }
    }
    Ok(opened)
}

/// Makes sure that a socket listens, and that nothing waits for it; says where.
fn take_over(socket: &OwnedFd) -> Result<SocketAddr, Errno> {
    if sockopt::socket_type(socket)? != SocketType::STREAM || !sockopt::socket_acceptconn(socket)? {
        return Err(Errno::INVAL);
    }
    rustix::io::ioctl_fionbio(socket, true)?;
    rustix::net::getsockname(socket)?.try_into()
}

fn bind_one(address: SocketAddr) -> Result<Listener, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // `0.0.0.0` and `[::]` may both be listed.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let address = rustix::net::getsockname(&socket)?.try_into().unwrap_or(address);
    Ok(Listener { socket, address })
}

/// The next connection, if there is one.
pub(super) fn accept(listener: &Listener) -> Result<Option<(OwnedFd, SocketAddr)>, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match rustix::net::acceptfrom_with(&listener.socket, flags) {
        Ok((socket, Some(peer))) => Ok(peer_address(peer).map(|peer| (socket, peer))),
        // A connection that ended before it was accepted has no address; there is nobody to serve.
        Ok((_, None)) | Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn peer_address(peer: SocketAddrAny) -> Option<SocketAddr> {
    let peer: SocketAddr = peer.try_into().ok()?;
    Some(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
}
