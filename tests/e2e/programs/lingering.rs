//! Programs that outlive their connection, where policy says so, and no longer than it says.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Site, run, told};
use crate::harness::{Identity, Login, Waiting, finish, wait_until};

as_root_and_rootless!(
    what_lingers_is_found_again,
    what_is_withdrawn_ends_what_lingers,
    an_operator_lists_and_ends_what_lingers,
    a_cell_without_programs_does_not_linger,
    the_time_to_linger_ends,
    a_node_that_ends_leaves_nothing_lingering,
);

const PATIENCE: Duration = Duration::from_secs(20);

/// Somebody whose programs may linger, with one that does, and the argument by which the host knows it.
struct Lingerer {
    site: Site,
    dev: Login,
    mark: String,
}

impl Lingerer {
    fn new(identity: Identity, linger: &str) -> Lingerer {
        let site = Site::new(identity);
        let dev = site.developer();
        site.node.admin(&["user", "set", "dev", "--linger", linger]);
        let mark = format!("{}.{}", 200_000 + std::process::id(), site.node.port());
        let left =
            format!("echo kept > /var/tmp/kept; setsid nohup sleep {mark} > /dev/null 2>&1 < /dev/null & echo left");
        assert_eq!(told(&dev, &left), "left\n");
        Lingerer { site, dev, mark }
    }

    fn runs(&self) -> bool {
        let mut pgrep = std::process::Command::new("pgrep");
        finish(pgrep.args(["-fx", &format!("sleep {}", self.mark)]), "").status.success()
    }

    /// What `session list` says of those that linger: their numbers.
    fn listed(&self) -> Vec<u64> {
        let list: Vec<Value> =
            serde_json::from_str(&self.site.node.admin(&["session", "list", "--json"])).expect("a list");
        list.iter().filter(|s| !s["lingers_until"].is_null()).filter_map(|s| s["conn"].as_u64()).collect()
    }

    #[track_caller]
    fn await_left(&self) -> u64 {
        assert_eq!(wait_until(PATIENCE, || self.listed().len() == 1), Waiting::Came, "it is not listed");
        // It may be on its way from `setsid` to `sleep`.
        assert_eq!(wait_until(PATIENCE, || self.runs()), Waiting::Came, "it does not run");
        self.listed()[0]
    }

    #[track_caller]
    fn await_end(&self) {
        assert_eq!(wait_until(PATIENCE, || !self.runs()), Waiting::Came, "it goes on");
        assert_eq!(wait_until(PATIENCE, || self.listed().is_empty()), Waiting::Came, "it is still listed");
    }
}

fn what_lingers_is_found_again(identity: Identity) {
    let lingerer = Lingerer::new(identity, "1h");
    let first = lingerer.await_left();
    assert_eq!(told(&lingerer.dev, "cat /var/tmp/kept; pgrep -c sleep"), "kept\n1\n");
    let is_another = || lingerer.listed().first().is_some_and(|conn| *conn != first);
    assert_eq!(wait_until(PATIENCE, is_another), Waiting::Came, "it lingers again, by the connection that came last");
    assert!(lingerer.runs());
    // Nobody else comes into it.
    let other = lingerer.site.user("other", "exec", &[("www/site1", "rw")]);
    assert_eq!(told(&other, "ls /var/tmp; pgrep -c sleep; true"), "0\n");
    assert!(lingerer.runs(), "whoever leaves a cell of their own ends no other");
}

fn what_is_withdrawn_ends_what_lingers(identity: Identity) {
    let lingerer = Lingerer::new(identity, "1h");
    lingerer.await_left();
    lingerer.site.node.admin(&["user", "set", "dev", "--linger", "2h"]);
    assert!(lingerer.runs(), "more than before takes nothing away");
    lingerer.site.node.admin(&["user", "disable", "dev"]);
    lingerer.await_end();
    lingerer.site.node.admin(&["user", "enable", "dev"]);
    assert_eq!(told(&lingerer.dev, "ls /var/tmp"), "", "a new cell");
}

fn an_operator_lists_and_ends_what_lingers(identity: Identity) {
    let lingerer = Lingerer::new(identity, "1h");
    let conn = lingerer.await_left();
    assert!(lingerer.site.node.admin(&["session", "list"]).contains("lingers until"));
    lingerer.site.node.admin(&["session", "kill", &conn.to_string()]);
    lingerer.await_end();
}

fn a_cell_without_programs_does_not_linger(identity: Identity) {
    let lingerer = Lingerer::new(identity, "1h");
    lingerer.await_left();
    assert_eq!(told(&lingerer.dev, "pkill sleep; echo ended"), "ended\n");
    lingerer.await_end();
    assert_eq!(told(&lingerer.dev, "ls /var/tmp"), "", "a new cell");
}

fn the_time_to_linger_ends(identity: Identity) {
    let lingerer = Lingerer::new(identity, "1s");
    lingerer.await_end();
}

fn a_node_that_ends_leaves_nothing_lingering(identity: Identity) {
    let mut lingerer = Lingerer::new(identity, "1h");
    lingerer.await_left();
    lingerer.site.node.end(Signal::SIGTERM);
    assert_eq!(wait_until(PATIENCE, || !lingerer.runs()), Waiting::Came);
    let mut again = run(&lingerer.dev, "true");
    assert!(!finish(&mut again, "").status.success());
}
