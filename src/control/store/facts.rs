//! Everything that bears on one claim.

use super::{Store, StoreError};
use crate::domain::{AccountFacts, ClaimedName, Grant, KeyBlob, Shown, UserFacts, UserName};

/// A user that a claim names.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Its account.
    pub account: AccountFacts,
    /// The user.
    pub user: UserFacts,
    /// What it may reach.
    pub grants: Vec<Grant>,
}

impl Store {
    /// Who is behind a name. What is no name is nobody's, and takes the same query to find out.
    pub(crate) async fn known(&self, name: &ClaimedName) -> Result<Option<Known>, StoreError> {
        let is_name = name.as_unchecked_str().parse::<UserName>().is_ok();
        let found = self.user(if is_name { name.as_unchecked_str() } else { "" }).await?;
        let Some((account, user)) = found else { return Ok(None) };
        let grants = self.grants(user.id).await?;
        Ok(Some(Known { account, user, grants }))
    }

    /// What a key is worth for a user.
    pub(crate) async fn shown_key(&self, user: &UserFacts, key: &KeyBlob) -> Result<Shown, StoreError> {
        Ok(self.key(user.id, key).await?.map_or(Shown::UnknownKey, Shown::Key))
    }
}
