//! Attacks by a program in a cell: `scripts/attacks.py`, started by a command or typed into a login shell on a terminal.
//! What it goes for is held by a process of the account outside of every cell.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::list;
use super::table::{Attack, Column, Means, Protocol};
use super::world::{CANARY, Kind, MARK, Place, text};
use crate::harness::{Finished, Identity, Node, finish, ssh};

pub(super) const ATTACKS: &str = include_str!("scripts/attacks.py");

/// A process of the account, outside of every cell.
pub(super) fn as_account(identity: Identity) -> Command {
    let (uid, gid) = identity.account_owner();
    let mut command = Command::new("env");
    if uid != rustix::process::geteuid().as_raw() {
        command.args(["setpriv", &format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups", "--"]);
    }
    command.arg("python3").env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command
}

/// A process of the account that holds what programs in cells go for, and what they are told of it.
#[derive(Debug)]
pub(super) struct Canary {
    process: Child,
    facts: Value,
}

impl Canary {
    pub(super) fn new(node: &Node) -> Canary {
        let sockets = node.dir().join("sockets");
        fs::create_dir(&sockets).expect("a directory");
        node.own(&sockets);
        let mut command = as_account(node.identity());
        command.args(["-c", ATTACKS, "canary", text(&sockets)]).current_dir(&sockets);
        command.env("CANARY", MARK).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("start");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says what it has");
        let mut facts: Value = serde_json::from_str(&line).expect("facts");
        facts["state"] = text(&node.state()).into();
        facts["other"] = (node.identity().account_owner().0 + 1).into();
        let mut canary = Canary { process, facts };
        canary.look_at(node);
        canary
    }

    /// Takes note of what changes with every start of a node.
    pub(super) fn look_at(&mut self, node: &Node) {
        self.facts["monitor"] = node.pid().into();
    }

    /// A port of the host's localhost that it listens on.
    pub(super) fn port(&self) -> u16 {
        self.facts["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port")
    }

    /// A socket in a directory of the host that it listens on.
    pub(super) fn socket(&self) -> PathBuf {
        self.facts["socket"].as_str().expect("a path").into()
    }

    /// What a program of a place's user is told.
    pub(super) fn facts(&self, place: &Place) -> Value {
        let mut facts = self.facts.clone();
        facts["secrets"] = place.targets().iter().map(|p| p.display().to_string()).collect();
        facts["home"] = text(&place.home).into();
        facts["name"] = CANARY.into();
        let (grant, home) = (text(&place.grant()).to_owned(), format!("/home/{}", place.login.user));
        let of_read_only = if place.kind == Kind::Nested { "config/app.ini" } else { "inside.txt" };
        facts["read-only"] = format!("{grant}/{of_read_only}").into();
        let is_writable = [Kind::Rw, Kind::Nested].contains(&place.kind);
        facts["work"] = if is_writable { grant.clone() } else { home.clone() }.into();
        // Programs see no drop box; there is only their home.
        facts["grant"] = if place.kind == Kind::Upload { home } else { grant }.into();
        facts
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("our own child");
    }
}

/// Has all rows that make sense for a place attacked from it, but for those that are `excepted`.
pub(super) fn attack(column: &mut Column, protocol: Protocol, place: &Place, canary: &Canary, excepted: &[&str]) {
    let attacks = list::ALL.iter().filter(|attack| attack.grants.contains(&place.kind));
    let rows: Vec<(&Attack, &str)> = attacks
        .filter_map(|attack| match attack.by(protocol) {
            Ok(Means::Program(row)) if !excepted.contains(&row) => Some((attack, row)),
            _ => None,
        })
        .collect();
    place.tidy();
    let mut names: Vec<&str> = rows.iter().map(|(_, row)| *row).collect();
    names.dedup();
    let facts = canary.facts(place).to_string();
    let said = match protocol {
        Protocol::Shell => in_shell(place, &facts, &names),
        _ => by_command(place, &facts, &names),
    };
    let harm = place.harm();
    for (n, (attack, row)) in rows.iter().enumerate() {
        // A shell turns modes of its terminal off before the first line.
        let lines = said.stdout.lines().filter_map(|line| line.trim_end().rsplit('\r').next());
        let line = lines.filter_map(|line| line.strip_prefix(row)?.strip_prefix(' ')).next();
        let mut got = match line {
            Some("held") => Vec::new(),
            Some(got) => vec![got.to_owned()],
            None => vec![format!("nothing was said: {} {}", said.stderr, said.stdout)],
        };
        // Whose it was cannot be told apart.
        got.extend(harm.iter().filter(|_| n == 0).cloned());
        column.saw(attack, place, got);
    }
}

fn by_command(place: &Place, facts: &str, rows: &[&str]) -> Finished {
    let mut command = ssh(&place.login);
    command.args(["-o", "SendEnv=SECRET BASH_ENV LD_PRELOAD"]).env("SECRET", MARK).env("BASH_ENV", "/x");
    command.arg(place.login.at()).arg(format!("python3 - attack '{facts}' {}", rows.join(" ")));
    finish(&mut command, ATTACKS)
}

/// The script lies in the home, for what is typed is echoed and bounded.
fn in_shell(place: &Place, facts: &str, rows: &[&str]) -> Finished {
    let home = place.home.join(".enclos/home").join(&place.login.user);
    fs::write(home.join("attacks.py"), ATTACKS).expect("the script");
    fs::write(home.join("attack.sh"), format!("exec python3 ~/attacks.py attack '{facts}' {}\n", rows.join(" ")))
        .expect("the script");
    place.give(&home);
    let mut command = ssh(&place.login);
    command.arg("-tt").arg(place.login.at());
    finish(&mut command, "stty -echo -onlcr; sh ~/attack.sh; exit\n")
}
