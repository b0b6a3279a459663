//! `enclos serve` and `enclos doctor`, as far as they go before the monitor is entered.

use clap::Args;

use super::{Examination, Result, Start, as_owner_of, host_keys, prepare_state_for};
use crate::config::Node;
use crate::domain::{Facts, UserName};

/// Build cells on this host, attack them from inside, and say which of their layers hold
///
/// It ends with 1 if a layer does not hold that the configuration requires, or if a user could not be served.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Attach the grants of this user too, as at a login, and warn of what lies in them: hard links that lead out, what a web
    /// server may run, pipes, sockets, devices and set-user-id programs
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<UserName>,
}

pub(super) fn serve(node: Node) -> Result<Start> {
    prepare_state_for(&node)?;
    as_owner_of(&node.control.paths.database_dir(), || Ok(()))?;
    host_keys::make_first(&node.monitor.paths.keys)?;
    Ok(Start { node, greeting: None })
}

pub(super) fn doctor(node: Node, user: Option<Box<Facts>>, json: bool) -> Result<Examination> {
    prepare_state_for(&node)?;
    Ok(Examination { node, user, json })
}
