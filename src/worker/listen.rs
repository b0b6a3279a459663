//! Listening for a forward: on ports of localhost, on a socket in the cell's view, and for a client's agent.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::wire::{Origin, Place};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// Where agents' directories are made: the cell's own.
const AGENTS: &str = "/tmp";
/// Only the user itself may connect (`StreamLocalBindMask` of OpenSSH).
const MASK: u32 = 0o177;

/// What is listened on. It ends with this value, and what was made for it in the view goes too.
#[derive(Debug)]
pub(super) struct Listener {
    sockets: Vec<OwnedFd>,
    port: u16,
    made: Option<Made>,
}

/// A socket in the view.
#[derive(Debug)]
struct Made {
    path: String,
    /// Which file it is: another that has taken its place stays.
    file: (u64, u64),
    /// The directory that was made for it.
    directory: Option<String>,
}

impl Listener {
    /// On a place that policy permits; `addresses` are those of a port. Nothing that exists is replaced.
    pub(super) fn on(place: &Place, addresses: &[IpAddr]) -> Result<Listener, Errno> {
        match place {
            Place::Port { port, .. } => on_port(addresses, *port),
            Place::Socket { path } => on_socket(path, None),
            Place::Agent => on_agent(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The path of a socket.
    pub(super) fn path(&self) -> Option<&str> {
        self.made.as_ref().map(|made| made.path.as_str())
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(made) = &self.made else { return };
        // What cannot be removed stays: these files are the user's own, and its cell ends without us too.
        if file(&made.path).is_ok_and(|file| file == made.file) {
            rustix::fs::unlink(&made.path).unwrap_or_default();
        }
        if let Some(directory) = &made.directory {
            rustix::fs::rmdir(directory).unwrap_or_default();
        }
    }
}

fn file(path: &str) -> Result<(u64, u64), Errno> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// On the same port of several addresses; one that can be had is enough, for a host may lack a family.
fn on_port(addresses: &[IpAddr], port: u16) -> Result<Listener, Errno> {
    let mut listener = Listener { sockets: Vec::new(), port, made: None };
    let mut last = Errno::ADDRNOTAVAIL;
    for address in addresses {
        match on_address(SocketAddr::new(*address, listener.port)) {
            Ok((socket, port)) => {
                listener.port = port;
                listener.sockets.push(socket);
            }
            Err(errno) => last = errno,
        }
    }
    if listener.sockets.is_empty() { Err(last) } else { Ok(listener) }
}

fn on_address(address: SocketAddr) -> Result<(OwnedFd, u16), Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, FLAGS, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let port = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?.port();
    Ok((socket, port))
}

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

fn on_socket(path: &str, directory: Option<String>) -> Result<Listener, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    // This process has one thread: nothing else is made meanwhile.
    let mask = rustix::process::umask(Mode::from_raw_mode(MASK));
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(mask);
    bound?;
    let made = Made { path: path.to_owned(), file: file(path)?, directory };
    let listener = Listener { sockets: vec![socket], port: 0, made: Some(made) };
    for socket in &listener.sockets {
        rustix::net::listen(socket, BACKLOG)?;
    }
    Ok(listener)
}

/// In a new directory that only the user may enter, by a name that cannot be prepared for.
fn on_agent() -> Result<Listener, Errno> {
    let mut random = [0_u8; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let directory = format!("{AGENTS}/ssh-{:016x}", u64::from_ne_bytes(random));
    rustix::fs::mkdir(&directory, Mode::from_raw_mode(0o700))?;
    let listener = on_socket(&format!("{directory}/agent"), Some(directory.clone()));
    if listener.is_err() {
        rustix::fs::rmdir(&directory)?;
    }
    listener
}

/// Takes one connection; none where it has gone again.
pub(super) fn accept(socket: BorrowedFd<'_>) -> Result<Option<(OwnedFd, Option<Origin>)>, Errno> {
    match rustix::net::acceptfrom_with(socket, SocketFlags::CLOEXEC) {
        Ok((connection, from)) => {
            let origin = from.as_ref().and_then(origin);
            // One that is gone again takes no options.
            let is_there = origin.is_none() || sockopt::set_tcp_nodelay(&connection, true).is_ok();
            Ok(is_there.then_some((connection, origin)))
        }
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn origin(from: &SocketAddrAny) -> Option<Origin> {
    let address = SocketAddr::try_from(from.clone()).ok()?;
    Some(Origin { address: address.ip().to_string(), port: address.port() })
}
