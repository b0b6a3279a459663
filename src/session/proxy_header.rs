//! The PROXY protocol (HAProxy's `proxy-protocol.txt`, versions 1 and 2): what a load balancer says about a connection before
//! the client's first byte.
//!
//! A session that has seen nothing yet reads it, and reports the address that it names; whether that is believed is decided
//! by the monitor. Not a byte more is read than belongs to the header: what follows is the client's.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wire::{HeaderRule, Heading};

/// How long a balancer may take for it; the protocol's own advice is three seconds at least.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client that may come without one may say nothing.
const SILENCE: Duration = Duration::from_secs(2);
/// Longest header of version 1 (section 2.1).
const LONGEST_TEXT: usize = 107;
/// Longest part of a header of version 2 behind its length that is taken: addresses, and what some balancers add.
const LONGEST_REST: usize = 2048;
/// Signature, version, family and length of version 2 (section 2.2).
const FIXED: usize = 16;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// The client's address, and the one that it connected to.
    Addresses(SocketAddr, SocketAddr),
    /// The balancer speaks for itself, to see whether somebody is here.
    Own,
    /// There is none, and need not be.
    None,
}

impl Header {
    /// The client's address and ours, where they are not those of the connection.
    pub(super) fn ends(self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Header::Addresses(source, destination) => Some((source, destination)),
            Header::Own | Header::None => None,
        }
    }

    /// As it is reported.
    pub(super) fn heading(self) -> Heading {
        match self {
            Header::Addresses(source, _) => Heading::From(source),
            Header::Own | Header::None => Heading::Own,
        }
    }
}

/// Why what came is no header. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadHeader {
    #[error("no PROXY header came first; let the balancer send one, or set required = false")]
    Missing,
    #[error("no PROXY header came in time; let the balancer send one, or set required = false")]
    Late,
    #[error("the PROXY header is longer than it may be")]
    Long,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header names no addresses of TCP")]
    NotTcp,
    #[error("the connection ended in the PROXY header")]
    Ended(#[from] io::Error),
}

