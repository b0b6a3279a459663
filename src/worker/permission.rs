//! What a worker starts for its user, and how: the last to look at what a client asks for.
//!
//! A session asks only for what its client may have. But a session may be captured, so what it asks for is measured here
//! once more by what the monitor said of the user.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::Access;

use super::environment::User;
use crate::domain::{DirectCommand, ForcedCommand, Service, Terminals};
use crate::wire::{NotStarted, Program, Start};

/// Where the programs of services are looked for: nothing in a grant can take their place.
const DIRECTORIES: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// A program that may be started.
#[derive(Debug)]
pub(super) struct Startable {
    /// Its file.
    pub(super) file: CString,
    /// What it is told; the first is its name.
    pub(super) arguments: Vec<CString>,
    /// What was asked for, where something else is run (`SSH_ORIGINAL_COMMAND`).
    pub(super) original: Option<CString>,
    /// Which variables of a client it may have.
    pub(super) variables: Variables,
}

/// Which variables of a client a program may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variables {
    /// All that the session lets through.
    Any,
    /// Those alone that change how it speaks: the login may run this program and no other.
    Harmless,
}

/// Looks at what is asked for.
pub(super) fn look_at(user: &User, start: &Start) -> Result<Startable, NotStarted> {
    #[cfg(feature = "weaken")]
    let user = &weakened(user);
    if start.terminal.is_some() && user.terminals == Terminals::Refused {
        return Err(refused("a terminal is not open to this login"));
    }
    match (&start.program, &user.forced_command) {
        (Program::Forced { original }, Some(ForcedCommand::Command(command))) if user.may_run_commands() => {
            let original = original.clone().map(text).transpose()?;
            Ok(Startable { original, ..by_shell(user, command.as_bytes().to_vec())? })
        }
        (_, Some(_)) | (Program::Forced { .. }, None) => Err(refused("this login runs one command only")),
        (Program::Shell, None) if user.services.contains(Service::Shell) => login_shell(user),
        (Program::Command(command), None) if user.services.contains(Service::Exec) => by_shell(user, command.clone()),
        (Program::Direct(line), None) => direct(user, line),
        (Program::Shell | Program::Command(_), None) => Err(refused("running programs is not open to this login")),
    }
}

/// A user who may run programs, if that is not to be looked at.
#[cfg(feature = "weaken")]
fn weakened(user: &User) -> User {
    let mut user = user.clone();
    if crate::weaken::off(crate::weaken::Layer::StartedPrograms) {
        user.services = user.services.with(Service::Exec).with(Service::Shell);
    }
    user
}

fn refused(sentence: &str) -> NotStarted {
    NotStarted { sentence: sentence.to_owned(), status: 1 }
}

fn text(bytes: Vec<u8>) -> Result<CString, NotStarted> {
    CString::new(bytes).map_err(|_| refused("the command contains a NUL"))
}

/// A login shell has a `-` before its name.
fn login_shell(user: &User) -> Result<Startable, NotStarted> {
    let (file, name) = shell(user)?;
    let arguments = vec![text(format!("-{name}").into_bytes())?];
    Ok(Startable { file, arguments, original: None, variables: Variables::Any })
}

/// A command is handed to the shell as it came.
fn by_shell(user: &User, command: Vec<u8>) -> Result<Startable, NotStarted> {
    let (file, name) = shell(user)?;
    let arguments = vec![text(name.into())?, c"-c".to_owned(), text(command)?];
    Ok(Startable { file, arguments, original: None, variables: Variables::Any })
}

/// The shell and its name. The status is that of OpenSSH, whose child could not become the shell.
fn shell(user: &User) -> Result<(CString, &str), NotStarted> {
    let path = user.shell.as_str();
    if rustix::fs::access(path, Access::EXEC_OK).is_err() {
        let sentence = format!(
            "the login shell {path} is not there or cannot be run; ask the server's operator to choose another"
        );
        return Err(NotStarted { sentence, status: 1 });
    }
    Ok((text(path.into())?, path.rsplit('/').next().unwrap_or_default()))
}

