//! Programs in shell cells: they behave as with OpenSSH, see the host's programs and the granted directories, and leave
//! files that are the account's.

mod attacks;
mod binds;
mod cell;
mod clients;
mod conduct;
mod hogs;
mod lingering;
mod services;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Identity, Login, Node, Waiting, finish, scp, sftp, ssh, wait_until};

as_root_and_rootless!(
    a_command_speaks_as_over_openssh,
    a_terminal_is_one,
    much_goes_through_both_ways,
    the_environment_is_the_users_own,
    a_new_home_begins_with_the_hosts_first_files,
    one_connection_runs_many_programs,
    what_is_not_open_is_refused_with_a_sentence,
    files_are_carried_to_where_programs_see_them,
    first_logins_at_the_same_moment_all_have_a_home,
);

/// An account, and a node that serves it.
pub(super) struct Site {
    pub(super) node: Node,
    pub(super) home: PathBuf,
}

impl Site {
    pub(super) fn new(identity: Identity) -> Site {
        let mut site = Site::stopped(identity);
        site.node.serve();
        site
    }

    /// The same while the node does not run yet.
    pub(super) fn stopped(identity: Identity) -> Site {
        let node = Node::prepare(identity);
        let home = node.account("acme");
        fs::write(home.join("private/secret.txt"), "the account's own").expect("a file");
        fs::write(home.join("www/site2/index.html"), "a sibling's").expect("a file");
        node.own(&home);
        Site { node, home }
    }

    /// Somebody who may run programs.
    pub(super) fn user(&self, name: &str, services: &str, grants: &[(&str, &str)]) -> Login {
        self.node.user_with(name, "acme", services, grants)
    }

    /// The same with everything a developer needs in `www/site1`.
    pub(super) fn developer(&self) -> Login {
        self.user("dev", "sftp,exec,shell", &[("www/site1", "rw")])
    }

    pub(super) fn site(&self) -> PathBuf {
        self.home.join("www/site1")
    }
}

/// `ssh` with a command line for the other side.
pub(super) fn run(login: &Login, command: &str) -> Command {
    let mut ssh = ssh(login);
    ssh.arg(login.at()).arg(command);
    ssh
}

/// What a command prints; it must succeed.
#[track_caller]
pub(super) fn told(login: &Login, command: &str) -> String {
    finish(&mut run(login, command), "").ok()
}

fn a_command_speaks_as_over_openssh(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let ended = finish(&mut run(&dev, "echo out; echo err >&2; exit 7"), "");
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str(), ended.status.code()), ("out\n", "err\n", Some(7)));
    assert_eq!(finish(&mut run(&dev, "kill -TERM $$"), "").status.code(), Some(255), "as OpenSSH's client says it");
    assert_eq!(finish(&mut run(&dev, "tr a-z A-Z"), "to the end of the input").ok(), "TO THE END OF THE INPUT");
    assert_eq!(told(&dev, "printf '%s' \"$0 a  b\"; printf '\\377' | od -An -tx1"), "bash a  b ff\n");
    assert_eq!(
        told(&dev, "echo out > /dev/stdout; echo again > /dev/fd/1; echo err > /proc/self/fd/2"),
        "out\nagain\n"
    );
    assert_eq!(finish(&mut run(&dev, "no-such-program"), "").status.code(), Some(127));
    assert_eq!(told(&dev, "pwd").trim_end(), site.site().to_str().expect("a plain path"));
}

fn a_terminal_is_one(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let mut on_terminal = ssh(&dev);
    on_terminal.arg("-tt").arg(dev.at()).arg("tty; stty size; echo $TERM; ps -o tty= -p $$; exit 5");
    on_terminal.env("TERM", "xterm-256color");
    let ended = finish(&mut on_terminal, "");
    let lines: Vec<&str> = ended.stdout.lines().map(str::trim).collect();
    assert_eq!(
        (lines.as_slice(), ended.status.code()),
        (&["/dev/pts/0", "0 0", "xterm-256color", "pts/0"][..], Some(5))
    );
    let mut shell = ssh(&dev);
    shell.arg("-tt").arg(dev.at());
    let said = finish(&mut shell, "echo $0-$((6*7)); sleep 100 & exit 3\n");
    assert!(said.stdout.contains("-bash-42"), "{said:?}");
    assert_eq!(said.status.code(), Some(3));
}

