//! The listening sockets. Bytes are never read here: an accepted socket goes to a session unread.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

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

/// Binds all addresses, or none.
pub(super) fn bind(addresses: &[SocketAddr]) -> Result<Vec<Listener>, Error> {
    if addresses.is_empty() {
        return Err(Error::NoAddress);
    }
    let bound = addresses.iter().map(|a| bind_one(*a).map_err(|source| Error::Listen { address: *a, source }));
    bound.collect()
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
