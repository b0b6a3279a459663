//! What the options in front of a key come to: each is honoured, or the key is not taken. None is ignored.
//!
//! The meanings are OpenSSH's (sshd(8), AUTHORIZED_KEYS FILE FORMAT). Options that permit something undo an earlier
//! `restrict`, in the order in which they stand.

use crate::control::times;
use crate::domain::{BadSource, KeyOption, Mode, Scope, Service, Services, Sources, Terms, Timestamp};

/// Why an option cannot be honoured. The text says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOption {
    /// It is none of OpenSSH's.
    #[error("option {0:?} is not known")]
    Unknown(String),
    /// It stands there a second time.
    #[error("option {0} stands there twice")]
    Twice(String),
    /// It needs a value.
    #[error("option {0} needs a value: {0}=\"...\"")]
    NoValue(String),
    /// It takes none.
    #[error("option {0} takes no value")]
    Value(String),
    /// We cannot do what it asks.
    #[error("option {name} cannot be honoured: {why}")]
    Unserved {
        /// Which.
        name: String,
        /// What to do.
        why: &'static str,
    },
    /// It is no time.
    #[error("{0:?} is not a time; write expiry-time=\"YYYYMMDD[HHMM[SS]][Z]\"")]
    NoTime(String),
    /// Its list of addresses is none.
    #[error("option from")]
    From(#[source] BadSource),
}

/// What options have said so far.
struct Said {
    terminal: bool,
    ports: bool,
    agent: bool,
    /// What `command="internal-sftp"` leaves.
    only_sftp: Option<Mode>,
    expires: Option<Timestamp>,
    from: Option<Sources>,
}

/// Scope and terms of a key with these options. `is_token` says whether the key lies in a security key.
pub(super) fn honour(options: Vec<KeyOption>, is_token: bool) -> Result<(Scope, Terms), BadOption> {
    let mut said = Said { terminal: true, ports: true, agent: true, only_sftp: None, expires: None, from: None };
    for KeyOption { name, value } in options {
        match value {
            None => flag(&mut said, name, is_token)?,
            Some(value) => valued(&mut said, name, &value)?,
        }
    }
    Ok(said.come_to())
}

impl Said {
    fn come_to(self) -> (Scope, Terms) {
        let is_left = |service: &Service| match service {
            Service::ForwardLocal | Service::ForwardRemote => self.ports,
            Service::Agent => self.agent,
            Service::Sftp => true,
            _ => self.only_sftp.is_none(),
        };
        let left: Services = Service::ALL.into_iter().filter(is_left).collect();
        let all: Services = Service::ALL.into_iter().collect();
        let scope = Scope {
            paths: None,
            mode: self.only_sftp.filter(|mode| *mode != Mode::Rw),
            services: (left != all).then_some(left),
            no_terminal: !self.terminal,
        };
        (scope, Terms { expires: self.expires, from: self.from.unwrap_or_default() })
    }
}

fn flag(said: &mut Said, name: String, is_token: bool) -> Result<(), BadOption> {
    match name.as_str() {
        "restrict" => (said.terminal, said.ports, said.agent) = (false, false, false),
        "pty" => said.terminal = true,
        "no-pty" => said.terminal = false,
        "port-forwarding" => said.ports = true,
        "no-port-forwarding" => said.ports = false,
        "agent-forwarding" => said.agent = true,
        "no-agent-forwarding" => said.agent = false,
        // Neither is served to anybody.
        "no-x11-forwarding" | "no-user-rc" => {}
        // A touch is never asked for; see SECURITY.md.
        "no-touch-required" if is_token => {}
        "from" | "expiry-time" | "command" | "environment" | "permitopen" | "permitlisten" | "principals"
        | "tunnel" => {
            return Err(BadOption::NoValue(name));
        }
        _ => return Err(unserved(name)),
    }
    Ok(())
}

fn valued(said: &mut Said, name: String, value: &str) -> Result<(), BadOption> {
    match name.as_str() {
        "from" => {
            let from: Sources = value.parse().map_err(BadOption::From)?;
            if from.is_everywhere() {
                return Err(BadOption::NoValue(name));
            }
            if said.from.replace(from).is_some() {
                return Err(BadOption::Twice(name));
            }
        }
        "expiry-time" => {
            let end = times::of_openssh(value).ok_or_else(|| BadOption::NoTime(value.chars().take(64).collect()))?;
            // Of several the first counts, as with OpenSSH.
            said.expires = Some(said.expires.map_or(end, |other| other.min(end)));
        }
        "command" => {
            let words: Vec<&str> = value.split_whitespace().collect();
            let mode = match words.as_slice() {
                ["internal-sftp"] => Mode::Rw,
                ["internal-sftp", "-R"] => Mode::Ro,
                _ => return Err(unserved(name)),
            };
            if said.only_sftp.replace(mode).is_some() {
                return Err(BadOption::Twice(name));
            }
        }
        "restrict"
        | "pty"
        | "no-pty"
        | "port-forwarding"
        | "no-port-forwarding"
        | "agent-forwarding"
        | "no-agent-forwarding"
        | "no-x11-forwarding"
        | "no-user-rc"
        | "no-touch-required"
        | "verify-required"
        | "x11-forwarding"
        | "user-rc"
        | "cert-authority" => return Err(BadOption::Value(name)),
        _ => return Err(unserved(name)),
    }
    Ok(())
}

