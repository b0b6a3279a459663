//! Operations on bans.

use super::{Done, OperationError, Result, commit};
use crate::control::outcome::Outcome;
use crate::control::store::Store;
use crate::domain::{Ban, Banned};

pub(super) async fn add(store: &Store, ban: Ban) -> Result<Done> {
    if ban.who.block().is_some_and(|block| block.bits() == 0) && ban.who.user().is_none() {
        return Err(OperationError::BanOnAll);
    }
    let is_plain = ban.reason.len() <= Ban::LONGEST_REASON && !ban.reason.chars().any(char::is_control);
    if !is_plain {
        return Err(OperationError::BadReason);
    }
    let mut change = store.change().await?;
    store.forget_old_bans(&mut change).await?;
    store.add_ban(&mut change, &ban).await?;
    commit(change).await?;
    let until = ban.ends.map_or_else(String::new, |end| format!(" until {}", crate::control::times::shown(end)));
    Ok(Done::quietly(Outcome::Done(format!("{} is banned{until}", ban.who))))
}

pub(super) async fn list(store: &Store) -> Result<Done> {
    Ok(Done::quietly(Outcome::Bans(store.bans().await?)))
}

pub(super) async fn remove(store: &Store, who: Banned) -> Result<Done> {
    let mut change = store.change().await?;
    if !store.remove_ban(&mut change, &who).await? {
        return Err(OperationError::NoBan { who });
    }
    commit(change).await?;
    Ok(Done::quietly(Outcome::Done(format!("{who} is banned no more"))))
}
