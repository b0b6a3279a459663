//! Options of `enclos user add` and `set` that say how programs are run.

use std::path::Path;

use clap::Args;

use super::upload_options::or_none;
use crate::domain::{ForcedCommand, Linger, ProgramChange, Setting, Shell, Terminals};

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ProgramOptions {
    /// Login shell, one of those in /etc/shells of this host; none for the usual one [default: /bin/bash]
    #[arg(long, value_name = "PATH", value_parser = or_none::<Shell>)]
    shell: Option<Setting<Shell>>,
    /// What is run whatever a client asks for, by the login shell, which finds what was asked for in SSH_ORIGINAL_COMMAND;
    /// internal-sftp for SFTP and nothing else; none to let clients ask
    #[arg(long, value_name = "COMMAND", value_parser = or_none::<ForcedCommand>)]
    forced_command: Option<Setting<ForcedCommand>>,
    /// Let its programs have no terminal
    #[arg(long, conflicts_with = "pty")]
    no_pty: bool,
    /// Let its programs have terminals again
    #[arg(long)]
    pty: bool,
    /// How long programs such as tmux may outlive the last connection, to be found again by the next: 30m, 8h, at most 30d;
    /// none for not at all [default: none]
    #[arg(long, value_name = "TIME", value_parser = or_none::<Linger>)]
    linger: Option<Setting<Linger>>,
}

impl ProgramOptions {
    /// What they change. The error is a sentence.
    pub(super) fn change(self) -> Result<ProgramChange, String> {
        if let Some(Setting::Set(shell)) = &self.shell {
            check(shell)?;
        }
        let terminals = match (self.no_pty, self.pty) {
            (true, _) => Some(Terminals::Refused),
            (_, true) => Some(Terminals::Allowed),
            _ => None,
        };
        Ok(ProgramChange {
            shell: self.shell.unwrap_or_default(),
            forced_command: self.forced_command.unwrap_or_default(),
            terminals,
            linger: self.linger.unwrap_or_default(),
        })
    }
}

/// Whether a shell is one of this host's: the file that says so is the host's, and so is the program.
fn check(shell: &Shell) -> Result<(), String> {
    const LIST: &str = "/etc/shells";
    let list = std::fs::read_to_string(LIST).map_err(|error| format!("{LIST} cannot be read: {error}"))?;
    let listed: Vec<&str> = list.lines().map(str::trim).filter(|line| line.starts_with('/')).collect();
    if !listed.contains(&shell.as_str()) {
        return Err(format!("{shell} is not in {LIST}; use one of: {}", listed.join(", ")));
    }
    if nix::unistd::access(Path::new(shell.as_str()), nix::unistd::AccessFlags::X_OK).is_err() {
        return Err(format!("{shell} is in {LIST}, but is not there or cannot be run; install it first"));
    }
    Ok(())
}
