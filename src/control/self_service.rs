//! What users bring themselves: the key that takes up an invitation, and the keys of their own `authorized_keys`.

use super::operation::{self, Affected, OperationError};
use super::serve::{Control, facts};
use super::store::Presented;
use crate::domain::{AsOf, ClaimedName, ConnId, Facts, InviteCode, KeyBlob, KeyFile, Shown, UserName};
use crate::telemetry::Causes;
use crate::wire::{EndReason, FromControl, LinkError};

impl Control {
    /// Takes over what stands in the own file of a session's user.
    pub(super) async fn take_over_own_keys(&self, conn: ConnId, file: &KeyFile) -> Result<(), LinkError> {
        let user = self.sessions().user_of_own_keys(conn);
        if let Some(user) = user {
            match self.own_keys.take(user.clone()).await {
                // A user has many sessions, and each may have read the file at another time: one after the other.
                Ok(_turn) => self.take_over(user, file).await?,
                Err(error) => tracing::warn!(%error, %user, "a user's own keys are not looked at now"),
            }
        }
        self.monitor.send(&FromControl::OwnKeysSeen { conn }).await
    }

    async fn take_over(&self, user: UserName, file: &KeyFile) -> Result<(), LinkError> {
        let taken = match operation::take_over_own_keys(&self.store, &user, file).await {
            Ok(taken) if taken.is_nothing() => return Ok(()),
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(error = %Causes(&error), %user, "a user's own keys cannot be taken over");
                return Ok(());
            }
        };
        let takes_back = taken.takes_back();
        let detail = serde_json::json!({ "added": taken.added, "changed": taken.changed, "removed": taken.removed });
        self.audit.changed_by_user(&user, "own-keys", detail);
        if !takes_back {
            return Ok(());
        }
        let affected = Affected::UserAgain(user);
        let in_question = self.sessions().to_decide_again(&affected);
        self.sessions().withdraw(affected);
        self.decide_again(in_question, EndReason::Revoked).await
    }

    /// Gives an invitation to a key that was proven, unless somebody else has it.
    pub(super) async fn give_invitation(
        &self,
        ticket: u64,
        user: &ClaimedName,
        key: &KeyBlob,
    ) -> Result<(), LinkError> {
        let answer = match self.redeem(user, key).await {
            Ok(given) => {
                if let Some((user, key)) = &given {
                    self.audit.changed_by_user(user, "invite-take-up", serde_json::json!({ "key": key }));
                }
                FromControl::Redeemed { ticket, key: given.map(|(_, key)| key) }
            }
            Err(error) => {
                tracing::error!(error = %Causes(&error), "an invitation cannot be given");
                FromControl::Unable { ticket }
            }
        };
        self.monitor.send(&answer).await
    }

    async fn redeem(&self, user: &ClaimedName, key: &KeyBlob) -> Result<Option<(UserName, String)>, OperationError> {
        match InviteCode::of(user) {
            Some(code) => operation::redeem(&self.store, &code, key).await,
            None => Ok(None),
        }
    }

    /// The facts about a user whom an invitation is for, if there is one by that name.
    pub(super) async fn about_invitation(
        &self,
        code: &InviteCode,
        key: &KeyBlob,
        as_of: AsOf,
    ) -> Result<Option<Facts>, OperationError> {
        let Some(invited) = self.store.invitation(&operation::invitation_hash(code)).await? else { return Ok(None) };
        let Ok(name) = ClaimedName::new(invited.user.as_str()) else { return Ok(None) };
        let Some(known) = self.store.known(&name, Presented::Key(key)).await? else { return Ok(None) };
        let shown = if known.is_revoked { Shown::RevokedKey } else { Shown::Invitation(Box::new(invited.facts)) };
        Ok(Some(facts(known, shown, as_of)))
    }
}
