//! The first five minutes: quickstart works as it says, and what goes wrong is told in one clear sentence.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Identity, Node, Waiting, finish, free_port, signal, wait_until};

as_root_and_rootless!(
    quickstart_prints_lines_that_work,
    quickstart_again_changes_nothing,
    a_node_serves_with_no_more_than_a_port_and_a_directory,
    a_misspelt_setting_is_refused_with_the_right_one,
    a_configuration_that_is_not_there_is_named,
    a_used_port_is_named,
    a_host_key_that_others_can_read_is_refused,
    a_state_directory_that_cannot_be_made_is_named,
    a_missing_home_is_told_to_the_client,
    doctor_says_which_layers_hold,
);

/// A quickstart that runs, and what it has printed until it listened.
struct Quickstart {
    process: Child,
    printed: String,
}

impl Quickstart {
    fn start(node: &Node) -> Quickstart {
        let out = node.dir().join("quickstart.out");
        let log = fs::File::create(&out).expect("a file");
        let mut command = node.identity().command(node.identity().enclos());
        let listen = format!("127.0.0.1:{}", node.port());
        command.arg("--state").arg(node.state()).args(["quickstart", "--listen", &listen]);
        command.current_dir(node.dir()).env("HOME", node.dir()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the file again")).stderr(log);
        let process = command.spawn().expect("start quickstart");
        let printed = || fs::read_to_string(&out).expect("its output");
        let came = wait_until(Duration::from_secs(60), || printed().contains("Ctrl-C"));
        assert_eq!(came, Waiting::Came, "quickstart says only:\n{}", printed());
        Quickstart { process, printed: printed() }
    }

    /// The lines to paste.
    fn lines(&self) -> Vec<&str> {
        self.printed.lines().map(str::trim).filter(|l| l.starts_with("sftp ")).collect()
    }

    fn ctrl_c(mut self) {
        signal(self.process.id(), Signal::SIGINT);
        let ended = self.process.wait().expect("wait for quickstart");
        assert!(ended.success(), "quickstart ended with {ended}");
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            signal(self.process.id(), Signal::SIGTERM);
            drop(self.process.wait());
        }
    }
}

/// Runs a printed line as a person would, in a shell, with commands for sftp on standard input. Standard input is no
/// terminal, so nothing can be asked.
fn paste(node: &Node, line: &str, commands: &str) -> crate::harness::Finished {
    let mut shell = Command::new("sh");
    // No configuration, agent or key of whoever runs the tests may help.
    shell.arg("-c").arg(line).env("HOME", node.dir()).env_remove("SSH_AUTH_SOCK").current_dir(node.dir());
    finish(&mut shell, commands)
}

fn quickstart_prints_lines_that_work(identity: Identity) {
    let node = Node::prepare(identity);
    let quickstart = Quickstart::start(&node);
    let lines = quickstart.lines();
    assert!(lines.len() >= 2, "two users: {}", quickstart.printed);
    fs::write(node.dir().join("mine.txt"), "mine\n").expect("a file");
    let mut listings = Vec::new();
    for line in &lines {
        let said = paste(&node, line, "put mine.txt\nls\nrm mine.txt\nget README.txt\n").ok();
        assert!(said.contains("mine.txt"), "{said}");
        listings.push(fs::read_to_string(node.dir().join("README.txt")).expect("it came"));
        fs::remove_file(node.dir().join("README.txt")).expect("it is ours");
    }
    assert_ne!(listings[0], listings[1], "each user has a directory of its own");
    let printed = quickstart.printed.clone();
    let shell = printed.lines().map(str::trim).find(|l| l.starts_with("ssh ")).expect("a line for a shell");
    let said = paste(&node, shell, "id -un; ls; exit 4\n");
    assert_eq!((said.stdout.as_str(), said.status.code()), ("alice\nREADME.txt\n", Some(4)), "{said:?}");
    // An editor's server may be reached, and nothing of the host.
    let forwards = |place: &str| paste(&node, &shell.replacen("ssh ", &format!("ssh -W {place} "), 1), "").err();
    assert!(forwards("localhost:9").contains("Connection refused"));
    assert!(forwards("192.0.2.1:80").contains("a network of its own"));
    let mode = if identity == Identity::Root { "as root" } else { "ordinary user" };
    assert!(quickstart.printed.contains(mode), "it does not say how it runs:\n{}", quickstart.printed);
    assert!(quickstart.printed.contains("landlock"), "it does not say which layers hold:\n{}", quickstart.printed);
    quickstart.ctrl_c();
}

