//! How programs are run for a user: forced commands, shells, terminals, variables, greetings; and that what is taken away
//! ends sessions.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Site, run, told};
use crate::harness::{Finished, Identity, Login, Waiting, finish, scp, sftp, ssh, wait_until};

as_root_and_rootless!(
    a_forced_command_stands_for_everything,
    forced_sftp_is_sftp_alone,
    shells_are_the_users_own,
    terminals_are_refused_where_policy_says_so,
    programs_know_their_connection,
    only_a_shell_on_a_terminal_is_greeted,
    halves_close_and_breaks_are_survived,
    what_cannot_be_had_is_told,
    taking_away_ends_sessions_and_giving_does_not,
);

/// A login shell on a terminal that is told `input`.
fn on_terminal(login: &Login, input: &str) -> Finished {
    let mut shell = ssh(login);
    shell.arg("-tt").arg(login.at());
    finish(&mut shell, input)
}

/// A refusal is in the log, with its reason.
#[track_caller]
pub(super) fn is_logged(site: &Site, why: &str) {
    let is_there = |line: &str| line.contains("refused") && line.contains(why);
    let logged = wait_until(Duration::from_secs(10), || site.node.log().lines().any(is_there));
    assert_eq!(logged, Waiting::Came, "{why} is not in the log");
}

fn a_forced_command_stands_for_everything(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    site.node.admin(&[
        "user",
        "set",
        "dev",
        "--forced-command",
        "echo \"forced: ${SSH_ORIGINAL_COMMAND-none}\"; exit 3",
    ]);
    let ended = finish(&mut run(&dev, "touch 'made'; id"), "");
    assert_eq!((ended.stdout.as_str(), ended.status.code()), ("forced: touch 'made'; id\n", Some(3)));
    let ended = finish(ssh(&dev).arg(dev.at()), "touch made\n");
    assert_eq!((ended.stdout.as_str(), ended.status.code()), ("forced: none\n", Some(3)));
    assert_eq!(on_terminal(&dev, "").stdout, "forced: none\r\n");
    let ended = finish(ssh(&dev).arg("-s").arg(dev.at()).arg("sftp"), "");
    assert_eq!(ended.stdout, "forced: internal-sftp\n");
    assert!(!finish(&mut sftp(&dev), "put /etc/hostname made\n").status.success());
    assert!(!site.site().join("made").exists());
    // A program of the operator's choosing gets no signals of the client's; see below for one of its own.
    site.node.admin(&["user", "set", "dev", "--forced-command", "none"]);
    assert_eq!(told(&dev, "echo ${SSH_ORIGINAL_COMMAND-none}"), "none\n");
    let bad = finish(&mut site.node.enclos(&["user", "set", "dev", "--forced-command", "internal-sftp -R"]), "");
    assert!(bad.err().contains("takes no options"));
    site.user("few", "git", &[("www/site1", "rw")]);
    let bad = finish(&mut site.node.enclos(&["user", "set", "few", "--forced-command", "date"]), "");
    assert!(bad.err().contains("--service exec"));
}

fn forced_sftp_is_sftp_alone(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    site.node.admin(&["user", "set", "dev", "--forced-command", "internal-sftp"]);
    for ended in [finish(&mut run(&dev, "id"), ""), finish(ssh(&dev).arg(dev.at()), "id\n")] {
        assert_eq!((ended.stdout.as_str(), ended.status.code()), ("", Some(1)));
        assert!(ended.stderr.contains("This service allows sftp connections only."), "{ended:?}");
    }
    let file = site.node.dir().join("file");
    fs::write(&file, "text").expect("a file");
    finish(&mut scp(&dev, file.to_str().expect("a plain path"), ":copy"), "").ok();
    assert_eq!(fs::read_to_string(site.site().join("copy")).expect("was copied"), "text");
}