/// One of the programs that are services. The status of one that is missing is the one that shells have for it.
fn direct(user: &User, line: &[u8]) -> Result<Startable, NotStarted> {
    let command = DirectCommand::parse(line, user.services, &user.home).map_err(|why| refused(&why.to_string()))?;
    let name = command.program();
    let paths = DIRECTORIES.iter().map(|directory| format!("{directory}/{name}"));
    let file = paths.into_iter().find(|path| rustix::fs::access(path.as_str(), Access::EXEC_OK).is_ok());
    let Some(file) = file else {
        let sentence = format!("{name} is not installed on this server; ask its operator");
        return Err(NotStarted { sentence, status: 127 });
    };
    let arguments = command.arguments().iter().cloned().map(text).collect::<Result<_, _>>()?;
    Ok(Startable { file: text(file.into())?, arguments, original: None, variables: Variables::Harmless })
}

/// A file's path, for a sentence.
pub(super) fn shown(file: &CString) -> String {
    OsStr::from_bytes(file.as_bytes()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Services;
    use crate::wire::Terminal;

    fn user(services: &str) -> User {
        User {
            name: "bob".into(),
            home: "/home/bob".into(),
            start: "/".into(),
            shell: "/bin/sh".into(),
            services: services.parse::<Services>().expect("services"),
            forwards: crate::domain::ForwardPolicy::default(),
            terminals: Terminals::Allowed,
            forced_command: None,
        }
    }

    fn start(program: Program) -> Start {
        Start { program, terminal: None, environment: Vec::new(), greeting: None }
    }

    fn arguments(user: &User, program: Program) -> Result<Vec<String>, NotStarted> {
        let startable = look_at(user, &start(program))?;
        Ok(startable.arguments.into_iter().map(|a| a.into_string().expect("text")).collect())
    }

    #[test]
    fn a_captured_session_gets_no_more_than_its_user() {
        let command = || Program::Command(b"id".to_vec());
        let all = [Program::Shell, command(), Program::Forced { original: None }];
        for program in all {
            assert!(look_at(&user("sftp,git"), &start(program.clone())).is_err(), "{program:?}");
        }
        assert!(look_at(&user("exec"), &start(Program::Shell)).is_err());
        assert!(look_at(&user("shell"), &start(command())).is_err());
        assert!(look_at(&user("git"), &start(Program::Direct(b"git-upload-pack x; id".to_vec()))).is_err());
        assert_eq!(arguments(&user("exec"), command()).expect("open"), ["sh", "-c", "id"]);
        assert_eq!(arguments(&user("shell"), Program::Shell).expect("open"), ["-sh"]);
    }

    #[test]
    fn a_forced_command_is_all_there_is() {
        let forced = User { forced_command: "date".parse().ok(), ..user("sftp,exec,shell,git") };
        for program in
            [Program::Shell, Program::Command(b"id".to_vec()), Program::Direct(b"git-upload-pack x".to_vec())]
        {
            assert!(look_at(&forced, &start(program)).is_err());
        }
        let found = look_at(&forced, &start(Program::Forced { original: Some(b"id".to_vec()) })).expect("open");
        assert_eq!(found.original.as_deref(), Some(c"id"));
        assert!(look_at(&forced, &start(Program::Forced { original: Some(b"i\0d".to_vec()) })).is_err());
        let sftp = User { forced_command: "internal-sftp".parse().ok(), ..forced };
        assert!(look_at(&sftp, &start(Program::Forced { original: None })).is_err());
    }

    #[test]
    fn no_terminal_is_made_where_none_is_allowed() {
        let bare = User { terminals: Terminals::Refused, ..user("shell") };
        let terminal = Terminal { kind: "xterm".into(), size: crate::wire::Size::default(), modes: Vec::new() };
        assert!(look_at(&bare, &start(Program::Shell)).is_ok());
        assert!(look_at(&bare, &Start { terminal: Some(terminal), ..start(Program::Shell) }).is_err());
    }

    #[test]
    fn a_missing_shell_is_told() {
        let odd = User { shell: "/bin/no-such-shell".into(), ..user("shell") };
        let told = look_at(&odd, &start(Program::Shell)).expect_err("missing");
        assert!(told.status == 1 && told.sentence.contains("/bin/no-such-shell"), "{told:?}");
    }
}
