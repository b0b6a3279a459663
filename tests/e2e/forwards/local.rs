//! Connections that lead from the cell to somewhere: `-L`, `-D`, `-W`.

use std::process::Command;

use super::{PATIENCE, Running, Site, exchange, host_service};
use crate::harness::{Identity, Waiting, finish, free_port, ssh, wait_until};

as_root_and_rootless!(
    a_port_of_the_cell_is_reached,
    a_login_without_programs_forwards_on_the_hosts_network,
    what_is_not_permitted_is_refused_with_a_sentence,
    a_proxy_reaches_what_is_permitted,
    standard_input_is_forwarded,
);

/// Serves on a port of both localhosts.
fn serving(port: u16, what: &str) -> String {
    format!(
        "l = socket.create_server((\"::1\", {port}), family=socket.AF_INET6)\nthreading.Thread(target=serve, args=(l, {what})).start()\nserve(socket.create_server((\"127.0.0.1\", {port})), {what})"
    )
}

fn a_port_of_the_cell_is_reached(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec,forward-local", &[]);
    let _server = site.in_cell(&dev, &serving(7000, "upper"));
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let port = free_port();
        let _forwarding = Running::forwarding(&dev, &["-L", &format!("{port}:{host}:7000")], port);
        // What we say ends before the answer does: both ends are half-closed one after the other.
        assert_eq!(exchange(port, b"hello"), b"HELLO.", "{host}");
        let much = b"0123456789abcdef".repeat(1 << 19);
        let back = exchange(port, &much);
        assert!(back.len() == much.len() + 1 && back.starts_with(b"0123456789ABCDEF"), "{} bytes", back.len());
    }
}

fn a_login_without_programs_forwards_on_the_hosts_network(identity: Identity) {
    let site = Site::new(identity);
    let host = host_service();
    let place = format!("localhost:{host}");
    let guest = site.user("guest", "forward-local", &["--network", "host", "--permit-open", &place]);
    let port = free_port();
    let _forwarding = Running::forwarding(&guest, &["-L", &format!("{port}:localhost:{host}")], port);
    assert_eq!(exchange(port, b""), b"host");
    let said = finish(ssh(&guest).arg(guest.at()).arg("id"), "");
    assert!(!said.status.success() && said.stderr.contains("not open to this login"), "{said:?}");
}

/// What the client says of a connection that is refused.
fn refusal(login: &crate::harness::Login, place: &str) -> String {
    finish(ssh(login).args(["-W", place]).arg(login.at()), "").err()
}

fn what_is_not_permitted_is_refused_with_a_sentence(identity: Identity) {
    let site = Site::new(identity);
    let host = host_service();
    let files = site.user("files", "sftp", &[]);
    let said = refusal(&files, "localhost:80");
    assert!(said.contains("administratively prohibited: forwarding to somewhere is not open"), "{said}");
    let own = site.user("own", "forward-local", &[]);
    let said = refusal(&own, "192.0.2.1:80");
    assert!(said.contains("administratively prohibited: this login has a network of its own"), "{said}");
    let said = refusal(&own, "no-such-host.example:80");
    assert!(said.contains("administratively prohibited: this login has a network of its own"), "{said}");
    let said = refusal(&own, &format!("localhost:{host}"));
    assert!(said.contains("connect failed: the host or port cannot be reached: Connection refused"), "{said}");
    assert!(refusal(&own, &format!("{}:80", "a".repeat(300))).contains("connect failed: this is no host and port"));
    for host in ["0.0.0.0", "[::]", "[fe80::1%lo]", "169.254.169.254"] {
        assert!(refusal(&own, &format!("{host}:80")).contains("network of its own"), "{host}");
    }
    let some = site.user("some", "forward-local", &["--network", "host", "--permit-open", "db.example:3306,8080"]);
    for place in [&format!("localhost:{host}"), "db.example:3307", "127.0.0.2:22"] {
        let said = refusal(&some, place);
        assert!(said.contains("which may connect to: db.example:3306,localhost:8080"), "{place}: {said}");
    }
    let said = refusal(&some, "db.example:3306");
    assert!(said.contains("connect failed: the host's name cannot be resolved"), "{said}");
    site.node.admin(&["user", "set", "some", "--permit-open", "none"]);
    assert!(refusal(&some, "localhost:8080").contains("which may connect to: none"));
    for why in ["somewhere is not open", "only localhost can be reached", "may connect to: db.example:3306", "to: none"]
    {
        let is_there = |line: &str| line.contains("refused") && line.contains(why);
        let logged = wait_until(PATIENCE, || site.node.log().lines().any(is_there));
        assert_eq!(logged, Waiting::Came, "{why:?} is not in the log");
    }
}

fn a_proxy_reaches_what_is_permitted(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec,forward-local", &[]);
    let web = "import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers(); self.wfile.write(b\"from the cell\")
server = http.server.ThreadingHTTPServer((\"127.0.0.1\", 8080), Page)
ready(); server.serve_forever()";
    let _server = site.in_cell(&dev, web);
    let port = free_port();
    let _forwarding = Running::forwarding(&dev, &["-D", &port.to_string()], port);
    let curl = |scheme: &str, place: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60", "--proxy", &format!("{scheme}://127.0.0.1:{port}"), place]);
        finish(&mut command, "")
    };
    for (scheme, host) in [("socks5", "127.0.0.1"), ("socks5h", "localhost"), ("socks4", "127.0.0.1")] {
        assert_eq!(curl(scheme, &format!("http://{host}:8080/")).ok(), "from the cell", "{scheme}");
    }
    assert!(!curl("socks5h", "http://192.0.2.1/").status.success());
}

fn standard_input_is_forwarded(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec,forward-local", &[]);
    let _server = site.in_cell(&dev, &serving(7000, "upper"));
    assert_eq!(finish(ssh(&dev).args(["-W", "localhost:7000"]).arg(dev.at()), "to the end").ok(), "TO THE END.");
}
