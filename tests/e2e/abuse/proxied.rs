//! Behind a balancer that speaks the PROXY protocol: a small one, that says before each connection what a test tells it to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::stranger::{Attempt, address, await_end, dial, first_line, guess, knock};
use super::{PATIENCE, node_with};
use crate::harness::{Identity, Login, Node, Waiting, finish, sftp, ssh, wait_until};

as_root_and_rootless!(
    what_a_balancer_says_is_the_address_for_every_rule,
    penalties_and_bans_hit_the_client_and_not_the_balancer,
    a_header_is_believed_once_from_listed_balancers_alone,
    a_balancer_that_may_say_nothing_may_speak_for_itself,
);

/// The balancer's own address.
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 50);
const LISTED: &str = "proxy_protocol = { from = [\"127.0.0.50\"] }";

/// A balancer in front of a node.
struct Balancer {
    port: u16,
    header: Arc<Mutex<Vec<u8>>>,
}

impl Balancer {
    fn start(node: &Node) -> Balancer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let header = Arc::new(Mutex::new(Vec::new()));
        let (said, to) = (header.clone(), node.port());
        thread::spawn(move || {
            for client in listener.incoming() {
                let header = said.lock().expect("the header").clone();
                let client = client.expect("a connection");
                thread::spawn(move || pass_on(client, to, &header));
            }
        });
        Balancer { port, header }
    }

    /// Says from now on that clients come from there, in the words of version 1.
    fn say(&self, source: &str) {
        let family = if source.contains(':') { "TCP6" } else { "TCP4" };
        let to = if family == "TCP6" { "2001:db8::1" } else { "198.51.100.1" };
        self.say_exactly(format!("PROXY {family} {source} {to} 40000 22\r\n").as_bytes());
    }

    /// The same in version 2.
    fn say_in_binary(&self, source: [u8; 4]) {
        let rest = [&source[..], &[198, 51, 100, 1], &40000_u16.to_be_bytes(), &[0, 22]].concat();
        self.say_exactly(&[b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &rest[..]].concat());
    }

    fn say_exactly(&self, header: &[u8]) {
        *self.header.lock().expect("the header") = header.to_vec();
    }
}

/// Copies both ways until both have ended.
fn pass_on(client: TcpStream, to: u16, header: &[u8]) {
    let mut server = dial(BALANCER, to);
    server.set_read_timeout(None).expect("no timeout");
    // In two parts, as the network may.
    let (head, tail) = header.split_at(header.len() / 2);
    if server.write_all(head).is_err() || server.write_all(tail).is_err() {
        return;
    }
    let (from, into) = (client.try_clone().expect("the client"), server.try_clone().expect("the server"));
    let back = thread::spawn(move || copy(server, client));
    copy(from, into);
    back.join().expect("the way back");
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut bytes) {
        if read == 0 || to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}

fn logs_in(login: &Login) -> bool {
    finish(&mut sftp(login), "ls\n").status.success()
}

fn what_a_balancer_says_is_the_address_for_every_rule(identity: Identity) {
    let (node, bob, _) = node_with(identity, LISTED);
    let balancer = Balancer::start(&node);
    let kim = node.user_with("kim", "acme", "sftp,exec", &[("www/site1", "rw")]).through(&node, balancer.port);
    node.admin(&["user", "set", "bob", "--from", "203.0.113.0/24"]);
    let bob = bob.through(&node, balancer.port);
    balancer.say("203.0.113.7");
    assert!(logs_in(&bob), "{}", node.log());
    balancer.say("203.0.114.7");
    assert!(!logs_in(&bob), "from= looks at the balancer's address");
    balancer.say_in_binary([203, 0, 113, 9]);
    assert!(logs_in(&bob), "{}", node.log());
    let client = finish(ssh(&kim).arg(kim.at()).arg("echo $SSH_CLIENT, $SSH_CONNECTION"), "").ok();
    assert_eq!(client.trim(), "203.0.113.9 40000 22, 203.0.113.9 40000 198.51.100.1 22");
    balancer.say("::ffff:203.0.113.10");
    assert!(logs_in(&bob), "IPv4 in IPv6 is IPv4: {}", node.log());
    balancer.say("2001:db8::7");
    let client = finish(ssh(&kim).arg(kim.at()).arg("echo $SSH_CLIENT"), "").ok();
    assert_eq!(client.trim(), "2001:db8::7 40000 22");
    assert!(node.log().contains("peer=203.0.113.9:40000") && node.log().contains("peer=[2001:db8::7]:40000"));
    assert!(!node.log().contains("peer=127.0.0.50"), "{}", node.log());
}