fn shells_are_the_users_own(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    site.node.admin(&["user", "set", "dev", "--shell", "/bin/sh"]);
    assert_eq!(told(&dev, "echo $0 $SHELL; getent passwd dev | cut -d: -f7"), "sh /bin/sh\n/bin/sh\n");
    assert!(on_terminal(&dev, "echo [$0]; exit 4\n").stdout.contains("[-sh]"));
    for (shell, part) in [("/usr/bin/env", "is not in /etc/shells; use one of: "), ("bash", "whole path")] {
        let bad = finish(&mut site.node.enclos(&["user", "set", "dev", "--shell", shell]), "");
        assert!(bad.err().contains(part), "{shell}");
    }
    site.node.admin(&["user", "set", "dev", "--shell", "none"]);
    assert_eq!(told(&dev, "echo $0"), "bash\n");
    // One that is gone from the host.
    let database = site.node.state().join("db/control.sqlite");
    let mut sqlite = Command::new("sqlite3");
    sqlite.arg(&database).arg("PRAGMA busy_timeout=5000; UPDATE users SET shell = '/bin/gone' WHERE name = 'dev'");
    finish(&mut sqlite, "").ok();
    for ended in [finish(&mut run(&dev, "id"), ""), finish(ssh(&dev).arg(dev.at()), "id\n")] {
        assert_eq!(ended.status.code(), Some(1), "as OpenSSH has it");
        assert!(ended.stderr.contains("the login shell /bin/gone is not there"), "{ended:?}");
    }
    is_logged(&site, "/bin/gone is not there");
}

fn terminals_are_refused_where_policy_says_so(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    assert_eq!(on_terminal(&dev, "exit 5\n").status.code(), Some(5));
    site.node.admin(&["user", "set", "dev", "--no-pty"]);
    let ended = on_terminal(&dev, "exit 6\n");
    assert!(ended.stderr.contains("PTY allocation request failed"), "{ended:?}");
    assert_eq!(ended.status.code(), Some(255), "as OpenSSH's client ends that was told to have one");
    let ended = finish(ssh(&dev).arg(dev.at()), "tty; exit 6\n");
    assert_eq!((ended.stdout.as_str(), ended.status.code()), ("not a tty\n", Some(6)), "a shell goes on without");
    is_logged(&site, "terminals are not open to this login");
    site.node.admin(&["user", "set", "dev", "--pty"]);
    assert!(on_terminal(&dev, "tty; exit 0\n").stdout.contains("/dev/pts/"));
}

