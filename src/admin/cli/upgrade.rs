//! `enclos upgrade`: checks that what lies on disk can serve here, has the running node leave the service, and waits until
//! another process has it. Whoever is connected goes on with the old one.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{CommandError, Context, Result, reachable, report};
use crate::control::{Outcome, client};

/// Have the release on disk take over from the running node, which finishes what it has begun
///
/// What is on disk has to find the configuration good and its cells to hold (check-config, doctor) before anything is changed.
/// Exit codes: 0 the new process serves, 1 nothing was changed, 3 the service was left and not taken over.
#[derive(Debug, Args)]
pub(super) struct Upgrade {
    /// The service of systemd that the node is [default: the one that it was started as]
    #[arg(long, conflicts_with = "signal")]
    unit: Option<String>,
    /// Only tell the node to leave the service (SIGUSR1): somebody else starts the next one
    #[arg(long)]
    signal: bool,
    /// How long the next one may take until it serves
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

/// The service was left, and nothing has taken it over: somebody must act.
const NOT_TAKEN_OVER: u8 = 3;

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(50);

/// Who starts the next process.
#[derive(Debug, PartialEq, Eq)]
enum By {
    /// systemd, that has this unit.
    Unit(String),
    /// Whoever started this one, once it has left the service.
    Others,
}

pub(super) fn run(context: &Context<'_>, options: &Upgrade, given: &[OsString]) -> Result<ExitCode> {
    let old = monitor(context)?.ok_or_else(|| refused("no node runs here: start it (systemctl start enclos)"))?;
    let by = by(options, old)?;
    let program = on_disk(old)?;
    check(&program, given)?;
    match &by {
        By::Unit(unit) => restart(unit)?,
        By::Others => leave(old)?,
    }
    let deadline = Instant::now() + Duration::from_secs(options.wait);
    match next(context, old, deadline)? {
        Some(new) => {
            let said = format!("process {new} serves now; process {old} finishes what it has begun");
            report::print(&Outcome::Done(said), context.json)?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            eprintln!(
                "enclos: process {old} has left the service and finishes what it has begun, and nothing has taken the \
                 service over within {} s: look at the log (journalctl -u enclos) and start it",
                options.wait
            );
            Ok(ExitCode::from(NOT_TAKEN_OVER))
        }
    }
}

fn refused(sentence: &str) -> CommandError {
    CommandError::Input(format!("nothing was changed: {sentence}"))
}

/// Process id of the monitor that has the service. The kernel says it: what control says is not believed here, where its word
/// would choose the program that root runs.
fn monitor(context: &Context<'_>) -> Result<Option<u32>> {
    Ok(client::monitor(&context.node.control)?)
}

fn by(options: &Upgrade, old: u32) -> Result<By> {
    if options.signal {
        return Ok(By::Others);
    }
    let groups = || std::fs::read_to_string(format!("/proc/{old}/cgroup")).unwrap_or_default();
    let unit = options.unit.clone().or_else(|| unit_in(&groups()));
    unit.map(By::Unit).ok_or_else(|| {
        refused(
            "the node was not started by systemd; if whoever started it starts it again when it ends, with its listening \
             sockets (LISTEN_FDS), say --signal",
        )
    })
}

/// The service that a process belongs to, by its control groups (cgroups(7)); a node has groups of its own beneath it.
fn unit_in(groups: &str) -> Option<String> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut units = paths.flat_map(|path| path.split('/').filter(|part| part.ends_with(".service")));
    units.next().map(str::to_owned)
}

/// The program that will be started: where the running one came from, if the kernel tells us, or this one. It is run with the
/// powers of whoever called this command, so nobody else may be able to put another in its place.
fn on_disk(old: u32) -> Result<PathBuf> {
    let program = program_of(old)?;
    match replaceable(&program, nix::unistd::geteuid().as_raw()) {
        Ok(None) => Ok(program),
        Ok(Some(part)) => {
            let (program, part) = (program.display(), part.display());
            Err(refused(&format!("{program} is not run, because others can change {part}: let only root write it")))
        }
        Err(source) => Err(CommandError::File { what: "nothing was changed: look at", path: program, source }),
    }
}

/// What of a path others than root and this user can change: the file, or a directory that it is reached by. In a sticky
/// directory nobody replaces what is another's (unlink(2)).
fn replaceable(program: &Path, user: u32) -> io::Result<Option<PathBuf>> {
    for part in program.canonicalize()?.ancestors() {
        let about = fs::metadata(part)?;
        let is_sticky = about.is_dir() && about.mode() & 0o1000 != 0;
        let is_open = about.mode() & 0o022 != 0 && !is_sticky;
        if is_open || ![0, user].contains(&about.uid()) {
            return Ok(Some(part.to_owned()));
        }
    }
    Ok(None)
}

