//! Random messages of every number, in every state of a connection: each peer gets answers or an end, and no session panics.
//!
//! What is sent follows from a number, `ENCLOS_HOSTILE_SEED`; `ENCLOS_HOSTILE_PEERS` sets how many peers there are.

use std::io;

use super::files::{data, open_channel, request};
use super::measures::{Watch, session_of};
use super::peer::{Peer, message};
use super::{Came, Siege};
use crate::harness::{Numbers, string};
use crate::storm::number;

/// Messages of one peer.
const MESSAGES: u64 = 150;

/// Words that a server may look at more closely.
const WORDS: &[&str] = &[
    "session",
    "direct-tcpip",
    "direct-streamlocal@openssh.com",
    "forwarded-tcpip",
    "tcpip-forward",
    "cancel-tcpip-forward",
    "streamlocal-forward@openssh.com",
    "no-more-sessions@openssh.com",
    "hostkeys-prove-00@openssh.com",
    "keepalive@openssh.com",
    "subsystem",
    "sftp",
    "shell",
    "exec",
    "env",
    "pty-req",
    "signal",
    "window-change",
    "exit-status",
    "eow@openssh.com",
    "ssh-userauth",
    "ssh-connection",
    "publickey",
    "password",
    "keyboard-interactive",
    "ssh-ed25519",
    "bob",
    "127.0.0.1",
    "/tmp/x",
];

