//! A peer that speaks SSH by itself (RFC 4253), packet by packet, and sends what it likes: before, in and after the exchange
//! of keys. It shares no code with the server, and checks nothing that it is not after.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;

use crate::harness::{Login, string};

/// Numbers of messages (RFC 4250, section 4.1).
pub(super) mod message {
    pub(in crate::hostile) const DISCONNECT: u8 = 1;
    pub(in crate::hostile) const SERVICE_REQUEST: u8 = 5;
    pub(in crate::hostile) const EXT_INFO: u8 = 7;
    pub(in crate::hostile) const KEXINIT: u8 = 20;
    pub(in crate::hostile) const NEWKEYS: u8 = 21;
    pub(in crate::hostile) const KEX_INIT: u8 = 30;
    pub(in crate::hostile) const USERAUTH_REQUEST: u8 = 50;
    pub(in crate::hostile) const USERAUTH_SUCCESS: u8 = 52;
    pub(in crate::hostile) const GLOBAL_REQUEST: u8 = 80;
    pub(in crate::hostile) const REQUEST_SUCCESS: u8 = 81;
    pub(in crate::hostile) const REQUEST_FAILURE: u8 = 82;
    pub(in crate::hostile) const CHANNEL_OPEN: u8 = 90;
    pub(in crate::hostile) const CHANNEL_OPEN_CONFIRMATION: u8 = 91;
    pub(in crate::hostile) const CHANNEL_OPEN_FAILURE: u8 = 92;
    pub(in crate::hostile) const CHANNEL_WINDOW_ADJUST: u8 = 93;
    pub(in crate::hostile) const CHANNEL_DATA: u8 = 94;
    pub(in crate::hostile) const CHANNEL_CLOSE: u8 = 97;
    pub(in crate::hostile) const CHANNEL_REQUEST: u8 = 98;
    pub(in crate::hostile) const CHANNEL_SUCCESS: u8 = 99;
}

const IDENT: &[u8] = b"SSH-2.0-peer";
/// Longest that an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One direction under AES-128-GCM (RFC 5647).
struct Keyed {
    key: LessSafeKey,
    fixed: [u8; 4],
    counter: u64,
}

impl Keyed {
    fn new(key: &[u8], iv: &[u8]) -> Keyed {
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key[..16]).expect("16 bytes"));
        let (fixed, counter) = iv[..12].split_first_chunk::<4>().expect("12 bytes");
        Keyed { key, fixed: *fixed, counter: u64::from_be_bytes(counter.try_into().expect("8 bytes")) }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.fixed);
        nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
        self.counter = self.counter.wrapping_add(1);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// One connection.
pub(super) struct Peer {
    stream: TcpStream,
    sealing: Option<Keyed>,
    opening: Option<Keyed>,
    session_id: Vec<u8>,
    server_ident: Vec<u8>,
}