fn much_goes_through_both_ways(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let big: String = "0123456789abcde\n".repeat(1 << 20);
    let ended = finish(&mut run(&dev, "tee copy | cat"), &big);
    assert!(ended.status.success(), "{}: {}, {} bytes", ended.status, ended.stderr, ended.stdout.len());
    assert!(ended.stdout == big, "16 MiB come back as they went");
    assert_eq!(fs::read_to_string(site.site().join("copy")).expect("was written").len(), big.len());
    // A program that reads late has lost nothing.
    let late = finish(&mut run(&dev, "sleep 2; wc -c"), &big);
    assert_eq!(late.ok().trim(), big.len().to_string());
}

fn the_environment_is_the_users_own(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let mut with = ssh(&dev);
    with.args(["-o", "SendEnv=LANG LC_ALL SECRET LD_PRELOAD"]).arg(dev.at()).arg("env");
    with.env("LANG", "C.UTF-8").env("LC_ALL", "C").env("SECRET", "x").env("LD_PRELOAD", "/tmp/x.so");
    let environment = finish(&mut with, "").ok();
    let has = |line: &str| environment.lines().any(|l| l == line);
    assert!(has("LANG=C.UTF-8") && has("LC_ALL=C") && has("USER=dev") && has("LOGNAME=dev") && has("SHELL=/bin/bash"));
    assert!(has("HOME=/home/dev") && !environment.contains("SECRET") && !environment.contains("LD_PRELOAD"));
    // What is put into the home is there the next time, and is the account's.
    told(&dev, "echo kept > ~/.keep; mkdir ~/bin");
    assert_eq!(told(&dev, "cat ~/.keep; ls -A ~ | wc -l"), "kept\n2\n");
    assert_eq!(fs::read_to_string(site.home.join(".enclos/home/dev/.keep")).expect("on disk"), "kept\n");
}

/// As with useradd(8); and never again, for what is gone was thrown away.
fn a_new_home_begins_with_the_hosts_first_files(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let in_shell = |lines: &str| finish(ssh(&dev).arg(dev.at()), lines).ok();
    let first = fs::read_dir("/etc/skel").into_iter().flatten().count();
    assert_eq!(in_shell("ls -A ~ | wc -l; diff -r ~ /etc/skel && echo same\n"), format!("{first}\nsame\n"));
    let home = site.home.join(".enclos/home/dev");
    let owner = fs::metadata(&site.home).expect("the home").uid();
    assert!(
        fs::read_dir(&home).expect("on disk").all(|f| f.expect("a file").metadata().expect("a file").uid() == owner)
    );
    assert_eq!(in_shell("cd; rm -rf .[a-z]* *; touch .mine; exit\n"), "");
    assert_eq!(in_shell("ls -A ~\n"), ".mine\n");
}

fn what_is_not_open_is_refused_with_a_sentence(identity: Identity) {
    let site = Site::new(identity);
    let files = site.user("files", "sftp", &[("www/site1", "rw")]);
    let said = finish(&mut run(&files, "id"), "");
    assert!(!said.status.success() && said.stderr.contains("not open to this login"), "{said:?}");
    let exec = site.user("exec", "exec", &[("www/site1", "rw")]);
    assert_eq!(told(&exec, "id -un"), "exec\n");
    let said = finish(ssh(&exec).arg(exec.at()), "id\n");
    assert!(!said.status.success() && said.stderr.contains("a shell is not open"), "{said:?}");
    let gone = site.user("gone", "exec", &[("www/site1/gone", "rw")]);
    fs::create_dir(site.site().join("gone")).expect("a directory");
    site.node.own(&site.home);
    assert_eq!(told(&gone, "echo here"), "here\n");
    fs::remove_dir(site.site().join("gone")).expect("it goes");
    assert!(finish(&mut run(&gone, "id"), "").stderr.contains("does not exist"));
}