fn quickstart_again_changes_nothing(identity: Identity) {
    let node = Node::prepare(identity);
    let first = Quickstart::start(&node);
    let line = first.lines()[0].to_owned();
    paste(&node, &line, "mkdir kept\n").ok();
    first.ctrl_c();
    let key = || fs::read(node.state().join("keys/ssh_host_ed25519_key")).expect("a host key");
    let before = key();
    let second = Quickstart::start(&node);
    assert_eq!(second.lines()[0], line);
    assert_eq!(key(), before, "the host key was replaced");
    assert!(paste(&node, &line, "ls\n").ok().contains("kept"));
    second.ctrl_c();
}

fn a_node_serves_with_no_more_than_a_port_and_a_directory(identity: Identity) {
    let mut node = Node::prepare(identity);
    fs::remove_dir(node.state()).expect("nothing is in it yet");
    if identity == Identity::Root {
        node.serve();
    } else {
        // An ordinary user cannot make a directory beside root's; where it may, it can.
        let inside = node.dir().join("accounts/state");
        let mut command = node.identity().command(node.identity().enclos());
        command.arg("--state").arg(&inside).args(["account", "list"]).env("HOME", node.dir());
        finish(&mut command, "").ok();
        assert!(inside.join("db").is_dir());
    }
}

/// Runs `serve`, which must fail at once with one sentence that has all these parts.
#[track_caller]
fn fails_to_serve(node: &Node, parts: &[&str]) {
    let ended = finish(&mut node.enclos(&["serve"]), "");
    let said = ended.err();
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
    // A line for the sentence, and as many as the log had before it came to that.
    assert!(said.lines().count() <= 5, "more than a sentence: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

fn a_misspelt_setting_is_refused_with_the_right_one(identity: Identity) {
    let node = Node::prepare(identity);
    node.write_config("login_graze = 5");
    fails_to_serve(&node, &["login_graze", "login_grace", "enclos.toml"]);
    let said = finish(&mut node.enclos(&["check-config"]), "").err();
    assert!(said.contains("login_grace"), "{said}");
    assert_eq!(fs::read_dir(node.state()).expect("a directory").count(), 0, "something was begun");
    node.write_config("");
    node.admin(&["check-config"]);
}

fn a_configuration_that_is_not_there_is_named(identity: Identity) {
    let node = Node::prepare(identity);
    fs::remove_file(node.config()).expect("just written");
    fails_to_serve(&node, &["enclos.toml"]);
}

fn a_used_port_is_named(identity: Identity) {
    let node = Node::prepare(identity);
    let _other = TcpListener::bind(("127.0.0.1", node.port())).expect("the port");
    fails_to_serve(&node, &[&node.port().to_string(), "another program listens"]);
}

fn a_host_key_that_others_can_read_is_refused(identity: Identity) {
    let mut node = Node::start(identity);
    node.end(Signal::SIGTERM);
    let key = node.state().join("keys/ssh_host_ed25519_key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("a wrong mode");
    fails_to_serve(&node, &["ssh_host_ed25519_key", "chmod 600"]);
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("the right mode");
    node.serve();
}

fn a_state_directory_that_cannot_be_made_is_named(identity: Identity) {
    let node = Node::prepare(identity);
    let place = "/proc/enclos-cannot-be-here";
    fs::write(node.config(), format!("listen = [\"127.0.0.1:{}\"]\nstate = {place:?}\n", free_port())).expect("write");
    fails_to_serve(&node, &[place, "--state"]);
}

fn a_missing_home_is_told_to_the_client(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    fs::rename(node.home("acme"), node.home("moved")).expect("the home is moved");
    let said = crate::harness::Raw::try_connect(&bob).expect_err("there is nothing to serve");
    assert!(!said.trim().is_empty(), "the client is told nothing; the log:\n{}", node.log());
    assert!(!said.contains(node.dir().to_str().expect("text")), "the client learns a path of the host: {said}");
}

fn doctor_says_which_layers_hold(identity: Identity) {
    let node = Node::prepare(identity);
    let said = node.admin(&["doctor"]);
    for layer in ["mount-namespace", "landlock", "seccomp", "no-capabilities"] {
        let line = said.lines().find(|l| l.contains(layer)).unwrap_or_else(|| panic!("no word on {layer}:\n{said}"));
        assert!(line.contains("holds"), "{line}");
    }
    let idmapped = said.lines().find(|l| l.contains("idmapped-mounts")).expect("a word on idmapped mounts");
    assert_eq!(idmapped.contains("holds"), identity == Identity::Root, "{idmapped}");
    if identity != Identity::Root {
        node.write_config("require = [\"idmapped-mounts\"]");
        fails_to_serve(&node, &["idmapped-mounts", "required"]);
    }
}