fn put(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn mpint(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let bytes = &bytes[first..];
    if bytes.first().is_some_and(|b| b & 0x80 != 0) { string(&[&[0], bytes].concat()) } else { string(bytes) }
}

/// Reads a string at the beginning of what is left.
pub(super) fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (found, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    Some(found)
}

/// KEXINIT with one algorithm for each purpose (RFC 4253, section 7.1).
pub(super) fn kexinit() -> Vec<u8> {
    let lists = ["curve25519-sha256", "ssh-ed25519", "aes128-gcm@openssh.com", "aes128-gcm@openssh.com"];
    let others = ["hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""];
    let names: Vec<u8> = lists.iter().chain(&others).flat_map(|list| string(list.as_bytes())).collect();
    put(&[&[message::KEXINIT], &[7; 16], &names, &[0], &[0; 4]])
}

impl Peer {
    /// Connects and says hello; the server's KEXINIT is not read yet.
    pub(super) fn greet(port: u16) -> io::Result<Peer> {
        Peer::greet_by(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)
    }

    /// The same on a connection that there is.
    pub(super) fn greet_by(stream: TcpStream) -> io::Result<Peer> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE / 4))?;
        stream.set_nodelay(true)?;
        let mut peer = Peer { stream, sealing: None, opening: None, session_id: Vec::new(), server_ident: Vec::new() };
        peer.write(&put(&[IDENT, b"\r\n"]))?;
        let mut byte = [0];
        loop {
            peer.stream.read_exact(&mut byte)?;
            match byte[0] {
                b'\n' if peer.server_ident.starts_with(b"SSH-") => break,
                b'\n' => return Err(io::Error::other(String::from_utf8_lossy(&peer.server_ident).into_owned())),
                b'\r' => {}
                other => peer.server_ident.push(other),
            }
        }
        Ok(peer)
    }

    /// Connects and exchanges keys.
    pub(super) fn connect(port: u16) -> io::Result<Peer> {
        let mut peer = Peer::greet(port)?;
        peer.exchange()?;
        Ok(peer)
    }

    /// Connects, exchanges keys and logs in by key.
    pub(super) fn log_in(login: &Login) -> io::Result<Peer> {
        let mut peer = Peer::connect(login.port)?;
        peer.authenticate(login)?;
        Ok(peer)
    }

    /// An exchange of keys from its beginning: the first, or another; other messages that come meanwhile are lost.
    pub(super) fn exchange(&mut self) -> io::Result<()> {
        let ours = kexinit();
        self.send(&ours)?;
        let theirs = self.receive_kind(message::KEXINIT)?;
        self.finish_exchange(&ours, &theirs)
    }

    /// An exchange that the server has begun, by this KEXINIT.
    pub(super) fn take_part(&mut self, theirs: &[u8]) -> io::Result<()> {
        let ours = kexinit();
        self.send(&ours)?;
        self.finish_exchange(&ours, theirs)
    }

    fn finish_exchange(&mut self, ours: &[u8], theirs: &[u8]) -> io::Result<()> {
        let random = SystemRandom::new();
        let secret = EphemeralPrivateKey::generate(&X25519, &random).map_err(io::Error::other)?;
        let public = secret.compute_public_key().map_err(io::Error::other)?;
        self.send(&put(&[&[message::KEX_INIT], &string(public.as_ref())]))?;
        let reply = self.receive_kind(31)?;
        let mut rest = &reply[1..];
        let bad = || io::Error::other("a malformed reply");
        let host_key = take_string(&mut rest).ok_or_else(bad)?;
        let server = take_string(&mut rest).ok_or_else(bad)?;
        let shared = agree_ephemeral(secret, UnparsedPublicKey::new(&X25519, server), bad(), |k| Ok(mpint(k)))?;
        let mut hash = Context::new(&SHA256);
        for part in [IDENT, &self.server_ident, ours, theirs, host_key, public.as_ref(), server] {
            hash.update(&string(part));
        }
        hash.update(&shared);
        let hash = hash.finish();
        if self.session_id.is_empty() {
            self.session_id = hash.as_ref().to_vec();
        }
        let key = |letter: u8| {
            let mut derived = Context::new(&SHA256);
            [&shared[..], hash.as_ref(), &[letter], &self.session_id].iter().for_each(|part| derived.update(part));
            derived.finish().as_ref().to_vec()
        };
        let (sealing, opening) = (Keyed::new(&key(b'C'), &key(b'A')), Keyed::new(&key(b'D'), &key(b'B')));
        self.send(&[message::NEWKEYS])?;
        self.sealing = Some(sealing);
        self.receive_kind(message::NEWKEYS)?;
        self.opening = Some(opening);
        Ok(())
    }

    /// Logs in with the login's key (RFC 4252, section 7).
    pub(super) fn authenticate(&mut self, login: &Login) -> io::Result<()> {
        let private = russh::keys::load_secret_key(&login.key, None).map_err(io::Error::other)?;
        let pair = private.key_data().ed25519().ok_or_else(|| io::Error::other("not an ed25519 key"))?;
        let signer = Ed25519KeyPair::from_seed_unchecked(pair.private.as_ref()).map_err(io::Error::other)?;
        let blob = put(&[&string(b"ssh-ed25519"), &string(pair.public.as_ref())]);
        self.send(&put(&[&[message::SERVICE_REQUEST], &string(b"ssh-userauth")]))?;
        let request = put(&[
            &[message::USERAUTH_REQUEST],
            &string(login.user.as_bytes()),
            &string(b"ssh-connection"),
            &string(b"publickey"),
            &[1],
            &string(b"ssh-ed25519"),
            &string(&blob),
        ]);
        let signed = signer.sign(&put(&[&string(&self.session_id), &request]));
        let signature = put(&[&string(b"ssh-ed25519"), &string(signed.as_ref())]);
        self.send(&put(&[&request, &string(&signature)]))?;
        self.receive_kind(message::USERAUTH_SUCCESS).map(drop)
    }

    /// Sends a message as one packet.
    pub(super) fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let packet = self.packet(payload);
        self.write(&packet)
    }

    /// A packet of this message; what it is sealed with goes on.
    pub(super) fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        // The length is part of a block only where it is not in the clear.
        let before = if self.sealing.is_some() { 1 } else { 5 };
        let block = if self.sealing.is_some() { 16 } else { 8 };
        let padding = match block - (before + payload.len()) % block {
            short @ ..4 => short + block,
            enough => enough,
        };
        let length = u32::try_from(1 + payload.len() + padding).expect("a packet").to_be_bytes();
        let mut body = Vec::with_capacity(4 + 1 + payload.len() + padding + 16);
        body.push(u8::try_from(padding).expect("short"));
        body.extend_from_slice(payload);
        body.resize(body.len() + padding, 0);
        if let Some(sealing) = &mut self.sealing {
            let nonce = sealing.nonce();
            let tag = sealing.key.seal_in_place_separate_tag(nonce, Aad::from(length), &mut body).expect("sealed");
            body.extend_from_slice(tag.as_ref());
        }
        [&length[..], &body].concat()
    }

    /// Sends bytes as they are.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next message.
    pub(super) fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let tag = if self.opening.is_some() { 16 } else { 0 };
        let mut body = vec![0; u32::from_be_bytes(length) as usize + tag];
        self.stream.read_exact(&mut body)?;
        if let Some(opening) = &mut self.opening {
            let nonce = opening.nonce();
            opening.key.open_in_place(nonce, Aad::from(length), &mut body).map_err(io::Error::other)?;
            body.truncate(body.len() - 16);
        }
        let padding = usize::from(body[0]);
        Ok(body[1..body.len() - padding].to_vec())
    }

    /// The next message of this kind; others are passed over, but not the end.
    pub(super) fn receive_kind(&mut self, kind: u8) -> io::Result<Vec<u8>> {
        loop {
            let got = self.receive()?;
            match got.first() {
                Some(found) if *found == kind => return Ok(got),
                Some(&message::DISCONNECT) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "disconnected")),
                _ => {}
            }
        }
    }

    /// Reads until the server hangs up.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; 1 << 16];
        let deadline = Instant::now() + PATIENCE;
        // What keeps a connection alive may come meanwhile.
        while Instant::now() < deadline {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Passes over what has come already; an error says that the connection is over.
    pub(super) fn pass_over(&mut self) -> io::Result<()> {
        let mut bytes = [0; 1];
        loop {
            self.stream.set_nonblocking(true)?;
            let waits = self.stream.peek(&mut bytes);
            self.stream.set_nonblocking(false)?;
            match waits {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => drop(self.receive()?),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the server still answers: with anything, to a request that it cannot know.
    pub(super) fn is_answered(&mut self) -> bool {
        let asked = self.send(&put(&[&[message::GLOBAL_REQUEST], &string(b"are-you-there@test"), &[1]]));
        let answered = asked.and_then(|()| {
            loop {
                match self.receive()?.first() {
                    Some(&(message::REQUEST_SUCCESS | message::REQUEST_FAILURE)) => return Ok(()),
                    Some(&message::DISCONNECT) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => {}
                }
            }
        });
        answered.is_ok()
    }

    /// Where this end of the connection is.
    pub(super) fn address(&self) -> SocketAddrV4 {
        match self.stream.local_addr() {
            Ok(SocketAddr::V4(address)) => address,
            other => panic!("{other:?} is no address"),
        }
    }
}
