//! The same random requests to our engine and to OpenSSH's `sftp-server`, each over a directory tree of its own: every
//! answer must be the same, and what is left in the end. Where we mean to differ, `differences.rs` says how and why; the
//! run counts how often, and writes it all to `tests/results/differential.md`.
//!
//! Another seed or length: `ENCLOS_DIFFERENTIAL_SEED`, `ENCLOS_DIFFERENTIAL_ROUNDS`.
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod differences;
mod packet;
mod program;
mod report;
mod sides;
mod tree;

use rand::SeedableRng;
use rand::rngs::StdRng;

use differences::{TABLE, comparable};
use packet::{OK, Part, Reply, Request, text};
use program::{FORGED, HANDLES, Program};
use report::Counts;
use sides::{Enclos, OpenSsh, Side};

const SEED: u64 = 22;
const ROUNDS: u64 = 250;
const STEPS: u64 = 500;

/// A server, and its handles by their places.
struct Player<S> {
    side: S,
    handles: Vec<Vec<u8>>,
    id: u32,
}

impl<S: Side> Player<S> {
    fn new(side: S) -> Self {
        Player { side, handles: vec![b"forged".to_vec(); HANDLES + 1], id: 0 }
    }

    fn ask(&mut self, request: &Request) -> Reply {
        self.id += 1;
        let answer = self.side.ask(&request.bytes(self.id, &self.handles));
        Reply::parse(&answer, self.id)
    }

    /// The answer; of READDIR all answers until the last.
    fn answer(&mut self, request: &Request) -> Reply {
        let first = self.ask(request);
        let Reply::Names(mut names) = first else { return first };
        if request.name == "READDIR" {
            while let Reply::Names(more) = self.ask(request) {
                names.extend(more);
            }
        }
        Reply::Names(names)
    }

    fn close(&mut self, handle: Vec<u8>) {
        let request = Request { name: "CLOSE", kind: 4, parts: vec![Part::Bytes(text(&handle))] };
        assert_eq!(self.ask(&request), Reply::Status(OK), "an open handle is closed");
    }
}

/// Both servers in one round.
struct Pair {
    openssh: Player<OpenSsh>,
    enclos: Player<Enclos>,
    /// Which places hold an open handle.
    open: [bool; HANDLES + 1],
    /// Whether the trees differ, because we meant to.
    parted: bool,
}

impl Pair {
    /// Sends one request to both; what it makes is kept in `place`. Fails with a sentence where the answers differ and
    /// nobody meant them to.
    fn step(&mut self, request: &Request, place: usize, counts: &mut Counts) -> Result<(), String> {
        counts.sent(request.name);
        let (theirs, ours) = (self.openssh.answer(request), self.enclos.answer(request));
        let (one, two) = (comparable(request.name, theirs.clone()), comparable(request.name, ours.clone()));
        if one != two {
            let explained = TABLE.iter().position(|d| (d.explains)(request, &one, &two));
            let Some(row) = explained else {
                let (one, two) = only_different(one, two);
                return Err(format!("{request:?}\n  OpenSSH: {one:?}\n  Enclos:  {two:?}"));
            };
            counts.differed(row);
            self.parted |= TABLE[row].parts;
        }
        let is_opened = matches!((&theirs, &ours), (Reply::Handle(_), Reply::Handle(_)));
        self.keep(theirs, ours, place);
        if request.name == "OPENDIR" && is_opened {
            // At once: OpenSSH looks for the names by the path that was opened, and another may soon have it.
            return self.step(&Request { name: "READDIR", kind: 12, parts: vec![Part::Handle(place)] }, 0, counts);
        }
        if let (4, [Part::Handle(place)]) = (request.kind, request.parts.as_slice())
            && *place != FORGED
        {
            self.forget(*place);
        }
        Ok(())
    }

    fn forget(&mut self, place: usize) {
        self.open[place] = false;
        self.openssh.handles[place] = b"forged".to_vec();
        self.enclos.handles[place] = b"forged".to_vec();
    }

    /// Keeps a handle that both gave; one that only one of them gave is closed again.
    fn keep(&mut self, theirs: Reply, ours: Reply, place: usize) {
        match (theirs, ours) {
            (Reply::Handle(theirs), Reply::Handle(ours)) => {
                if self.open[place] {
                    let (old_theirs, old_ours) = (&self.openssh.handles[place], &self.enclos.handles[place]);
                    let (old_theirs, old_ours) = (old_theirs.clone(), old_ours.clone());
                    self.openssh.close(old_theirs);
                    self.enclos.close(old_ours);
                }
                self.open[place] = true;
                self.openssh.handles[place] = theirs;
                self.enclos.handles[place] = ours;
            }
            (Reply::Handle(theirs), _) => self.openssh.close(theirs),
            (_, Reply::Handle(ours)) => self.enclos.close(ours),
            _ => {}
        }
    }

