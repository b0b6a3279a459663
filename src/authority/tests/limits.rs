//! Limits of sessions, and hours.

use super::*;
use crate::domain::{Common, ForEach};

#[test]
fn limits_of_sessions_bind_all_at_once() {
    let limits = |at_once, lasting, bandwidth: &str| Terms {
        sessions: SessionLimits { at_once, lasting, bandwidth: bandwidth.parse().ok(), ..SessionLimits::default() },
        ..Terms::default()
    };
    let mut facts = facts(Shown::RightPassword);
    facts.account.terms = limits(Some(5), None, "1M");
    facts.user.terms = limits(Some(2), Some(60), "2M");
    let Ok(Decision::In(principal)) = decide(&password(), Some(&facts), &here(), None) else { panic!("not let in") };
    let of_all = |begun| ForEach { account: begun, user: begun, key: begun };
    assert_eq!(principal.most_sessions().reached(&of_all(1)), None);
    assert_eq!(principal.most_sessions().reached(&of_all(2)), Some(Common::User));
    assert_eq!(principal.most_sessions().reached(&ForEach { account: 5, ..of_all(0) }), Some(Common::Account));
    assert_eq!(principal.until_if_begun(Timestamp(1_000)), Some(Timestamp(1_060)));
    assert_eq!(principal.bounds().bandwidths().map(|rate| rate.to_string()).collect::<Vec<_>>(), ["1M"]);
}

#[test]
fn hours_are_looked_at_when_all_else_is_right() {
    let hours: crate::domain::Hours = "mon-fri 08:00-18:00 in Europe/Paris".parse().expect("hours");
    let with = |open, shown| {
        let mut facts = facts(shown);
        facts.user.terms = Terms { hours: Some(hours.clone()), open, ..Terms::default() };
        facts
    };
    for open in [Opening::Closed, Opening::Until(here().now)] {
        let closed = Denial::Closed { holder: Holder::User, hours: hours.clone() };
        let denied = enter(&password(), Some(&with(open, Shown::RightPassword)), &here()).expect_err("denied");
        assert_eq!(denied, closed);
        assert!(denied.told().is_some_and(|said| said.contains("mon-fri 08:00-18:00 in Europe/Paris")));
        // Whoever has not proven who they are hears nothing of it.
        let denied = enter(&password(), Some(&with(open, Shown::WrongPassword)), &here()).expect_err("denied");
        assert_eq!((denied.told(), denied), (None, Denial::WrongPassword));
    }
    let within = with(Opening::Until(Timestamp(1_009)), Shown::RightPassword);
    assert_eq!(enter(&password(), Some(&within), &here()).expect("in").until(), Some(Timestamp(1_009)));
}
