//! What somebody is told whose key has just become a user's, before the connection ends. Pure.

use crate::domain::{Service, Timestamp, Welcome};

/// Most grants that are named.
const MOST_NAMED: usize = 16;

/// The whole of it. `port` is where the client has connected to, if that is known.
pub(super) fn welcome(welcome: &Welcome, key: &str, port: Option<u16>) -> String {
    let Welcome { user, services, .. } = welcome;
    let has = |service: Service| services.contains(service);
    let port = port.filter(|port| *port != 22);
    let mut commands = Vec::new();
    if has(Service::Shell) || has(Service::Exec) || welcome.forced_command.is_some() {
        commands.push(format!("ssh {}{user}@HOST", port.map(|p| format!("-p {p} ")).unwrap_or_default()));
    }
    if has(Service::Sftp) {
        commands.push(format!("sftp {}{user}@HOST", port.map(|p| format!("-P {p} ")).unwrap_or_default()));
    }
    if commands.is_empty() {
        commands.push(format!("user name {user}{}", port.map(|p| format!(", port {p}")).unwrap_or_default()));
    }
    let mut said = format!(
        "Your key {key} belongs to the login {user} from now on. This invitation is used up.\n\nLog in, at the HOST that \
         you have just connected to:\n\n"
    );
    commands.iter().for_each(|command| said.push_str(&format!("    {command}\n")));
    said.push_str(&format!("\nIt may open: {services}\n"));
    if let Some(command) = &welcome.forced_command {
        said.push_str(&format!("Whatever is asked for, this is run: {}\n", command.escape_default()));
    }
    said.push_str(&format!("It may reach: {}\n", reach(welcome)));
    said.extend(welcome.until.map(|Timestamp(until)| format!("Until: {}\n", super::greeting::date(Timestamp(until)))));
    if welcome.needs_more {
        said.push_str("Besides the key something else has to be shown, such as a password or a code.\n");
    }
    said
}

fn reach(welcome: &Welcome) -> String {
    let mut named: Vec<String> =
        welcome.grants.iter().filter(|g| g.is_visible()).map(|g| format!("{} ({})", g.path, g.mode)).collect();
    let left_out = named.len().saturating_sub(MOST_NAMED);
    named.truncate(MOST_NAMED);
    if left_out > 0 {
        named.push(format!("and {left_out} more"));
    }
    if named.is_empty() { "nothing yet; ask whoever has invited you".to_owned() } else { named.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Grant, GrantId, Mode};

    #[test]
    fn whoever_was_invited_reads_how_to_log_in_and_what_for() {
        let grant =
            |path: &str, mode| Grant { id: GrantId(1), path: path.parse().expect("a path"), mode, no_exec: false };
        let bob = Welcome {
            user: "bob".parse().expect("a name"),
            services: "sftp,shell".parse().expect("services"),
            grants: vec![grant("www", Mode::Rw), grant("www/.env", Mode::Hidden), grant("logs", Mode::Ro)],
            until: Some(Timestamp(0)),
            forced_command: None,
            needs_more: false,
        };
        let said = welcome(&bob, "SHA256:x", Some(2222));
        for part in [
            "ssh -p 2222 bob@HOST",
            "sftp -P 2222 bob@HOST",
            "www (rw), logs (ro)\n",
            "Thu Jan  1 00:00:00 1970 UTC",
            "may open: sftp,shell\n",
            "SHA256:x",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains(".env") && !said.contains("password"), "{said}");
        let nothing = Welcome { services: "git".parse().expect("services"), grants: Vec::new(), ..bob };
        let said = welcome(&nothing, "SHA256:x", Some(22));
        assert!(said.contains("user name bob\n") && said.contains("nothing yet"), "{said}");
    }
}
