//! Attacks by a captured session: by ptrace, the process that serves a client is made to do what an attacker would, who has
//! found a hole in its parsers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::list;
use super::programs::Canary;
use super::table::{Attack, Column, Means, Protocol};
use super::world::{Place, View, World, text};
use crate::harness::{Finished, Raw, Waiting, finish, wait_until};

const ROWS: &str = include_str!("scripts/session.py");
const CAPTURED: &str = include_str!("../programs/scripts/captured.py");

/// Has sessions of a place's user attack.
pub(super) fn attack(column: &mut Column, world: &World, place: &Place, canary: &Canary) {
    place.tidy();
    let attacks = list::ALL.iter().filter(|attack| attack.grants.contains(&place.kind));
    let rows: Vec<(&Attack, &str)> = attacks
        .filter_map(|attack| match attack.by(Protocol::Captured) {
            Ok(Means::Captured(row)) => Some((attack, row)),
            _ => None,
        })
        .collect();
    let mut facts = canary.facts(place);
    facts["grant"] = text(&place.grant()).into();
    facts["kind"] = place.kind.as_str().into();
    facts["view"] = match place.view {
        View::Rooted => "/view".into(),
        View::Host => format!("/view{}", text(&place.grant())).into(),
    };
    let scripts = world.node.dir().join("captured");
    fs::create_dir_all(&scripts).expect("a directory");
    fs::write(scripts.join("captured.py"), CAPTURED).expect("a script");
    let mut names: Vec<&str> = rows.iter().map(|(_, row)| *row).collect();
    names.sort_unstable();
    names.dedup();
    fs::write(scripts.join("session.py"), ROWS).expect("a script");
    let said: BTreeMap<&str, Finished> = names
        .into_iter()
        .map(|row| (row, by_a_session(world, place, &scripts.join("session.py"), &facts, row)))
        .collect();
    let harm = place.harm();
    for (n, (attack, row)) in rows.iter().enumerate() {
        let said = &said[row];
        let line = said.stdout.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
        let mut got = match line {
            Some("held") => Vec::new(),
            Some(got) => vec![got.to_owned()],
            None => vec![format!("nothing was said: {} {}", said.stderr, said.stdout)],
        };
        got.extend(harm.iter().filter(|_| n == 0).cloned());
        column.saw(attack, place, got);
    }
}

/// Each row has a session of its own: where a layer is left out, some rows end theirs, and those after them would show nothing.
fn by_a_session(world: &World, place: &Place, script: &Path, facts: &Value, row: &str) -> Finished {
    let mut raw = Raw::connect(&place.login);
    raw.stat(&place.at(""));
    let user = &place.login.user;
    let session = world.node.session_of(user);
    let mut python = Command::new("python3");
    python.arg(script).args([session.pid.to_string(), facts.to_string(), row.to_owned()]);
    let said = finish(&mut python, "");
    drop(raw);
    let is_gone = || world.node.sessions().iter().all(|session| session.user != *user);
    assert_eq!(wait_until(Duration::from_secs(20), is_gone), Waiting::Came, "{row}: its session stays");
    said
}
