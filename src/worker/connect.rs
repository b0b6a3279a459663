//! Connecting somewhere for a forward, in a process of its own: a name may take long to resolve and a host long to answer,
//! and the worker waits for neither. It lives for one connection and answers the session itself.

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;

use crate::domain::Network;
use crate::sys;
use crate::wire::{Forwarded, FromWorker, Link, Refusal, Target};

/// How long one address may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many seconds all of it may take; the kernel then ends the process.
pub(super) const LONGEST: u32 = 40;
/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;
/// The number that the channel to the session gets; above it everything is closed.
const LINK: i32 = 3;

/// Forks the process that connects. The error is a sentence for the client.
pub(super) fn start(link: &Link, number: u32, target: &Target, network: Network) -> Result<Pid, Refusal> {
    let failed = |_| Refusal::shortage("the limit of processes of this login is reached; end some of them first");
    match sys::fork_child().map_err(failed)? {
        None => sys::exit_now(live(link, number, target, network)),
        Some(pid) => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            pid.ok_or_else(|| Refusal::failed("the connection could not be begun"))
        }
    }
}

/// In the child. Whoever finds it ended with anything but 0 answers for it.
fn live(link: &Link, number: u32, target: &Target, network: Network) -> u8 {
    let Ok(kept) = sys::place_at(link.as_fd(), LINK) else { return 1 };
    if sys::restore_signals().and_then(|()| sys::close_from(LINK.unsigned_abs() + 1)).is_err() {
        return 1;
    }
    nix::unistd::alarm::set(LONGEST);
    let link = Link::from_fd(kept);
    let sent = match connect(target, network) {
        Ok(socket) => link.send(&FromWorker::Forward { number, what: Forwarded::Connected }, Some(socket.as_fd())),
        Err(refusal) => link.send(&FromWorker::Forward { number, what: Forwarded::Refused(refusal) }, None),
    };
    u8::from(sent.is_err())
}

fn connect(target: &Target, network: Network) -> Result<OwnedFd, Refusal> {
    match target {
        Target::Port { host, port } => to_port(host, *port, network),
        Target::Socket { path } => to_socket(path).map_err(|errno| {
            Refusal::failed(format!(
                "nothing can be reached through this socket in the files of this login: {}",
                super::reason(errno)
            ))
        }),
    }
}

fn to_socket(path: &str) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

fn to_port(host: &str, port: u16, network: Network) -> Result<OwnedFd, Refusal> {
    let mut last = None;
    for address in addresses(host, port, network)?.into_iter().take(MOST_ADDRESSES) {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                // Small packets of a terminal or a database wait for nothing; a socket that refuses is none of ours.
                stream.set_nodelay(true).map_err(|e| Refusal::failed(e.to_string()))?;
                return Ok(stream.into());
            }
            Err(error) => last = Some(error),
        }
    }
    // One without a number is the time that is over.
    let said = |error: std::io::Error| {
        Errno::from_io_error(&error).map_or_else(|| error.to_string(), |e| super::reason(e).to_owned())
    };
    let said = last.map_or_else(|| "it has no address".to_owned(), said);
    Err(Refusal::failed(format!("the host or port cannot be reached: {said}")))
}

/// In a network of its own there is nothing but localhost, and that is told rather than found out slowly.
fn addresses(host: &str, port: u16, network: Network) -> Result<Vec<SocketAddr>, Refusal> {
    let found = match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        Err(_) => (host, port).to_socket_addrs().map(Iterator::collect),
    };
    if network == Network::Host {
        return found.map_err(|_| Refusal::failed("the host's name cannot be resolved"));
    }
    let mut here = found.unwrap_or_default();
    here.retain(|address| address.ip().to_canonical().is_loopback());
    if here.is_empty() {
        return Err(Refusal::prohibited(
            "this login has a network of its own, in which only localhost can be reached; its operator can change that",
        ));
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_network_of_its_own_only_localhost_is_looked_for() {
        for host in ["127.0.0.1", "127.8.8.8", "::1", "localhost"] {
            assert!(addresses(host, 80, Network::Own).is_ok_and(|found| !found.is_empty()), "{host}");
        }
        for host in ["192.0.2.1", "169.254.169.254", "0.0.0.0", "::", "2001:db8::1"] {
            let refusal = addresses(host, 80, Network::Own).expect_err("refused");
            assert!(refusal.sentence.contains("network of its own"), "{host}");
        }
    }
}
