//! How a user's programs are run: by which shell, whether it is one command whatever is asked for, and on a terminal or not.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Setting, Timestamp, seconds};

/// A login shell: the path of a program of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shell(String);

/// Why a text is no shell or forced command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProgram {
    /// No path.
    #[error("{0:?} is not a shell: give its whole path, such as /bin/bash")]
    Shell(String),
    /// No command.
    #[error("a forced command is 1 to {most} bytes without control characters", most = ForcedCommand::LONGEST)]
    Command,
    /// No time that programs may linger for.
    #[error("programs may outlive the last connection by 1s to 30d: write 30m, 8h or 2d")]
    Linger,
    /// Options that OpenSSH's has.
    #[error(
        "internal-sftp takes no options here: give rights with `grant add --mode`, and the umask with `user set --umask`"
    )]
    SftpOptions,
}

impl Shell {
    /// What users have of whom nothing was said.
    pub const DEFAULT: &str = "/bin/bash";

    /// Its path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Shell {
    type Err = BadProgram;

    fn from_str(text: &str) -> Result<Self, BadProgram> {
        let is_path = text.starts_with('/') && !text.ends_with('/') && text.len() <= 255;
        if !is_path || text.chars().any(char::is_control) || text.split('/').any(|part| part == "..") {
            return Err(BadProgram::Shell(text.chars().take(64).collect()));
        }
        Ok(Shell(text.to_owned()))
    }
}

/// What is run whatever a client asks for (`ForceCommand` of OpenSSH).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ForcedCommand {
    /// SFTP and nothing else.
    Sftp,
    /// A command for the user's shell, which finds what was asked for in `SSH_ORIGINAL_COMMAND`.
    Command(String),
}

impl ForcedCommand {
    /// Longest command, in bytes.
    pub const LONGEST: usize = 4096;
    const SFTP: &str = "internal-sftp";
}

impl std::str::FromStr for ForcedCommand {
    type Err = BadProgram;

    fn from_str(text: &str) -> Result<Self, BadProgram> {
        let text = text.trim();
        if text.is_empty() || text.len() > Self::LONGEST || text.chars().any(char::is_control) {
            return Err(BadProgram::Command);
        }
        match text.strip_prefix(Self::SFTP) {
            Some("") => Ok(ForcedCommand::Sftp),
            Some(options) if options.starts_with(' ') => Err(BadProgram::SftpOptions),
            _ => Ok(ForcedCommand::Command(text.to_owned())),
        }
    }
}

impl fmt::Display for ForcedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForcedCommand::Sftp => Self::SFTP,
            ForcedCommand::Command(command) => command,
        })
    }
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

by_text!(BadProgram: Shell, ForcedCommand, Linger);

/// Whether programs get a terminal when a client asks for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Terminals {
    /// They do.
    #[default]
    Allowed,
    /// They do not.
    Refused,
}

impl Terminals {
    /// As written in JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Terminals::Allowed => "allowed",
            Terminals::Refused => "refused",
        }
    }
}

/// A word that is neither `allowed` nor `refused`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("terminals are allowed or refused")]
pub struct UnknownTerminals;

impl std::str::FromStr for Terminals {
    type Err = UnknownTerminals;

    fn from_str(text: &str) -> Result<Self, UnknownTerminals> {
        [Terminals::Allowed, Terminals::Refused].into_iter().find(|t| t.as_str() == text).ok_or(UnknownTerminals)
    }
}

/// How long a user's programs may outlive the last connection, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Linger(u32);

impl Linger {
    /// The longest: 30 days.
    pub const LONGEST: u32 = 30 * 24 * 3600;
    const UNITS: [(char, u32); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

    /// The number.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Linger {
    type Error = BadProgram;

    fn try_from(seconds: i64) -> Result<Self, BadProgram> {
        let seconds = u32::try_from(seconds).ok().filter(|s| (1..=Self::LONGEST).contains(s));
        seconds.map(Linger).ok_or(BadProgram::Linger)
    }
}

impl std::str::FromStr for Linger {
    type Err = BadProgram;

    fn from_str(text: &str) -> Result<Self, BadProgram> {
        Linger::try_from(seconds(text).ok_or(BadProgram::Linger)?)
    }
}

impl fmt::Display for Linger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(char, u32)| self.0.is_multiple_of(*factor);
        let (unit, factor) = Self::UNITS.iter().find(fits).copied().unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// How a user's programs are run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramPolicy {
    /// The login shell, if one was named.
    pub shell: Option<Shell>,
    /// What is run whatever is asked for.
    pub forced_command: Option<ForcedCommand>,
    /// Whether there are terminals.
    pub terminals: Terminals,
    /// How long they may outlive the last connection, if they may.
    pub linger: Option<Linger>,
}

