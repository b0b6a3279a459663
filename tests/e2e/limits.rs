//! How many sessions there may be, and how long one may last.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crate::audit::await_event;
use crate::harness::{Identity, Node, Raw, Waiting, has_ended, wait_until};

/// Longest until something is gone or there, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

as_root_and_rootless!(
    of_many_at_the_same_moment_as_many_get_in_as_may,
    each_limit_only_narrows,
    a_session_ends_when_its_time_is_over,
);

fn of_many_at_the_same_moment_as_many_get_in_as_may(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin(&["user", "set", "bob", "--max-sessions", "3"]);
    let (many, barrier) = (10, Arc::new(Barrier::new(10)));
    let comers: Vec<_> = (0..many)
        .map(|_| {
            let (bob, barrier) = (bob.clone(), barrier.clone());
            thread::spawn(move || {
                barrier.wait();
                Raw::try_connect(&bob)
            })
        })
        .collect();
    let come: Vec<_> = comers.into_iter().map(|comer| comer.join().expect("a thread")).collect();
    let (mut inside, refused): (Vec<_>, Vec<_>) = come.into_iter().partition(Result::is_ok);
    assert_eq!((inside.len(), refused.len()), (3, many - 3), "{refused:?}");
    let sentence = "bob may have 3 sessions at the same time, and has; end one and try again";
    for refused in refused {
        let said = refused.err().expect("refused");
        assert!(said.contains(sentence), "{said}");
    }
    await_event(&node, "refused", |event| event["why"] == sentence);
    // A place that becomes free is taken by the next.
    drop(inside.pop());
    let comes_in = || Raw::try_connect(&bob).map(|raw| inside.push(Ok(raw))).is_ok();
    assert_eq!(wait_until(PATIENCE, comes_in), Waiting::Came, "nobody gets the place");
    assert!(Raw::try_connect(&bob).is_err());
    node.admin(&["user", "set", "bob", "--max-sessions", "none"]);
    assert!(Raw::try_connect(&bob).is_ok());
}

fn each_limit_only_narrows(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    node.admin(&["account", "set", "acme", "--max-sessions", "2"]);
    node.admin(&["user", "set", "bob", "--max-sessions", "9"]);
    node.admin(&["key", "set", "bob", "1", "--max-sessions", "1"]);
    let first = Raw::connect(&bob);
    let said = Raw::try_connect(&bob).err().expect("a second session by the key");
    assert!(said.contains("this key may have 1 session at the same time"), "{said}");
    node.admin(&["key", "set", "bob", "1", "--max-sessions", "none"]);
    let second = Raw::connect(&eve);
    for login in [&bob, &eve] {
        let said = Raw::try_connect(login).err().expect("a third session of the account");
        assert!(said.contains("account acme may have 2 sessions at the same time"), "{said}");
    }
    drop((first, second));
    let shown = node.admin(&["user", "show", "bob"]);
    assert!(shown.contains("at most 9 sessions"), "{shown}");
}

fn a_session_ends_when_its_time_is_over(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin(&["user", "set", "bob", "--session-limit", "7d"]);
    node.admin(&["key", "set", "bob", "1", "--session-limit", "2s"]);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    let mut others = Raw::connect(&eve);
    let mut raw = Raw::connect(&bob);
    assert!(raw.try_stat(b"/").is_some());
    let session = node.session_of("bob");
    assert_eq!(wait_until(PATIENCE, || has_ended(session.pid)), Waiting::Came, "it goes on");
    assert!(raw.try_stat(b"/").is_none());
    assert!(others.try_stat(b"/").is_some(), "another's session ended too");
    let ended = await_event(&node, "session-ended", |event| event["user"] == "bob");
    assert_eq!(ended["why"], "over");
    // A limit that is set while a session lives ends it as well.
    node.admin(&["key", "set", "bob", "1", "--session-limit", "none"]);
    let _raw = Raw::connect(&bob);
    let session = node.session_of("bob");
    node.admin(&["user", "set", "bob", "--session-limit", "1s"]);
    assert_eq!(wait_until(PATIENCE, || has_ended(session.pid)), Waiting::Came, "it goes on");
}
