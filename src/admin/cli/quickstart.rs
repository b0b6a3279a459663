//! `enclos quickstart`: a state of its own with a demo account, two users in sibling directories, and the lines to paste.
//!
//! Run again it changes nothing that is there.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use super::args::Quickstart;
use super::{CommandError, Context, Result, Start, grants, host_keys, prepare_state_for, reachable};
use crate::config;
use crate::control::{AccountView, Operation, Outcome};
use crate::domain::{
    AccountName, ForwardChange, KeyChange, LimitChange, Mode, ProgramChange, RelPath, Service, Services, UploadChange,
    UserName,
};

const ACCOUNT: &str = "demo";
const USERS: [(&str, &str); 2] = [("alice", "www/site1"), ("bob", "www/site2")];
/// The first uid tried for the demo account when root sets it up.
const FIRST_UID: u32 = 5001;

/// What is printed when the node listens.
pub(super) struct Greeting {
    demo: PathBuf,
    home: String,
}

pub(super) fn prepare(file: Option<&Path>, state: Option<&Path>, options: Quickstart) -> Result<Start> {
    let is_checkout = state.is_none() && file.is_none() && is_checkout();
    let state = match (state, file) {
        (Some(state), _) => Some(state.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some(default_state(is_checkout)?),
    };
    if let Some(state) = &state {
        make_directory(state)?;
    }
    let state = state.map(fs::canonicalize).transpose().map_err(|e| failed("find the directory", Path::new("."), e))?;
    let mut node = config::load(file, state.as_deref())?;
    if is_checkout {
        let keys = std::env::current_dir().map_err(|e| failed("find the directory", Path::new("."), e))?.join("keys");
        node.monitor.paths.keys = keys.clone();
        node.control.paths.keys = keys;
    }
    if let Some(listen) = options.listen {
        node.monitor.listen = vec![listen];
    }
    prepare_state_for(&node)?;
    host_keys::make_missing(&node.monitor.paths.keys, &options.host_key)?;
    let greeting = set_up_demo(&node)?;
    Ok(Start { node, greeting: Some(greeting) })
}

/// In a checkout everything stays in it: `keys/` and `data/`.
fn is_checkout() -> bool {
    fs::read_to_string("Cargo.toml").is_ok_and(|text| text.contains("name = \"enclos\""))
}

fn default_state(is_checkout: bool) -> Result<PathBuf> {
    let home = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute());
    if is_checkout {
        return Ok("data".into());
    }
    let base = home("XDG_STATE_HOME").or_else(|| Some(home("HOME")?.join(".local/state")));
    base.map(|b| b.join("enclos")).ok_or_else(|| CommandError::Input("give a directory with --state".to_owned()))
}

fn set_up_demo(node: &config::Node) -> Result<Greeting> {
    let context = Context { node, json: false };
    let state = &node.monitor.paths.state;
    let account = demo_account(&context, &state.join("accounts").join(ACCOUNT))?;
    let demo = state.join("demo");
    make_directory(&demo)?;
    for (user, path) in USERS {
        demo_user(&context, &account, user, path, &demo)?;
    }
    write_known_hosts(node, &demo)?;
    Ok(Greeting { demo, home: account.home.to_string() })
}

fn demo_account(context: &Context<'_>, home: &Path) -> Result<AccountView> {
    let name = known::<AccountName>(ACCOUNT)?;
    if let Outcome::Accounts(accounts) = context.ask(Operation::AccountList)?
        && let Some(found) = accounts.into_iter().find(|a| a.name == name)
    {
        return Ok(found);
    }
    let (uid, gid) = owner();
    make_directory(home)?;
    if nix::unistd::geteuid().is_root() {
        chown(home, Some(uid), Some(gid)).map_err(|e| failed("give an owner to", home, e))?;
    }
    let home =
        home.to_string_lossy().parse().map_err(|e: crate::domain::BadPath| CommandError::Input(e.to_string()))?;
    match context.ask(Operation::AccountAdd { name, uid, gid, home })? {
        Outcome::Account(account) => Ok(account),
        _ => Err(CommandError::Input("the demo account cannot be made".to_owned())),
    }
}

