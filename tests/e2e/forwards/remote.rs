//! Places in the cell that are listened on for the client: `-R`.

use std::process::Stdio;

use super::{PATIENCE, Running, Site, echo_service, host_service};
use crate::harness::{Identity, Login, Waiting, finish, ssh, wait_until};
use crate::programs::{run, told};

as_root_and_rootless!(
    a_port_of_the_cell_leads_to_the_client,
    a_free_port_is_chosen_and_given_back,
    only_localhost_is_listened_on,
    what_may_not_be_listened_on_is_refused_with_a_sentence,
    a_flood_of_listeners_and_of_connections_is_bounded,
);

/// What a connection from within the cell brings, when it has sent `hello` and nothing more.
pub(super) fn from_cell(login: &Login, port: u16) -> String {
    told(
        login,
        &format!(
            "python3 -c '
import socket
for address in (\"127.0.0.1\", \"::1\"):
    c = socket.create_connection((address, {port})); c.sendall(b\"hello\"); c.shutdown(1)
    print(c.makefile().read())'"
        ),
    )
}

/// `ssh -N` that has said which port it was given.
fn forwarding(login: &Login, arguments: &[&str]) -> (Running, u16) {
    let log = login.key.with_extension("log");
    let mut command = ssh(login);
    command.args(["-N", "-o", "ExitOnForwardFailure=yes", "-E"]).arg(&log).args(arguments).arg(login.at());
    let running = Running::start(command.stdin(Stdio::null()));
    let mut port = None;
    let came = wait_until(PATIENCE, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("Allocated port ")).map(str::to_owned);
        port = line.and_then(|l| l.split(' ').next().and_then(|p| p.parse().ok()));
        port.is_some()
    });
    assert_eq!(came, Waiting::Came, "{:?}", std::fs::read_to_string(&log));
    std::fs::remove_file(&log).expect("the log");
    (running, port.expect("just seen"))
}

