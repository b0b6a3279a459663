//! What is not there for a while: the database, descriptors, memory, the right time.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::{REPLACED, Storm};
use crate::harness::{Waiting, finish, has_ended, limit_descriptors, ssh, wait_until};

const LIVE: [&str; 3] = ["in place", "atomic", "download"];

/// PostgreSQL ends in the middle of whatever it is doing, and is started again.
pub(super) fn database_gone(storm: &mut Storm) {
    storm.stage.postgres.as_mut().expect("a database server").stop();
    storm.look();
    storm.some_go_on(&LIVE);
    storm.stage.postgres.as_mut().expect("a database server").resume();
    let node = &storm.stage.node;
    let is_back = || finish(&mut node.enclos(&["status"]), "").stdout.contains("answers");
    assert_eq!(wait_until(REPLACED, is_back), Waiting::Came, "the database is not found again\n{}", node.log());
}

/// Another program holds the file of the database for itself.
pub(super) fn database_locked(storm: &mut Storm) {
    let file = storm.stage.node.state().join("db/control.sqlite");
    let mut sqlite = storm.stage.node.identity().command("sqlite3");
    sqlite.arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut sqlite = sqlite.spawn().expect("start sqlite3; tests/run installs it");
    let mut input = sqlite.stdin.take().expect("piped");
    input.write_all(b".timeout 20000\nBEGIN EXCLUSIVE;\nSELECT 'locked';\n").expect("it reads");
    let mut line = String::new();
    BufReader::new(sqlite.stdout.take().expect("piped")).read_line(&mut line).expect("it answers");
    assert_eq!(line, "locked\n");
    storm.look();
    storm.some_go_on(&LIVE);
    drop(input);
    assert!(sqlite.wait().expect("its end").success());
}

pub(super) fn descriptors_of_the_monitor(storm: &mut Storm) {
    out_of_descriptors(storm, |storm| Some(storm.stage.node.pid()));
}

pub(super) fn descriptors_of_control(storm: &mut Storm) {
    out_of_descriptors(storm, |storm| storm.stage.processes("enclos-control").first().copied());
}

pub(super) fn descriptors_of_the_zygote(storm: &mut Storm) {
    out_of_descriptors(storm, |storm| storm.stage.processes("enclos-zygote").first().copied());
}

/// A process can open nothing more, while somebody logs in; then it can again.
fn out_of_descriptors(storm: &mut Storm, whose: impl Fn(&Storm) -> Option<u32>) {
    // The one that is found may be ending after the fault before.
    let mut limited = None;
    let found = wait_until(REPLACED, || {
        limited = whose(storm).and_then(|pid| Some((pid, limit_descriptors(pid, "0")?)));
        limited.is_some()
    });
    assert_eq!(found, Waiting::Came, "there is no such process\n{}", storm.stage.node.log());
    let (pid, usual) = limited.expect("just found");
    let probe = storm.probe_meanwhile();
    storm.some_go_on(&LIVE);
    // It may have ended, and another have taken its place.
    if limit_descriptors(pid, &usual).is_none() {
        assert!(has_ended(pid), "it is still without descriptors");
    }
    storm.judge(probe);
}

/// Somebody's program takes all the memory of its cell. The kernel ends it, and nothing else of that cell.
pub(super) fn memory(storm: &mut Storm) {
    let hog = "ulimit -v 1000000; python3 -c '
held = []
while True: held.append(bytearray(1 << 20))'; echo ended with $?";
    let login = storm.stage.shell.clone();
    let ended = finish(ssh(&login).arg(login.at()).arg(hog), "");
    assert_eq!(ended.stdout, "ended with 137\n", "{ended:?}");
    storm.some_go_on(&["shell"]);
}

/// The time of the day is another one, and then the right one again.
pub(super) fn clock(storm: &mut Storm) {
    let clock = storm.stage.clock.clone().expect("a clock");
    let jump = ["+3d", "-3d", "+5h", "-90s", "+400d"][usize::try_from(storm.numbers.next() % 5).expect("small")];
    std::fs::write(&clock, jump).expect("set the clock");
    storm.look();
    storm.some_go_on(&LIVE);
    std::fs::write(&clock, "+0").expect("set the clock");
}
