//! The command line. One file a command or family of commands; here are only the words and the way to them.

mod accounts;
mod args;
mod audit;
mod authorities;
mod bans;
mod credentials;
mod explain;
mod forward_options;
mod grants;
mod host_keys;
mod invitations;
mod limit_options;
mod program_options;
mod quickstart;
mod quotas;
mod report;
mod sessions;
mod start;
mod table;
mod terms_options;
mod transfer;
mod upgrade;
mod upload_options;
mod users;
mod view_setting;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{self, Node};
use crate::control::client::{self, ClientError, Doer};
use crate::control::transfer::TransferError;
use crate::control::{AccountView, Operation, Outcome, StateError, prepare_state};
use crate::domain::{AccountName, Facts, UserName};
use crate::telemetry::Causes;

pub use report::{greet, show_examined};

use args::{Arguments, Command};

/// What is to be done after the command line was read: most of it is done by then.
pub enum Next {
    /// Nothing; end with this code.
    Exit(ExitCode),
    /// Serve.
    Serve(Start),
    /// Build a cell and say which layers hold.
    Doctor(Examination),
}

/// A host that is to be examined.
pub struct Examination {
    /// Settings of the node that would run there.
    pub node: Node,
    /// The user that is to be examined with it.
    pub user: Option<Box<Facts>>,
    /// Whether a program asks.
    json: bool,
}

/// A node that is to be started.
pub struct Start {
    /// Its settings.
    pub node: Node,
    /// What quickstart prints when it listens.
    greeting: Option<quickstart::Greeting>,
}

/// Why a command was not done. The text says what to do.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error(transparent)]
    Control(#[from] ClientError),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{what} {}", path.display())]
    File { what: &'static str, path: std::path::PathBuf, source: std::io::Error },
    #[error("{0}")]
    Input(String),
    #[error("{path}")]
    Quota { path: String, source: crate::files::quota::QuotaError },
    #[error("make a key")]
    Key(#[from] ssh_key::Error),
    #[error("print the result")]
    Json(#[from] serde_json::Error),
    #[error("print the result")]
    Print(#[source] std::io::Error),
    #[error(
        "control runs as uid {uid} and cannot enter {}: let others pass each directory above it (chmod o+x), or choose \
         another state directory with --state", path.display()
    )]
    Unreachable { uid: u32, path: std::path::PathBuf },
    #[error("{step}")]
    System { step: &'static str, source: nix::errno::Errno },
}

type Result<T> = std::result::Result<T, CommandError>;

/// Reads the command line and does what it says, short of serving.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Next {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output with code 0, mistakes to standard error with code 2, as clap decides.
            let code = if error.use_stderr() { 2 } else { 0 };
            return Next::Exit(if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::FAILURE });
        }
    };
    match dispatch(arguments) {
        Ok(next) => next,
        Err(error) => {
            eprintln!("enclos: {}", Causes(&error));
            Next::Exit(ExitCode::FAILURE)
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<Next> {
    let Arguments { config, state, json, command } = arguments;
    if let Command::Quickstart(options) = command {
        return quickstart::prepare(config.as_deref(), state.as_deref(), options).map(Next::Serve);
    }
    let node = config::load(config.as_deref(), state.as_deref())?;
    let context = Context { node: &node, json };
    match command {
        Command::Serve => return start::serve(node).map(Next::Serve),
        Command::Doctor(options) => {
            let facts = options.user.map(|user| facts_of(&context, user)).transpose()?;
            return start::doctor(node, facts, json).map(Next::Doctor);
        }
        Command::Quickstart(_) => {}
        Command::Upgrade(options) => {
            let given = places(config.as_deref(), state.as_deref());
            return upgrade::run(&context, &options, &given).map(Next::Exit);
        }
        Command::Status => context.perform(Operation::Status)?,
        Command::CheckConfig => report::print(&Outcome::Done("the configuration is good".to_owned()), json)?,
        Command::Account(command) => accounts::run(&context, command)?,
        Command::User(command) => users::run(&context, *command)?,
        Command::Grant(command) => grants::run(&context, command)?,
        Command::Quota(command) => quotas::run(&context, command)?,
        Command::Key(command) => credentials::run_key(&context, command)?,
        Command::Passwd(options) => credentials::run_passwd(&context, &options)?,
        Command::Totp(command) => credentials::run_totp(&context, command)?,
        Command::Explain(options) => explain::run(&context, *options)?,
        Command::Export(options) => transfer::export(&context, &options)?,
        Command::Import(options) => transfer::import(&context, options)?,
        Command::Invite(options) => invitations::invite(&context, options)?,
        Command::Invitation(command) => invitations::run(&context, command)?,
        Command::Ca(command) => authorities::run(&context, *command)?,
        Command::Ban(command) => bans::run(&context, command)?,
        Command::Session(command) => sessions::run(&context, command)?,
        Command::HostKey(command) => host_keys::run(&context, &command)?,
        Command::Audit(options) => audit::run(&context, *options)?,
    }
    Ok(Next::Exit(ExitCode::SUCCESS))
}

/// What the node, or its database, knows of a user.
fn facts_of(context: &Context<'_>, user: UserName) -> Result<Box<Facts>> {
    match context.ask(Operation::Facts { user })? {
        Outcome::Facts(facts) => Ok(facts),
        _ => Err(CommandError::Input("the node that runs here is of a release that cannot be asked".to_owned())),
    }
}

/// What was said of where the configuration and the state lie, for another program.
fn places(config: Option<&Path>, state: Option<&Path>) -> Vec<OsString> {
    let given = [("--config", config), ("--state", state)].into_iter();
    given.filter_map(|(name, path)| Some([name.into(), path?.as_os_str().to_owned()])).flatten().collect()
}

/// What all commands need.
struct Context<'a> {
    node: &'a Node,
    json: bool,
}

impl Context<'_> {
    /// Has an operation done, by the running node or on the database itself.
    fn ask(&self, operation: Operation) -> Result<Outcome> {
        prepare_state_for(self.node)?;
        let directory = self.node.control.paths.database_dir();
        let operator = nix::unistd::geteuid().as_raw();
        let control = &self.node.control;
        let done = match Doer::find(control)? {
            // By our own ids: the node asks the kernel whose they are.
            node @ Doer::Node(_) => node.operate(operation.clone(), operator),
            alone => as_owner_of(&directory, || Ok(alone.operate(operation.clone(), operator)))?,
        };
        Ok(client::and_those_left(control, &operation, done)?)
    }

    /// An account by its name.
    fn account(&self, name: &AccountName) -> Result<AccountView> {
        match self.ask(Operation::AccountShow { name: name.clone() })? {
            Outcome::Account(account) => Ok(account),
            _ => Err(CommandError::Input(format!("account {name} cannot be looked up"))),
        }
    }

    /// Has an operation done and prints what came of it.
    fn perform(&self, operation: Operation) -> Result<()> {
        let outcome = self.ask(operation)?;
        report::print(&outcome, self.json)
    }
}

