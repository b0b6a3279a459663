//! Who a cell's programs run as, and what is in their environment.

use std::ffi::CString;

use crate::domain::{ForwardPolicy, Services};

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
}

impl User {
    /// The environment of one program: what every program gets, and what the client may add. Names that come twice keep
    /// their first value, so a client cannot replace ours.
    pub(super) fn environment(
        &self,
        terminal: Option<&str>,
        agent: Option<&str>,
        more: &[(String, String)],
    ) -> Vec<CString> {
        let own = [
            ("HOME", self.home.as_str()),
            ("USER", self.name.as_str()),
            ("LOGNAME", self.name.as_str()),
            ("SHELL", self.shell.as_str()),
            ("PATH", PATH),
        ];
        let mut variables: Vec<(&str, &str)> = own.to_vec();
        variables.extend(terminal.map(|kind| ("TERM", kind)));
        variables.extend(agent.map(|socket| ("SSH_AUTH_SOCK", socket)));
        variables.extend(more.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut seen = std::collections::BTreeSet::new();
        let first = variables.into_iter().filter(|(name, _)| !name.contains('=') && seen.insert(*name));
        first.filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_adds_and_does_not_replace() {
        let user = User {
            name: "bob".into(),
            home: "/home/bob".into(),
            start: "/srv".into(),
            shell: "/bin/bash".into(),
            services: Services::NONE,
            forwards: ForwardPolicy::default(),
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let asked =
            [pair("LANG", "C.UTF-8"), pair("PATH", "/tmp"), pair("A=B", "c"), pair("LANG", "x"), pair("N", "a\0b")];
        let environment = user.environment(Some("xterm"), None, &asked);
        let text: Vec<&str> = environment.iter().map(|v| v.to_str().expect("text")).collect();
        assert_eq!(text.len(), 7);
        assert!(text.contains(&"LANG=C.UTF-8") && text.contains(&"TERM=xterm") && text.contains(&"HOME=/home/bob"));
        assert!(text.iter().all(|v| !v.contains("/tmp") && !v.starts_with("N=")));
    }
}