impl ProgramPolicy {
    /// The path of the login shell.
    pub fn shell(&self) -> &str {
        self.shell.as_ref().map_or(Shell::DEFAULT, Shell::as_str)
    }

    /// Whether somebody who is served by this policy may do something that they may not by the other. Which of two shells
    /// or commands lets do more cannot be said, so each is narrower than the other.
    pub fn is_narrowed_by(&self, after: &ProgramPolicy) -> bool {
        let is_forced_otherwise = after.forced_command.is_some() && after.forced_command != self.forced_command;
        let loses_terminals = (self.terminals, after.terminals) == (Terminals::Allowed, Terminals::Refused);
        // Less than nothing is nothing.
        let lingers_shorter = after.linger < self.linger;
        is_forced_otherwise || loses_terminals || lingers_shorter || self.shell() != after.shell()
    }
}

/// What is to be changed of a [`ProgramPolicy`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "names are those of the policy")]
pub struct ProgramChange {
    pub shell: Setting<Shell>,
    pub forced_command: Setting<ForcedCommand>,
    pub terminals: Option<Terminals>,
    pub linger: Setting<Linger>,
}

impl ProgramChange {
    /// The policy with the change made.
    #[must_use]
    pub fn apply(self, mut policy: ProgramPolicy) -> ProgramPolicy {
        self.shell.apply(&mut policy.shell);
        self.forced_command.apply(&mut policy.forced_command);
        self.linger.apply(&mut policy.linger);
        policy.terminals = self.terminals.unwrap_or(policy.terminals);
        policy
    }
}

/// When and from where a user logged in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLogin {
    /// When.
    pub at: Timestamp,
    /// From which address.
    pub from: IpAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_are_whole_paths() {
        for text in ["/bin/bash", "/usr/bin/fish"] {
            assert_eq!(text.parse::<Shell>().expect("a shell").as_str(), text);
        }
        for text in ["bash", "", "/", "/bin/", "/srv/../bin/sh", "/bin/a\nb", &format!("/{}", "a".repeat(255))] {
            assert!(text.parse::<Shell>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn forced_commands_read_back_as_they_are_written() {
        let forced = |text: &str| text.parse::<ForcedCommand>();
        assert_eq!(forced("internal-sftp"), Ok(ForcedCommand::Sftp));
        assert_eq!(forced("internal-sftp -R"), Err(BadProgram::SftpOptions));
        assert_eq!(forced("internal-sftpd").map(|c| c.to_string()), Ok("internal-sftpd".to_owned()));
        assert_eq!(forced(" borg serve ").map(|c| c.to_string()), Ok("borg serve".to_owned()));
        assert!(forced("").is_err() && forced("a\nb").is_err());
    }

    #[test]
    fn times_to_linger_are_bounded_and_read_back() {
        for (text, seconds, shown) in
            [("30m", 1800, "30m"), ("8h", 28_800, "8h"), ("48h", 172_800, "2d"), ("90s", 90, "90s")]
        {
            let linger: Linger = text.parse().expect("a time");
            assert_eq!((linger.seconds(), linger.to_string().as_str()), (seconds, shown));
        }
        for text in ["", "h", "0h", "31d", "8", "-1h", "1.5h", "99999999999999999999d", "ü"] {
            assert_eq!(text.parse::<Linger>(), Err(BadProgram::Linger), "{text:?}");
        }
        let for_time = |text: &str| ProgramPolicy { linger: text.parse().ok(), ..ProgramPolicy::default() };
        assert!(for_time("2h").is_narrowed_by(&for_time("1h")) && for_time("1h").is_narrowed_by(&for_time("none")));
        assert!(!for_time("none").is_narrowed_by(&for_time("1h")));
    }

    #[test]
    fn what_takes_away_is_narrower() {
        let free = ProgramPolicy::default();
        let with = |change: ProgramChange| change.apply(ProgramPolicy::default());
        let forced = |text: &str| {
            with(ProgramChange {
                forced_command: Setting::Set(text.parse().expect("a command")),
                ..ProgramChange::default()
            })
        };
        assert!(free.is_narrowed_by(&forced("date")) && !forced("date").is_narrowed_by(&free));
        assert!(forced("date").is_narrowed_by(&forced("id")) && !forced("id").is_narrowed_by(&forced("id")));
        let no_terminal = with(ProgramChange { terminals: Some(Terminals::Refused), ..ProgramChange::default() });
        assert!(free.is_narrowed_by(&no_terminal) && !no_terminal.is_narrowed_by(&free));
        let shell = |path: &str| {
            with(ProgramChange { shell: Setting::Set(path.parse().expect("a shell")), ..ProgramChange::default() })
        };
        assert!(free.is_narrowed_by(&shell("/bin/rbash")) && !free.is_narrowed_by(&shell("/bin/bash")));
    }
}