fn penalties_and_bans_hit_the_client_and_not_the_balancer(identity: Identity) {
    let (node, bob, _) = node_with(identity, &format!("max_unauthenticated_per_source = 4\n{LISTED}"));
    let balancer = Balancer::start(&node);
    let bob = bob.through(&node, balancer.port);
    balancer.say("203.0.113.7");
    let guesses =
        (0..50).position(|n| guess(address(1), balancer.port, &format!("user{n}"), "wrong") == Attempt::HungUp);
    assert!(guesses.is_some(), "a spray through a balancer is not stopped:\n{}", node.log());
    let sentence = knock(address(1), balancer.port).expect_err("the door is open");
    assert!(sentence.starts_with("Not allowed at this time: too many failed"), "{sentence:?}");
    assert!(!logs_in(&bob));
    balancer.say("203.0.113.8");
    assert!(logs_in(&bob), "others behind the balancer are turned away:\n{}", node.log());
    // Bans, and caps, by the true address.
    node.admin(&["ban", "add", "203.0.113.8"]);
    assert!(knock(address(1), balancer.port).expect_err("a ban is not seen").contains("banned here"));
    balancer.say("203.0.113.9");
    let flood: Vec<TcpStream> = (0..20).map(|_| dial(address(1), balancer.port)).collect();
    let lines: Vec<String> = flood.iter().map(first_line).collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("SSH-2.0-")).count(), 4, "{lines:?}");
    balancer.say("203.0.113.10");
    assert!(logs_in(&bob), "{}", node.log());
}

#[track_caller]
fn await_log(node: &Node, part: &str) {
    let waited = wait_until(PATIENCE, || node.log().contains(part));
    assert_eq!(waited, Waiting::Came, "{part:?} is not in the log:\n{}", node.log());
}

fn a_header_is_believed_once_from_listed_balancers_alone(identity: Identity) {
    let (node, bob, _) = node_with(identity, LISTED);
    node.admin(&["user", "set", "bob", "--from", "203.0.113.7"]);
    let balancer = Balancer::start(&node);
    let through = bob.through(&node, balancer.port);
    // None where one must be.
    balancer.say_exactly(b"");
    assert!(!logs_in(&through));
    await_log(&node, "no PROXY header came first");
    // Garbage, and headers that name nobody.
    for (header, part) in [
        (&b"PROXY TCP4 203.0.113.7 198.51.100.1 99999 22\r\n"[..], "the PROXY header is malformed"),
        (&[b'P'; 200][..], "the PROXY header is longer than it may be"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x01\0\x01\0\x16", "names no addresses of TCP"),
    ] {
        balancer.say_exactly(header);
        assert!(!logs_in(&through), "{header:?}");
        await_log(&node, part);
    }
    // Two: the second is the client's, who would be somewhere else.
    balancer.say_exactly(b"PROXY TCP4 203.0.113.8 198.51.100.1 1 22\r\nPROXY TCP4 203.0.113.7 198.51.100.1 1 22\r\n");
    assert!(!logs_in(&through));
    balancer.say_exactly(b"PROXY TCP4 203.0.113.7 198.51.100.1 1 22\r\n");
    assert!(logs_in(&through), "{}", node.log());
    // From somebody who is not listed it is garbage.
    let mut forger = dial(address(51), node.port());
    forger.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.1 1 22\r\nSSH-2.0-forger\r\n").expect("sent");
    await_end(forger);
    assert!(!node.log().contains("peer=203.0.113.7:1 user=bob method"), "{}", node.log());
    assert!(!logs_in(&bob.from("127.0.0.51")), "from= is met without the address");
}

fn a_balancer_that_may_say_nothing_may_speak_for_itself(identity: Identity) {
    let listed = "proxy_protocol = { from = [\"127.0.0.50\"], required = false }";
    let (node, bob, _) = node_with(identity, listed);
    let balancer = Balancer::start(&node);
    let through = bob.through(&node, balancer.port);
    assert!(logs_in(&through), "{}", node.log());
    balancer.say_exactly(b"PROXY UNKNOWN\r\n");
    assert!(logs_in(&through), "{}", node.log());
    balancer.say_exactly(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    assert!(logs_in(&through), "{}", node.log());
    // It looks whether somebody is there, as often as it likes.
    for _ in 0..40 {
        assert!(knock(BALANCER, node.port()).is_ok(), "{}", node.log());
    }
    balancer.say("203.0.113.7");
    assert!(logs_in(&through) && node.log().contains("peer=203.0.113.7:40000"), "{}", node.log());
}
