//! `enclos serve` and `enclos doctor`, as far as they go before the monitor is entered.

use super::{Result, Start, host_keys, prepare_state_for};
use crate::config::Node;

pub(super) fn serve(node: Node) -> Result<Start> {
    prepare_state_for(&node)?;
    host_keys::make_first(&node.monitor.paths.keys)?;
    Ok(Start { node, greeting: None })
}

pub(super) fn doctor(node: Node) -> Result<Node> {
    prepare_state_for(&node)?;
    Ok(node)
}
