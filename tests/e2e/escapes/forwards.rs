//! Attacks by forwards. What is reached says the mark of canaries to whoever connects.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::clients::{Connection, plain};
use super::loot::Loot;
use super::programs::Canary;
use super::world::{MARK, Place, remove, text};
use crate::harness::{Node, free_port};

/// Somebody who makes forwards from a place.
pub(super) struct Tunnel<'a> {
    pub(super) node: &'a Node,
    pub(super) place: &'a Place,
    pub(super) connection: &'a Connection,
    pub(super) canary: &'a Canary,
    pub(super) loot: &'a mut Loot,
}

impl Tunnel<'_> {
    /// Connects to a place of the other side, and looks at what it says.
    fn reach(&mut self, connection: &Connection, target: &str) {
        let mut command = connection.command();
        command.args(["-W", target]).arg(connection.at());
        let said = self.loot.run(&mut command, "");
        if said.stdout.contains("SSH-2.0") {
            self.loot.heard("reached", &format!("{MARK} the server itself"));
        }
    }

    /// Makes a forward over the connection that is there; whether it was made.
    fn forward(&mut self, kind: &str, what: &str) -> bool {
        let mut command = self.connection.command();
        command.args(["-O", "forward", kind, what]).arg(self.connection.at());
        self.loot.run(&mut command, "").status.success()
    }
}

/// X74
pub(super) fn services(by: &mut Tunnel<'_>) {
    let (port, own) = (by.canary.port(), by.node.port());
    let connection = by.connection;
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433"] {
        by.reach(connection, &format!("{host}:{port}"));
        by.reach(connection, &format!("{host}:{own}"));
    }
    by.reach(connection, "169.254.169.254:80");
}

/// X74: on the network of the host, by names that a list of permitted places does not have.
pub(super) fn not_permitted(by: &mut Tunnel<'_>) {
    let (user, port) = (&by.place.login.user, by.canary.port());
    by.node.admin(&["user", "set", user, "--network", "host", "--permit-open", "127.0.0.1:9"]);
    let socket = by.node.dir().join("clients").join(format!("p-{user}"));
    let connection = Connection::new(&by.place.login, &socket);
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "0", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433"] {
        by.reach(&connection, &format!("{host}:{port}"));
    }
    drop(connection);
    by.node.admin(&["user", "set", user, "--network", "own", "--permit-open", "any"]);
}

/// X74: what is listened on is the cell's own, and no port of the host.
pub(super) fn ports(by: &mut Tunnel<'_>) {
    for address in ["127.0.0.1", "0.0.0.0", "*", "[::]", ""] {
        let port = free_port();
        by.forward("-R", &format!("{address}:{port}:127.0.0.1:1"));
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            by.loot.heard("listens", &format!("{MARK} {address}:{port}"));
        }
    }
}

/// X44: sockets of the account and of the host, by name and by a link in the grant.
pub(super) fn sockets(by: &mut Tunnel<'_>) {
    let admin = by.node.state().join("run/admin.sock");
    let canary = by.canary.socket();
    let link = by.place.grant().join("link-to-socket");
    symlink(&canary, &link).expect("a link");
    let mut names = plain(by.place.names_of(&canary).into_iter().step_by(3));
    names.extend([text(&admin), text(&link), text(&canary)].map(str::to_owned));
    for name in names {
        let here = by.node.dir().join("here.sock");
        remove(&here);
        if !by.forward("-L", &format!("{}:{name}", text(&here))) {
            continue;
        }
        let said = read_from(&here);
        by.loot.heard("said", &said);
        let mut cancel: Command = by.connection.command();
        cancel.args(["-O", "cancel", "-L", &format!("{}:{name}", text(&here))]).arg(by.connection.at());
        by.loot.run(&mut cancel, "");
    }
    remove(&link);
}

fn read_from(socket: &Path) -> String {
    let mut said = Vec::new();
    if let Ok(mut stream) = UnixStream::connect(socket) {
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
        // It ends with a failure, or without having said anything.
        drop(stream.read_to_end(&mut said));
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// X44: a socket that is listened on is made in the cell's own directories and in what was granted, and nowhere else.
pub(super) fn made_sockets(by: &mut Tunnel<'_>) {
    let mut names = plain(by.place.names_of(&by.place.home.join("private/made.sock")).into_iter());
    names.extend(plain(by.place.names_of(&by.place.home.join("www/site2/made.sock")).into_iter()));
    names.extend(
        ["planted-private-dir/made.sock", "planted-dangling"].map(|n| text(&by.place.grant().join(n)).to_owned()),
    );
    for name in names.iter().filter(|name| name.starts_with('/')) {
        by.forward("-R", &format!("{name}:127.0.0.1:1"));
    }
}
