//! The live sessions of this node, as control knows them, and which of them a change ends.

use std::collections::{BTreeMap, VecDeque};

use super::operation::Affected;
use super::outcome::SessionView;
use super::store::About;
use crate::domain::{ConnId, Factor, Timestamp, UserName};
use crate::wire::SessionRecord;

/// Most withdrawals remembered, far more than happen while one login is on its way.
const MOST_REMEMBERED: usize = 1024;

/// All live sessions, and what was withdrawn of late.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: BTreeMap<ConnId, SessionRecord>,
    /// Those of `live` whose connection is gone and whose programs go on, and until when.
    lingering: BTreeMap<ConnId, Timestamp>,
    withdrawn: VecDeque<Affected>,
    withdrawals: u64,
    /// Users whose passwords were changed of late by whatever node, and the number of the change.
    passwords: VecDeque<(i64, UserName)>,
}

impl Affected {
    /// The one user that it is about; `None` for several.
    pub(super) fn user(&self) -> Option<&UserName> {
        match self {
            Affected::User(user) | Affected::Key(user, _) | Affected::Password(user) | Affected::UserAgain(user) => {
                Some(user)
            }
            Affected::Nobody | Affected::Account(_) | Affected::AccountAgain(_) | Affected::EverybodyAgain => None,
        }
    }
}

impl Sessions {
    /// One began.
    pub(super) fn opened(&mut self, record: SessionRecord) {
        self.live.insert(record.conn, record);
    }

    /// One ended.
    pub(super) fn closed(&mut self, conn: ConnId) {
        self.live.remove(&conn);
        self.lingering.remove(&conn);
    }

    /// The connection of one is gone, and its programs go on.
    pub(super) fn lingers(&mut self, conn: ConnId, until: Timestamp) {
        if self.live.contains_key(&conn) {
            self.lingering.insert(conn, until);
        }
    }

    /// Whether there is such a session.
    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.live.contains_key(&conn)
    }

    /// All live sessions.
    pub(super) fn all(&self) -> Vec<SessionRecord> {
        self.live.values().cloned().collect()
    }

    /// The user of a session whose own keys are taken.
    pub(super) fn user_of_own_keys(&self, conn: ConnId) -> Option<UserName> {
        self.live.get(&conn).filter(|record| record.takes_own_keys).map(|record| record.user.clone())
    }

    /// How many times something was withdrawn.
    pub(super) fn withdrawals(&self) -> u64 {
        self.withdrawals
    }

    /// Live sessions that have to be decided about again, and when the next one ends by itself.
    pub(super) fn to_decide_again(&self, affected: &Affected) -> Vec<SessionRecord> {
        self.live.values().filter(|record| is_in_question(affected, record)).cloned().collect()
    }

    /// Live sessions whose time is over.
    pub(super) fn over(&self, now: Timestamp) -> Vec<SessionRecord> {
        self.live.values().filter(|record| record.until.is_some_and(|end| end <= now)).cloned().collect()
    }

    /// When the time of the next session is over.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.live.values().filter_map(|record| record.until).min()
    }

    /// A session may stay for longer, or for ever.
    pub(super) fn stays_until(&mut self, conn: ConnId, until: Option<Timestamp>) {
        if let Some(record) = self.live.get_mut(&conn) {
            record.until = until;
        }
    }

    /// Something was withdrawn: remembers it, for sessions that are about to open, and says which live ones it ends.
    pub(super) fn withdraw(&mut self, affected: Affected) -> Vec<ConnId> {
        if affected == Affected::Nobody {
            return Vec::new();
        }
        let hit = self.live.values().filter(|record| concerns(&affected, record)).map(|record| record.conn).collect();
        self.withdrawals += 1;
        self.withdrawn.push_front(affected);
        self.withdrawn.truncate(MOST_REMEMBERED);
        hit
    }

    /// Something was changed by whatever node: the sessions that rest on older facts and may lose the ground by it.
    pub(super) fn changed(&mut self, number: i64, about: &About) -> Vec<SessionRecord> {
        if let About::Password(name) = about {
            self.passwords.push_front((number, name.clone()));
            self.passwords.truncate(MOST_REMEMBERED);
        }
        let is_older = |record: &&SessionRecord| record.as_of.change < number;
        let is_about = |record: &&SessionRecord| match about {
            About::User(name) | About::Password(name) => record.user == *name,
            About::Account(name) => record.account == *name,
            About::Bans => false,
            About::Anyone => true,
        };
        self.live.values().filter(is_older).filter(is_about).cloned().collect()
    }

    /// Whether a session rests on a password that is known to have been changed since.
    pub(super) fn has_old_password(&self, record: &SessionRecord) -> bool {
        let is_newer = |(number, name): &(i64, UserName)| *number > record.as_of.change && *name == record.user;
        record.shown.contains(Factor::Password) && self.passwords.iter().any(is_newer)
    }

    /// Whether something that was withdrawn since a count of them concerns a session; `None` when that is too long ago to
    /// say, or the facts have to be looked at.
    pub(super) fn lost_ground_since(&self, then: u64, record: &SessionRecord) -> Option<bool> {
        let since = usize::try_from(self.withdrawals.checked_sub(then)?).ok()?;
        let mut recent = self.withdrawn.iter().take(since);
        if since > self.withdrawn.len() || recent.clone().any(|affected| is_in_question(affected, record)) {
            return None;
        }
        Some(recent.any(|affected| concerns(affected, record)))
    }

    /// As they are listed.
    pub(super) fn list(&self) -> Vec<SessionView> {
        let view = |r: &SessionRecord| SessionView {
            conn: r.conn.0,
            user: r.user.clone(),
            account: r.account.clone(),
            peer: r.peer.to_string(),
            fingerprint: r.fingerprint.clone(),
            certificate: r.certified.clone(),
            pid: r.pid,
            uid: r.uid,
            since: r.since.0,
            lingers_until: self.lingering.get(&r.conn).map(|until| until.0),
        };
        self.live.values().map(view).collect()
    }
}

