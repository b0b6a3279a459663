//! Starting one program: its streams or terminal, its place, and what is run.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;

use super::environment::{More, User};
use super::modes;
use super::permission::{self, Startable};
use super::skel;
use crate::sys;
use crate::wire::{NotStarted, Program, Start, Terminal};

/// What a program that could not be executed ends with, as with OpenSSH.
const NOT_EXECUTED: u8 = 1;

/// A program that runs.
pub(super) struct Started {
    pub(super) pid: Pid,
    /// For the session: the terminal's other side, or the program's input, output and errors.
    pub(super) descriptors: Vec<OwnedFd>,
    /// For ourselves: the terminal, to change its size.
    pub(super) terminal: Option<OwnedFd>,
}

/// What the program gets as its standard streams.
struct Streams {
    own: [OwnedFd; 3],
    theirs: Vec<OwnedFd>,
    terminal: Option<OwnedFd>,
    /// The terminal's path.
    name: Option<CString>,
}

/// Starts a program, which finds the client's agent at a socket. The error is for the client.
pub(super) fn start(user: &User, start: &Start, agent: Option<&str>) -> Result<Started, NotStarted> {
    let failed = |what: &'static str| {
        move |errno: Errno| NotStarted {
            sentence: format!("{what}: {}; try again later", super::reason(errno)),
            status: 255,
        }
    };
    let startable = permission::look_at(user, start)?;
    let streams = match &start.terminal {
        Some(terminal) => on_terminal(terminal).map_err(failed("a terminal could not be made"))?,
        None => on_pipes().map_err(failed("pipes could not be made"))?,
    };
    let kind = start.terminal.as_ref().map(|t| t.kind.as_str());
    let environment = user.environment(More {
        terminal: kind.zip(streams.name.as_deref()),
        agent,
        original: startable.original.as_deref(),
        asked: &start.environment,
        variables: startable.variables,
    });
    match sys::fork_child()
        .map_err(failed("the program could not be started, the limit of processes may be reached"))?
    {
        None => {
            let errno = become_program(user, &streams, start, &startable, &environment);
            complain(&streams, &permission::shown(&startable.file), errno);
            sys::exit_now(NOT_EXECUTED)
        }
        Some(pid) => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| failed("the program could not be started")(Errno::SRCH))?;
            Ok(Started { pid, descriptors: streams.theirs, terminal: streams.terminal })
        }
    }
}

fn on_pipes() -> Result<Streams, Errno> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
    let ((input, to_input), (from_output, output), (from_errors, errors)) = (pipe()?, pipe()?, pipe()?);
    Ok(Streams {
        own: [input, output, errors],
        theirs: vec![to_input, from_output, from_errors],
        terminal: None,
        name: None,
    })
}

fn on_terminal(wanted: &Terminal) -> Result<Streams, Errno> {
    let other = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::unlockpt(&other)?;
    let terminal =
        rustix::pty::ioctl_tiocgptpeer(&other, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    modes::set(&terminal, &wanted.modes)?;
    modes::resize(&terminal, wanted.size)?;
    let copy = || rustix::io::fcntl_dupfd_cloexec(&terminal, 0);
    let own = [copy()?, copy()?, copy()?];
    let name = rustix::pty::ptsname(&other, Vec::new())?;
    Ok(Streams { own, theirs: vec![other], terminal: Some(terminal), name: Some(name) })
}

/// In the child. Comes back only when something failed.
fn become_program(
    user: &User,
    streams: &Streams,
    start: &Start,
    startable: &Startable,
    environment: &[CString],
) -> Errno {
    let prepared = (|| {
        rustix::process::setsid()?;
        if streams.terminal.is_some() {
            rustix::process::ioctl_tiocsctty(&streams.own[0])?;
        }
        for (stream, number) in streams.own.iter().zip(0..) {
            // Never dropped: the program's standard streams.
            std::mem::forget(sys::place_at(stream, number)?);
        }
        sys::restore_signals()?;
        if matches!(start.program, Program::Shell)
            && let Err(error) = skel::fill(&user.home)
        {
            // Whoever reads the output of a program has not asked for that.
            if streams.terminal.is_some() {
                complain_of_home(streams, &error);
            }
        }
        if let (Some(greeting), Some(_)) = (&start.greeting, &start.terminal) {
            greet(user, streams, greeting);
        }
        // A home that cannot be entered is no reason to turn somebody away.
        rustix::process::chdir(user.start.as_str()).or_else(|_| rustix::process::chdir("/"))
    })();
    match prepared {
        Err(errno) => errno,
        Ok(()) => {
            let Err(errno) = nix::unistd::execve(&startable.file, &startable.arguments, environment);
            Errno::from_raw_os_error(errno as i32)
        }
    }
}

/// Says hello on a new terminal, unless the user has asked for quiet.
fn greet(user: &User, streams: &Streams, greeting: &str) {
    let is_hushed = rustix::fs::access(format!("{}/.hushlogin", user.home), rustix::fs::Access::EXISTS).is_ok();
    if !is_hushed {
        // A terminal that is gone already is no reason not to go on.
        rustix::io::write(&streams.own[1], greeting.as_bytes()).unwrap_or_default();
    }
}

/// No reason to turn somebody away either.
fn complain_of_home(streams: &Streams, error: &std::io::Error) {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    let said = format!("your home could not be given all of its first files: {}\r\n", super::reason(errno));
    // There is nobody else to tell if this fails too.
    rustix::io::write(&streams.own[2], said.as_bytes()).unwrap_or_default();
}

fn complain(streams: &Streams, program: &str, errno: Errno) {
    let said = format!("{program} cannot be run here ({}); ask the server's operator\r\n", super::reason(errno));
    // There is nobody else to tell if this fails too.
    rustix::io::write(&streams.own[2], said.as_bytes()).unwrap_or_default();
}

/// Names of RFC 4254, 6.10, and what they are here.
const SIGNALS: &[(&str, Signal)] = &[
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("FPE", Signal::FPE),
    ("HUP", Signal::HUP),
    ("ILL", Signal::ILL),
    ("INT", Signal::INT),
    ("KILL", Signal::KILL),
    ("PIPE", Signal::PIPE),
    ("QUIT", Signal::QUIT),
    ("SEGV", Signal::SEGV),
    ("TERM", Signal::TERM),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
];

/// The signal that a client names.
pub(super) fn signal(name: &str) -> Option<Signal> {
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal)
}

/// The name of a signal; others than those of the RFC are named in the form that it has for them.
pub(super) fn name_of(number: i32) -> String {
    match SIGNALS.iter().find(|(_, signal)| signal.as_raw() == number) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("SIG{number}@enclos"),
    }
}