    /// Copies a new file as a whole, which random requests may not.
    fn copy_whole(&mut self, counts: &mut Counts) -> Result<(), String> {
        let open = |name: &[u8]| {
            let parts = [text(name), 0x2b_u32.to_be_bytes().to_vec(), vec![0; 4]];
            Request { name: "OPEN", kind: 3, parts: parts.map(Part::Bytes).to_vec() }
        };
        let number = |n: u64| Part::Bytes(n.to_be_bytes().to_vec());
        let data = Part::Bytes([&1_u64.to_be_bytes()[..], &text(&[3; 70_000])].concat());
        let copy = Part::Bytes(text(b"copy-data"));
        let parts = vec![copy, Part::Handle(0), number(3), number(0), Part::Handle(1), number(9)];
        self.step(&open(b"copied"), 0, counts)?;
        self.step(&open(b"copy"), 1, counts)?;
        self.step(&Request { name: "WRITE", kind: 6, parts: vec![Part::Handle(0), data] }, 0, counts)?;
        self.step(&Request { name: "copy-data", kind: 200, parts }, 0, counts)
    }
}

/// Of two listings, what only one has.
fn only_different(one: Reply, two: Reply) -> (Reply, Reply) {
    let (Reply::Names(one), Reply::Names(two)) = (&one, &two) else { return (one, two) };
    let without = |names: &[packet::Name], other: &[packet::Name]| {
        Reply::Names(names.iter().filter(|n| !other.contains(n)).cloned().collect())
    };
    (without(one, two), without(two, one))
}

/// One pair of trees. Fails with the first answer, or the first thing left, that differs.
fn round(seed: u64, counts: &mut Counts) -> Result<(), String> {
    let base = tempfile::tempdir().expect("a temporary directory");
    let trees = ["openssh", "enclos"].map(|name| base.path().join(name));
    for tree in &trees {
        std::fs::create_dir(tree).expect("a tree");
    }
    open_to_all(base.path());
    trees.iter().for_each(|tree| tree::lay_out(tree));
    let mut pair = Pair {
        openssh: Player::new(OpenSsh::start(&trees[0])),
        enclos: Player::new(Enclos::start(&trees[1])),
        open: [false; HANDLES + 1],
        parted: false,
    };
    announced(&pair);
    let mut program = Program::new(StdRng::seed_from_u64(seed));
    pair.copy_whole(counts)?;
    for step in 0..STEPS {
        let (request, place) = (program.next(), program.place());
        pair.step(&request, place, counts).map_err(|why| format!("step {step}: {why}"))?;
        if pair.parted {
            return Ok(());
        }
        trees.iter().for_each(|tree| keep_open(tree));
    }
    let [theirs, ours] = trees.map(|tree| tree::picture(&tree));
    let mut paths = theirs.keys().chain(ours.keys());
    match paths.find(|path| theirs.get(*path) != ours.get(*path)) {
        None => Ok(()),
        Some(path) => Err(format!("{}: {:?} and {:?}", path.escape_ascii(), theirs.get(path), ours.get(path))),
    }
}

/// Every extension that OpenSSH announces, we do, in the same version.
fn announced(pair: &Pair) {
    let names = |version: &[u8]| {
        let mut body = packet::Body(&version[1..]);
        assert_eq!(body.number(), 3, "version 3");
        let mut names = Vec::new();
        while !body.0.is_empty() {
            names.push((body.text(), body.text()));
        }
        names
    };
    let ours = names(&pair.enclos.side.version);
    for extension in names(&pair.openssh.side.version) {
        assert!(ours.contains(&extension), "{}", String::from_utf8_lossy(&extension.0));
    }
}

/// Where `/` may not be searched, nothing can be compared any more.
fn keep_open(tree: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::metadata(tree).expect("a tree").permissions().mode() & 0o100 == 0 {
        open_to_all(tree);
    }
}

fn open_to_all(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).expect("open to all");
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

mod as_root {
    use super::*;

    #[test]
    fn random_requests_are_answered_as_openssh_answers_them() {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let first = from_environment("ENCLOS_DIFFERENTIAL_SEED", SEED);
        let rounds = from_environment("ENCLOS_DIFFERENTIAL_ROUNDS", ROUNDS);
        let mut counts = Counts::default();
        let failed: Vec<String> = (first..first + rounds)
            .filter_map(|seed| round(seed, &mut counts).err().map(|why| format!("seed {seed}, {why}")))
            .collect();
        assert!(
            failed.is_empty(),
            "{} rounds of {rounds}:\n{}",
            failed.len(),
            failed[..failed.len().min(25)].join("\n")
        );
        if (first, rounds) == (SEED, ROUNDS) {
            assert!(counts.all() >= 100_000, "{} requests are too few", counts.all());
            report::write(&counts);
        }
    }
}
