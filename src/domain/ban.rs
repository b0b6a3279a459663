//! Who is not to come in whatever they show: an address or a network, a login name, or the one from the other.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Block, Timestamp, UserName};

/// Whom a ban is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Banned {
    /// Everybody who comes from there.
    Block(Block),
    /// A name, wherever it comes from.
    User(UserName),
    /// A name that comes from there.
    UserFrom(UserName, Block),
}

impl Banned {
    /// What an operator named; `None` when that is nothing.
    pub fn of(block: Option<Block>, user: Option<UserName>) -> Option<Banned> {
        match (block, user) {
            (Some(block), None) => Some(Banned::Block(block)),
            (None, Some(user)) => Some(Banned::User(user)),
            (Some(block), Some(user)) => Some(Banned::UserFrom(user, block)),
            (None, None) => None,
        }
    }

    /// The addresses, if it is about some.
    pub fn block(&self) -> Option<Block> {
        match self {
            Banned::Block(block) | Banned::UserFrom(_, block) => Some(*block),
            Banned::User(_) => None,
        }
    }

    /// The name, if it is about one.
    pub fn user(&self) -> Option<&UserName> {
        match self {
            Banned::User(user) | Banned::UserFrom(user, _) => Some(user),
            Banned::Block(_) => None,
        }
    }

    /// Whether it is about this name coming from there.
    pub fn is_about(&self, user: Option<&UserName>, from: IpAddr) -> bool {
        let is_there = self.block().is_none_or(|block| block.holds(from));
        is_there && self.user().is_none_or(|name| user == Some(name))
    }
}

impl fmt::Display for Banned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Banned::Block(block) => write!(f, "{block}"),
            Banned::User(user) => write!(f, "user {user}"),
            Banned::UserFrom(user, block) => write!(f, "user {user} from {block}"),
        }
    }
}

/// Where a ban comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BanOrigin {
    /// Somebody said so.
    Operator,
    /// A node that penalises a source, for the others; those where somebody logged in from there of late let it be.
    Penalty,
}

impl BanOrigin {
    /// As written in the database and in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            BanOrigin::Operator => "operator",
            BanOrigin::Penalty => "penalty",
        }
    }
}

impl std::str::FromStr for BanOrigin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [BanOrigin::Operator, BanOrigin::Penalty].into_iter().find(|origin| origin.as_str() == text).ok_or(())
    }
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// On whom.
    pub who: Banned,
    /// Until when; `None` for ever.
    pub ends: Option<Timestamp>,
    /// Why, for operators.
    pub reason: String,
    /// Where it comes from.
    pub origin: BanOrigin,
}

impl Ban {
    /// Longest reason, in bytes.
    pub const LONGEST_REASON: usize = 200;

    /// Whether it is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_about_whom_it_names() {
        let bob: UserName = "bob".parse().expect("a name");
        let block: Block = "192.0.2.0/24".parse().expect("a network");
        let (here, there) = (IpAddr::from([192, 0, 2, 7]), IpAddr::from([198, 51, 100, 1]));
        let about = |who: &Banned, user: Option<&str>, from| {
            who.is_about(user.map(|name| name.parse::<UserName>().expect("a name")).as_ref(), from)
        };
        let all = Banned::of(Some(block), None).expect("one");
        assert!(about(&all, None, here) && about(&all, Some("eve"), here) && !about(&all, Some("bob"), there));
        let name = Banned::of(None, Some(bob.clone())).expect("one");
        assert!(about(&name, Some("bob"), there) && !about(&name, Some("eve"), here) && !about(&name, None, here));
        let both = Banned::of(Some(block), Some(bob)).expect("one");
        assert!(
            about(&both, Some("bob"), here) && !about(&both, Some("bob"), there) && !about(&both, Some("eve"), here)
        );
        assert_eq!(Banned::of(None, None), None);
    }
}