/// A home has one path for programs and for file transfers. (What comes before the server for `~/` alone: OpenSSH's scp takes
/// it for the directory that a login starts in.)
fn files_are_carried_to_where_programs_see_them(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let local = site.node.dir().join("tool.sh");
    fs::write(&local, "echo carried\n").expect("a file");
    let local = local.display().to_string();
    // Nothing has run yet: the home is there for file transfers too.
    finish(&mut scp(&dev, &local, &format!("{}:~dev/tool.sh", dev.at())), "").ok();
    finish(&mut scp(&dev, &local, &format!("{}:/home/dev/again.sh", dev.at())), "").ok();
    finish(&mut scp(&dev, &local, &format!("{}:here.sh", dev.at())), "").ok();
    assert_eq!(
        told(&dev, "sh ~/tool.sh; sh ~/again.sh; sh here.sh; ls ~"),
        "carried\n".repeat(3) + "again.sh\ntool.sh\n"
    );
    assert!(site.site().join("here.sh").exists(), "relative names begin where programs do");
    let kept = site.home.join(".enclos/home/dev/tool.sh");
    assert_eq!(fs::metadata(&kept).expect("on disk").uid(), fs::metadata(&site.home).expect("the home").uid());
    told(&dev, "echo made > ~/made.txt");
    let fetched = site.node.dir().join("made.txt");
    let batch = format!("get /home/dev/made.txt {}\nls -1 /\nls -1 /home\n", fetched.display());
    let said = finish(sftp(&dev).arg(dev.at()), &batch).ok();
    assert_eq!(fs::read_to_string(&fetched).expect("was fetched"), "made\n");
    for line in ["/home", "/home/dev"] {
        assert!(said.lines().any(|l| l == line), "{line} in {said}");
    }
    let files = site.user("files", "sftp", &[("www/site1", "rw")]);
    let said = finish(sftp(&files).arg(files.at()), "ls -1 /home\n");
    assert!(said.stderr.contains("not found"), "who runs no programs has no home: {said:?}");
    // Another login's home is not in a view of the whole account either.
    let owner = site.user("owner", "sftp,exec", &[(".", "rw")]);
    let listed = finish(sftp(&owner).arg(owner.at()), "ls -1 /home\nls -1a .\n").ok();
    assert!(listed.contains("/home/owner") && !listed.contains("/home/dev") && !listed.contains(".enclos"), "{listed}");
}

fn first_logins_at_the_same_moment_all_have_a_home(identity: Identity) {
    let site = Site::new(identity);
    for round in 0..6 {
        let login = site.user(&format!("dev{round}"), "exec", &[("www/site1", "rw")]);
        let start = |_| run(&login, "cd && pwd").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
        for client in (0..6).map(start).collect::<Vec<_>>() {
            let ended = client.wait_with_output().expect("our own child");
            assert_eq!(String::from_utf8_lossy(&ended.stdout), format!("/home/dev{round}\n"), "{ended:?}");
        }
    }
}

/// More one after another than at a time, some of them cut off while they still print.
fn one_connection_runs_many_programs(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let control = format!("ControlPath={}", site.node.dir().join("control").display());
    let mut master = ssh(&dev);
    let mut master =
        master.args(["-N", "-o", "ControlMaster=yes", "-o", &control]).arg(dev.at()).spawn().expect("start");
    let joined = |command: &str| {
        let mut client = ssh(&dev);
        client.args(["-o", &control]).arg(dev.at()).arg(command);
        client
    };
    assert_eq!(wait_until(Duration::from_secs(30), || site.node.dir().join("control").exists()), Waiting::Came);
    for number in 0..40 {
        assert_eq!(finish(&mut joined(&format!("echo {number}")), "").ok(), format!("{number}\n"));
        if number % 4 == 0 {
            let mut cut = joined("yes").stdout(Stdio::piped()).spawn().expect("start");
            std::thread::sleep(Duration::from_millis(20));
            cut.kill().expect("our own child");
            cut.wait().expect("our own child");
        }
    }
    let left = wait_until(Duration::from_secs(20), || finish(&mut joined("pgrep -c yes"), "").stdout == "0\n");
    assert_eq!(left, Waiting::Came, "what was cut off has ended");
    let session = site.node.session_of("dev").pid;
    let descriptors = fs::read_dir(format!("/proc/{session}/fd")).map_or(0, Iterator::count);
    assert!(descriptors < 25, "{descriptors} descriptors are left open");
    master.kill().expect("our own child");
    master.wait().expect("our own child");
}
