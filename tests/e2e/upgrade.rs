//! `enclos upgrade`: what is on disk is tried first; then the running node leaves the service, and whoever is connected goes
//! on.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::faults::Transfer;
use crate::harness::{Finished, Identity, Login, Node, Raw, Waiting, finish, wait_until};

as_root_and_rootless!(
    the_release_on_disk_takes_over,
    those_who_finish_in_the_old_process_count_still,
    a_bad_configuration_changes_nothing,
    a_service_that_nobody_takes_over_is_told_of,
    without_a_node_there_is_nothing_to_upgrade,
);

/// Longest for one step on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that runs from a binary which can be replaced, and whose listening socket is kept as systemd keeps it.
struct Site {
    node: Node,
    binary: PathBuf,
    socket: TcpListener,
}

impl Site {
    fn new(identity: Identity) -> (Site, Login) {
        let mut node = Node::prepare(identity);
        let binary = node.dir().join("enclos");
        put(&identity.enclos(), &binary, identity);
        node.replace_binary(&binary, ("ENCLOS_TEST", "1"));
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, node.port())).expect("listen");
        let mut site = Site { node, binary, socket };
        site.start();
        site.node.await_hello();
        site.node.account("acme");
        let bob = site.node.user("bob", "acme", &[("www/site1", "rw")]);
        (site, bob)
    }

    fn start(&mut self) {
        let name = format!("listen-127.0.0.1_{}", self.node.port());
        self.node.serve_with(&self.socket, &name);
    }

    /// Another file has the binary's name from now on, as a package does it.
    fn replace(&self, new: &[u8]) {
        let beside = self.binary.with_extension("new");
        fs::write(&beside, new).expect("a file");
        put(&beside, &self.binary.with_extension("next"), self.node.identity());
        fs::rename(self.binary.with_extension("next"), &self.binary).expect("put in place");
    }

    fn upgrade(&self, more: &[&str]) -> Child {
        let mut command = self.node.enclos(&[&["upgrade", "--signal"], more].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("start it")
    }
}

fn put(from: &Path, to: &Path, identity: Identity) {
    fs::copy(from, to).expect("a copy");
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("it may be run");
    let (uid, gid) = (identity.operator(), identity.operator());
    if fs::metadata(to).expect("a copy").uid() != uid {
        chown(to, Some(uid), Some(gid)).expect("give it to the operator");
    }
}

fn ended(child: Child) -> Finished {
    let ended = child.wait_with_output().expect("our own child");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Finished { status: ended.status, stdout: text(ended.stdout), stderr: text(ended.stderr) }
}

fn the_release_on_disk_takes_over(identity: Identity) {
    let (mut site, bob) = Site::new(identity);
    let mut transfer = Transfer::begin(&bob);
    let old = site.node.pid();
    // Another release: the same with something behind its end, which a loader does not look at.
    let mut release = fs::read(&site.binary).expect("the binary");
    release.extend_from_slice(b"a newer release");
    site.replace(&release);
    let upgrading = site.upgrade(&[]);
    // Who started the node starts it again when it ends.
    assert!(site.node.await_end().success(), "it leaves the service as if it had ended well");
    site.start();
    let said = ended(upgrading).ok();
    let new = site.node.pid();
    assert!(said.contains(&format!("process {new} serves now")) && said.contains(&format!("process {old}")), "{said}");
    let runs = fs::metadata(format!("/proc/{new}/exe")).map(|exe| exe.len());
    if identity == Identity::Root {
        assert_eq!(runs.expect("its program"), release.len() as u64, "it is the new release that runs");
    }
    transfer.goes_on();
    transfer.finish(&site.node, "www/site1");
}

fn those_who_finish_in_the_old_process_count_still(identity: Identity) {
    let (mut site, bob) = Site::new(identity);
    site.node.admin(&["user", "set", "bob", "--max-sessions", "2"]);
    let mut transfer = Transfer::begin(&bob);
    let upgrading = site.upgrade(&[]);
    assert!(site.node.await_end().success());
    site.start();
    ended(upgrading).ok();
    let second = Raw::connect(&bob);
    let said = Raw::try_connect(&bob).expect_err("a third session");
    assert!(said.contains("bob may have 2 sessions at the same time, and has"), "{said}");
    drop(second);
    transfer.goes_on();
    transfer.finish(&site.node, "www/site1");
    let mut two = Vec::new();
    let both = || Raw::try_connect(&bob).map(|raw| two.push(raw)).is_ok() && two.len() == 2;
    assert_eq!(wait_until(PATIENCE, both), Waiting::Came, "one that has ended counts");
}