fn programs_know_their_connection(identity: Identity) {
    let mut site = Site::stopped(identity);
    site.node.write_config("accept_env = [\"FOO_*\", \"SSH_*\"]");
    site.node.serve();
    let dev = site.developer();
    let port = dev.port;
    let said = told(&dev, "echo $SSH_CLIENT; echo $SSH_CONNECTION; echo ${SSH_TTY-none}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("127.0.0.1 ") && lines[0].ends_with(&format!(" {port}")), "{said}");
    assert!(lines[1].starts_with("127.0.0.1 ") && lines[1].ends_with(&format!(" 127.0.0.1 {port}")), "{said}");
    assert_eq!(lines[2], "none");
    let mut terminal = ssh(&dev);
    terminal.arg("-tt").arg(dev.at()).arg("echo $SSH_TTY; tty");
    assert_eq!(finish(&mut terminal, "").ok(), "/dev/pts/0\r\n/dev/pts/0\r\n");
    let mut with = ssh(&dev);
    with.args(["-o", "SendEnv=FOO_A FOOB SSH_CLIENT SSH_X"])
        .arg(dev.at())
        .arg("echo $FOO_A,$FOOB,$SSH_X; echo $SSH_CLIENT");
    with.env("FOO_A", "a").env("FOOB", "b").env("SSH_X", "x").env("SSH_CLIENT", "192.0.2.1 1 1");
    let said = finish(&mut with, "").ok();
    assert!(said.starts_with("a,,\n127.0.0.1 "), "{said}");
}

fn only_a_shell_on_a_terminal_is_greeted(identity: Identity) {
    let mut site = Site::stopped(identity);
    let motd = site.node.dir().join("motd");
    fs::write(&motd, "Be kind.").expect("a file");
    site.node.write_config(&format!("motd = {motd:?}"));
    site.node.serve();
    let dev = site.user("dev", "exec,shell", &[("www/site1", "rw"), ("www/site2", "ro")]);
    let first = on_terminal(&dev, "exit\n").stdout;
    assert!(first.contains("Be kind.\r\nYou are limited to: www/site1 (rw), www/site2 (ro)\r\n"), "{first}");
    let again = on_terminal(&dev, "exit\n").stdout;
    let is_told = |line: &str| line.starts_with("Last login: ") && line.ends_with(" UTC from 127.0.0.1");
    assert!(again.lines().any(is_told), "{again}");
    // Programs read what they print themselves, and nothing else.
    assert_eq!(finish(&mut run(&dev, "true"), "").ok(), "");
    assert_eq!(finish(ssh(&dev).arg("-tt").arg(dev.at()).arg("echo x"), "").ok(), "x\r\n");
    assert_eq!(finish(ssh(&dev).arg("-T").arg(dev.at()), "echo x\n").ok(), "x\n");
    told(&dev, "touch ~/.hushlogin");
    let hushed = on_terminal(&dev, "exit\n").stdout;
    assert!(!hushed.contains("Be kind.") && !hushed.contains("limited") && !hushed.contains("Last login"), "{hushed}");
}

fn halves_close_and_breaks_are_survived(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    // The client's half closes first, and the program goes on; then the other way about.
    assert_eq!(finish(&mut run(&dev, "cat; echo after; exec >&- 2>&-; sleep 0.2; exit 9"), "in,").stdout, "in,after\n");
    assert_eq!(finish(&mut run(&dev, "exec >&- 2>&-; exit 9"), "").status.code(), Some(9));
    // ~B sends a break, ~# lists connections; the terminal is there after both.
    let mut shell = ssh(&dev);
    shell.arg("-tt").arg(dev.at());
    let said = finish(&mut shell, "\n~B\n~#\necho still-$((6*7))\nexit 3\n");
    assert!(said.stdout.contains("still-42") && said.status.code() == Some(3), "{said:?}");
    for signal in ["TERM", "KILL", "SEGV"] {
        let ended = finish(run(&dev, &format!("kill -{signal} $$")).arg("-v"), "");
        assert_eq!(ended.status.code(), Some(255), "{signal}: as OpenSSH's client says it");
    }
    let mut verbose = ssh(&dev);
    verbose.arg("-v").arg(dev.at()).arg("kill -USR1 $$");
    assert!(finish(&mut verbose, "").stderr.contains("rtype exit-signal"), "the signal is told");
}

fn what_cannot_be_had_is_told(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    for subsystem in ["netconf", "sftp2"] {
        let ended = finish(ssh(&dev).arg("-s").arg(dev.at()).arg(subsystem), "");
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains("this subsystem is not open to this login; it may use: sftp, exec, shell"));
    }
    let few = site.user("few", "rsync", &[("www/site1", "rw")]);
    let ended = finish(&mut run(&few, "id"), "");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("\"id\" is not open to this login; it may run: rsync"), "{ended:?}");
    let ended = finish(ssh(&few).arg(few.at()), "");
    assert!(ended.status.code() == Some(1) && ended.stderr.contains("a shell is not open to this login"), "{ended:?}");
    fs::create_dir(site.site().join("gone")).expect("a directory");
    site.node.own(&site.home);
    let gone = site.user("late", "rsync", &[("www/site1/gone", "rw")]);
    fs::remove_dir(site.site().join("gone")).expect("it goes");
    let ended = finish(&mut run(&gone, "rsync --server -e.L . x"), "");
    assert!(ended.status.code() == Some(1) && ended.stderr.contains("does not exist"), "{ended:?}");
    for why in ["it may use: sftp, exec, shell", "it may run: rsync", "a shell is not open", "does not exist"] {
        is_logged(&site, why);
    }
}

/// A change while a program runs: the program ends with its connection, or goes on to answer.
#[track_caller]
fn change_while_running(site: &Site, login: &Login, options: &[&str], ends: bool) {
    let mut running = run(login, "exec cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
    let (mut to, mut from) = (running.stdin.take().expect("was piped"), running.stdout.take().expect("was piped"));
    let mut is_answered = || {
        let mut answer = [0; 3];
        to.write_all(b"so\n").is_ok() && from.read_exact(&mut answer).is_ok() && answer == *b"so\n"
    };
    assert!(is_answered(), "it runs");
    let change: Vec<&str> = ["user", "set", login.user.as_str()].iter().chain(options).copied().collect();
    site.node.admin(&change);
    if ends {
        let ended = wait_until(Duration::from_secs(10), || !matches!(running.try_wait(), Ok(None)));
        assert_eq!(ended, Waiting::Came, "{change:?} ends it");
    } else {
        // What comes later is done, and this one still answers.
        assert!(finish(&mut run(login, "true"), "").status.success());
        assert!(is_answered(), "{change:?} does not end it");
    }
    drop(to);
    running.wait().expect("our own child");
}

fn taking_away_ends_sessions_and_giving_does_not(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    for (options, ends) in [
        (&["--no-pty"][..], true),
        (&["--pty"], false),
        (&["--service", "sftp,exec,shell,git"], false),
        (&["--service", "exec,shell"], true),
        (&["--shell", "/bin/sh"], true),
        (&["--shell", "none"], true),
        (&["--forced-command", "exec sh -c \"$SSH_ORIGINAL_COMMAND\""], true),
        (&["--forced-command", "none"], false),
    ] {
        change_while_running(&site, &dev, options, ends);
    }
}
