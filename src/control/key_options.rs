//! What the options in front of a key come to: each is honoured, or the key is not taken. None is ignored.
//!
//! The meanings are OpenSSH's (sshd(8), AUTHORIZED_KEYS FILE FORMAT). Options that permit something undo an earlier
//! `restrict`, in the order in which they stand.

use crate::control::times;
use crate::domain::{
    BadPermits, BadPrincipals, BadProgram, BadSource, Contradiction, KeyOption, Permits, Principals, Scope, Service,
    Services, Sources, Terms, Timestamp,
};

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
    /// Its command is none.
    #[error("option command")]
    Command(#[source] BadProgram),
    /// Its names are none.
    #[error("option principals")]
    Principals(#[source] BadPrincipals),
    /// Two options leave nothing of one another.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// Its place is none.
    #[error("option {name}")]
    Place {
        /// Which.
        name: String,
        /// What is wrong.
        source: BadPermits,
    },
}

/// What options have said so far.
struct Said {
    terminal: bool,
    ports: bool,
    agent: bool,
    /// What `command=` leaves.
    command: Option<Scope>,
    is_authority: bool,
    principals: Option<Principals>,
    no_touch: bool,
    /// Each of the places, as written.
    open: Vec<String>,
    listen: Vec<String>,
    expires: Option<Timestamp>,
    from: Option<Sources>,
}

/// What options come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Honoured {
    /// What the key may do of what its user may.
    pub scope: Scope,
    /// When and from where.
    pub terms: Terms,
    /// That it is an authority's, and the names that its certificates have to say.
    pub authority: Option<Principals>,
}

/// What a key with these options is good for. `is_token` says whether the key lies in a security key.
pub(super) fn honour(options: Vec<KeyOption>, is_token: bool) -> Result<Honoured, BadOption> {
    let mut said = Said {
        terminal: true,
        ports: true,
        agent: true,
        command: None,
        is_authority: false,
        principals: None,
        no_touch: false,
        open: Vec::new(),
        listen: Vec::new(),
        expires: None,
        from: None,
    };
    for KeyOption { name, value } in options {
        match value {
            None => flag(&mut said, name)?,
            Some(value) => valued(&mut said, name, &value)?,
        }
    }
    // A touch is never asked for; see SECURITY.md. Of an authority it speaks of the keys that it signs.
    if said.no_touch && !is_token && !said.is_authority {
        return Err(unserved("no-touch-required".to_owned()));
    }
    if said.principals.is_some() && !said.is_authority {
        return Err(unserved("principals".to_owned()));
    }
    said.come_to()
}

/// Several places as the list that they are.
fn places(name: &str, said: &[String]) -> Result<Option<Permits>, BadOption> {
    let bad = |source| BadOption::Place { name: name.to_owned(), source };
    if said.is_empty() {
        return Ok(None);
    }
    said.join(",").parse().map(Some).map_err(bad)
}

impl Said {
    fn come_to(self) -> Result<Honoured, BadOption> {
        let is_left = |service: &Service| match service {
            Service::ForwardLocal | Service::ForwardRemote => self.ports,
            Service::Agent => self.agent,
            _ => true,
        };
        let left: Services = Service::ALL.into_iter().filter(is_left).collect();
        let all: Services = Service::ALL.into_iter().collect();
        let scope = Scope {
            services: (left != all).then_some(left),
            no_terminal: !self.terminal,
            permit_open: places("permitopen", &self.open)?,
            permit_listen: places("permitlisten", &self.listen)?,
            ..Scope::default()
        };
        Ok(Honoured {
            scope: scope.and(self.command.unwrap_or_default())?,
            terms: Terms { expires: self.expires, from: self.from.unwrap_or_default(), ..Terms::default() },
            authority: self.is_authority.then(|| self.principals.unwrap_or_default()),
        })
    }
}

fn flag(said: &mut Said, name: String) -> Result<(), BadOption> {
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
        "no-touch-required" => said.no_touch = true,
        "cert-authority" => said.is_authority = true,
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
            if said.command.replace(Scope::forcing(value).map_err(BadOption::Command)?).is_some() {
                return Err(BadOption::Twice(name));
            }
        }
        "principals" => {
            let names: Vec<String> = value.split(',').map(str::to_owned).collect();
            if said.principals.replace(names.try_into().map_err(BadOption::Principals)?).is_some() {
                return Err(BadOption::Twice(name));
            }
        }
        "permitopen" => said.open.push(place(value, Bare::NoPlace).ok_or_else(|| no_place(name, value))?),
        "permitlisten" => said.listen.push(place(value, Bare::EveryAddress).ok_or_else(|| no_place(name, value))?),
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

/// What a port without a host stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bare {
    NoPlace,
    EveryAddress,
}

