//! How many sessions there may be, how long one may last and rest, at which hours, and how fast.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::audit::await_event;
use crate::harness::{Identity, Login, Node, Raw, Waiting, finish, has_ended, open, ssh, wait_until};

/// Longest until something is gone or there, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

as_root_and_rootless!(
    of_many_at_the_same_moment_as_many_get_in_as_may,
    each_limit_only_narrows,
    a_session_ends_when_its_time_is_over,
    nobody_is_let_in_outside_the_hours,
    who_sends_nothing_is_disconnected,
    bandwidth_is_shared_by_all_sessions_of_a_user,
    limits_and_hours_are_explained,
);

mod slow {
    //! What has to wait for the clock: once is enough.

    mod as_root {
        #[test]
        fn a_session_ends_when_the_hours_end() {
            super::super::a_session_ends_when_the_hours_end(crate::harness::Identity::root());
        }
    }
}

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
        let said = refused.expect_err("refused");
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
    let said = Raw::try_connect(&bob).expect_err("a second session by the key");
    assert!(said.contains("this key may have 1 session at the same time"), "{said}");
    node.admin(&["key", "set", "bob", "1", "--max-sessions", "none"]);
    let second = Raw::connect(&eve);
    for login in [&bob, &eve] {
        let said = Raw::try_connect(login).expect_err("a third session of the account");
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

/// Minutes of today in UTC.
fn minute() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() / 60 % (24 * 60)
}

/// From so many minutes after now until so many, every day.
fn hours(from: u64, to: u64) -> String {
    let at = |minutes: u64| {
        let minute = (minute() + minutes) % (24 * 60);
        format!("{:02}:{:02}", minute / 60, minute % 60)
    };
    format!("daily {}-{} in UTC", at(from), at(to))
}

fn nobody_is_let_in_outside_the_hours(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    node.admin_with(&["passwd", "bob", "--stdin"], "correct horse");
    node.admin(&["user", "set", "bob", "--hours", "daily 00:00-24:00"]);
    let (mut inside, mut other) = (Raw::connect(&bob), Raw::connect(&eve));
    assert!(inside.try_stat(b"/").is_some());
    let closed = hours(6 * 60, 7 * 60);
    node.admin(&["account", "set", "acme", "--hours", "daily 00:00-24:00"]);
    node.admin(&["key", "set", "bob", "1", "--hours", &closed]);
    assert!(inside.try_stat(b"/").is_none(), "it goes on outside the hours of its key");
    let said = Raw::try_connect(&bob).expect_err("let in outside the hours");
    assert!(said.contains(&format!("you may log in at these hours only: {closed}")), "{said}");
    await_event(&node, "login-refused", |event| event["why"] == format!("outside the hours of the key: {closed}"));
    // Whoever proves nothing hears nothing.
    let refused = finish(ssh(&bob.with_password("wrong")).args([bob.at().as_str(), "true"]), "").err();
    assert!(!refused.contains("hours"), "{refused}");
    assert!(other.try_stat(b"/").is_some());
    node.admin(&["key", "set", "bob", "1", "--hours", "none"]);
    assert!(Raw::try_connect(&bob).is_ok());
    for wrong in ["mon", "daily 08:00-18:00 in Mars/Olympus"] {
        finish(&mut node.enclos(&["user", "set", "bob", "--hours", wrong]), "").err();
    }
}

fn a_session_ends_when_the_hours_end(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    node.admin(&["user", "set", "bob", "--hours", &hours(24 * 60 - 60, 2)]);
    let mut raw = Raw::connect(&bob);
    let session = node.session_of("bob");
    assert!(raw.try_stat(b"/").is_some());
    assert_eq!(wait_until(Duration::from_secs(200), || has_ended(session.pid)), Waiting::Came, "it goes on");
    assert_eq!(await_event(&node, "session-ended", |event| event["user"] == "bob")["why"], "over");
    let said = Raw::try_connect(&bob).expect_err("let in when the hours were over");
    assert!(said.contains("at these hours only"), "{said}");
}

fn who_sends_nothing_is_disconnected(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let eve = node.user("eve", "acme", &[("www/site2", "rw")]);
    node.admin(&["account", "set", "acme", "--idle", "3s"]);
    node.admin(&["user", "set", "bob", "--idle", "2s"]);
    let mut busy = Raw::connect(&eve);
    // Signs of life are no traffic.
    let resting =
        ssh(&bob).args(["-o", "ServerAliveInterval=1", "-N", &bob.at()]).stderr(std::process::Stdio::piped()).spawn();
    let mut resting = resting.expect("ssh");
    let mut ended = || resting.try_wait().expect("a child").is_some();
    while !ended() {
        assert!(busy.try_stat(b"/").is_some(), "one that works is thrown out");
    }
    let said = resting.wait_with_output().expect("its output").stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("nothing was sent for as long as this login may rest"), "{said}");
    assert_eq!(await_event(&node, "session-ended", |event| event["user"] == "bob")["why"], "idle");
}

