//! Much of something: of connections, exchanges, questions, channels, requests.

use std::io;

use super::files::{about, ask_for_channel, open_channel, request};
use super::measures::{Taken, Watch, session_of};
use super::peer::{Peer, kexinit, message};
use super::{Came, PATIENCE, Siege};
use crate::abuse::stranger::{address, dial};
use crate::harness::{Waiting, string, wait_until};

/// Sessions that serve these peers, as soon as they do.
fn sessions(siege: &Siege, peers: &[Peer]) -> Vec<u32> {
    let mut found = Vec::new();
    let came = wait_until(PATIENCE, || {
        found = peers.iter().filter_map(|peer| session_of(&siege.node, peer)).collect();
        found.len() == peers.len()
    });
    assert_eq!(came, Waiting::Came, "not everybody is served");
    found
}

/// Everybody says a byte now and then, which is no progress; all are ended when their time is over.
pub(super) fn byte_by_byte(siege: &mut Siege) -> Came {
    let mut peers: Vec<Peer> = (0..50).map(|_| Peer::greet(siege.node.port()).expect("a greeting")).collect();
    let watch = Watch::of(sessions(siege, &peers));
    // KEXINIT of a packet that never is whole.
    let packet = [&[0, 0, 0x7f, 0xff, 4][..], &kexinit()].concat();
    let mut said = 0;
    let mut ended = 0;
    let all_ended = wait_until(PATIENCE, || {
        let byte = packet.get(said % packet.len()).copied().unwrap_or_default();
        said += 1;
        ended = peers.iter_mut().filter_map(|peer| peer.write(&[byte]).and_then(|()| peer.pass_over()).err()).count();
        ended == 50
    });
    assert_eq!(all_ended, Waiting::Came, "{ended} of 50 have ended");
    Came { told: "all 50 ended when their time to log in was over".to_owned(), taken: watch.end() }
}

/// Connections before the exchange of keys, as many as one address may have; the others are told so.
pub(super) fn half_open(siege: &mut Siege) -> Came {
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..200 {
        match Peer::greet_by(dial(address(2), siege.node.port())) {
            Ok(peer) => open.push(peer),
            Err(_) => refused += 1,
        }
    }
    assert!(open.len() <= 60, "{} are open", open.len());
    let taken = Watch::of(sessions(siege, &open)).end();
    Came { told: format!("{} held open, {refused} refused", open.len()), taken }
}

fn ends(peer: &mut Peer, what: &str) {
    peer.drain().unwrap_or_else(|e| panic!("{what}: the connection is not ended: {e}"));
}

/// The length of the first packet is not for the server to believe.
pub(super) fn long_before_keys(siege: &mut Siege) -> Came {
    let mut taken = None;
    for length in [256_u32 << 20, u32::MAX, 1 << 18, 0, 1] {
        let mut peer = Peer::greet(siege.node.port()).expect("a greeting");
        let watch = Watch::of(sessions(siege, std::slice::from_ref(&peer)));
        // A server that hangs up does not read the rest.
        drop(peer.write(&length.to_be_bytes()));
        drop(peer.write(&[0x55; 1 << 19]));
        ends(&mut peer, &format!("a length of {length}"));
        taken = most(taken, watch.end());
    }
    Came { told: "each is ended".to_owned(), taken: taken.expect("several") }
}

pub(super) fn long_after_keys(siege: &mut Siege) -> Came {
    let mut taken = None;
    for length in [256_u32 << 20, u32::MAX, 1 << 18, 0] {
        let mut peer = siege.peer();
        let watch = Watch::of(sessions(siege, std::slice::from_ref(&peer)));
        drop(peer.write(&length.to_be_bytes()));
        drop(peer.write(&[0x55; 1 << 19]));
        ends(&mut peer, &format!("a length of {length}"));
        taken = most(taken, watch.end());
    }
    Came { told: "each is ended".to_owned(), taken: taken.expect("several") }
}

fn most(one: Option<Taken>, other: Taken) -> Option<Taken> {
    Some(other.with(one.unwrap_or_default()))
}

/// KEXINIT after KEXINIT, none of them followed by what it promises.
pub(super) fn begun_exchanges(siege: &mut Siege) -> Came {
    let mut peer = siege.peer();
    let (sent, taken) = siege.watching(&mut peer, |peer| {
        let sent = (0..10_000).take_while(|_| peer.send(&kexinit()).is_ok()).count();
        ends(peer, "exchanges without an end");
        sent
    });
    Came { told: format!("ended while {sent} were sent"), taken }
}

