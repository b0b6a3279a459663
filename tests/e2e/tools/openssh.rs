//! The same commands, run by OpenSSH's own server and by ours: what they print and how they end is the same.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};

use super::{Desk, PATIENCE, version};
use crate::forwards::Running;
use crate::harness::{Finished, Identity, Login, Waiting, finish, free_port, new_key, wait_until};

/// Options of the client, a command, and what it reads.
type Case = (&'static [&'static str], &'static str, &'static str);

const CASES: &[Case] = &[
    (&[], "exit 7", ""),
    (&[], "kill -TERM $$", ""),
    (&[], "kill -9 $$", ""),
    (&[], "no-such-program", ""),
    (&[], "/etc/passwd", ""),
    (&[], "", "echo from a shell without a terminal; exit 4\n"),
    (&[], " ", "x"),
    (&[], "cat; exit 3", "to the end\n"),
    (&[], "echo out; echo err >&2; exit 1", ""),
    (&[], "printf 'a\\0b\\377'", ""),
    (&[], "echo $- $0 $SHLVL $TERM $SHELL; umask; ulimit -c; nice", ""),
    (&[], "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; ls /proc/self/fd | wc -l", ""),
    (&[], "ps -o pid=,pgid=,sid= -p $$ | awk '{ print ($1 == $2), ($2 == $3) }'; tty", ""),
    (&[], "(sleep 0.3; echo late) & echo early", ""),
    (&[], "exec >&- 2>&-; sleep 0.2; exit 9", ""),
    (&["-n"], "cat; echo nothing came", "never sent"),
    (&["-T"], "echo $-; exit 2", ""),
    (&["-tt"], "exit 5", ""),
    (&["-tt"], "kill -TERM $$", ""),
    (&["-tt"], "stty -a; tty | cut -c 1-9; ps -o stat=,tty= -p $$ | cut -c 1-8", ""),
    (&["-tt"], "printf 'a\\nb\\n'; echo err >&2", ""),
    (&["-tt"], "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status", ""),
    (&["-tt"], "sleep 1000 & echo here", ""),
    (&["-tt"], "read line; echo [$line]", "typed\n"),
    (&["-o", "SetEnv=LC_MINE=yes LD_MINE=no"], "echo $LC_MINE $LD_MINE.", ""),
    (&["-X"], "echo [$DISPLAY]", ""),
];

mod as_root {
    use super::{Identity, ends_alike};

    #[test]
    fn commands_end_as_with_openssh() {
        ends_alike(Identity::root());
    }
}

fn ends_alike(identity: Identity) {
    let mut desk = Desk::new(identity, "ssh, compared", version("ssh", "-V"));
    let (port, _server) = openssh(&desk);
    for case in CASES {
        let (ours, theirs) = (ended(&desk.dev, None, case), ended(&desk.dev, Some(port), case));
        let seen = |ended: &Finished| (ended.status.code(), ended.stdout.clone(), ended.stderr.clone());
        assert_eq!(seen(&ours), seen(&theirs), "ours and OpenSSH's differ at {case:?}");
    }
    desk.saw(&format!("{} commands print and end as with OpenSSH's server of the same version", CASES.len()));
}

/// OpenSSH's server on a port of its own, for the same key. It lets in whom it runs as.
fn openssh(desk: &Desk) -> (u16, Running) {
    let (port, dir) = (free_port(), desk.dir().join("openssh"));
    fs::create_dir(&dir).expect("a directory");
    fs::create_dir_all("/run/sshd").expect("what it wants to be there");
    new_key(&dir.join("host_key"));
    fs::copy(desk.dev.public_key(), dir.join("keys")).expect("the key");
    let settings = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host_key\nAuthorizedKeysFile {0}/keys\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPrintMotd no\nPrintLastLog no\nAcceptEnv LANG LC_*\n",
        dir.display()
    );
    fs::write(dir.join("settings"), settings).expect("a file");
    let mut server = Command::new("/usr/sbin/sshd");
    server.args(["-D", "-e", "-f"]).arg(dir.join("settings")).stdin(Stdio::null());
    let log = fs::File::create(dir.join("log")).expect("a file");
    let running = Running::start(server.stdout(Stdio::null()).stderr(log));
    let is_there = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
    assert_eq!(wait_until(PATIENCE, is_there), Waiting::Came, "OpenSSH's server does not begin");
    (port, running)
}

/// Runs one by our server, or by OpenSSH's on this port.
fn ended(dev: &Login, openssh: Option<u16>, (options, command, input): &Case) -> Finished {
    let mut client = Command::new("ssh");
    // What comes first counts.
    if let Some(port) = openssh {
        let port = format!("Port={port}");
        client.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", &port]);
    }
    client.args(["-o", "LogLevel=ERROR"]).args(dev.options()).args(*options);
    client.arg(if openssh.is_some() { "root@127.0.0.1".to_owned() } else { dev.at() });
    if !command.is_empty() {
        client.arg(command);
    }
    finish(client.env("TERM", "xterm"), input)
}
