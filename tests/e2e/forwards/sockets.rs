//! Sockets in the cell's view, both ways, and the client's agent.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use super::{PATIENCE, Running, Site};
use crate::harness::{Identity, Login, Waiting, finish, ssh, wait_until};
use crate::programs::{run, told};

as_root_and_rootless!(
    a_socket_of_the_cell_is_reached,
    a_socket_of_the_host_is_not,
    a_socket_in_the_cell_leads_to_the_client,
    an_agent_is_there_for_its_connection,
);

fn a_socket_of_the_cell_is_reached(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec,forward-local", &[]);
    let _server =
        site.in_cell(&dev, "s = socket.socket(socket.AF_UNIX); s.bind(\"/tmp/served\"); s.listen(); serve(s, upper)");
    let here = site.node.dir().join("here.sock");
    let mut command = ssh(&dev);
    command.args(["-N", "-L", &format!("{}:/tmp/served", here.display())]).arg(dev.at()).stdin(Stdio::null());
    let _forwarding = Running::start(&mut command);
    assert_eq!(wait_until(PATIENCE, || here.exists()), Waiting::Came);
    let mut stream = UnixStream::connect(&here).expect("connect");
    stream.write_all(b"hello").expect("say it");
    stream.shutdown(std::net::Shutdown::Write).expect("that is all");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an answer");
    assert_eq!(said, "HELLO.");
}

fn a_socket_of_the_host_is_not(identity: Identity) {
    let site = Site::new(identity);
    let outside = site.node.dir().join("outside.sock");
    let _listener = UnixListener::bind(&outside).expect("a socket");
    fs::set_permissions(&outside, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("open to all");
    let dev = site.user("dev", "exec,forward-local", &["--network", "host"]);
    let admin = site.node.state().join("run/admin.sock");
    let inside = site.home.join("www/site1/link");
    std::os::unix::fs::symlink(&outside, &inside).expect("a link");
    let refusal = |path: &str| {
        let mut command = ssh(&dev);
        let here = site.node.dir().join("here.sock");
        fs::remove_file(&here).or_else(super::gone_already).expect("a clean start");
        command.args(["-N", "-v", "-L", &format!("{}:{path}", here.display())]).arg(dev.at());
        let log = site.node.dir().join("log");
        let running = Running::start(command.stdin(Stdio::null()).stderr(fs::File::create(&log).expect("a log")));
        assert_eq!(wait_until(PATIENCE, || here.exists()), Waiting::Came);
        let mut said = String::new();
        UnixStream::connect(&here).expect("connect").read_to_string(&mut said).expect("nothing");
        drop(running);
        assert_eq!(said, "");
        fs::read_to_string(&log).expect("the log")
    };
    for path in [&outside, &admin, &inside] {
        let said = refusal(path.to_str().expect("a plain path"));
        assert!(said.contains("connect failed: nothing can be reached through this socket"), "{path:?}: {said}");
    }
}

fn a_socket_in_the_cell_leads_to_the_client(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec,forward-remote", &[]);
    let here = site.node.dir().join("here.sock");
    let listener = UnixListener::bind(&here).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(stream.write_all(b"from the client"));
        }
    });
    let there = "python3 -c 'import os, socket; s = socket.socket(socket.AF_UNIX); s.connect(\"/tmp/there\"); print(s.makefile().read(), oct(os.stat(\"/tmp/there\").st_mode))'";
    let forward = |path: &str, then: &str| {
        let mut command = ssh(&dev);
        command.args(["-v", "-o", "ExitOnForwardFailure=yes", "-R", &format!("{path}:{}", here.display())]);
        finish(command.arg(dev.at()).arg(then), "")
    };
    let held = run(&dev, "sleep 1000").spawn().map(|child| Running { child }).expect("keeps the cell");
    assert_eq!(forward("/tmp/there", there).ok(), "from the client 0o140600\n");
    // It goes with its connection, and what was there before stays.
    let left = wait_until(PATIENCE, || told(&dev, TEMPORARY).is_empty());
    assert_eq!(left, Waiting::Came);
    told(&dev, "echo mine > /tmp/there");
    let said = forward("/tmp/there", "true").err();
    assert!(said.contains("Remote: it cannot be listened there: Address"), "{said}");
    assert_eq!(told(&dev, "cat /tmp/there"), "mine\n");
    for outside in ["/usr/there", "/there", "/proc/there", "/nowhere/there"] {
        assert!(forward(outside, "true").err().contains("it cannot be listened there"), "{outside}");
    }
    // In a grant it is the account's.
    let granted = site.home.join("www/site1/there");
    let mut command = ssh(&dev);
    command.args(["-N", "-R", &format!("{}:{}", granted.display(), here.display())]).arg(dev.at());
    let forwarding = Running::start(command.stdin(Stdio::null()));
    assert_eq!(wait_until(PATIENCE, || granted.exists()), Waiting::Came);
    let metadata = fs::symlink_metadata(&granted).expect("a socket");
    assert!(metadata.file_type().is_socket());
    assert_eq!((metadata.uid(), metadata.gid()), site.node.identity().account_owner());
    drop(forwarding);
    assert_eq!(wait_until(PATIENCE, || !granted.exists()), Waiting::Came);
    drop(held);
}

