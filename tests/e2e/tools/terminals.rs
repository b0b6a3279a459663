//! Somebody at a keyboard: OpenSSH's client on a real terminal, and `tmux`.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Desk, PATIENCE, version};
use crate::harness::{Identity, Terminal, Waiting, finish, signal, ssh, wait_until};
use crate::programs::run;

as_root_and_rootless!(
    a_terminal_feels_like_any_other,
    what_a_terminal_shows_is_whole_though_its_client_waits,
    tmux_outlives_a_connection_while_another_is_there,
);

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_Z: &str = "\x1a";
const CTRL_BACKSLASH: &str = "\x1c";
const BACKSPACE: &str = "\x7f";

/// A login shell on a terminal, at its prompt.
fn login(desk: &Desk, columns: u16, rows: u16) -> Terminal {
    let mut command = ssh(&desk.dev);
    command.args(["-o", "SendEnv=LANG LC_*"]).arg(desk.dev.at());
    command.env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color");
    let mut terminal = Terminal::start(&command, columns, rows);
    terminal.until("$ ");
    terminal
}

/// A program that says when the terminal is its own: what is typed before that is the shell's.
fn running(program: &str) -> String {
    format!("sh -c 'echo up-$((6*7)); exec {program}'")
}

fn a_terminal_feels_like_any_other(identity: Identity) {
    let mut desk = Desk::new(identity, "ssh on a terminal", version("ssh", "-V"));
    let mut terminal = login(&desk, 100, 30);
    terminal.answers("stty size; tty", "30 100\r\n/dev/pts/0");
    terminal.answers(
        "python3 -c 'import os, signal\nresized = {signal.SIGWINCH}\nsignal.pthread_sigmask(signal.SIG_BLOCK, resized)\nprint(\"rea\" + \"dy\", flush=True)\nsignal.sigwait(resized)\nprint(os.get_terminal_size(), flush=True)\nsignal.pause()'",
        "ready",
    );
    terminal.resize(132, 43);
    terminal.until("columns=132, lines=43");
    desk.saw("size, and a new size while a program runs");
    terminal.types(CTRL_C);
    terminal.until("KeyboardInterrupt");
    terminal.until("$ ");
    terminal.answers("yes", "y\r\ny\r\ny");
    terminal.types(CTRL_C);
    terminal.until("$ ");
    desk.saw("Ctrl-C, also of a program that prints without end");
    terminal.answers(&running("cat"), "up-42\r\n");
    terminal.answers("one", "one\r\none\r\n");
    terminal.types(CTRL_Z);
    terminal.until("Stopped");
    terminal.until("$ ");
    terminal.answers("fg", "exec cat'\r\n");
    terminal.answers("two", "two\r\ntwo\r\n");
    terminal.types(CTRL_D);
    terminal.until("$ ");
    terminal.answers("sleep 1000 &\rjobs", "Running");
    terminal.answers("kill %1; wait; echo do$((6*7))ne", "do42ne");
    terminal.answers(&running("sleep 1000"), "up-42\r\n");
    terminal.types(CTRL_BACKSLASH);
    terminal.until("Quit");
    desk.saw("Ctrl-Z, fg, jobs, Ctrl-D, Ctrl-\\");
    // Erased are characters and not bytes, by readline and by the terminal itself.
    terminal.answers(&format!("v='aé€'{BACKSPACE}{BACKSPACE}ü'; echo ${{#v}}:$v:$((1+1))"), "3:aéü:2");
    terminal.until("$ ");
    terminal.answers(&running("cat"), "up-42\r\n");
    terminal.answers(&format!("aé{BACKSPACE}b-ж"), "\r\nab-ж\r\n");
    terminal.types(CTRL_D);
    terminal.until("$ ");
    desk.saw("UTF-8 typed, erased and shown");
    terminal.types("exit 7\r");
    assert_eq!(terminal.ends(), Some(7));
    let mut terminal = login(&desk, 80, 24);
    terminal.types(CTRL_D);
    assert_eq!(terminal.ends(), Some(0));
    let mut terminal = login(&desk, 80, 24);
    terminal.types("sleep 1000 & exit 3\r");
    assert_eq!(terminal.ends(), Some(3), "what is left behind holds up nobody");
    desk.saw("exit 7, Ctrl-D at the prompt, exit with a program in the background");
}

/// Clients that read only when their programs have ended: some of those have written their last words where the client's
/// window was shut already.
fn what_a_terminal_shows_is_whole_though_its_client_waits(identity: Identity) {
    let mut desk = Desk::new(identity, "ssh -tt, read late", version("ssh", "-V"));
    let started: Vec<_> = (0..20)
        .map(|number| {
            let size = 1_070_000 + 5_000 * number;
            let mut command = ssh(&desk.dev);
            command.arg("-tt").arg(desk.dev.at());
            command.arg(format!(
                "stty -opost; head -c {size} /dev/zero | tr '\\0' x; printf the-end; touch ended.{number}"
            ));
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
            (size, command.spawn().expect("start"))
        })
        .collect();
    let ended = || (0..20).filter(|number| desk.at().join(format!("ended.{number}")).exists()).count();
    assert_eq!(wait_until(PATIENCE, || ended() > 5), Waiting::Came, "{} have ended", ended());
    // Long enough for a server that has no patience to show it.
    std::thread::sleep(Duration::from_secs(1));
    for (size, child) in started {
        let shown = child.wait_with_output().expect("our own child");
        let end = String::from_utf8_lossy(&shown.stdout[shown.stdout.len().saturating_sub(7)..]).into_owned();
        assert_eq!((shown.stdout.len(), end.as_str()), (size + 7, "the-end"), "of {size} bytes");
    }
    desk.saw("nothing is lost of 1.1 MB that a client reads when the program has ended");
}

fn tmux_outlives_a_connection_while_another_is_there(identity: Identity) {
    let mut desk = Desk::new(identity, "tmux", version("tmux", "-V"));
    let mut first = login(&desk, 80, 24);
    first.answers("MARK=of-$((40+2))-work tmux -u new -s work", "[work]");
    first.answers("echo $((6*7))-first-$MARK", "42-first-of-42-work");
    desk.saw("new session");
    let mut second = login(&desk, 80, 24);
    second.answers("tmux -u attach -t work", "42-first-of-42-work");
    first.answers("echo $((6*7))-both", "42-both");
    second.until("42-both");
    desk.saw("attached by a second connection, both show it");
    let socket = desk.told("ls /tmp/tmux-*");
    assert_eq!(socket.trim(), "default");
    desk.saw_hidden(&["tmux -u new -s work", "of-42-work", "/default"], &[]);
    signal(first.pid(), Signal::SIGKILL);
    first.ends();
    second.answers("echo $((6*7))-alone", "42-alone");
    second.resize(120, 40);
    second.answers("until [ \"$(stty size)\" = '39 120' ]; do sleep 0.1; done; echo $((6*7))-wide", "42-wide");
    desk.saw("goes on when the first connection is cut off, takes the size of the other");
    second.types("\x02d");
    second.until("[detached (from session work)]");
    assert!(finish(&mut run(&desk.dev, "tmux ls"), "").ok().starts_with("work: 1 windows"));
    second.answers("tmux -u attach -t work", "42-alone");
    second.answers("exit", "[exited]");
    second.types("exit\r");
    second.ends();
    assert!(fs::read_dir(desk.home()).expect("a home").count() > 0);
    desk.saw("detach, list, attach again, exit");
}
