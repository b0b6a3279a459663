//! The network of a cell: its own, with localhost in it and nothing else, or the host's.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::time::Duration;

use super::{Site, host_service};
use crate::harness::{Identity, Waiting, finish, wait_until};
use crate::programs::{run, told};

as_root_and_rootless!(
    a_network_of_its_own_has_localhost_and_nothing_else,
    the_hosts_network_is_shared_and_abstract_sockets_are_not,
    taking_the_hosts_network_away_ends_the_session,
);

/// Talks to itself over localhost, by both kinds of addresses.
const TALK: &str = "python3 -c '
import socket
for family, address in ((socket.AF_INET, \"127.0.0.1\"), (socket.AF_INET6, \"::1\")):
    s = socket.socket(family); s.bind((address, 0)); s.listen()
    c = socket.create_connection(s.getsockname()[:2]); c.sendall(b\"x\"); print(s.accept()[0].recv(1).decode())
'";

/// Sends to a name by every socket that can be had, and says by which two of its own are connected.
const SEND: &str = "
import socket
kinds = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM, socket.SOCK_RAW)
for kind in kinds:
    for make in (lambda: socket.socketpair(socket.AF_UNIX, kind), lambda: (socket.socket(socket.AF_UNIX, kind),)):
        try: made = make()
        except OSError: continue
        for way in (lambda s: s.sendto(b\"x\", \"\\0NAME\"), lambda s: (s.connect(\"\\0NAME\"), s.send(b\"x\"))):
            try: way(made[0])
            except OSError: pass
        if len(made) == 2 and kind in kinds[:2]:
            made[0].send(b\"y\")
            print(\"between two\")
";

/// Says what a connection to this port of localhost brings.
fn connect_to(port: u16) -> String {
    format!("python3 -c 'import socket; print(socket.create_connection((\"127.0.0.1\", {port}), 5).recv(9).decode())'")
}

fn a_network_of_its_own_has_localhost_and_nothing_else(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec", &[]);
    let port = host_service();
    assert_eq!(told(&dev, TALK), "x\nx\n");
    let ended = finish(&mut run(&dev, &connect_to(port)), "");
    assert!(!ended.status.success() && ended.stderr.contains("refused"), "{ended:?}");
    assert_eq!(told(&dev, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '"), "lo\n");
    let other = site.user("other", "exec", &[]);
    let mut listening = run(
        &dev,
        "python3 -c 'import socket,time; s=socket.create_server((\"127.0.0.1\", 7777)); print(1, flush=True); time.sleep(1000)' | tee up",
    );
    let mut listening = listening.spawn().expect("start");
    let up = site.home.join("www/site1/up");
    let came = wait_until(Duration::from_secs(20), || std::fs::read_to_string(&up).is_ok_and(|text| text == "1\n"));
    assert_eq!(came, Waiting::Came);
    let ended = finish(&mut run(&other, &connect_to(7777)), "");
    assert!(ended.stderr.contains("refused"), "a neighbour's localhost is another: {ended:?}");
    assert!(!told(&other, "cat /proc/net/tcp").contains(":1E61"), "nor is it seen");
    listening.kill().expect("our own child");
    listening.wait().expect("our own child");
}

fn the_hosts_network_is_shared_and_abstract_sockets_are_not(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec", &["--network", "host"]);
    let port = host_service();
    assert_eq!(told(&dev, &connect_to(port)), "host\n");
    let name = format!("enclos-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("an abstract socket");
    let attempt =
        format!("python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"\\0{name}\")' 2>&1 | tail -n 1");
    assert!(told(&dev, &attempt).contains("Operation not permitted"), "{}", told(&dev, &attempt));
    // Nor by what needs no connection, or comes connected.
    let datagrams = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(format!("{name}-d")).expect("a name"));
    let datagrams = datagrams.expect("an abstract socket");
    datagrams.set_nonblocking(true).expect("not waited for");
    let attempts = format!("python3 -c '{}'", SEND.replace("NAME", &format!("{name}-d")));
    assert_eq!(told(&dev, &attempts), "between two\nbetween two\n");
    assert!(datagrams.recv(&mut [0; 9]).is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "something came");
}

fn taking_the_hosts_network_away_ends_the_session(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec", &["--network", "host"]);
    let port = host_service();
    let mut running = run(&dev, "sleep 1000").spawn().expect("start");
    let began = wait_until(Duration::from_secs(20), || !site.node.sessions().is_empty());
    assert_eq!(began, Waiting::Came);
    site.node.admin(&["user", "set", "dev", "--network", "own"]);
    assert_eq!(running.wait().expect("our own child").code(), Some(255));
    assert!(finish(&mut run(&dev, &connect_to(port)), "").stderr.contains("refused"));
}
