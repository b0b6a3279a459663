//! What there is to be stolen: an account with a granted directory, things beside it, and things around it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::harness::{Login, Node};

/// What no client of `bob` may ever read; nothing else contains it.
const CANARY: &str = "CANARY-5d1f8a: this was not granted\n";
/// What lies inside the grant.
pub(crate) const INSIDE: &str = "this was granted\n";
/// What somebody else of the account keeps.
const SIBLING: &str = "CANARY-5d1f8a: this is another user's\n";

/// State of one file that must not change: content, mode, and times.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    content: Option<Vec<u8>>,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    modified: (i64, i64),
    links: u64,
}

/// A running node whose user `bob` is granted `www/site1` of the account `acme`, and much that he is not granted.
#[derive(Debug)]
pub(crate) struct World {
    node: Node,
    bob: Login,
    home: PathBuf,
    before: BTreeMap<PathBuf, State>,
}

impl World {
    /// Fills the account and remembers how everything outside the grant was.
    pub(crate) fn new(node: Node) -> World {
        let home = node.account("acme");
        let outside = node.dir().join("outside");
        fs::create_dir_all(&outside).expect("a directory");
        for secret in [home.join("private/secret.txt"), home.join("www/notes.txt"), outside.join("secret.txt")] {
            fs::write(&secret, CANARY).expect("a canary");
        }
        fs::write(home.join("www/site2/secret.txt"), SIBLING).expect("a canary");
        fs::create_dir(home.join("private/full")).expect("a directory");
        fs::write(home.join("private/full/secret.txt"), CANARY).expect("a canary");
        fs::create_dir(home.join("logs")).expect("a directory");
        fs::write(home.join("logs/access.log"), "GET /\n").expect("a file");
        plant(&home, &outside);
        node.own(&home);
        let bob = node.user("bob", "acme", &[("www/site1", "rw")]);
        let mut world = World { node, bob, home, before: BTreeMap::new() };
        world.before = world.states();
        // So that a change cannot hide in the granularity of a filesystem's clock.
        let long_ago = SystemTime::now() - Duration::from_secs(86_400);
        for path in world.before.keys() {
            fs::File::open(path).and_then(|f| f.set_modified(long_ago)).expect("set a time");
        }
        world.before = world.states();
        world
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn bob(&self) -> &Login {
        &self.bob
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The directory that `bob` was granted.
    pub(crate) fn grant(&self) -> PathBuf {
        self.home.join("www/site1")
    }

    /// A file of the account that nobody was granted.
    pub(crate) fn secret(&self) -> PathBuf {
        self.home.join("private/secret.txt")
    }

    fn outside(&self) -> PathBuf {
        self.node.dir().join("outside")
    }

    /// What has changed outside the grant, in words; empty when nothing has.
    pub(crate) fn harm(&self) -> Vec<String> {
        let now = self.states();
        let mut harm = Vec::new();
        for (path, before) in &self.before {
            match now.get(path) {
                None => harm.push(format!("{} is gone", path.display())),
                Some(after) if after != before => harm.push(format!("{} was {before:?}, is {after:?}", path.display())),
                Some(_) => {}
            }
        }
        harm.extend(now.keys().filter(|p| !self.before.contains_key(*p)).map(|p| format!("{} is new", p.display())));
        harm
    }

    /// Everything of the account that is not beneath the grant, and everything outside the account.
    fn states(&self) -> BTreeMap<PathBuf, State> {
        let mut found = BTreeMap::new();
        let mut front = vec![self.home.clone(), self.outside()];
        while let Some(path) = front.pop() {
            if path == self.grant() {
                continue;
            }
            let meta = fs::symlink_metadata(&path).expect("a file to guard");
            if meta.is_dir() {
                front.extend(fs::read_dir(&path).expect("a directory").map(|e| e.expect("an entry").path()));
            }
            found.insert(path.clone(), State::of(&path, &meta));
        }
        found
    }
}

impl State {
    fn of(path: &Path, meta: &fs::Metadata) -> State {
        State {
            content: meta.is_file().then(|| fs::read(path).expect("a file to guard")),
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            size: if meta.is_file() { meta.len() } else { 0 },
            modified: (meta.mtime(), meta.mtime_nsec()),
            links: if meta.is_file() { meta.nlink() } else { 0 },
        }
    }
}

fn plant(home: &Path, outside: &Path) {
    let grant = home.join("www/site1");
    fs::write(grant.join("inside.txt"), INSIDE).expect("a file");
    fs::create_dir_all(grant.join("dir/deep")).expect("directories");
    fs::create_dir(grant.join("moving")).expect("a directory");
    let links: [(PathBuf, &str); 11] = [
        (home.join("private/secret.txt"), "planted-absolute"),
        ("/private/secret.txt".into(), "planted-rooted"),
        ("../../private/secret.txt".into(), "planted-relative"),
        ("planted-chain-2".into(), "planted-chain"),
        ("dir/../planted-chain-3".into(), "planted-chain-2"),
        ("../../private/secret.txt".into(), "planted-chain-3"),
        ("../..".into(), "planted-up"),
        ("../../private".into(), "planted-private-dir"),
        ("../../private/made-by-an-attack".into(), "planted-dangling"),
        (outside.join("secret.txt"), "planted-outside"),
        ("planted-loop".into(), "planted-loop"),
    ];
    for (target, name) in links {
        symlink(target, grant.join(name)).expect("a link");
    }
}