pub(super) fn messages(siege: &mut Siege) -> Came {
    let seed = number("ENCLOS_HOSTILE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let peers = number("ENCLOS_HOSTILE_PEERS").unwrap_or(120);
    println!("ENCLOS_HOSTILE_SEED={seed}");
    let mut numbers = Numbers::new(seed);
    let (mut answered, mut ended, mut left, mut said, mut taken) = (0, 0, 0, 0, None);
    for _ in 0..peers {
        let (mut peer, open) = begin(siege, &mut numbers).expect("a connection");
        let watch = Watch::of(session_of(&siege.node, &peer).into_iter().collect());
        let rampage = (0..MESSAGES).try_for_each(|n| {
            said += 1;
            let sent = peer.send(&random(&mut numbers, open.unwrap_or(1)));
            if n % 10 == 9 { sent.and_then(|()| peer.pass_over()) } else { sent }
        });
        // An exchange of keys that a message began is not answered otherwise than by its end.
        match (rampage, open.is_some()) {
            // Who has not logged in is owed nothing but an end in its time.
            (Ok(()), false) => left += 1,
            (Ok(()), true) if peer.is_answered() => answered += 1,
            _ => ended += 1,
        }
        let took = watch.end();
        taken = Some(took.with(taken.unwrap_or_default()));
    }
    assert_eq!(answered + ended + left, peers);
    assert!(answered > 0, "nobody is answered: nothing of this reaches far");
    let told = format!(
        "{peers} peers, {said} messages: {answered} answered to the last, {ended} ended, {left} left waiting before their login"
    );
    Came { told, taken: taken.expect("several") }
}

/// A peer in one of the states that there are, and if it has logged in, how many channels it has.
fn begin(siege: &Siege, numbers: &mut Numbers) -> io::Result<(Peer, Option<u32>)> {
    match numbers.next() % 8 {
        0 => Ok((Peer::greet(siege.node.port())?, None)),
        1 => Ok((Peer::connect(siege.node.port())?, None)),
        // Some of those who are in have channels, some with files.
        state => {
            let mut peer = Peer::log_in(&siege.bob)?;
            let open = u32::try_from(state.saturating_sub(3)).expect("few");
            for ours in 0..open {
                if let Some((theirs, _)) = open_channel(&mut peer, ours, 1 << 20, 32_000)? {
                    peer.send(&request(theirs, "subsystem", &string(b"sftp")))?;
                }
            }
            Ok((peer, Some(open)))
        }
    }
}

/// A message: mostly one that could be right in every field, of a channel that may be there; seldom any bytes at all.
fn random(numbers: &mut Numbers, open: u32) -> Vec<u8> {
    let mut message = match numbers.next() % 60 {
        0 => vec![u8::try_from(numbers.next() % 255 + 1).expect("a byte")],
        1 => [&[message::SERVICE_REQUEST][..], &word(numbers)].concat(),
        2 => [&[message::USERAUTH_REQUEST][..], &word(numbers), &string(b"ssh-connection"), &word(numbers)].concat(),
        3 => [&[message::EXT_INFO][..], &edge(numbers), &word(numbers), &word(numbers)].concat(),
        4 => [&[message::CHANNEL_CLOSE][..], &channel(numbers, open)].concat(),
        5 => [&[[91, 92, 99, 100][pick(numbers, 4)]][..], &channel(numbers, open)].concat(),
        6..=9 => [&[2][..], &string(&bytes(numbers))].concat(),
        10..=16 => {
            [&[message::CHANNEL_OPEN][..], &word(numbers), &edge(numbers), &edge(numbers), &edge(numbers)].concat()
        }
        17..=24 => [&[message::CHANNEL_REQUEST][..], &channel(numbers, open), &word(numbers), &[1]].concat(),
        25..=28 => [&[message::GLOBAL_REQUEST][..], &word(numbers), &[1]].concat(),
        29..=33 => [&[message::CHANNEL_WINDOW_ADJUST][..], &channel(numbers, open), &edge(numbers)].concat(),
        34..=36 => [&[95][..], &channel(numbers, open), &edge(numbers), &string(&bytes(numbers))].concat(),
        37..=38 => [&[96][..], &channel(numbers, open)].concat(),
        _ => data(u32::from_be_bytes(channel(numbers, open)), &packet(numbers)),
    };
    let more = if message.len() == 1 { 7 } else { 3 };
    for _ in 0..numbers.next() % more {
        field(&mut message, numbers);
    }
    if numbers.next().is_multiple_of(30) {
        message.truncate(usize::try_from(numbers.next()).expect("64 bits") % message.len() + 1);
    }
    message
}

fn pick(numbers: &mut Numbers, of: u64) -> usize {
    usize::try_from(numbers.next() % of).expect("small")
}

/// Mostly one that is open: another ends the connection.
fn channel(numbers: &mut Numbers, open: u32) -> [u8; 4] {
    let any = numbers.next().is_multiple_of(100);
    let most = if any { 8 } else { u64::from(open.max(1)) };
    u32::try_from(numbers.next() % most).expect("small").to_be_bytes()
}

fn edge(numbers: &mut Numbers) -> [u8; 4] {
    const EDGES: [u32; 10] = [0, 1, 2, 3, 32_000, 1 << 20, 0x7fff_ffff, 0x8000_0000, u32::MAX, 1 << 28];
    EDGES[usize::try_from(numbers.next() % 10).expect("small")].to_be_bytes()
}

fn word(numbers: &mut Numbers) -> Vec<u8> {
    string(WORDS[usize::try_from(numbers.next()).expect("64 bits") % WORDS.len()].as_bytes())
}

fn bytes(numbers: &mut Numbers) -> Vec<u8> {
    let length = numbers.next() % 600;
    (0..length).map(|_| numbers.next().to_le_bytes()[3]).collect()
}

/// A request of SFTP, or the beginning of one.
fn packet(numbers: &mut Numbers) -> Vec<u8> {
    let kind = [1, 3, 4, 5, 6, 7, 11, 12, 16, 17, 200, 9][usize::try_from(numbers.next() % 12).expect("small")];
    let mut body = [&[kind][..], &edge(numbers)].concat();
    for _ in 0..numbers.next() % 5 {
        field(&mut body, numbers);
    }
    let mut packet = string(&body);
    if numbers.next().is_multiple_of(10) {
        packet.truncate(packet.len() / 2);
    }
    packet
}

fn field(message: &mut Vec<u8>, numbers: &mut Numbers) {
    match numbers.next() % 8 {
        0 => message.push(u8::try_from(numbers.next() % 256).expect("a byte")),
        1 => message.extend(edge(numbers)),
        2..=4 => message.extend(channel(numbers, 3)),
        5 => message.extend(word(numbers)),
        6 => message.extend(string(&bytes(numbers))),
        // A string that is shorter than it says.
        _ => message.extend([&edge(numbers)[..], b"short"].concat()),
    }
}
