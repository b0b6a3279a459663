//! `enclos serve` and `enclos doctor`, as far as they go before the monitor is entered.

use super::{Examination, Result, Start, as_owner_of, host_keys, prepare_state_for};
use crate::config::Node;

pub(super) fn serve(node: Node) -> Result<Start> {
    prepare_state_for(&node)?;
    as_owner_of(&node.control.paths.database_dir(), || Ok(()))?;
    host_keys::make_first(&node.monitor.paths.keys)?;
    Ok(Start { node, greeting: None })
}

pub(super) fn doctor(node: Node, json: bool) -> Result<Examination> {
    prepare_state_for(&node)?;
    Ok(Examination { node, json })
}