fn a_port_of_the_cell_leads_to_the_client(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec,forward-remote", &[]);
    let echo = echo_service();
    let mut command = ssh(&dev);
    // The program of the same connection runs when the port is there.
    command.args(["-o", "ExitOnForwardFailure=yes", "-R", &format!("7070:localhost:{echo}")]).arg(dev.at());
    let attempt = "python3 -c '
import socket
c = socket.create_connection((\"localhost\", 7070)); c.sendall(b\"a\" * 5000000); c.shutdown(1)
print(len(c.makefile().read()))'";
    assert_eq!(finish(command.arg(attempt), "").ok(), "5000000\n");
    // It is gone with the connection.
    assert!(!finish(&mut run(&dev, attempt), "").status.success());
}

fn a_free_port_is_chosen_and_given_back(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec,forward-remote", &[]);
    let echo = echo_service();
    let (first, port) = forwarding(&dev, &["-R", &format!("0:localhost:{echo}")]);
    let (second, other) = forwarding(&dev, &["-R", &format!("0:localhost:{echo}")]);
    assert_ne!(port, other);
    assert_eq!(from_cell(&dev, port), "hello\nhello\n");
    drop(second);
    assert_eq!(from_cell(&dev, port), "hello\nhello\n", "the other connection's stays");
    drop(first);
    // By an order on a living connection.
    let control = format!("ControlPath={}", site.node.dir().join("control").display());
    let mut master = ssh(&dev);
    let _master = Running::start(
        master.args(["-N", "-o", "ControlMaster=yes", "-o", &control]).arg(dev.at()).stdin(Stdio::null()),
    );
    assert_eq!(wait_until(PATIENCE, || site.node.dir().join("control").exists()), Waiting::Came);
    let order = |what: &str, place: &str| {
        let mut command = ssh(&dev);
        command.args(["-o", &control, "-O", what, "-R", &format!("{place}:localhost:{echo}")]).arg(dev.at());
        finish(&mut command, "")
    };
    let given = order("forward", "0").ok().trim().to_owned();
    let port: u16 = given.parse().expect("a port");
    assert_eq!(from_cell(&dev, port), "hello\nhello\n");
    order("forward", "7071").ok();
    assert!(!order("forward", "7071").status.success() || from_cell(&dev, 7071) == "hello\nhello\n");
    order("cancel", "7071").ok();
    let refused =
        finish(&mut run(&dev, "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 7071))'"), "");
    assert!(refused.err().contains("refused"), "nobody listens there any more");
    order("forward", "7071").ok();
    assert_eq!(from_cell(&dev, 7071), "hello\nhello\n");
}

fn only_localhost_is_listened_on(identity: Identity) {
    let site = Site::new(identity);
    let host = host_service();
    let listening = |settings: &[&str], name: &str, address: &str| {
        let dev = site.user(name, "exec,forward-remote", settings);
        let mut command = ssh(&dev);
        command.args(["-o", "ExitOnForwardFailure=yes", "-R", &format!("{address}:7072:localhost:{host}")]);
        command.arg(dev.at()).arg("cat /proc/net/tcp | grep ' 0A ' | grep :1BA0 | cut -c 7-14; cat /proc/net/tcp6 | grep ' 0A ' | grep :1BA0 | cut -c 7-38");
        finish(&mut command, "").ok().replace('\n', " ")
    };
    let loopback = "0100007F 00000000000000000000000001000000 ";
    for (number, address) in ["", "*", "0.0.0.0", "192.0.2.1", "localhost"].iter().enumerate() {
        assert_eq!(listening(&[], &format!("a{number}"), address), loopback, "{address:?}");
    }
    assert_eq!(listening(&[], "b", "127.0.0.1"), "0100007F ");
    let every = "00000000 00000000000000000000000000000000 ";
    assert_eq!(listening(&["--permit-listen", "*:7072"], "c", "0.0.0.0"), every);
    assert_eq!(listening(&["--permit-listen", "*:7072"], "d", "localhost"), loopback);
}

fn what_may_not_be_listened_on_is_refused_with_a_sentence(identity: Identity) {
    let site = Site::new(identity);
    let refusal = |login: &Login, place: &str| {
        let mut command = ssh(login);
        command.args(["-v", "-N", "-o", "ExitOnForwardFailure=yes", "-R", &format!("{place}:localhost:1")]);
        finish(command.arg(login.at()), "").err()
    };
    let files = site.user("files", "sftp", &[]);
    assert!(refusal(&files, "7070").contains("Remote: this kind of forwarding is not open to this login"));
    let some = site.user("some", "forward-remote", &["--permit-listen", "7070"]);
    for place in ["7071", "0"] {
        let said = refusal(&some, place);
        assert!(said.contains("which may listen on: localhost:7070"), "{place}: {said}");
    }
    let any = site.user("any", "forward-remote", &[]);
    let said = refusal(&any, "80");
    assert!(said.contains("it cannot be listened there: Permission denied"), "{said}");
}

fn a_flood_of_listeners_and_of_connections_is_bounded(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec,forward-remote", &[]);
    let mut command = ssh(&dev);
    // Nobody takes what is offered: the client's end of it does not exist.
    command.args(["-v", "-R", "7073:127.0.0.1:1"]);
    command.args((1..=40).flat_map(|port| ["-R".to_owned(), format!("0:127.0.0.1:{port}")])).arg(dev.at());
    let attempt = "grep -c \" 0A \" /proc/net/tcp; python3 -c '
import socket
kept = [socket.create_connection((\"127.0.0.1\", 7073)) for _ in range(1000)]
print(len(kept))'; echo alive";
    let ended = finish(command.arg(attempt), "");
    assert!(ended.stderr.contains("Remote: this connection listens on too many places"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "32\n1000\nalive\n");
    assert_eq!(told(&dev, "grep -c ' 0A ' /proc/net/tcp; true"), "0\n", "they are gone with the connection");
}