/// What one session reads of a file, and when it had it.
fn read(login: Login, path: &'static [u8]) -> thread::JoinHandle<(usize, Instant)> {
    thread::spawn(move || (Raw::connect(&login).contents(path).expect("the file").len(), Instant::now()))
}

/// Not faster than the bandwidth allows; how slow is for the machine to say.
fn bandwidth_is_shared_by_all_sessions_of_a_user(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let (eve, carl) = (
        node.user("eve", "acme", &[("www/site1", "rw")]),
        node.user_with("carl", "acme", "exec,sftp", &[("www/site1", "rw")]),
    );
    let size = 160 * 1024;
    std::fs::write(node.home("acme").join("www/site1/large"), vec![7; size]).expect("a file");
    node.own(&node.home("acme"));
    node.admin(&["user", "set", "bob", "--bandwidth", "64K"]);
    let begin = Instant::now();
    let mut controls = Raw::connect(&bob);
    let both = [read(bob.clone(), b"/large"), read(bob.clone(), b"/large")];
    // Nobody else is held up, and requests of the same user come to their turns.
    let (got, others) = read(eve, b"/large").join().expect("a thread");
    assert_eq!(got, size);
    assert!(controls.try_stat(b"/large").is_some());
    let asked = Instant::now();
    let read = both.map(|one| one.join().expect("a thread"));
    assert!(read.iter().all(|(got, at)| *got == size && *at > others && *at > asked), "they were not held up");
    assert!(begin.elapsed() > Duration::from_millis(4_500), "320 KiB at 64 KiB/s in {:?}", begin.elapsed());
    // Upwards as well, and nothing is lost.
    let begin = Instant::now();
    let data: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).expect("small")).collect();
    assert!(controls.put(b"/new", &data, open::WRITE | open::CREATE | open::TRUNCATE).is_success());
    assert!(begin.elapsed() > Duration::from_millis(2_000), "160 KiB at 64 KiB/s in {:?}", begin.elapsed());
    assert_eq!(std::fs::read(node.home("acme").join("www/site1/new")).expect("the file"), data);
    // Programs too; of an account it is for each of its users.
    node.admin(&["account", "set", "acme", "--bandwidth", "64K"]);
    let begin = Instant::now();
    let written = finish(ssh(&carl).arg(carl.at()).arg("head -c 163840 /dev/zero | tr '\\0' x"), "").ok();
    assert_eq!(written.len(), size);
    assert!(begin.elapsed() > Duration::from_millis(2_000), "{:?}", begin.elapsed());
    let begin = Instant::now();
    let counted = finish(ssh(&carl).arg(carl.at()).arg("wc -c"), &"x".repeat(size)).ok();
    assert_eq!(counted.trim(), size.to_string());
    assert!(begin.elapsed() > Duration::from_millis(2_000), "{:?}", begin.elapsed());
    // Less ends sessions that have more, more disturbs nobody.
    node.admin(&["user", "set", "bob", "--bandwidth", "10M"]);
    assert!(controls.try_stat(b"/large").is_some());
    node.admin(&["account", "set", "acme", "--bandwidth", "none"]);
    let mut fast = Raw::connect(&bob);
    node.admin(&["user", "set", "bob", "--bandwidth", "1M"]);
    assert!(fast.try_stat(b"/").is_none() && controls.try_stat(b"/").is_some());
}

fn limits_and_hours_are_explained(identity: Identity) {
    let (node, _) = Node::with_bob(identity);
    node.admin(&["account", "set", "acme", "--max-sessions", "9", "--idle", "15m"]);
    node.admin(&[
        "user",
        "set",
        "bob",
        "--bandwidth",
        "2M",
        "--session-limit",
        "8h",
        "--hours",
        "mon-fri 08:00-18:00 in UTC",
    ]);
    node.admin(&["key", "set", "bob", "1", "--max-sessions", "1", "--bandwidth", "1M"]);
    let ask = |at: &str| node.admin(&["explain", "bob", "--key", "1", "--from", "127.0.0.1", "--at", at]);
    // A Thursday.
    let told = ask("2026-11-26T12:00:00Z");
    for part in [
        "allowed (login)",
        "at most 9 at the same time on all nodes (account-sessions)",
        "at most 1 at the same time on all nodes (key-sessions)",
        "at most 28800 s long (user-lasting)",
        "at most 900 s without a byte either way (account-idle)",
        "at most 1M a second each way (key-bandwidth)",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = ask("2026-11-28T12:00:00Z");
    assert!(
        told.contains("denied (user-hours): outside the hours of the user bob: mon-fri 08:00-18:00 in UTC"),
        "{told}"
    );
    let shown = node.admin(&["user", "show", "bob"]);
    assert!(shown.contains("mon-fri 08:00-18:00 in UTC") && shown.contains("2M a second each way"), "{shown}");
}
