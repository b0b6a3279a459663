//! A PostgreSQL of a test's own: Debian's, on a socket in a temporary directory, run by nobody, ended with its test.
//!
//! The cluster is made once for each checkout and copied, for making one takes longer than most tests.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

/// Longest that a start or an end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server with an empty database.
#[derive(Debug)]
pub(crate) struct Postgres {
    dir: TempDir,
    server: Option<Child>,
}

impl Postgres {
    /// Starts one.
    pub(crate) fn start() -> Postgres {
        let dir = tempfile::Builder::new().prefix("enclos-postgres-").tempdir().expect("a temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("let others enter");
        let mut postgres = Postgres { dir, server: None };
        done(Command::new("cp").arg("-a").arg(template()).arg(postgres.data()));
        fs::create_dir(postgres.sockets()).expect("a directory");
        give_away(&postgres.sockets());
        postgres.resume();
        postgres
    }

    /// The database, as it is written in the configuration.
    pub(crate) fn url(&self) -> String {
        format!("postgres://enclos@localhost/postgres?host={}", self.sockets().display())
    }

    /// Starts the server again, with what was in it.
    pub(crate) fn resume(&mut self) {
        let settings = ["listen_addresses=", "fsync=off", "shared_buffers=16MB", "max_connections=40"];
        let mut command = as_nobody(&program("postgres"), self.dir.path());
        command.arg("-D").arg(self.data()).arg("-k").arg(self.sockets());
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        let log = File::options().create(true).append(true).open(self.dir.path().join("log")).expect("a log");
        self.server = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("a server"));
        let is_ready = || {
            let asked = Command::new(program("pg_isready")).arg("-q").arg("-h").arg(self.sockets()).status();
            asked.expect("pg_isready").success()
        };
        let since = Instant::now();
        while !is_ready() {
            assert!(since.elapsed() < PATIENCE, "PostgreSQL does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server at once; every connection breaks. What was committed is kept.
    pub(crate) fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let pid = Pid::from_raw(i32::try_from(server.id()).expect("a process id"));
        kill(pid, Signal::SIGQUIT).expect("tell the server to end");
        server.wait().expect("wait for the server");
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn sockets(&self) -> PathBuf {
        self.dir.path().join("sockets")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

/// For the benchmark of look-ups.
impl Postgres {
    /// Starts one over a cluster that was kept; it goes on there.
    pub(crate) fn kept(cluster: &Path) -> Postgres {
        let dir = tempfile::Builder::new().prefix("enclos-postgres-").tempdir().expect("a temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("let others enter");
        let mut postgres = Postgres { dir, server: None };
        std::os::unix::fs::symlink(cluster, postgres.data()).expect("a link");
        fs::create_dir(postgres.sockets()).expect("a directory");
        give_away(&postgres.sockets());
        postgres.resume();
        postgres
    }

    /// Ends the server and keeps its cluster there.
    pub(crate) fn keep(&mut self, cluster: &Path) {
        self.stop();
        done(Command::new("mv").arg("-T").arg(self.data()).arg(cluster));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of PostgreSQL ---\n{}", self.log());
        }
        self.stop();
    }
}

/// A cluster that nobody runs; made by whichever test comes first.
fn template() -> PathBuf {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-postgres");
    fs::create_dir_all(&place).expect("a directory");
    let lock = File::create(place.join("lock")).expect("a lock");
    lock.lock().expect("the lock");
    let made = place.join(if geteuid().is_root() { "of-nobody" } else { "of-ours" });
    if !made.exists() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("let others enter");
        let data = dir.path().join("data");
        let options = ["-U", "enclos", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1"];
        done(as_nobody(&program("initdb"), dir.path()).arg("-D").arg(&data).args(options).stdout(Stdio::null()));
        let partial = place.join("partial");
        done(Command::new("cp").arg("-a").arg("-T").arg(&data).arg(&partial));
        fs::rename(partial, &made).expect("keep the cluster");
    }
    made
}

/// PostgreSQL refuses to be run by root. The server goes with the thread that started it, whatever becomes of that.
fn as_nobody(program: &Path, place: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if geteuid().is_root() {
        command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
    }
    command.arg(program).current_dir(place);
    command
}

fn give_away(directory: &Path) {
    if geteuid().is_root() {
        done(Command::new("chown").arg("nobody:nogroup").arg(directory));
    }
}

fn done(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// Debian keeps each version's programs in a directory of its own.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is not installed (tests/run installs it)");
    let programs = versions.map(|version| version.expect("a version").path().join("bin").join(name));
    programs.filter(|program| program.exists()).max().unwrap_or_else(|| panic!("PostgreSQL has no {name} here"))
}