/// The sentence for an option that is OpenSSH's and not ours.
fn unserved(name: String) -> BadOption {
    let why = match name.as_str() {
        "command" => {
            "programs cannot be forced yet, except \"internal-sftp\" and \"internal-sftp -R\"; leave it away and give the key \
             fewer services with --services"
        }
        "environment" => "no key may set variables, as with OpenSSH unless told otherwise; leave it away",
        "permitopen" => "forwarding to some places only cannot be kept yet; write no-port-forwarding instead",
        "permitlisten" => "forwarding from some ports only cannot be kept yet; write no-port-forwarding instead",
        "tunnel" => "tunnel devices are not served; leave it away",
        "x11-forwarding" => "X11 forwarding is not served; leave it away",
        "user-rc" => "~/.ssh/rc is not run; leave it away",
        "cert-authority" | "principals" => "certificates are not taken yet; add the people's own keys",
        "verify-required" => {
            "whether somebody gave a PIN to the security key cannot be checked here, so nothing could be required"
        }
        "no-touch-required" => "it is for security keys (sk-...), and this is none; leave it away",
        _ => return BadOption::Unknown(name.chars().take(64).collect()),
    };
    BadOption::Unserved { name, why }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::KeyLine;

    fn read(options: &str) -> Result<(Scope, Terms), BadOption> {
        let line = format!("{options} ssh-ed25519 AAAA");
        honour(KeyLine::parse(&line).expect("a line").options, false)
    }

    fn scope(options: &str) -> Scope {
        read(options).unwrap_or_else(|e| panic!("{options}: {e}")).0
    }

    fn services(scope: &Scope) -> Services {
        scope.services(Service::ALL.into_iter().collect())
    }

    #[test]
    fn restrictions_take_away_what_they_name() {
        assert!(scope("no-user-rc,no-X11-forwarding").is_whole());
        assert!(scope("no-pty").no_terminal);
        let no_ports = services(&scope("no-port-forwarding"));
        assert!(!no_ports.contains(Service::ForwardLocal) && !no_ports.contains(Service::ForwardRemote));
        assert!(no_ports.contains(Service::Agent) && no_ports.contains(Service::Shell));
        let restricted = scope("restrict");
        assert!(restricted.no_terminal);
        for service in [Service::ForwardLocal, Service::ForwardRemote, Service::Agent] {
            assert!(!services(&restricted).contains(service));
        }
    }

    #[test]
    fn what_stands_later_wins() {
        let but = scope("restrict,pty,agent-forwarding");
        assert!(!but.no_terminal && services(&but).contains(Service::Agent));
        assert!(!services(&but).contains(Service::ForwardLocal));
        assert!(scope("pty,restrict").no_terminal);
    }

    #[test]
    fn forced_sftp_is_sftp_alone() {
        let sftp = scope("command=\"internal-sftp\"");
        assert_eq!(
            (services(&sftp).to_string().as_str(), sftp.mode),
            ("sftp,forward-local,forward-remote,agent", None)
        );
        let reading = scope("restrict,command=\"internal-sftp -R\"");
        assert_eq!((services(&reading).to_string().as_str(), reading.mode), ("sftp", Some(Mode::Ro)));
    }

    #[test]
    fn times_and_places_are_kept() {
        let (_, terms) =
            read("from=\"192.0.2.0/24\",expiry-time=\"20300101Z\",expiry-time=\"203101010000Z\"").expect("both");
        assert_eq!((terms.expires, terms.from.to_string().as_str()), (Some(Timestamp(1_893_456_000)), "192.0.2.0/24"));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for option in [
            "command=\"rrsync /x\"",
            "environment=\"A=B\"",
            "permitopen=\"a:1\"",
            "permitlisten=\"1\"",
            "tunnel=\"0\"",
            "x11-forwarding",
            "user-rc",
            "cert-authority",
            "principals=\"a\"",
            "verify-required",
            "no-touch-required",
        ] {
            let name = option.split('=').next().unwrap_or_default();
            let refused = read(option).expect_err(option);
            assert!(matches!(&refused, BadOption::Unserved { .. } | BadOption::Value(_)), "{option}: {refused}");
            assert!(refused.to_string().contains(name), "{refused}");
        }
        assert_eq!(read("fast"), Err(BadOption::Unknown("fast".into())));
        assert_eq!(read("from"), Err(BadOption::NoValue("from".into())));
        assert_eq!(read("from=\"\""), Err(BadOption::NoValue("from".into())));
        assert_eq!(read("restrict=\"x\""), Err(BadOption::Value("restrict".into())));
        assert_eq!(read("from=\"::1\",from=\"::2\""), Err(BadOption::Twice("from".into())));
        assert!(matches!(read("from=\"example.org\""), Err(BadOption::From(_))));
        assert!(matches!(read("expiry-time=\"tomorrow\""), Err(BadOption::NoTime(_))));
    }

    proptest! {
        /// Whatever options say, they never take more than the user may.
        #[test]
        fn options_only_narrow(names in proptest::collection::vec(0_usize..9, 0..8)) {
            let known = ["restrict", "pty", "no-pty", "port-forwarding", "no-port-forwarding", "agent-forwarding",
                "no-agent-forwarding", "no-user-rc", "no-x11-forwarding"];
            let options = names.iter().map(|n| KeyOption { name: known[*n].to_owned(), value: None }).collect();
            let (scope, _) = honour(options, false).expect("known options");
            let some = Services::NONE.with(Service::Sftp).with(Service::Shell);
            prop_assert_eq!(scope.services(some), some);
            prop_assert_eq!(scope.services(Services::NONE), Services::NONE);
        }
    }
}