fn program_of(old: u32) -> Result<PathBuf> {
    let path = match std::fs::read_link(format!("/proc/{old}/exe")) {
        Ok(path) => path,
        Err(_) => std::env::current_exe().map_err(|source| CommandError::File {
            what: "find the program of",
            path: "this command".into(),
            source,
        })?,
    };
    // So it is called when something else has its name by now (proc(5)).
    Ok(match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(name) => OsString::from_vec(name.to_vec()).into(),
        None => path,
    })
}

/// Has the program look at the configuration, and build a cell: it does not serve, and does not leave anything behind.
fn check(program: &Path, given: &[OsString]) -> Result<()> {
    for what in ["check-config", "doctor"] {
        let mut command = Command::new(program);
        let done = command.args(given).arg(what).stdin(Stdio::null()).output().map_err(|source| {
            let what = "nothing was changed: start";
            CommandError::File { what, path: program.to_owned(), source }
        })?;
        if !done.status.success() {
            let said = [done.stdout, done.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let program = program.display();
            return Err(refused(&format!("{program} {what} ended with {}\n{}", done.status, said.trim_end())));
        }
    }
    Ok(())
}

/// The unit says how it is left (`RestartKillSignal=SIGUSR1`), and keeps the sockets.
fn restart(unit: &str) -> Result<()> {
    let done = Command::new("systemctl").args(["restart", unit]).status();
    let done = done.map_err(|source| CommandError::File { what: "start", path: "systemctl".into(), source })?;
    if done.success() {
        return Ok(());
    }
    Err(CommandError::Input(format!("systemctl restart {unit} ended with {done}: look at systemctl status {unit}")))
}

fn leave(old: u32) -> Result<()> {
    let pid = i32::try_from(old).map_err(|_| refused("the node's process has no such number"))?;
    kill(Pid::from_raw(pid), Signal::SIGUSR1)
        .map_err(|source| CommandError::System { step: "nothing was changed: tell the node to leave", source })
}

/// The process that has taken the service over and answers those who connect.
fn next(context: &Context<'_>, old: u32, deadline: Instant) -> Result<Option<u32>> {
    while Instant::now() < deadline {
        // While nobody has the service, nobody answers; whoever has left it may for a moment.
        let now = monitor(context).unwrap_or(None);
        if let Some(new) = now.filter(|new| *new != old)
            && says_hello(context)
        {
            return Ok(Some(new));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(None)
}

/// Whether a session answers (RFC 4253, section 4.2). A node that listens nowhere has nobody to answer.
fn says_hello(context: &Context<'_>) -> bool {
    let Some(address) = reachable(&context.node.monitor.listen) else { return true };
    let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else { return false };
    if stream.set_read_timeout(Some(Duration::from_secs(5))).is_err() {
        return false;
    }
    let mut line = Vec::new();
    let read = BufReader::new(stream.take(256)).read_until(b'\n', &mut line);
    read.is_ok() && line.starts_with(b"SSH-2.0-")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_others_can_replace_is_not_run() {
        let place = tempfile::tempdir().expect("a directory");
        let (directory, program) = (place.path().join("bin"), place.path().join("bin/enclos"));
        fs::create_dir(&directory).expect("a directory");
        fs::write(&program, "").expect("a file");
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own file");
        let user = nix::unistd::geteuid().as_raw();
        // What lies above depends on where tests may write; none of it is told of unless others can change it.
        let found = |user| replaceable(&program, user).expect("it is there");
        set(&program, 0o755);
        set(&directory, 0o755);
        assert_eq!(found(user), None);
        set(&program, 0o775);
        assert_eq!(found(user), Some(program.canonicalize().expect("it is there")));
        set(&program, 0o755);
        set(&directory, 0o757);
        assert_eq!(found(user), Some(directory.canonicalize().expect("it is there")));
        set(&directory, 0o1777);
        assert_eq!(found(user), None, "nobody replaces another's file there");
        if user == 0 {
            nix::unistd::chown(&program, Some(nix::unistd::Uid::from_raw(4_242)), None).expect("root may");
            assert!(found(user).is_some());
            assert_eq!(found(4_242), None, "one may run what is one's own");
        }
    }

    #[test]
    fn a_unit_is_found_in_control_groups_of_both_versions() {
        let unit = |groups: &str| unit_in(groups);
        assert_eq!(unit("0::/system.slice/enclos.service/node\n").as_deref(), Some("enclos.service"));
        assert_eq!(unit("2:cpu:/\n1:name=systemd:/system.slice/e@1.service\n").as_deref(), Some("e@1.service"));
        assert_eq!(unit("0::/user.slice/user-1000.slice/session-2.scope\n"), None);
        assert_eq!(unit("0::/\n"), None);
        assert_eq!(unit(""), None);
    }
}