/// What is in a cell's `/tmp`, but for the way to the account of this test.
const TEMPORARY: &str = "ls -A /tmp | grep -v ^enclos; true";

/// An agent of its own with one key.
struct Agent {
    socket: std::path::PathBuf,
    _running: Running,
}

impl Agent {
    fn new(site: &Site, key: &std::path::Path) -> Agent {
        let socket = site.node.dir().join("agent.sock");
        let running = Running::start(Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()));
        assert_eq!(wait_until(PATIENCE, || socket.exists()), Waiting::Came);
        finish(Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket), "").ok();
        Agent { socket, _running: running }
    }

    /// `ssh -A` with this agent; the login's other options name none.
    fn client(&self, login: &Login, command: &str) -> Command {
        let options = login.options().into_iter();
        let ours = format!("IdentityAgent={}", self.socket.display());
        let mut client = Command::new("ssh");
        client.args(options.map(|option| if option == "IdentityAgent=none" { ours.clone() } else { option }));
        client.arg("-A").arg(login.at()).arg(command);
        client
    }
}

fn an_agent_is_there_for_its_connection(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.user("dev", "exec,agent", &[]);
    let agent = Agent::new(&site, &dev.key);
    let with_agent = |command: &str| agent.client(&dev, command);
    let public = fs::read_to_string(dev.public_key()).expect("the key");
    let blob = public.split(' ').nth(1).expect("a key");
    assert!(finish(&mut with_agent("ssh-add -L"), "").ok().contains(blob));
    let modes = finish(&mut with_agent("stat -c %a $(dirname $SSH_AUTH_SOCK) $SSH_AUTH_SOCK"), "");
    assert_eq!(modes.ok(), "700\n600\n");
    // Another connection of the same user knows nothing of it, and after the connection it is gone.
    let mut held = with_agent("touch held; sleep 1000");
    let held = Running::start(held.stdin(Stdio::null()));
    let file = site.home.join("www/site1/held");
    assert_eq!(wait_until(PATIENCE, || file.exists()), Waiting::Came);
    assert_eq!(told(&dev, "echo [$SSH_AUTH_SOCK]"), "[]\n");
    let keeper = Running::start(run(&dev, "touch kept; sleep 1000").stdin(Stdio::null()));
    assert_eq!(wait_until(PATIENCE, || site.home.join("www/site1/kept").exists()), Waiting::Came);
    drop(held);
    assert_eq!(wait_until(PATIENCE, || told(&dev, TEMPORARY).is_empty()), Waiting::Came);
    drop(keeper);
    // A neighbour's forward finds no socket, and a login without the service gets none.
    let mut held = with_agent("echo $SSH_AUTH_SOCK > socket; sleep 1000");
    let held = Running::start(held.stdin(Stdio::null()));
    let named = site.home.join("www/site1/socket");
    assert_eq!(wait_until(PATIENCE, || fs::read_to_string(&named).is_ok_and(|s| s.ends_with('\n'))), Waiting::Came);
    let path = fs::read_to_string(&named).expect("its name");
    let other = site.user("other", "exec,forward-local", &[]);
    let here = site.node.dir().join("stolen.sock");
    let mut command = ssh(&other);
    command.args(["-N", "-L", &format!("{}:{}", here.display(), path.trim())]).arg(other.at());
    let forwarding = Running::start(command.stdin(Stdio::null()));
    assert_eq!(wait_until(PATIENCE, || here.exists()), Waiting::Came);
    let stolen = finish(Command::new("ssh-add").arg("-l").env("SSH_AUTH_SOCK", &here), "");
    assert!(!stolen.status.success() && stolen.stdout.is_empty(), "{stolen:?}");
    drop((forwarding, held));
    let mut client = agent.client(&other, &format!("echo [$SSH_AUTH_SOCK]; {TEMPORARY}"));
    assert_eq!(finish(&mut client, "").ok(), "[]\n");
}
