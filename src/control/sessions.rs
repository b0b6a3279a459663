//! The live sessions of this node, as control knows them, and which of them a change ends.

use std::collections::BTreeMap;

use super::operation::Affected;
use super::outcome::SessionView;
use crate::domain::ConnId;
use crate::wire::SessionRecord;

/// All live sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: BTreeMap<ConnId, SessionRecord>,
}

impl Sessions {
    /// One began.
    pub(super) fn opened(&mut self, record: SessionRecord) {
        self.live.insert(record.conn, record);
    }

    /// One ended.
    pub(super) fn closed(&mut self, conn: ConnId) {
        self.live.remove(&conn);
    }

    /// Whether there is such a session.
    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.live.contains_key(&conn)
    }

    /// Those that a change takes the ground from under.
    pub(super) fn affected(&self, affected: &Affected) -> Vec<ConnId> {
        let hit = |r: &SessionRecord| match affected {
            Affected::Nobody => false,
            Affected::User(user) => r.user == *user,
            Affected::Key(user, key) => r.user == *user && r.fingerprint.as_deref() == Some(key),
            Affected::Password(user) => r.user == *user && r.fingerprint.is_none(),
            Affected::Account(account) => r.account == *account,
        };
        self.live.values().filter(|r| hit(r)).map(|r| r.conn).collect()
    }

    /// As they are listed.
    pub(super) fn list(&self) -> Vec<SessionView> {
        let view = |r: &SessionRecord| SessionView {
            conn: r.conn.0,
            user: r.user.clone(),
            account: r.account.clone(),
            peer: r.peer.to_string(),
            fingerprint: r.fingerprint.clone(),
            pid: r.pid,
            uid: r.uid,
            since: r.since.0,
        };
        self.live.values().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AsOf, Timestamp};

    fn record(conn: u64, user: &str, key: Option<&str>) -> SessionRecord {
        SessionRecord {
            conn: ConnId(conn),
            account: "acme".parse().expect("a name"),
            user: user.parse().expect("a name"),
            grants: Vec::new(),
            peer: "127.0.0.1:1".parse().expect("an address"),
            key: None,
            fingerprint: key.map(str::to_owned),
            pid: 1,
            uid: 1,
            since: Timestamp(0),
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
        assert_eq!(sessions.affected(&Affected::User(bob())), [ConnId(1), ConnId(2)]);
        assert_eq!(sessions.affected(&Affected::Key(bob(), "a".into())), [ConnId(1)]);
        assert_eq!(sessions.affected(&Affected::Password(bob())), [ConnId(2)]);
        assert_eq!(sessions.affected(&Affected::Account("acme".parse().expect("a name"))).len(), 3);
        assert!(sessions.affected(&Affected::Nobody).is_empty());
    }
}
