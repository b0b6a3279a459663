//! What a client asks a channel for, and what it gets: a user's services, its forced command, and the sentences for what is
//! not open. Pure.

use super::channels::refusal;
use crate::domain::{DirectCommand, ForcedCommand, Service};
use crate::wire::{Granted, Program};

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// A login shell.
    Shell,
    /// A command.
    Command(&'a [u8]),
    /// The subsystem `sftp`.
    Sftp,
    /// Another subsystem.
    Subsystem,
}

/// What it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// SFTP.
    Sftp,
    /// A program.
    Program(Program),
    /// Nothing: the sentence says why.
    Nothing(String),
}

/// What OpenSSH says where `internal-sftp` is forced; clients and people look for it.
const SFTP_ONLY: &str = "This service allows sftp connections only.";
/// What `SSH_ORIGINAL_COMMAND` says when the subsystem `sftp` was asked for.
const SFTP_COMMAND: &[u8] = b"internal-sftp";

impl Asked<'_> {
    /// As a fixed phrase, for sentences and the audit trail.
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Asked::Shell => "a shell",
            Asked::Command(_) => "running commands",
            Asked::Sftp => "sftp",
            Asked::Subsystem => "this subsystem",
        }
    }
}

/// Decides. What is forced stands for a shell, a command and `sftp` alike, as OpenSSH's `ForceCommand` does; it needs a
/// service that runs commands, or `sftp` where that is what is forced.
pub(super) fn decide(asked: Asked<'_>, granted: &Granted) -> Given {
    let services = granted.services;
    let closed = || Given::Nothing(refusal(asked.phrase(), services));
    let open = |service: Service| services.contains(service);
    match (asked, &granted.programs.forced_command) {
        (Asked::Subsystem, _) => closed(),
        (Asked::Sftp, Some(ForcedCommand::Sftp) | None) if open(Service::Sftp) => Given::Sftp,
        (Asked::Shell | Asked::Command(_), Some(ForcedCommand::Sftp)) => Given::Nothing(SFTP_ONLY.to_owned()),
        (asked, Some(ForcedCommand::Command(_))) if open(Service::Exec) || open(Service::Shell) => {
            let original = match asked {
                Asked::Command(command) => Some(command.to_vec()),
                Asked::Sftp => Some(SFTP_COMMAND.to_vec()),
                Asked::Shell | Asked::Subsystem => None,
            };
            Given::Program(Program::Forced { original })
        }
        (_, Some(_)) => closed(),
        (Asked::Shell, None) if open(Service::Shell) => Given::Program(Program::Shell),
        (Asked::Command(command), None) if open(Service::Exec) => Given::Program(Program::Command(command.to_vec())),
        // Looked at here for its sentence, and by the worker once more.
        (Asked::Command(line), None) if DirectCommand::are_any(services) => {
            match DirectCommand::parse(line, services, &granted.layout.home) {
                Ok(_) => Given::Program(Program::Direct(line.to_vec())),
                Err(why) => Given::Nothing(why.to_string()),
            }
        }
        _ => closed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Layout, ProgramPolicy, UploadPolicy};

    fn granted(services: &str, forced: Option<&str>) -> Granted {
        Granted {
            user: "bob".parse().expect("a name"),
            account: "acme".parse().expect("a name"),
            owner: (5001, 5001),
            services: services.parse().expect("services"),
            home: "/srv/acme".parse().expect("a path"),
            layout: Layout { placed: Vec::new(), start: "/srv/acme/www".to_owned(), home: "/home/bob".to_owned() },
            uploads: UploadPolicy::default(),
            forwards: crate::domain::ForwardPolicy::default(),
            programs: ProgramPolicy {
                forced_command: forced.map(|text| text.parse().expect("a command")),
                ..ProgramPolicy::default()
            },
            last_login: None,
            cover: None,
        }
    }

    fn program(given: Given) -> Option<Program> {
        match given {
            Given::Program(program) => Some(program),
            _ => None,
        }
    }

    #[test]
    fn services_open_what_they_say() {
        let all = granted("sftp,shell,exec", None);
        assert_eq!(decide(Asked::Sftp, &all), Given::Sftp);
        assert_eq!(program(decide(Asked::Shell, &all)), Some(Program::Shell));
        assert_eq!(program(decide(Asked::Command(b"id"), &all)), Some(Program::Command(b"id".to_vec())));
        let few = granted("git,rsync", None);
        let line = b"git-upload-pack 'x'";
        assert_eq!(program(decide(Asked::Command(line), &few)), Some(Program::Direct(line.to_vec())));
        for asked in [Asked::Shell, Asked::Sftp, Asked::Subsystem, Asked::Command(b"id"), Asked::Command(b"scp -t x")] {
            assert!(matches!(decide(asked, &few), Given::Nothing(_)), "{asked:?}");
        }
        // With a shell that may be given commands, nothing of a line is looked at.
        let more = granted("git,exec", None);
        assert_eq!(program(decide(Asked::Command(line), &more)), Some(Program::Command(line.to_vec())));
    }

    #[test]
    fn what_is_forced_stands_for_everything() {
        let forced = granted("sftp,exec,git", Some("borg serve"));
        for (asked, original) in [
            (Asked::Shell, None),
            (Asked::Command(b"id"), Some(b"id".to_vec())),
            (Asked::Sftp, Some(b"internal-sftp".to_vec())),
        ] {
            assert_eq!(program(decide(asked, &forced)), Some(Program::Forced { original }));
        }
        assert!(matches!(decide(Asked::Subsystem, &forced), Given::Nothing(_)));
        assert!(matches!(decide(Asked::Sftp, &granted("sftp,git", Some("date"))), Given::Nothing(_)));
    }

    #[test]
    fn forced_sftp_is_sftp_only() {
        let forced = granted("sftp,shell,exec,rsync", Some("internal-sftp"));
        assert_eq!(decide(Asked::Sftp, &forced), Given::Sftp);
        for asked in [Asked::Shell, Asked::Command(b"id")] {
            assert_eq!(decide(asked, &forced), Given::Nothing(SFTP_ONLY.to_owned()));
        }
        assert!(matches!(decide(Asked::Sftp, &granted("exec", Some("internal-sftp"))), Given::Nothing(_)));
    }
}