/// Makes what is missing of the state directory.
fn prepare_state_for(node: &Node) -> Result<()> {
    let control = nix::unistd::geteuid().is_root().then_some(node.monitor.control_ids);
    Ok(prepare_state(&node.monitor.paths, control)?)
}

/// Does something with the ids of a directory's owner when this is root, so that what it makes there belongs to control
/// and not to root.
fn as_owner_of<T>(directory: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(directory).map_err(|source| CommandError::File {
        what: "look at",
        path: directory.to_owned(),
        source,
    })?;
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if !user.is_root() || found.uid() == 0 {
        return work();
    }
    let failed = |source| CommandError::System { step: "take the ids of the database's owner", source };
    nix::unistd::setegid(found.gid().into()).map_err(failed)?;
    nix::unistd::seteuid(found.uid().into()).map_err(failed)?;
    let done = may_enter(directory).and_then(|()| work());
    nix::unistd::seteuid(user).map_err(failed)?;
    nix::unistd::setegid(group).map_err(failed)?;
    done
}

/// Whether these ids reach a directory of theirs at all: the ones above it are root's, and often closed.
fn may_enter(directory: &Path) -> Result<()> {
    match std::fs::metadata(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(CommandError::Unreachable { uid: nix::unistd::geteuid().as_raw(), path: directory.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Where a person on this machine connects to.
fn reachable(listen: &[SocketAddr]) -> Option<SocketAddr> {
    let first = listen.first()?;
    if !first.ip().is_unspecified() {
        return Some(*first);
    }
    let loopback: std::net::IpAddr =
        if first.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
    Some(SocketAddr::new(loopback, first.port()))
}