/// Whether a change may take the ground from under a session, which only a look at the facts can tell.
fn is_in_question(affected: &Affected, record: &SessionRecord) -> bool {
    match affected {
        Affected::UserAgain(user) => record.user == *user,
        Affected::AccountAgain(account) => record.account == *account,
        Affected::EverybodyAgain => true,
        _ => false,
    }
}

/// Whether a change takes the ground from under a session.
fn concerns(affected: &Affected, record: &SessionRecord) -> bool {
    match affected {
        Affected::Nobody => false,
        Affected::User(user) => record.user == *user,
        // With a certificate the key is good without being the user's.
        Affected::Key(user, key) => {
            record.user == *user && record.fingerprint.as_deref() == Some(key) && record.certified.is_none()
        }
        Affected::Password(user) => record.user == *user && record.shown.contains(Factor::Password),
        Affected::Account(account) => record.account == *account,
        // Whether these lose anything is not for this list to say.
        Affected::UserAgain(_) | Affected::AccountAgain(_) | Affected::EverybodyAgain => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AsOf, Factors, Services};

    fn record(conn: u64, user: &str, key: Option<&str>) -> SessionRecord {
        SessionRecord {
            conn: ConnId(conn),
            account: "acme".parse().expect("a name"),
            user: user.parse().expect("a name"),
            grants: Vec::new(),
            services: Services::NONE,
            uploads: crate::domain::UploadPolicy::default(),
            forwards: crate::domain::ForwardPolicy::default(),
            programs: crate::domain::ProgramPolicy::default(),
            limits: Default::default(),
            bounds: Default::default(),
            peer: "127.0.0.1:1".parse().expect("an address"),
            shown: Factors::NONE.with(if key.is_some() { Factor::Key } else { Factor::Password }),
            credential: None,
            certified: None,
            takes_own_keys: false,
            fingerprint: key.map(str::to_owned),
            pid: 1,
            uid: 1,
            since: Timestamp(0),
            until: None,
            is_seated: false,
            as_of: AsOf::default(),
        }
    }

    #[test]
    fn a_change_ends_those_it_concerns_and_nobody_else() {
        let mut sessions = Sessions::default();
        for r in [record(1, "bob", Some("a")), record(2, "bob", None), record(3, "eve", Some("a"))] {
            sessions.opened(r);
        }
        let bob = || "bob".parse().expect("a name");
        assert_eq!(sessions.withdraw(Affected::User(bob())), [ConnId(1), ConnId(2)]);
        assert_eq!(sessions.withdraw(Affected::Key(bob(), "a".into())), [ConnId(1)]);
        assert_eq!(sessions.withdraw(Affected::Password(bob())), [ConnId(2)]);
        assert_eq!(sessions.withdraw(Affected::Account("acme".parse().expect("a name"))).len(), 3);
        assert!(sessions.withdraw(Affected::Nobody).is_empty());
        assert_eq!(sessions.withdrawals(), 4);
    }

    #[test]
    fn a_session_is_over_when_its_time_is() {
        let mut sessions = Sessions::default();
        sessions.opened(SessionRecord { until: Some(Timestamp(20)), ..record(1, "bob", None) });
        sessions.opened(SessionRecord { until: Some(Timestamp(10)), ..record(2, "bob", None) });
        sessions.opened(record(3, "bob", None));
        let over =
            |sessions: &Sessions, now| sessions.over(Timestamp(now)).iter().map(|r| r.conn.0).collect::<Vec<_>>();
        assert_eq!((sessions.next_end(), over(&sessions, 9)), (Some(Timestamp(10)), vec![]));
        assert_eq!(over(&sessions, 10), [2]);
        sessions.stays_until(ConnId(2), None);
        assert_eq!((sessions.next_end(), over(&sessions, 30)), (Some(Timestamp(20)), vec![1]));
    }

    #[test]
    fn what_has_to_be_looked_at_is_not_decided_by_the_list() {
        let mut sessions = Sessions::default();
        sessions.opened(record(1, "bob", None));
        let again = Affected::UserAgain("bob".parse().expect("a name"));
        assert_eq!(sessions.to_decide_again(&again).len(), 1);
        assert!(sessions.withdraw(again).is_empty());
        assert_eq!(sessions.lost_ground_since(0, &record(2, "bob", None)), None);
        assert_eq!(sessions.lost_ground_since(0, &record(2, "eve", None)), Some(false));
    }

    #[test]
    fn a_change_is_about_sessions_that_rest_on_older_facts() {
        let mut sessions = Sessions::default();
        for (conn, user, change) in [(1, "bob", 4), (2, "bob", 5), (3, "eve", 4)] {
            let as_of = AsOf { change, ..AsOf::default() };
            sessions.opened(SessionRecord { as_of, ..record(conn, user, None) });
        }
        let mut about = |about| sessions.changed(5, &about).iter().map(|r| r.conn.0).collect::<Vec<_>>();
        assert_eq!(about(About::User("bob".parse().expect("a name"))), [1]);
        assert_eq!(about(About::Password("eve".parse().expect("a name"))), [3]);
        assert_eq!(about(About::Account("acme".parse().expect("a name"))), [1, 3]);
        assert_eq!(about(About::Anyone), [1, 3]);
        let with = |user, change| SessionRecord { as_of: AsOf { change, ..AsOf::default() }, ..record(9, user, None) };
        let is_old =
            [("eve", 4), ("eve", 5), ("bob", 4)].map(|(user, change)| sessions.has_old_password(&with(user, change)));
        assert_eq!(is_old, [true, false, false]);
    }

    #[test]
    fn what_was_withdrawn_while_a_login_was_on_its_way_ends_it() {
        let mut sessions = Sessions::default();
        let bob = || "bob".parse().expect("a name");
        let (by_key, by_password) = (record(1, "bob", Some("a")), record(2, "bob", None));
        sessions.withdraw(Affected::User(bob()));
        let then = sessions.withdrawals();
        assert_eq!(sessions.lost_ground_since(then, &by_password), Some(false));
        sessions.withdraw(Affected::Password(bob()));
        assert_eq!(sessions.lost_ground_since(then, &by_password), Some(true));
        assert_eq!(sessions.lost_ground_since(then, &by_key), Some(false));
        for _ in 0..MOST_REMEMBERED {
            sessions.withdraw(Affected::User("eve".parse().expect("a name")));
        }
        assert_eq!(sessions.lost_ground_since(then, &by_key), None, "too long ago to say");
        assert_eq!(sessions.lost_ground_since(u64::MAX, &by_key), None, "another count than this one");
    }
}