/// Reads the header that stands at the beginning of a connection.
pub(super) async fn read(stream: &mut TcpStream, rule: HeaderRule) -> Result<Header, BadHeader> {
    let mut first = [0];
    let patience = if rule == HeaderRule::Required { PATIENCE } else { SILENCE };
    let peeked = tokio::time::timeout(patience, stream.peek(&mut first)).await;
    let Ok(peeked) = peeked else {
        return if rule == HeaderRule::Optional { Ok(Header::None) } else { Err(BadHeader::Late) };
    };
    if peeked? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let reading = async {
        match (first, rule) {
            ([b'P'], _) => parse(&read_text(stream).await?),
            ([b'\r'], _) => parse(&read_binary(stream).await?),
            // A client begins with `SSH-` (RFC 4253, 4.2).
            (_, HeaderRule::Optional) => Ok(Header::None),
            (_, HeaderRule::Required) => Err(BadHeader::Missing),
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or(Err(BadHeader::Late))
}

/// Says a last sentence to somebody whose protocol has not begun, and gives it a moment to be heard: a socket that is closed
/// with something unread is reset, and what was written is lost.
pub(super) async fn say(stream: &mut TcpStream, sentence: &str, patience: Duration) {
    let saying = async {
        stream.write_all(sentence.as_bytes()).await?;
        stream.shutdown().await?;
        let mut unheard = [0; 512];
        while stream.read(&mut unheard).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // One that does not hear it goes without.
    drop(tokio::time::timeout(patience, saying).await);
}

/// A line, byte by byte.
async fn read_text(stream: &mut TcpStream) -> Result<Vec<u8>, BadHeader> {
    let mut line = Vec::with_capacity(LONGEST_TEXT);
    while line.last() != Some(&b'\n') {
        if line.len() >= LONGEST_TEXT {
            return Err(BadHeader::Long);
        }
        line.push(stream.read_u8().await?);
    }
    Ok(line)
}

async fn read_binary(stream: &mut TcpStream) -> Result<Vec<u8>, BadHeader> {
    let mut header = vec![0; FIXED];
    stream.read_exact(&mut header).await?;
    let rest = match header.as_slice() {
        [.., high, low] if header.starts_with(ppp::v2::PROTOCOL_PREFIX) => {
            usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => return Err(BadHeader::Malformed),
    };
    if rest > LONGEST_REST {
        return Err(BadHeader::Long);
    }
    header.resize(FIXED + rest, 0);
    stream.read_exact(header.get_mut(FIXED..).unwrap_or_default()).await?;
    Ok(header)
}

/// Reads a whole header.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, BadHeader> {
    if bytes.starts_with(ppp::v2::PROTOCOL_PREFIX) { parse_binary(bytes) } else { parse_text(bytes) }
}

fn parse_text(bytes: &[u8]) -> Result<Header, BadHeader> {
    let header = ppp::v1::Header::try_from(bytes).map_err(|_| BadHeader::Malformed)?;
    // Of a second line nobody may hear later on that it was looked at.
    if header.header.len() != bytes.len() {
        return Err(BadHeader::Malformed);
    }
    Ok(match header.addresses {
        ppp::v1::Addresses::Tcp4(a) => {
            between(a.source_address, a.source_port, a.destination_address, a.destination_port)
        }
        ppp::v1::Addresses::Tcp6(a) => {
            between(a.source_address, a.source_port, a.destination_address, a.destination_port)
        }
        ppp::v1::Addresses::Unknown => Header::Own,
    })
}

fn parse_binary(bytes: &[u8]) -> Result<Header, BadHeader> {
    use ppp::v2::{Addresses, Command, Protocol};
    let header = ppp::v2::Header::try_from(bytes).map_err(|_| BadHeader::Malformed)?;
    match (header.command, header.protocol, header.addresses) {
        (Command::Local, _, _) | (_, _, Addresses::Unspecified) => Ok(Header::Own),
        (_, Protocol::Stream, Addresses::IPv4(a)) => {
            Ok(between(a.source_address, a.source_port, a.destination_address, a.destination_port))
        }
        (_, Protocol::Stream, Addresses::IPv6(a)) => {
            Ok(between(a.source_address, a.source_port, a.destination_address, a.destination_port))
        }
        _ => Err(BadHeader::NotTcp),
    }
}

fn between(source: impl Into<IpAddr>, source_port: u16, to: impl Into<IpAddr>, port: u16) -> Header {
    let address = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    Header::Addresses(address(source.into(), source_port), address(to.into(), port))
}

/// For the fuzzer: reads what may be a header.
#[doc(hidden)]
pub fn try_parse(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match parse(bytes) {
        Ok(Header::Addresses(source, destination)) => Some((source, destination)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::net::TcpListener;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [ppp::v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    const REST4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x0f, 0xa0, 0, 22];

    #[test]
    fn headers_of_both_versions_are_read() {
        let both = Header::Addresses(address("192.0.2.7:4000"), address("198.51.100.1:22"));
        assert_eq!(parse(b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 22\r\n").expect("a header"), both);
        assert_eq!(parse(&binary(0x21, 0x11, &REST4)).expect("a header"), both);
        // What some balancers add behind the addresses says nothing about them.
        assert_eq!(parse(&binary(0x21, 0x11, &[&REST4[..], &[4, 0, 1, 0]].concat())).expect("a header"), both);
        let six = Header::Addresses(address("[2001:db8::7]:4000"), address("[2001:db8::1]:22"));
        assert_eq!(parse(b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 22\r\n").expect("a header"), six);
        // IPv4 in IPv6 is IPv4: rules about it must not be missed.
        assert_eq!(parse(b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 4000 22\r\n").expect("a header"), both);
        for own in
            [&b"PROXY UNKNOWN\r\n"[..], &binary(0x20, 0x00, &[]), &binary(0x20, 0x11, &REST4), &binary(0x21, 0, &[])]
        {
            assert_eq!(parse(own).expect("a header"), Header::Own, "{own:?}");
        }
    }

    #[test]
    fn what_is_no_header_names_no_address() {
        let texts = [
            "PROXY TCP4 192.0.2.7 198.51.100.1 4000 22\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4000\r\n",
            "PROXY TCP4 192.0.2.7 2001:db8::1 4000 22\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 22\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4000 22 x\r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 4000 22\r\n",
            "PROXY TCP5 192.0.2.7 198.51.100.1 4000 22\r\n",
            "PROXYxTCP4 192.0.2.7 198.51.100.1 4000 22\r\n",
            "proxy TCP4 192.0.2.7 198.51.100.1 4000 22\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4000 22\r\nPROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
            "SSH-2.0-OpenSSH_9.2p1\r\n",
            "",
        ];
        for text in texts {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        for (command, family) in [(0x11, 0x11), (0x22, 0x11), (0x21, 0x41), (0x21, 0x13)] {
            assert!(parse(&binary(command, family, &REST4)).is_err(), "{command:x} {family:x}");
        }
        assert!(parse(&binary(0x21, 0x11, &REST4[..11])).is_err(), "too short for its family");
        assert!(matches!(parse(&binary(0x21, 0x12, &REST4)), Err(BadHeader::NotTcp)), "UDP");
        assert!(matches!(parse(&binary(0x21, 0x31, &[0; 216])), Err(BadHeader::NotTcp)), "UNIX sockets");
    }

    /// What a listener makes of bytes that come in two parts, and what is left behind the header.
    async fn over_a_socket(bytes: &[u8], rule: HeaderRule) -> (Result<Header, BadHeader>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let mut client = TcpStream::connect(listener.local_addr().expect("its address")).await.expect("a connection");
        let (mut server, _) = listener.accept().await.expect("a connection");
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        client.write_all(head).await.expect("sent");
        tokio::task::yield_now().await;
        let sending = async {
            client.write_all(tail).await.expect("sent");
            client.shutdown().await.expect("sent");
        };
        let (header, ()) = tokio::join!(read(&mut server, rule), sending);
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.expect("the rest");
        (header, rest)
    }

    #[tokio::test]
    async fn not_a_byte_of_the_client_is_taken() {
        for header in [b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 22\r\n".to_vec(), binary(0x21, 0x11, &REST4)] {
            for rule in [HeaderRule::Required, HeaderRule::Optional] {
                let (read, rest) = over_a_socket(&[&header[..], b"SSH-2.0-x\r\n"].concat(), rule).await;
                assert!(matches!(read, Ok(Header::Addresses(..))) && rest == b"SSH-2.0-x\r\n");
            }
        }
        let (read, rest) = over_a_socket(b"SSH-2.0-x\r\n", HeaderRule::Optional).await;
        assert!(matches!(read, Ok(Header::None)) && rest == b"SSH-2.0-x\r\n");
        let (read, _) = over_a_socket(b"SSH-2.0-x\r\n", HeaderRule::Required).await;
        assert!(matches!(read, Err(BadHeader::Missing)));
        let (read, _) = over_a_socket(b"PROXY TCP4 192.0.2.7", HeaderRule::Required).await;
        assert!(matches!(read, Err(BadHeader::Ended(_))));
        let (read, _) = over_a_socket(&[b'P'; 500], HeaderRule::Required).await;
        assert!(matches!(read, Err(BadHeader::Long)));
        let (read, _) =
            over_a_socket(&[&binary(0x21, 0x11, &[])[..14], &[0xff; 9000]].concat(), HeaderRule::Required).await;
        assert!(matches!(read, Err(BadHeader::Long)));
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(parse(&bytes));
            drop(parse(&[ppp::v2::PROTOCOL_PREFIX, &bytes].concat()));
            drop(parse(&[b"PROXY TCP4 ", &bytes[..], b"\r\n"].concat()));
        }

        #[test]
        fn what_is_read_is_what_was_written(source in any::<[u8; 4]>(), port: u16, extra in prop::collection::vec(any::<u8>(), 0..40)) {
            let source = SocketAddr::from((source, port));
            let to = address("198.51.100.1:22");
            let text = format!("PROXY TCP4 {} {} {} {}\r\n", source.ip(), to.ip(), port, to.port());
            prop_assert_eq!(try_parse(text.as_bytes()), Some((source, to)));
            let IpAddr::V4(v4) = source.ip() else { panic!() };
            let rest = [&v4.octets()[..], &[198, 51, 100, 1], &port.to_be_bytes(), &[0, 22], &extra].concat();
            prop_assert_eq!(try_parse(&binary(0x21, 0x11, &rest)), Some((source, to)));
        }
    }
}