/// Questions are asked anew as often as the client likes, and answered wrongly.
pub(super) fn rounds_of_questions(siege: &mut Siege) -> Came {
    let mut peer = siege.peer();
    let (rounds, taken) = siege.watching(&mut peer, |peer| {
        let asked = peer.send(&[&[message::SERVICE_REQUEST][..], &string(b"ssh-userauth")].concat());
        asked.expect("the service is asked for");
        let method = [&string(b"keyboard-interactive")[..], &string(b""), &string(b"")].concat();
        let begin = [&[message::USERAUTH_REQUEST][..], &string(b"bob"), &string(b"ssh-connection"), &method].concat();
        let answer = [&[61][..], &1_u32.to_be_bytes(), &string(b"wrong")].concat();
        let sent = (0..10_000).take_while(|_| peer.send(&begin).and_then(|()| peer.send(&answer)).is_ok()).count();
        ends(peer, "questions without an end");
        sent
    });
    Came { told: format!("ended while {rounds} rounds were sent"), taken }
}

/// As long as a packet may be, in every place.
pub(super) fn long_credentials(siege: &mut Siege) -> Came {
    let mut taken = None;
    let long = string(&[b'x'; 30_000]);
    for method in ["password", "publickey", "keyboard-interactive", "hostbased", "none"] {
        let mut peer = siege.peer();
        let (sent, took) = siege.watching(&mut peer, |peer| {
            let asked = peer.send(&[&[message::SERVICE_REQUEST][..], &string(b"ssh-userauth")].concat());
            asked.expect("the service is asked for");
            let rest = [&[0][..], &long, &long].concat();
            let request = [
                &[message::USERAUTH_REQUEST][..],
                &long,
                &string(b"ssh-connection"),
                &string(method.as_bytes()),
                &rest,
            ];
            let sent = (0..1_000).take_while(|_| peer.send(&request.concat()).is_ok()).count();
            ends(peer, method);
            sent
        });
        assert!(sent > 0);
        taken = most(taken, took);
    }
    Came { told: "each method is ended".to_owned(), taken: taken.expect("several") }
}

/// One after the other, each gone through to its end.
pub(super) fn exchanges(siege: &mut Siege) -> Came {
    let mut peer = siege.logged_in();
    let ((), taken) = siege.watching(&mut peer, |peer| {
        for n in 0..1_000 {
            peer.exchange().unwrap_or_else(|e| panic!("exchange {n}: {e}"));
        }
        assert!(peer.is_answered(), "no answer after all of them");
    });
    Came { told: "all are answered".to_owned(), taken }
}

pub(super) fn channels(siege: &mut Siege) -> Came {
    let mut peer = siege.logged_in();
    let ((), taken) = siege.watching(&mut peer, |peer| {
        for n in 0..10_000 {
            let opened = open_channel(peer, n, 1 << 20, 32_000).unwrap_or_else(|e| panic!("channel {n}: {e}"));
            let (theirs, _) = opened.unwrap_or_else(|| panic!("channel {n} is refused"));
            if n % 100 == 0 {
                peer.send(&request(theirs, "subsystem", &string(b"sftp"))).expect("sent");
            }
            peer.send(&about(message::CHANNEL_CLOSE, theirs)).expect("sent");
        }
        assert!(peer.is_answered(), "no answer after all of them");
    });
    Came { told: "all are opened; the connection goes on".to_owned(), taken }
}

/// More than there may be, none of them closed, no answer waited for.
pub(super) fn kept_channels(siege: &mut Siege) -> Came {
    let mut peer = siege.logged_in();
    let (opened, taken) = siege.watching(&mut peer, |peer| {
        let (mut opened, mut refused) = (0, 0);
        for n in 0..10_000 {
            peer.send(&ask_for_channel(n, 1 << 20, 32_000)).expect("sent");
            if n % 500 == 499 {
                while opened + refused <= n {
                    match peer.receive().expect("an answer").first() {
                        Some(&message::CHANNEL_OPEN_CONFIRMATION) => opened += 1,
                        Some(&message::CHANNEL_OPEN_FAILURE) => refused += 1,
                        _ => {}
                    }
                }
            }
        }
        assert!(peer.is_answered());
        opened
    });
    assert!(opened <= 64, "{opened} channels at once");
    Came { told: format!("{opened} are opened, the others refused"), taken }
}

/// Requests that nobody knows, wanted and unwanted, one after the other, with much in them.
pub(super) fn requests(siege: &mut Siege) -> Came {
    let mut peer = siege.logged_in();
    let (done, taken) = siege.watching(&mut peer, |peer| -> io::Result<()> {
        let (theirs, _) = open_channel(peer, 0, 1 << 20, 32_000)?.ok_or_else(|| io::Error::other("refused"))?;
        let names = ["env", "eow@openssh.com", "something@test"];
        for n in 0..10_000 {
            let text = string(&vec![b'v'; n % 3_000]);
            peer.send(&request(theirs, names[n % names.len()], &[&text[..], &text].concat()))?;
            if n % 100 == 99 {
                peer.pass_over()?;
            }
        }
        Ok(())
    });
    let told = match done {
        Ok(()) if peer.is_answered() => "all are answered".to_owned(),
        _ => "the connection is ended".to_owned(),
    };
    Came { told, taken }
}
