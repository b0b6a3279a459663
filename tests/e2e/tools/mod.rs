//! The work that people and tools do with a shell, each kind driven for real against programs in a cell; one file per kind.
//!
//! After every step the owners of all that lies in the account are looked at. What was seen is left as a row, also when a
//! step fails; `tests/run` makes `tests/results/programs.md` of the rows.

mod ansible;
mod builds;
mod deploys;
mod editors;
mod openssh;
mod terminals;
mod transfers;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::forwards::Running;
use crate::harness::{Identity, Login, Row, Waiting, finish, owners, ssh, version_of, wait_until};
use crate::programs::{Site, run, told};

/// Longest that something may take to begin on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that a login can be allowed.
const ALL: &str = "sftp,scp,exec,shell,git,rsync,forward-local,forward-remote,agent";

/// A server, a developer of `www/site1`, and what is put to use.
struct Desk {
    site: Site,
    dev: Login,
    row: Row,
}

impl Desk {
    /// A running server for this kind of work; `version` is what the program says of itself.
    fn new(identity: Identity, subject: &'static str, version: String) -> Desk {
        let site = Site::new(identity);
        let dev = site.user("dev", ALL, &[("www/site1", "rw")]);
        Desk { site, dev, row: Row::new("programs", identity, subject, version) }
    }

    /// Where the test's own files are.
    fn dir(&self) -> &Path {
        self.site.node.dir()
    }

    /// The granted directory.
    fn at(&self) -> PathBuf {
        self.site.site()
    }

    /// The developer's home, as it is on disk.
    fn home(&self) -> PathBuf {
        self.site.home.join(".enclos/home/dev")
    }

    /// A program of ours, run where the test's files are, with a home of its own.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.dir()).env("HOME", self.dir());
        command
    }

    /// What a command in the cell prints; it must succeed.
    #[track_caller]
    fn told(&self, command: &str) -> String {
        told(&self.dev, command)
    }

    /// A script that the developer's own `bash` reads from standard input; what it prints.
    #[track_caller]
    fn scripted(&self, command: &str, script: &str) -> String {
        finish(&mut run(&self.dev, command), script).ok()
    }

    /// A command that goes on in the cell until its connection is dropped.
    fn keeps_running(&self, command: &str) -> Running {
        Running::start(run(&self.dev, command).stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// A connection that others join by this option; its socket has this name.
    fn shared(&self, name: &str) -> (Running, String) {
        let place = self.dir().join(name);
        let control = format!("ControlPath={}", place.display());
        let mut master = ssh(&self.dev);
        master.args(["-N", "-o", "ControlMaster=yes", "-o", &control]).arg(self.dev.at());
        let master = Running::start(master.stdin(Stdio::null()));
        assert_eq!(wait_until(PATIENCE, || place.exists()), Waiting::Came, "the connection does not begin");
        (master, control)
    }

    /// A step has been done and looked at; whatever it left on disk must belong to the account.
    #[track_caller]
    fn saw(&mut self, step: &str) {
        let owner = self.site.node.identity().account_owner();
        let foreign: Vec<_> = owners(&self.site.home).into_iter().filter(|o| (o.uid, o.gid) != owner).collect();
        assert!(foreign.is_empty(), "{step}: these do not belong to {owner:?}: {foreign:?}");
        self.row.saw(step);
    }

    /// Somebody with the same directory finds none of `marks` anywhere, reaches none of `ports`, and kills all it can. The
    /// developer's own programs find every mark, so that looking is known to be good for something.
    #[track_caller]
    fn saw_hidden(&mut self, marks: &[&str], ports: &[&str]) {
        let look = |login: &Login, rest: &str| {
            let arguments = format!("python3 - {} {rest}", ports.join(" "));
            finish(&mut run(login, &arguments), LOOK_AROUND).ok()
        };
        let own = look(&self.dev, "");
        for mark in marks {
            assert!(own.contains(mark), "{mark} is not to be seen by its own user: {own}");
        }
        let sibling = self.site.user("sib", ALL, &[("www/site1", "rw")]);
        let seen = look(&sibling, "kill");
        let found: Vec<_> = marks.iter().filter(|mark| seen.contains(**mark)).collect();
        assert!(found.is_empty(), "a sibling sees {found:?}: {seen}");
        for port in ports {
            let (own, seen) = (own.contains(&format!("{port} answers")), seen.contains(&format!("{port} answers")));
            assert!(own && !seen, "port {port}: {own} for its own user, {seen} for a sibling");
        }
        self.row.saw("a sibling sees none of it and kills nothing");
    }
}

/// Prints all that a process can see of others, says which ports answer, and may kill whatever it can.
const LOOK_AROUND: &str = include_str!("scripts/look_around.py");

/// The version of a program of the host, which a cell shows.
fn version(program: &str, argument: &str) -> String {
    version_of(Command::new(program).arg(argument))
}
