//! The unit of `deploy/` does under a real systemd what it says: starts, restarts without loss, stops.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::faults::Transfer;
use crate::harness::{Identity, Node, Waiting, descendants, finish, has_ended, sftp, wait_until};
use crate::restart::Echo;

/// Longest that systemd may take to boot, and what was told to go to be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that is a service of a systemd of its own.
struct Service {
    node: Node,
    systemd: u32,
}

impl Service {
    fn start() -> Service {
        let mut node = Node::prepare(Identity::Root);
        fs::create_dir(node.dir().join("root")).expect("a directory");
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut boot = Command::new(repository.join("tests/e2e/systemd/boot.sh"));
        boot.arg(node.dir()).arg(node.binary()).arg(repository.join("deploy/enclos.service")).stdin(Stdio::null());
        node.serve_by(boot);
        let mut systemd = None;
        let found = wait_until(PATIENCE, || {
            systemd = descendants(node.pid()).into_iter().find(|(_, name)| name == "systemd");
            systemd.is_some()
        });
        assert_eq!(found, Waiting::Came, "systemd does not boot: {}", node.log());
        let (systemd, _) = systemd.expect("just found");
        let service = Service { node, systemd };
        let boots = || finish(&mut service.inside("systemctl", &["is-system-running"]), "").stdout == "running\n";
        assert_eq!(wait_until(PATIENCE, boots), Waiting::Came, "systemd does not come up: {}", service.node.log());
        service.systemctl(&["start", "enclos"]);
        service
    }

    /// A program beside the service.
    fn inside(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.systemd.to_string(), "--mount", "--pid", "--cgroup", "--ipc", "--uts"]);
        command.arg(program).args(arguments);
        command
    }

    #[track_caller]
    fn systemctl(&self, arguments: &[&str]) -> String {
        finish(&mut self.inside("systemctl", arguments), "").ok()
    }

    /// A property of the unit.
    fn property(&self, name: &str) -> String {
        self.systemctl(&["show", "--value", "--property", name, "enclos"]).trim().to_owned()
    }

    /// How many processes are in the control group `group`, and in those beneath it.
    fn processes(&self, group: &str) -> usize {
        let mut count = self.inside("sh", &["-c"]);
        count.arg(
            "find /sys/fs/cgroup/systemd$1 /sys/fs/cgroup$1 -name cgroup.procs -exec cat {} + 2> /dev/null | wc -l",
        );
        finish(count.args(["sh", group]), "").ok().trim().parse().expect("a number")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if thread::panicking() {
            let journal = finish(&mut self.inside("journalctl", &["--no-pager", "--output=cat", "--unit=enclos"]), "");
            eprintln!("--- journal of the service ---\n{}", journal.stdout);
        }
    }
}

/// Clients that come all the time: none may be refused, and each is greeted in the end.
struct Comers {
    enough: Arc<AtomicBool>,
    greeted: JoinHandle<u32>,
}

impl Comers {
    fn come(port: u16) -> Comers {
        let enough = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&enough);
        let greeted = thread::spawn(move || {
            let mut greeted = 0;
            while !seen.load(Ordering::Relaxed) {
                let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("nobody is refused");
                let mut line = String::new();
                BufReader::new(client).read_line(&mut line).expect("is served in the end");
                assert!(line.starts_with("SSH-2.0-"), "{line:?}");
                greeted += 1;
            }
            greeted
        });
        Comers { enough, greeted }
    }

    fn finish(self) -> u32 {
        self.enough.store(true, Ordering::Relaxed);
        self.greeted.join().expect("none was refused")
    }
}

mod as_root {
    use super::*;

    #[test]
    fn systemctl_restart_breaks_nothing_and_stop_ends_it() {
        let service = Service::start();
        assert_eq!(service.property("NRestarts"), "0");
        service.node.account("acme");
        let bob = service.node.user("bob", "acme", &[("www/site1", "rw")]);
        let dev = service.node.user_with("dev", "acme", "sftp,exec", &[("www/site2", "rw")]);
        let mut transfer = Transfer::begin(&bob);
        let mut echo = Echo::begin(&dev);
        let mut served_by = vec![service.property("MainPID")];
        let comers = Comers::come(service.node.port());
        // More often than systemd's own limit of starts allows.
        for round in 0..8 {
            service.systemctl(&["restart", "enclos"]);
            transfer.goes_on();
            echo.goes_on(&format!("round {round}"));
            assert_eq!(service.property("NFileDescriptorStore"), "1", "systemd keeps the listening socket");
            served_by.push(service.property("MainPID"));
        }
        assert!(comers.finish() > 0);
        served_by.sort();
        served_by.dedup();
        assert_eq!(served_by.len(), 9, "each restart brought another process");
        assert_eq!(finish(&mut sftp(&bob), "ls\n").status.code(), Some(0), "logins work as ever");
        transfer.finish(&service.node, "www/site1");
        echo.finish();
        let mut late = Echo::begin(&dev);
        late.goes_on("before the end");
        let session = service.node.session_of("dev").pid;
        let group = service.property("ControlGroup");
        assert!(group.ends_with("/enclos.service") && service.processes(&group) > 0, "{group:?}");
        service.systemctl(&["stop", "enclos"]);
        assert_eq!(wait_until(PATIENCE, || has_ended(session)), Waiting::Came, "a stop ends sessions");
        assert_eq!(wait_until(PATIENCE, || service.processes(&group) == 0), Waiting::Came, "and leaves no process");
        assert_eq!(service.property("Result"), "success");
    }
}
