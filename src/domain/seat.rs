//! Seats: the places of sessions among those that there may be at the same time, over all nodes of a database. Pure.

use serde::{Deserialize, Serialize};

use super::{AccountName, UserName};

/// Whose a session is, for the limits of how many there may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its account.
    pub account: AccountName,
    /// Its user.
    pub user: UserName,
    /// The fingerprint of its key, if it has one.
    pub key: Option<String>,
}

/// What sessions have in common that count against the same limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Common {
    /// The account.
    Account,
    /// The user.
    User,
    /// The user's key, shown by itself or with a certificate.
    Key,
}

/// A number for each of what sessions may have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForEach<T> {
    /// For those of an account.
    pub account: T,
    /// For those of a user.
    pub user: T,
    /// For those of a key.
    pub key: T,
}

/// One run of a monitor: a random number that it draws when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitorId(pub i64);

impl Seat {
    /// Whether another counts against the same limit.
    pub fn shares(&self, other: &Seat, what: Common) -> bool {
        match what {
            Common::Account => self.account == other.account,
            Common::User => self.user == other.user,
            Common::Key => self.user == other.user && self.key.is_some() && self.key == other.key,
        }
    }
}

impl ForEach<Option<u32>> {
    /// The first limit that does not let one more begin where so many have.
    pub fn reached(&self, begun: &ForEach<u32>) -> Option<Common> {
        let each = [
            (Common::Account, self.account, begun.account),
            (Common::User, self.user, begun.user),
            (Common::Key, self.key, begun.key),
        ];
        each.into_iter().find(|(_, most, begun)| most.is_some_and(|most| *begun >= most)).map(|(what, ..)| what)
    }

    /// What is left of limits where so many have begun.
    pub fn less(&self, begun: &ForEach<u32>) -> ForEach<Option<u32>> {
        let less = |most: Option<u32>, begun: u32| most.map(|most| most.saturating_sub(begun));
        ForEach {
            account: less(self.account, begun.account),
            user: less(self.user, begun.user),
            key: less(self.key, begun.key),
        }
    }

    /// The limit for what they have in common.
    pub fn of(&self, what: Common) -> Option<u32> {
        match what {
            Common::Account => self.account,
            Common::User => self.user,
            Common::Key => self.key,
        }
    }

    /// Whether there is no limit.
    pub fn is_none(&self) -> bool {
        self.account.is_none() && self.user.is_none() && self.key.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(account: &str, user: &str, key: Option<&str>) -> Seat {
        let name = "a name";
        Seat { account: account.parse().expect(name), user: user.parse().expect(name), key: key.map(str::to_owned) }
    }

    #[test]
    fn sessions_have_an_account_a_user_or_a_key_in_common() {
        let common =
            |one: &Seat, other: &Seat| [Common::Account, Common::User, Common::Key].map(|what| one.shares(other, what));
        let bob = seat("acme", "bob", Some("k"));
        assert_eq!(common(&bob, &seat("acme", "bob", Some("k"))), [true, true, true]);
        assert_eq!(common(&bob, &seat("acme", "bob", Some("l"))), [true, true, false]);
        assert_eq!(common(&bob, &seat("acme", "eve", Some("k"))), [true, false, false], "the same key of another user");
        assert_eq!(common(&seat("acme", "bob", None), &seat("acme", "bob", None)), [true, true, false], "no key");
        assert_eq!(common(&bob, &seat("beta", "ann", None)), [false, false, false]);
    }

    #[test]
    fn a_limit_is_reached_by_as_many_as_it_says() {
        let most = ForEach { account: Some(3), user: Some(1), key: None };
        let begun = |account, user| ForEach { account, user, key: 9 };
        assert_eq!(most.reached(&begun(2, 0)), None);
        assert_eq!(most.reached(&begun(3, 1)), Some(Common::Account), "the widest is named first");
        assert_eq!(most.reached(&begun(2, 1)), Some(Common::User));
        assert_eq!(most.less(&begun(2, 4)), ForEach { account: Some(1), user: Some(0), key: None });
        assert!(!most.is_none() && ForEach::<Option<u32>>::default().is_none());
    }
}
