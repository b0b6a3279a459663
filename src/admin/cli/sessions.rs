//! `enclos session …`

use super::args::Session;
use super::{Context, Result};
use crate::control::Operation;

pub(super) fn run(context: &Context<'_>, command: Session) -> Result<()> {
    context.perform(match command {
        Session::List => Operation::SessionList,
        Session::Kill { conn } => Operation::SessionKill { conn },
    })
}
