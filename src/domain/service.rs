//! The services that a user may open.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a user may open over SSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// The SFTP subsystem (draft-ietf-secsh-filexfer-02), which `scp` of OpenSSH 9 and later uses too.
    Sftp,
    /// The old `scp -O` program.
    Scp,
    /// Commands.
    Exec,
    /// A login shell.
    Shell,
    /// `git-upload-pack`, `git-receive-pack`, `git-upload-archive`.
    Git,
    /// `rsync --server`.
    Rsync,
    /// `direct-tcpip` (RFC 4254, 7.2).
    ForwardLocal,
    /// `tcpip-forward` (RFC 4254, 7.1).
    ForwardRemote,
    /// Agent forwarding.
    Agent,
}

impl Service {
    /// Every service there is, in the order in which they are shown.
    pub const ALL: [Service; 9] = [
        Service::Sftp,
        Service::Scp,
        Service::Exec,
        Service::Shell,
        Service::Git,
        Service::Rsync,
        Service::ForwardLocal,
        Service::ForwardRemote,
        Service::Agent,
    ];

    /// As written in commands, JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Service::Sftp => "sftp",
            Service::Scp => "scp",
            Service::Exec => "exec",
            Service::Shell => "shell",
            Service::Git => "git",
            Service::Rsync => "rsync",
            Service::ForwardLocal => "forward-local",
            Service::ForwardRemote => "forward-remote",
            Service::Agent => "agent",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A service we do not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "service {text:?} is not known; use sftp, scp, exec, shell, git, rsync, forward-local, forward-remote or agent"
)]
pub struct UnknownService {
    text: String,
}

impl std::str::FromStr for Service {
    type Err = UnknownService;

    fn from_str(text: &str) -> Result<Self, UnknownService> {
        let known = Service::ALL.into_iter().find(|s| s.as_str() == text);
        known.ok_or_else(|| UnknownService { text: text.chars().take(64).collect() })
    }
}

/// A set of services, kept in the order of [`Service::ALL`]. Its text is a comma-separated list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Services(u16);

impl Services {
    /// The set with nothing in it.
    pub const NONE: Services = Services(0);

    /// This set with one more.
    #[must_use]
    pub fn with(self, service: Service) -> Services {
        Services(self.0 | 1 << service as u16)
    }

    /// Whether the service is in the set.
    pub fn contains(self, service: Service) -> bool {
        self.0 & (1 << service as u16) != 0
    }

    /// What is in both; rights only ever shrink.
    #[must_use]
    pub fn and(self, other: Services) -> Services {
        Services(self.0 & other.0)
    }

    /// Whether programs run for who has these services.
    pub fn run_programs(self) -> bool {
        self.run_commands() || super::DIRECT.into_iter().any(|s| self.contains(s))
    }

    /// Whether commands run for who has these services, in a shell.
    pub fn run_commands(self) -> bool {
        [Service::Shell, Service::Exec].into_iter().any(|s| self.contains(s))
    }

    /// The services of the set.
    pub fn iter(self) -> impl Iterator<Item = Service> {
        Service::ALL.into_iter().filter(move |s| self.contains(*s))
    }
}

impl FromIterator<Service> for Services {
    fn from_iter<I: IntoIterator<Item = Service>>(services: I) -> Self {
        services.into_iter().fold(Services::NONE, Services::with)
    }
}

impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, service) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            f.write_str(service.as_str())?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Services {
    type Err = UnknownService;

    fn from_str(text: &str) -> Result<Self, UnknownService> {
        text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::parse).collect()
    }
}

by_text!(UnknownService: Services);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_read_back_as_they_are_written() {
        let all: Services = Service::ALL.into_iter().collect();
        assert_eq!(all.to_string().parse::<Services>().expect("own text"), all);
        assert_eq!("sftp, shell,exec".parse::<Services>().expect("a list").to_string(), "sftp,exec,shell");
        assert!("sftp,telnet".parse::<Services>().is_err());
    }

    #[test]
    fn an_intersection_never_adds() {
        let one: Services = [Service::Sftp, Service::Git].into_iter().collect();
        let other: Services = [Service::Git, Service::Shell].into_iter().collect();
        assert_eq!(one.and(other), Services::NONE.with(Service::Git));
    }
}
