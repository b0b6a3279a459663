//! As whom a server runs: root, or an ordinary user.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The ordinary user that a test run by root drops to. It needs no entry in `/etc/passwd`.
const ORDINARY: u32 = 7001;
/// Owner of the account's files when the server runs as root.
const ACCOUNT: u32 = 5001;

/// As whom the server under test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// As root: full cells.
    Root,
    /// As this ordinary user: what user namespaces give.
    Ordinary(u32),
}

impl Identity {
    /// Root, or a failure that says what to do: a test that needs root is never passed over quietly.
    pub(crate) fn root() -> Identity {
        assert!(
            we_are_root(),
            "this test needs root: run it as root, or leave the group out with `tests/run` (which counts it)"
        );
        Identity::Root
    }

    /// An ordinary user: ourselves, or somebody else when we are root.
    pub(crate) fn ordinary() -> Identity {
        if we_are_root() { Identity::Ordinary(ORDINARY) } else { Identity::Ordinary(our_uid()) }
    }

    /// The uid and gid that own the account's files on disk.
    pub(crate) fn account_owner(self) -> (u32, u32) {
        match self {
            Identity::Root => (ACCOUNT, ACCOUNT),
            Identity::Ordinary(uid) if uid == our_uid() => (uid, rustix::process::getegid().as_raw()),
            Identity::Ordinary(uid) => (uid, uid),
        }
    }

    /// The uid as which this identity operates its server.
    pub(crate) fn operator(self) -> u32 {
        match self {
            Identity::Root => 0,
            Identity::Ordinary(uid) => uid,
        }
    }

    /// A command run as this identity, ended by the kernel should the test die before it.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        if let (Identity::Ordinary(uid), true) = (self, we_are_root()) {
            command.args([format!("--reuid={uid}"), format!("--regid={uid}")]).arg("--clear-groups");
        }
        command.args(["--pdeathsig", "TERM", "--"]).arg(program);
        command
    }

    /// The server's binary, at a place where this identity may execute it.
    pub(crate) fn enclos(self) -> PathBuf {
        self.executable(Path::new(env!("CARGO_BIN_EXE_enclos")))
    }

    /// A binary that was built, or a copy of it where this identity may execute it.
    pub(crate) fn executable(self, built: &Path) -> PathBuf {
        match self {
            Identity::Ordinary(_) if we_are_root() && !reachable_by_everybody(built) => readable_copy(built),
            _ => built.to_owned(),
        }
    }
}

pub(super) fn we_are_root() -> bool {
    our_uid() == 0
}

fn our_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn reachable_by_everybody(file: &Path) -> bool {
    let executable = |path: &Path| fs::metadata(path).is_ok_and(|m| m.mode() & 0o005 == 0o005);
    executable(file) && file.ancestors().skip(1).all(|dir| fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 != 0))
}

/// A checkout in root's home cannot be entered by others; the binary is put where it can be. Every test process may
/// do so at the same time.
fn readable_copy(built: &Path) -> PathBuf {
    let found = fs::metadata(built).expect("the built server");
    let place = std::env::temp_dir().join(format!("enclos-under-test-{}-{}", found.ino(), found.mtime()));
    if !place.exists() {
        let half =
            tempfile::Builder::new().prefix("enclos-half").tempfile().expect("a temporary file").into_temp_path();
        fs::copy(built, &half).expect("copy the server");
        fs::set_permissions(&half, fs::Permissions::from_mode(0o755)).expect("let others execute it");
        half.persist(&place).expect("put the copy in place");
    }
    place
}