mod with_root_only {
    mod as_root {
        use super::super::*;

        /// The command starts the program of whoever has the service, as root: a process that another user has put behind
        /// the socket must not choose it.
        #[test]
        fn whoever_listens_instead_of_the_node_is_not_believed() {
            let mut node = Node::prepare(Identity::root());
            node.serve();
            node.end(Signal::SIGTERM);
            let socket = node.state().join("run/admin.sock");
            assert!(socket.parent().is_some_and(Path::is_dir), "where control makes its socket");
            let listens = format!(
                "import os, socket, sys, time\ns = socket.socket(socket.AF_UNIX)\ns.bind({socket:?})\nos.chmod({socket:?}, 0o666)\n\
                 os.setgid(4242); os.setuid(4242)\nif sys.argv[1] == 'child' and os.fork(): os.wait(); sys.exit()\n\
                 s.listen()\nprint('listens', flush=True)\nsys.stdin.read()"
            );
            for (how, said) in [("child", "another user's"), ("itself", "no node runs here")] {
                fs::remove_file(&socket).ok();
                let mut other = std::process::Command::new("python3");
                other.args(["-c", &listens, how]).stdin(Stdio::piped()).stdout(Stdio::piped());
                let mut other = other.spawn().expect("python");
                let mut line = [0; 8];
                other.stdout.as_mut().expect("piped").read_exact(&mut line).expect("it listens");
                let refused = finish(&mut node.enclos(&["upgrade", "--signal"]), "");
                assert_eq!(refused.status.code(), Some(1), "{refused:?}");
                assert!(refused.stderr.contains(said), "{how}: {refused:?}");
                drop(other.stdin.take());
                other.wait().expect("our own child");
            }
        }

        /// Root is told what a process runs; others may have to take the command's own program for it.
        #[test]
        fn a_release_that_cannot_start_changes_nothing() {
            let (site, bob) = Site::new(Identity::root());
            let mut transfer = Transfer::begin(&bob);
            let old = site.node.pid();
            site.replace(b"#!/bin/sh\necho 'this release is broken' >&2\nexit 1\n");
            // The command itself is of the release before.
            let mut command = Identity::root().command(Identity::root().enclos());
            command.arg("--config").arg(site.node.config()).args(["upgrade", "--signal"]);
            let said = finish(&mut command, "");
            assert_eq!(said.status.code(), Some(1), "{said:?}");
            assert!(said.stderr.contains("nothing was changed"), "{said:?}");
            assert!(said.stderr.contains("this release is broken"), "{said:?}");
            assert_eq!(site.node.monitor_pid(), old);
            transfer.goes_on();
            transfer.finish(&site.node, "www/site1");
        }
    }
}

fn a_bad_configuration_changes_nothing(identity: Identity) {
    let (site, bob) = Site::new(identity);
    let good = fs::read_to_string(site.node.config()).expect("the configuration");
    site.node.write_config("no_such_key = 1");
    let said = ended(site.upgrade(&[]));
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.stderr.contains("no_such_key"), "{said:?}");
    site.node.write_config("require = [\"programs\"]\nlisten_backlog = 0");
    assert_eq!(ended(site.upgrade(&[])).status.code(), Some(1));
    fs::write(site.node.config(), good).expect("as it was");
    Transfer::begin(&bob).goes_on();
}

fn a_service_that_nobody_takes_over_is_told_of(identity: Identity) {
    let (mut site, bob) = Site::new(identity);
    let mut transfer = Transfer::begin(&bob);
    let upgrading = site.upgrade(&["--wait", "1"]);
    assert!(site.node.await_end().success());
    let said = ended(upgrading);
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    assert!(said.stderr.contains("nothing has taken the service over"), "{said:?}");
    transfer.goes_on();
    site.start();
    site.node.await_hello();
    transfer.finish(&site.node, "www/site1");
}

fn without_a_node_there_is_nothing_to_upgrade(identity: Identity) {
    let node = Node::prepare(identity);
    let said = finish(&mut node.enclos(&["upgrade"]), "");
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stderr.contains("nothing was changed: no node runs here"), "{said:?}");
    let (site, _) = Site::new(identity);
    let said = finish(&mut site.node.enclos(&["upgrade"]), "");
    assert!(said.stderr.contains("--signal"), "it says what it does not know: {said:?}");
    let still = || site.node.monitor_pid() == site.node.pid();
    assert_eq!(wait_until(PATIENCE, still), Waiting::Came);
}
