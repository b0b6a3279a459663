//! Peers who mean harm, one kind after the other: each stays under a written bound of memory, and others are served all the
//! while. What was measured is left for `tests/results/bounds.md`; only memory and answers are asserted, times are told.

mod files;
mod floods;
mod measures;
mod peer;
mod random;
mod windows;

use std::time::Duration;

use crate::harness::{Figures, Identity, Login, Node};
use files::Files;
use measures::{Others, Taken, Watch, session_of};
use peer::Peer;

as_root_and_rootless!(strangers_stay_under_their_bounds, users_stay_under_their_bounds, random_messages_end_in_answers,);

/// Most memory of one session, in KiB, whatever its peer does: what is its own and no file's.
const MOST: u64 = 8 * 1024;

/// A node under attack, and somebody else on it.
struct Siege {
    node: Node,
    bob: Login,
    others: Others,
    figures: Figures,
    identity: Identity,
}

/// What an attack came to, in words, and who served it.
struct Came {
    told: String,
    taken: Taken,
}

impl Siege {
    fn begin(identity: Identity, part: &'static str, settings: &str) -> Siege {
        let mut node = Node::prepare(identity);
        node.write_config(settings);
        node.serve();
        node.account("acme");
        node.account("other");
        let bob = node.user("bob", "acme", &[("www/site1", "rw")]);
        let eve = node.user("eve", "other", &[("www/site1", "rw")]);
        let others = Others::start(&eve);
        Siege { node, bob, others, figures: Figures::of_part("bounds", part, identity), identity }
    }

    /// One attack; the bound is on the memory of each session that serves it.
    fn attack(&mut self, name: &str, attack: impl FnOnce(&mut Siege) -> Came) {
        drop(self.others.take());
        let Came { told, taken } = attack(self);
        let others = self.others.take();
        println!("{name}: {told}; {taken:?}; others {others}");
        let (most, used) = (format!("{:.1} MiB", taken.most as f64 / 1024.0), taken.used());
        self.figures.row(&[name, &told, "8 MiB", &most, &used, &others]);
        assert!(taken.most < MOST, "{name}: a session took {} KiB", taken.most);
        assert!(taken.most > 0, "{name}: nobody was looked at");
        assert!(self.others.are_well(), "{name}: somebody else was disturbed\n{}", self.node.log());
    }

    /// Does something with a peer while its session is looked at.
    fn watching<T>(&self, peer: &mut Peer, what: impl FnOnce(&mut Peer) -> T) -> (T, Taken) {
        let watch = Watch::of(vec![session_of(&self.node, peer).expect("a session serves it")]);
        let done = what(peer);
        (done, watch.end())
    }

    /// The same with one that has files.
    fn watching_files<T>(&self, files: &mut Files, what: impl FnOnce(&mut Files) -> T) -> (T, Taken) {
        let watch = Watch::of(vec![session_of(&self.node, &files.peer).expect("a session serves it")]);
        let done = what(files);
        (done, watch.end())
    }

    fn peer(&self) -> Peer {
        Peer::connect(self.node.port()).expect("an exchange of keys")
    }

    fn logged_in(&self) -> Peer {
        Peer::log_in(&self.bob).expect("a login")
    }

    fn files(&self, window: u32) -> Files {
        Files::open(self.logged_in(), window).expect("sftp")
    }

    /// Nobody crashed, and nobody was taken for captured.
    fn end(self) {
        let log = self.node.log();
        for part in ["crash", "broke the rules", "session failed", "panicked"] {
            assert!(!log.contains(part), "{part:?}:\n{log}");
        }
    }
}

fn strangers_stay_under_their_bounds(identity: Identity) {
    let settings = "max_unauthenticated = 120\nmax_unauthenticated_per_source = 60\nlogin_grace = 10\n\
        exempt_sources = [\"127.0.0.1\"]";
    let mut siege = Siege::begin(identity, "strangers", settings);
    siege.attack("handshakes byte by byte", floods::byte_by_byte);
    siege.attack("connections left half open", floods::half_open);
    siege.attack("lengths of 256 MiB before keys", floods::long_before_keys);
    siege.attack("lengths of 256 MiB after keys", floods::long_after_keys);
    siege.attack("exchanges of keys begun and not finished", floods::begun_exchanges);
    siege.attack("rounds of keyboard-interactive", floods::rounds_of_questions);
    siege.attack("the longest names and passwords", floods::long_credentials);
    siege.end();
}

fn users_stay_under_their_bounds(identity: Identity) {
    let mut siege = Siege::begin(identity, "users", "");
    siege.attack("1,000 exchanges of keys", floods::exchanges);
    siege.attack("10,000 channels opened and closed", floods::channels);
    siege.attack("10,000 channels opened and kept", floods::kept_channels);
    siege.attack("10,000 requests on one channel", floods::requests);
    siege.attack("a window of nothing", windows::nothing);
    siege.attack("packets of at most next to nothing", windows::tiny_packets);
    siege.attack("windows widened without end", windows::widened);
    siege.attack("data beyond the window", windows::beyond);
    siege.attack("a reader that never reads", windows::never_reads);
    siege.attack("packets of SFTP with lengths of 256 MiB", windows::long_packets);
    siege.attack("much uploaded beside a reader that never reads", windows::uploads);
    siege.attack("a paused channel beside another of its connection", windows::paused);
    siege.attack("a directory of very many names", windows::many_names);
    siege.end();
}

fn random_messages_end_in_answers(identity: Identity) {
    let settings = "max_unauthenticated = 120\nmax_unauthenticated_per_source = 120";
    let mut siege = Siege::begin(identity, "random", settings);
    siege.attack("random messages in every state", random::messages);
    siege.end();
}

/// Longest until something comes or goes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
