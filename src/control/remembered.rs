//! What was last known of whoever logged in, for when the database is away. Whoever is changed is forgotten, so nobody is
//! let in by what was taken from them, as far as this node has heard.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::store::{About, Known};
use crate::domain::ClaimedName;

/// Most entries; each is some hundreds of bytes.
const MOST: usize = 10_000;

/// How the database has been.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    known: BTreeMap<(String, Vec<u8>), Known>,
    heard: i64,
    away_since: Option<Instant>,
}

/// Whose: a name, and the key or certificate that was shown for it.
fn whose(name: &ClaimedName, key: &[u8]) -> (String, Vec<u8>) {
    (name.as_unchecked_str().to_owned(), key.to_vec())
}

impl Remembered {
    /// The latest change that was heard of.
    pub(super) fn heard(&self) -> i64 {
        self.heard
    }

    /// Keeps what the database said, unless it is older than what was heard since.
    pub(super) fn keep(&mut self, name: &ClaimedName, key: &[u8], known: &Known) {
        let is_theirs = key.is_empty() || known.key.is_some() || known.authority.is_some();
        if !is_theirs || known.change < self.heard {
            return;
        }
        let whose = whose(name, key);
        if self.known.len() >= MOST && !self.known.contains_key(&whose) {
            self.known.pop_first();
        }
        self.known.insert(whose, known.clone());
    }

    /// What was last known, if the database has not been away for longer than it may be.
    pub(super) fn recall(&self, name: &ClaimedName, key: &[u8], most: Duration, now: Instant) -> Option<Known> {
        let away = now.saturating_duration_since(self.away_since?);
        let known = (away < most).then(|| self.known.get(&whose(name, key)).cloned()).flatten()?;
        // Nothing that was heard of since was about them.
        Some(Known { change: known.change.max(self.heard), ..known })
    }

    /// Somebody was changed.
    pub(super) fn forget(&mut self, change: i64, about: &About) {
        self.heard = self.heard.max(change);
        self.known.retain(|_, known| match about {
            About::User(name) | About::Password(name) => known.user.name != *name,
            About::Account(name) => known.account.name != *name,
            About::Bans => true,
            About::Anyone => false,
        });
    }

    /// Since when the database has been away, if it is.
    pub(super) fn away_since(&self) -> Option<Instant> {
        self.away_since
    }

    /// The database does not answer. Says whether that is news.
    pub(super) fn is_away(&mut self, now: Instant) -> bool {
        self.away_since.replace(self.away_since.unwrap_or(now)).is_none()
    }

    /// It answers. Says since when it had not.
    pub(super) fn is_back(&mut self) -> Option<Instant> {
        self.away_since.take()
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::domain::{AccountFacts, AccountId, Services, Status, UploadPolicy, UserFacts, UserId};

    /// What is known of somebody.
    pub(in crate::control) fn known(user: &str, change: i64) -> Known {
        let account = AccountFacts {
            id: AccountId(1),
            name: "acme".parse().expect("a name"),
            uid: 1,
            gid: 1,
            home: "/srv/acme".parse().expect("a path"),
            status: Status::Active,
            terms: Default::default(),
            limits: Default::default(),
        };
        let user = UserFacts {
            id: UserId(1),
            name: user.parse().expect("a name"),
            status: Status::Active,
            services: Services::NONE,
            view: None,
            uploads: UploadPolicy::default(),
            forwards: Default::default(),
            programs: Default::default(),
            limits: Default::default(),
            last_login: None,
            terms: Default::default(),
            logins: Default::default(),
            principals: Default::default(),
            own_keys: Default::default(),
            has_authenticator: false,
        };
        Known {
            account,
            user,
            grants: Vec::new(),
            key: None,
            authority: None,
            is_revoked: false,
            password: None,
            change,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::known;
    use super::*;

    const MOST_AWAY: Duration = Duration::from_secs(10);

    fn name(text: &str) -> ClaimedName {
        ClaimedName::new(text).expect("a name")
    }

    /// With `bob` and `eve` in it, and a database that is away.
    fn of_two(now: Instant) -> Remembered {
        let mut remembered = Remembered::default();
        remembered.keep(&name("bob"), &[], &known("bob", 3));
        remembered.keep(&name("eve"), &[], &known("eve", 3));
        assert!(remembered.is_away(now) && !remembered.is_away(now));
        remembered
    }

    #[test]
    fn what_is_known_serves_for_as_long_as_the_database_may_be_away() {
        let now = Instant::now();
        let mut remembered = of_two(now);
        let recall = |remembered: &Remembered, then| remembered.recall(&name("bob"), &[], MOST_AWAY, then).is_some();
        assert!(recall(&remembered, now) && recall(&remembered, now + Duration::from_secs(9)));
        assert!(!recall(&remembered, now + MOST_AWAY));
        assert_eq!(remembered.is_back(), Some(now));
        assert!(!recall(&remembered, now), "a database that answers is asked");
    }

    #[test]
    fn whoever_was_changed_is_not_served_and_nor_is_what_is_older_than_the_change() {
        let now = Instant::now();
        let knows = |remembered: &Remembered, user: &str| remembered.recall(&name(user), &[], MOST_AWAY, now).is_some();
        let mut remembered = of_two(now);
        remembered.forget(4, &About::User("bob".parse().expect("a name")));
        assert!(!knows(&remembered, "bob") && knows(&remembered, "eve"));
        remembered.keep(&name("bob"), &[], &known("bob", 3));
        assert!(!knows(&remembered, "bob"), "facts from before the change");
        remembered.keep(&name("bob"), &[], &known("bob", 4));
        assert!(knows(&remembered, "bob"));
        remembered.forget(5, &About::Account("acme".parse().expect("a name")));
        assert!(!knows(&remembered, "bob") && !knows(&remembered, "eve"));
    }

    #[test]
    fn a_key_that_is_nobodys_is_not_remembered() {
        let now = Instant::now();
        let mut remembered = of_two(now);
        remembered.keep(&name("bob"), &[1], &known("bob", 3));
        assert!(remembered.recall(&name("bob"), &[1], MOST_AWAY, now).is_none());
    }
}