/// One place as OpenSSH writes it; a list of ours has several, and words for all and for none.
fn place(value: &str, bare: Bare) -> Option<String> {
    let is_port = !value.contains(':');
    let one = match bare {
        Bare::NoPlace if is_port => return None,
        Bare::EveryAddress if is_port => format!("*:{value}"),
        _ => value.to_owned(),
    };
    (!one.contains(',') && !one.starts_with('/')).then_some(one)
}

fn no_place(name: String, value: &str) -> BadOption {
    let text = value.chars().take(64).collect();
    BadOption::Place { name, source: BadPermits::Entry { text } }
}

/// The sentence for an option that is OpenSSH's and not ours.
fn unserved(name: String) -> BadOption {
    let why = match name.as_str() {
        "environment" => "no key may set variables, as with OpenSSH unless told otherwise; leave it away",
        "tunnel" => "tunnel devices are not served; leave it away",
        "x11-forwarding" => "X11 forwarding is not served; leave it away",
        "user-rc" => "~/.ssh/rc is not run; leave it away",
        "principals" => "it says names for certificates, and this key is not marked cert-authority",
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
    use crate::domain::{KeyLine, Mode};

    fn read(options: &str) -> Result<Honoured, BadOption> {
        let line = format!("{options} ssh-ed25519 AAAA");
        honour(KeyLine::parse(&line).expect("a line").options, false)
    }

    fn scope(options: &str) -> Scope {
        read(options).unwrap_or_else(|e| panic!("{options}: {e}")).scope
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
    fn commands_and_places_are_kept() {
        let deploy = scope(
            "restrict,port-forwarding,command=\"bin/deploy \\\"$SSH_ORIGINAL_COMMAND\\\"\",permitopen=\"db:3306\",permitopen=\"[::1]:80\",permitlisten=\"8080\",permitlisten=\"localhost:9\"",
        );
        let text = |permits: Option<Permits>| permits.map(|p| p.to_string());
        assert_eq!(
            deploy.forced_command.map(|c| c.to_string()).as_deref(),
            Some("bin/deploy \"$SSH_ORIGINAL_COMMAND\"")
        );
        assert_eq!(text(deploy.permit_open).as_deref(), Some("db:3306,[::1]:80"));
        assert_eq!(text(deploy.permit_listen).as_deref(), Some("*:8080,localhost:9"));
        assert!(matches!(read("command=\"a\",command=\"b\""), Err(BadOption::Twice(_))));
        assert!(matches!(read("command=\"a\",command=\"internal-sftp\""), Err(BadOption::Twice(_))));
        for command in [" ", "internal-sftp -u 022", "a\u{1}"] {
            assert!(matches!(read(&format!("command=\"{command}\"")), Err(BadOption::Command(_))), "{command:?}");
        }
        for place in ["80", "any", "none", "a:1,b:2", "/run/x", "", "a:0", "a:b"] {
            assert!(matches!(read(&format!("permitopen=\"{place}\"")), Err(BadOption::Place { .. })), "{place}");
        }
        for place in ["any", "none", "1,2", "/run/x", "", "0", "a:b:c"] {
            assert!(matches!(read(&format!("permitlisten=\"{place}\"")), Err(BadOption::Place { .. })), "{place}");
        }
    }

    #[test]
    fn an_authority_is_no_key() {
        let authority = |options| read(options).expect(options).authority.map(|names| names.to_string());
        assert_eq!(authority("restrict"), None);
        assert_eq!(authority("cert-authority").as_deref(), Some(""));
        assert_eq!(authority("no-touch-required,cert-authority").as_deref(), Some(""));
        assert_eq!(authority("principals=\"web,db\",cert-authority,no-pty").as_deref(), Some("db\nweb"));
        assert!(matches!(read("cert-authority,principals=\"a b\""), Err(BadOption::Principals(_))));
        assert!(matches!(read("cert-authority,principals=\"\""), Err(BadOption::Principals(_))));
    }

    #[test]
    fn times_and_addresses_are_kept() {
        let Honoured { terms, .. } =
            read("from=\"192.0.2.0/24\",expiry-time=\"20300101Z\",expiry-time=\"203101010000Z\"").expect("both");
        assert_eq!((terms.expires, terms.from.to_string().as_str()), (Some(Timestamp(1_893_456_000)), "192.0.2.0/24"));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for option in [
            "environment=\"A=B\"",
            "tunnel=\"0\"",
            "x11-forwarding",
            "user-rc",
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
            let Honoured { scope, .. } = honour(options, false).expect("known options");
            let some = Services::NONE.with(Service::Sftp).with(Service::Shell);
            prop_assert_eq!(scope.services(some), some);
            prop_assert_eq!(scope.services(Services::NONE), Services::NONE);
        }
    }
}
