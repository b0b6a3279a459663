//! Each client that people have, driven for real; one file per client.
//!
//! After every step the trees on both sides are compared byte for byte and the owners on disk are looked at. What was
//! seen is left as a row, also when a step fails; `tests/run` makes `tests/results/clients.md` of the rows.

mod curl;
mod lftp;
mod libraries;
mod openssh;
mod putty;
mod rclone;
mod replays;
mod restic;
mod sshfs;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{
    Finished, Identity, Login, Node, Row, checksum, finish, installed, make_tree, owners, random_file, version_of,
};

/// Size of the one large file in a test's tree: many packets, and no whole number of them.
const BIG: u64 = (12 << 20) + 4_321;

/// A server, someone who logs in, and a client that is put to use.
struct Drive {
    node: Node,
    bob: Login,
    row: Row,
}

impl Drive {
    /// A running server for this client; `version` is what the client says of itself.
    fn new(identity: Identity, client: &'static str, version: String) -> Drive {
        let (node, bob) = Node::with_bob(identity);
        Drive { node, bob, row: Row::new("clients", identity, client, version) }
    }

    fn dir(&self) -> &Path {
        self.node.dir()
    }

    /// Where bob's files are on disk.
    fn site(&self) -> PathBuf {
        self.node.home("acme").join("www/site1")
    }

    /// Makes `local`: many small files with awkward names, an empty directory, a program, and a large file.
    fn make_local(&self, files: usize) -> PathBuf {
        let local = self.dir().join("local");
        make_tree(&local, files);
        fs::create_dir_all(local.join("empty/inside")).expect("a directory");
        random_file(&local.join("big"), BIG, 9);
        let program = local.join("run.sh");
        fs::write(&program, "#!/bin/sh\n").expect("a file");
        mode(&program, 0o750);
        finish(Command::new("touch").args(["-d", "2001-02-03T04:05:06Z"]).arg(local.join("big")), "").ok();
        local
    }

    /// The first `size` bytes of a file, put elsewhere: what an interrupted transfer leaves. On the server's side it
    /// is given to the account.
    fn part(&self, of: &Path, size: usize, to: &Path) {
        let whole = fs::read(of).expect("a file");
        fs::write(to, &whole[..size]).expect("a part of it");
        if to.starts_with(self.site()) {
            self.node.own(&self.site());
        }
    }

    /// A command run where the test's files are, with a home of its own.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.dir()).env("HOME", self.dir());
        command
    }

    /// A step has been compared; whatever it made must belong to the account.
    #[track_caller]
    fn saw(&mut self, step: &str) {
        let (uid, gid) = self.node.identity().account_owner();
        let foreign: Vec<_> = owners(&self.site()).into_iter().filter(|o| (o.uid, o.gid) != (uid, gid)).collect();
        assert!(foreign.is_empty(), "{step}: these do not belong to {uid}:{gid}: {foreign:?}");
        self.row.saw(step);
    }
}

/// Gives a file a mode.
fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("change the mode");
}

/// What two trees are compared by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Names, kinds and every byte.
    Contents,
    /// Also the modes and times of files.
    ContentsModesTimes,
}

/// One name in a tree: its kind, what is in it, and its mode and time where they are asked for.
type Leaf = (&'static str, String, Option<(u32, i64)>);

fn leaves(root: &Path, by: By) -> BTreeMap<PathBuf, Leaf> {
    let leaf = |path: &Path| {
        let found = fs::symlink_metadata(path).expect("just listed");
        let kept = (by == By::ContentsModesTimes).then(|| (found.mode() & 0o777, found.mtime()));
        if found.is_dir() {
            ("directory", String::new(), None)
        } else if found.is_symlink() {
            ("link", fs::read_link(path).expect("a link").display().to_string(), None)
        } else {
            ("file", format!("{} bytes, sum {:x}", found.len(), checksum(path)), kept)
        }
    };
    let relative = |path: &Path| path.strip_prefix(root).expect("beneath it").to_owned();
    owners(root).into_iter().map(|o| (relative(&o.path), leaf(&o.path))).collect()
}

/// Fails with the differences when the trees are not the same.
#[track_caller]
fn same(one: &Path, other: &Path, by: By) {
    let (left, right) = (leaves(one, by), leaves(other, by));
    assert!(!left.is_empty(), "{} is empty", one.display());
    let differ: Vec<_> = left.keys().chain(right.keys()).filter(|k| left.get(*k) != right.get(*k)).take(10).collect();
    let shown: Vec<_> = differ.iter().map(|k| (k, left.get(*k), right.get(*k))).collect();
    assert!(differ.is_empty(), "{} and {} differ: {shown:#?}", one.display(), other.display());
}

/// The same for two files.
#[track_caller]
fn same_file(one: &Path, other: &Path) {
    let (left, right) = (fs::read(one).expect("a file"), fs::read(other).expect("a file"));
    assert!(left == right, "{} and {} differ", one.display(), other.display());
}

/// A program that must succeed; what it prints.
#[track_caller]
fn done(command: &mut Command, input: &str) -> String {
    let shown = format!("{command:?}");
    let said: Finished = finish(command, input);
    assert!(said.status.success(), "{shown}\n{}\nstdout: {}\nstderr: {}", said.status, said.stdout, said.stderr);
    said.stdout
}

/// A path as text, for command lines.
fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}