/// As root an id that no user of the host has, otherwise the own.
fn owner() -> (u32, u32) {
    let (own, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if !own.is_root() {
        return (own.as_raw(), group.as_raw());
    }
    let id = (FIRST_UID..FIRST_UID + 1000).find(|id| !config::is_taken(*id)).unwrap_or(FIRST_UID);
    (id, id)
}

fn demo_user(context: &Context<'_>, account: &AccountView, name: &str, path: &str, demo: &Path) -> Result<()> {
    let (user, path) = (known::<UserName>(name)?, known::<RelPath>(path)?);
    let key = demo.join(name);
    if !key.exists() {
        host_keys::write_pair(&key, ssh_key::Algorithm::Ed25519, &format!("{name}@demo"))?;
    }
    let has_user = matches!(context.ask(Operation::UserList { account: None, after: None, most: 1000 })?,
        Outcome::Users(users) if users.iter().any(|u| u.name == user));
    if has_user {
        return Ok(());
    }
    grants::make(account, &path)?;
    welcome(account, &path, name)?;
    // Editors for remote work reach their server by forwards; these end in the cell, whose network is its own.
    let services =
        Services::NONE.with(Service::Sftp).with(Service::Exec).with(Service::Shell).with(Service::ForwardLocal);
    context.ask(Operation::UserAdd {
        name: user.clone(),
        account: account.name.clone(),
        services,
        view: None,
        uploads: UploadChange::default(),
        forwards: ForwardChange::default(),
        programs: ProgramChange::default(),
        limits: LimitChange::default(),
    })?;
    context.ask(Operation::GrantAdd { user: user.clone(), path, mode: Mode::Rw, no_exec: false })?;
    let public = host_keys::public_path(&key);
    let text = fs::read_to_string(&public).map_err(|e| failed("read", &public, e))?;
    context.ask(Operation::KeyAdd { user, text, change: KeyChange::default() })?;
    Ok(())
}

fn welcome(account: &AccountView, path: &RelPath, user: &str) -> Result<()> {
    let file = Path::new(account.home.as_str()).join(path.as_str()).join("README.txt");
    let text =
        format!("This is {path} of the account {}. {user} sees this directory and nothing else.\n", account.name);
    fs::write(&file, text).map_err(|e| failed("write", &file, e))?;
    if nix::unistd::geteuid().is_root() {
        chown(&file, Some(account.uid), Some(account.gid)).map_err(|e| failed("give an owner to", &file, e))?;
    }
    Ok(())
}

/// So that the pasted lines ask nothing.
fn write_known_hosts(node: &config::Node, demo: &Path) -> Result<()> {
    let Some(address) = reachable(&node.monitor.listen) else { return Ok(()) };
    let mut lines = String::new();
    for name in ["ssh_host_ed25519_key.pub", "ssh_host_ecdsa_key.pub", "ssh_host_rsa_key.pub"] {
        if let Ok(key) = fs::read_to_string(node.monitor.paths.keys.join(name)) {
            lines.push_str(&format!("[{}]:{} {key}", address.ip(), address.port()));
        }
    }
    let file = demo.join("known_hosts");
    fs::write(&file, lines).map_err(|e| failed("write", &file, e))
}

impl Greeting {
    /// The lines to paste, and what holds.
    pub(super) fn render(&self, rootless: bool, layers: &str, listen: &[SocketAddr]) -> String {
        let Some(address) = reachable(listen) else { return String::new() };
        let demo = self.demo.display();
        let line = |program: &str, port: &str, user: &str| {
            format!(
                "  {program} {port} {} -i {demo}/{user} -o IdentitiesOnly=yes -o UserKnownHostsFile={demo}/known_hosts \
                 {user}@{}",
                address.port(),
                address.ip()
            )
        };
        let mode = if rootless {
            "It runs as an ordinary user: all sessions have this user's id, and cells come from a user namespace."
        } else {
            "It runs as root: every session has an id of its own, and files on disk belong to the account."
        };
        let sftp: Vec<String> = USERS.iter().map(|(user, _)| line("sftp", "-P", user)).collect();
        format!(
            "\nEnclos serves the demo account in {} on {address}.\n{mode}\n\n{layers}\n\n\
             Each of these users sees a directory of its own and nothing else:\n\n{}\n\n\
             and has a shell there, with the programs of this host and nobody else's processes:\n\n{}\n\nCtrl-C ends it.",
            self.home,
            sftp.join("\n"),
            line("ssh", "-p", "alice"),
        )
    }
}

fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| failed("make", path, e))
}

fn failed(what: &'static str, path: &Path, source: std::io::Error) -> CommandError {
    CommandError::File { what, path: path.to_owned(), source }
}

fn known<T: std::str::FromStr>(text: &str) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e: T::Err| CommandError::Input(e.to_string()))
}
