//! Who a cell's programs run as, and what is in their environment.

use std::ffi::{CStr, CString};

use super::permission::Variables;
use crate::domain::{ForcedCommand, ForwardPolicy, Services, Terminals, is_harmless};

/// Programs are looked for here. The directories of the system's own come first: nothing in a grant can take their place.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/games";

/// The user of a cell, as its programs see it.
#[derive(Clone, Debug)]
pub struct User {
    /// Login name.
    pub name: String,
    /// An absolute path.
    pub home: String,
    /// Where programs start; the first grant.
    pub start: String,
    /// An absolute path.
    pub shell: String,
    /// What it may have done.
    pub services: Services,
    /// What it may forward.
    pub forwards: ForwardPolicy,
    /// Whether its programs get terminals.
    pub terminals: Terminals,
    /// What is run whatever is asked for.
    pub forced_command: Option<ForcedCommand>,
}

/// What the environment of one program has beyond its user's.
#[derive(Clone, Copy, Debug)]
pub(super) struct More<'a> {
    /// The kind and the path of its terminal.
    pub(super) terminal: Option<(&'a str, &'a CStr)>,
    /// The socket of the client's agent.
    pub(super) agent: Option<&'a str>,
    /// What was asked for, where something else is run.
    pub(super) original: Option<&'a CStr>,
    /// What the session says of the connection, and what the client asks for.
    pub(super) asked: &'a [(String, String)],
    /// Which of those the program may have.
    pub(super) variables: Variables,
}

impl User {
    /// Whether a shell may be given a command for it.
    pub(super) fn may_run_commands(&self) -> bool {
        self.services.run_commands()
    }

    /// The environment of one program: what every program gets, and what the client may add. Names that come twice keep
    /// their first value, so a client cannot replace ours.
    pub(super) fn environment(&self, more: More<'_>) -> Vec<CString> {
        let own = [
            ("HOME", self.home.as_str()),
            ("USER", self.name.as_str()),
            ("LOGNAME", self.name.as_str()),
            ("SHELL", self.shell.as_str()),
            ("PATH", PATH),
        ];
        let mut variables: Vec<(&str, &[u8])> = own.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        if let Some((kind, path)) = more.terminal {
            variables.extend([("TERM", kind.as_bytes()), ("SSH_TTY", path.to_bytes())]);
        }
        variables.extend(more.agent.map(|socket| ("SSH_AUTH_SOCK", socket.as_bytes())));
        variables.extend(more.original.map(|command| ("SSH_ORIGINAL_COMMAND", command.to_bytes())));
        let may_have = |name: &str| more.variables == Variables::Any || is_harmless(name);
        let asked = more.asked.iter().filter(|(name, _)| may_have(name));
        variables.extend(asked.map(|(name, value)| (name.as_str(), value.as_bytes())));
        let mut seen = std::collections::BTreeSet::new();
        let first = variables.into_iter().filter(|(name, _)| !name.contains('=') && seen.insert(*name));
        first.filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value].concat()).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(more: More<'_>) -> Vec<String> {
        let user = User {
            name: "bob".into(),
            home: "/home/bob".into(),
            start: "/srv".into(),
            shell: "/bin/bash".into(),
            services: Services::NONE,
            forwards: ForwardPolicy::default(),
            terminals: Terminals::Allowed,
            forced_command: None,
        };
        user.environment(more).into_iter().map(|v| v.into_string().expect("text")).collect()
    }

    #[test]
    fn a_client_adds_and_does_not_replace() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let asked = [
            pair("LANG", "C.UTF-8"),
            pair("PATH", "/tmp"),
            pair("A=B", "c"),
            pair("LANG", "x"),
            pair("N", "a\0b"),
            pair("SSH_TTY", "/tmp/x"),
            pair("SSH_ORIGINAL_COMMAND", "other"),
            pair("LD_PRELOAD", "x.so"),
        ];
        let more = More {
            terminal: Some(("xterm", c"/dev/pts/0")),
            agent: None,
            original: Some(c"id"),
            asked: &asked,
            variables: Variables::Any,
        };
        let text = environment(more);
        for variable in
            ["LANG=C.UTF-8", "TERM=xterm", "HOME=/home/bob", "SSH_TTY=/dev/pts/0", "SSH_ORIGINAL_COMMAND=id"]
        {
            assert!(text.iter().any(|v| v == variable), "{variable} of {text:?}");
        }
        assert!(text.iter().all(|v| !v.contains("/tmp") && !v.starts_with("N=") && !v.contains("other")));
        assert_eq!(text.len(), 10);
        let harmless = environment(More { variables: Variables::Harmless, ..more });
        assert!(harmless.iter().all(|v| !v.starts_with("LD_")) && harmless.iter().any(|v| v == "LANG=C.UTF-8"));
    }
}
