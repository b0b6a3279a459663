//! What each credential is good for: for whom, for what, from where and until when.

mod certificates;
mod codes;
mod invitations;
mod keys;
mod own_keys;
mod passwords;

pub(crate) use codes::App;

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::{Login, Node, Raw, finish, new_key};

/// Longest from a withdrawal to the last process gone. The promise is a second; the rest is patience with a busy machine.
const REVOKED: Duration = Duration::from_secs(5);

fn is_let_in(login: &Login) -> bool {
    Raw::try_connect(login).is_ok()
}

/// One more key of a user, added with options of the command.
fn key_with(node: &Node, of: &Login, name: &str, options: &[&str]) -> Login {
    let key = node.dir().join("clients").join(name);
    new_key(&key);
    let public = key.with_extension("pub");
    let file = public.to_str().expect("a plain path");
    let mut arguments = vec!["key", "add", &of.user, "--file", file];
    arguments.extend(options);
    node.admin(&arguments);
    of.with_key(&key)
}

/// One more key of a user, with OpenSSH's options in front of it.
fn key_after(node: &Node, of: &Login, name: &str, options: &str) -> Login {
    let key = node.dir().join("clients").join(name);
    new_key(&key);
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("the public half");
    node.admin_with(&["key", "add", &of.user, "--file", "-"], &format!("{options} {public}"));
    of.with_key(&key)
}

/// The number of the key that a login uses.
fn number_of(login: &Login) -> impl Fn(&Node) -> String {
    let mut command = Command::new("ssh-keygen");
    let printed = finish(command.args(["-l", "-f"]).arg(login.public_key()), "").ok();
    let fingerprint = printed.split_whitespace().nth(1).expect("a fingerprint").to_owned();
    let user = login.user.clone();
    move |node| {
        let keys: serde_json::Value =
            serde_json::from_str(&node.admin(&["key", "list", &user, "--json"])).expect("JSON of the keys");
        let found = keys.as_array().expect("a list").iter().find(|k| k["fingerprint"] == fingerprint.as_str());
        found.expect("the key is listed")["id"].to_string()
    }
}

/// A time some seconds from now, or before, as the command line takes it.
fn in_seconds(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let then = i64::try_from(now).expect("a time") + seconds;
    let mut date = Command::new("date");
    finish(date.args(["-u", "-d", &format!("@{then}"), "+%Y-%m-%dT%H:%M:%SZ"]), "").ok().trim().to_owned()
}
