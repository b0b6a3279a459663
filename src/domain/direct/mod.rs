//! Command lines of the services `scp`, `git` and `rsync`, for logins without `exec`: one of those programs as the other
//! side of its own protocol, and nothing else.
//!
//! Pure. Such a line is never given to a shell: it is taken apart into words, and each word has to be one that clients send
//! and that makes the program run no other (`rsync -e`, `scp -S`, `rsync --daemon`). What is not known is refused.

mod git;
mod rsync;
mod scp;
mod words;

use super::{Service, Services};

/// Longest command line; many long names still fit, and it fits into one of our messages.
const LONGEST: usize = 16 * 1024;

/// The services that are programs of their own.
pub const DIRECT: [Service; 3] = [Service::Scp, Service::Git, Service::Rsync];

/// A program that may be started, with what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectCommand {
    service: Service,
    arguments: Vec<Vec<u8>>,
}

/// Why a command line is not taken. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDirect {
    /// It is too long.
    #[error("the command is longer than {LONGEST} bytes; name fewer files at a time")]
    Long,
    /// It has control characters.
    #[error("the command has a control character in it, which this login cannot send")]
    Control,
    /// A quote is left open.
    #[error("the command ends within a quote")]
    Unfinished,
    /// It would need a shell.
    #[error("this login has no shell that would do something with {0:?}: quote it, or name each file in full")]
    Special(char),
    /// Another program, or none.
    #[error("{program:?} is not open to this login; it may run: {open}")]
    Program {
        /// What was asked for.
        program: String,
        /// What it may run.
        open: Services,
    },
    /// The program was not called as the other side of its protocol.
    #[error("{program} is open to this login as the other side of a client only ({how})")]
    NotServer {
        /// Which.
        program: &'static str,
        /// How clients call it.
        how: &'static str,
    },
    /// An option that clients do not send, or that does what the login may not.
    #[error("{program} {option} is not open to this login")]
    Option {
        /// The program.
        program: &'static str,
        /// The word.
        option: String,
    },
    /// What is asked for would come later, where it cannot be looked at.
    #[error(
        "rsync -s (--secluded-args, --protect-args) hides what is asked for, and is not open to this login; leave it out"
    )]
    Secluded,
    /// No path, or several where there is to be one.
    #[error("{program} takes {what} here")]
    Paths {
        /// The program.
        program: &'static str,
        /// How many.
        what: &'static str,
    },
}

impl DirectCommand {
    /// Whether any of these services is a program of its own.
    pub fn are_any(services: Services) -> bool {
        DIRECT.iter().any(|service| services.contains(*service))
    }

    /// Takes a command line of a client that may have `services`. `~` stands for `home`.
    pub fn parse(line: &[u8], services: Services, home: &str) -> Result<DirectCommand, NotDirect> {
        let mut words = words::split(line)?.into_iter();
        let program = words.next().unwrap_or_default();
        let (service, arguments) = match program.bytes.as_slice() {
            _ if program.from_home => return Err(unknown(&program, services)),
            b"rsync" => (Service::Rsync, rsync::arguments(words.collect(), home)),
            b"scp" => (Service::Scp, scp::arguments(words.collect(), home)),
            name => match git::command(name, &mut words) {
                Some(command) => (Service::Git, git::arguments(command, words.collect(), home)),
                None => return Err(unknown(&program, services)),
            },
        };
        // What is not open to the login is said before anything about its options.
        if !services.contains(service) {
            return Err(unknown(&program, services));
        }
        Ok(DirectCommand { service, arguments: arguments? })
    }

    /// The service that it is.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Name of the program, to be looked for in the directories of the host.
    pub fn program(&self) -> &'static str {
        self.service.as_str()
    }

    /// What it is told; the first is its name. None holds a NUL.
    pub fn arguments(&self) -> &[Vec<u8>] {
        &self.arguments
    }
}

fn unknown(program: &words::Word, services: Services) -> NotDirect {
    let open = DIRECT.into_iter().filter(|service| services.contains(*service)).collect();
    NotDirect::Program { program: program.shown(), open }
}

#[cfg(test)]
mod tests;
