//! `enclos invite` and `enclos invitation …`

use super::args::{Invitation, Invite};
use super::{CommandError, Context, Result};
use crate::control::{Operation, times};
use crate::domain::InvitationId;

pub(super) fn invite(context: &Context<'_>, options: Invite) -> Result<()> {
    let Invite { user, expires, label, scope } = options;
    let ends = times::of_operator_from(times::now(), &expires).ok_or_else(|| {
        CommandError::Input(format!("{expires:?} is not a time; write 30m, 12h, 2d, 1w or 2026-12-31"))
    })?;
    context.perform(Operation::InviteAdd { user, ends, label, change: scope.change()? })
}

pub(super) fn run(context: &Context<'_>, command: Invitation) -> Result<()> {
    context.perform(match command {
        Invitation::List { user } => Operation::InviteList { user },
        Invitation::Withdraw { id } => Operation::InviteWithdraw { id: InvitationId(id) },
    })
}
