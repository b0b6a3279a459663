//! Where the storm takes place: a node that is started anew whenever its monitor dies, accounts on disks of their own, and
//! those who work in them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::aftermath::partials;
use super::journal::Text;
use super::loads::Load;
use super::probe::Probe;
use crate::forwards::echo_service;
use crate::harness::{
    ControlGroup, Disk, Identity, Login, Node, Waiting, descendants, finish, run_tool, signal, text, wait_until,
};
use crate::nodes::postgres::Postgres;

/// What is downloaded all the while.
const DOWNLOAD: Text = Text { seed: 4711, length: 500_000 };
/// A program that says what it hears, line by line.
const ECHO: &str = "exec cat";

/// Everything there is. Fields are dropped in this order.
pub(super) struct Stage {
    pub(super) node: Node,
    pub(super) postgres: Option<Postgres>,
    pub(super) disk: Option<Disk>,
    pub(super) slow: Option<Slow>,
    pub(super) groups: Option<ControlGroup>,
    pub(super) clock: Option<PathBuf>,
    /// Somebody who runs programs.
    pub(super) shell: Login,
    mirror: Login,
    socket: TcpListener,
    /// Files of uploads that were cut off, once everything has ended: hidden, and kept for a day.
    pub(super) beginnings: usize,
}

impl Stage {
    /// A node as root, or as an ordinary user, who has no disks and a database in a file.
    pub(super) fn build(identity: Identity) -> (Stage, Probe) {
        let mut node = Node::prepare(identity);
        let postgres = (identity == Identity::Root).then(Postgres::start);
        let groups = (identity == Identity::Root && bounds_memory()).then(|| ControlGroup::of(&node));
        let database = postgres.as_ref().map(|p| format!("database = {:?}\ndatabase_grace = 3600\n", p.url()));
        let setting = groups.as_ref().map(ControlGroup::setting);
        // A session that a fault has ended is no attack.
        node.write_config(&[database.unwrap_or_default(), setting.unwrap_or_default()].concat());
        let clock = set_clock(&mut node);
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, node.port())).expect("listen");
        serve(&mut node, &socket);
        node.account("acme");
        node.account("other");
        let probe = Probe::new(&node.user("probe", "other", &[("www/site1", "rw")]));
        let little: &[&str] = if groups.is_some() { &["--memory", "64M"] } else { &[] };
        let shell = worker(&node, "shell", "exec,shell", little);
        let mirror = worker(&node, "mirror", "exec", &[]);
        let (disk, slow) = match identity {
            Identity::Root => (Some(small_disk(&node)), Some(Slow::mount(&node))),
            Identity::Ordinary(_) => (None, None),
        };
        (Stage { node, postgres, disk, slow, groups, clock, shell, mirror, socket, beginnings: 0 }, probe)
    }

    /// What everybody does; one name for each.
    pub(super) fn loads(&self, seed: u64) -> Vec<Load> {
        let node = &self.node;
        let at = |name: &str| node.home("acme").join("www").join(name);
        let sftp = |name: &'static str| worker(node, name, "sftp", &[]);
        let atomic = sftp("atomic");
        node.admin(&["user", "set", "atomic", "--uploads", "atomic"]);
        let local = node.dir().join("mirrored");
        crate::harness::make_tree(&local, 20);
        let port = echo_service();
        let forward = worker(node, "forward", "forward-local", &["--network", "host"]);
        let mut loads = vec![
            Load::in_place("in place", sftp("inplace"), at("inplace"), seed),
            Load::atomic("atomic", atomic, at("atomic"), seed + 1),
            Load::downloads("download", with_download(&at("download"), sftp("download")), DOWNLOAD),
            Load::talk("shell", self.shell.clone(), vec![self.shell.at(), ECHO.to_owned()]),
            Load::talk("forward", forward.clone(), vec!["-W".to_owned(), format!("127.0.0.1:{port}"), forward.at()]),
            Load::rsync("rsync", self.mirror.clone(), local),
        ];
        if let Some(disk) = &self.disk {
            let of_disk = |name: &str| user_at(node, "small", &disk.at.join("home"), name);
            let (one, other) = (of_disk("disk-one"), of_disk("disk-two"));
            node.admin(&["user", "set", "disk-two", "--uploads", "atomic"]);
            loads.push(Load::in_place("in place, small disk", one.0, one.1, seed + 2));
            loads.push(Load::atomic("atomic, small disk", other.0, other.1, seed + 3));
        }
        if let Some(slow) = &self.slow {
            let (login, place) = user_at(node, "slow", &slow.at().join("home"), "slow-one");
            loads.push(Load::in_place("in place, slow disk", login, place, seed + 4));
        }
        loads
    }

    /// Kills the monitor and starts the next, as a service manager does that keeps the sockets.
    pub(super) fn restart(&mut self) {
        let pid = self.node.pid();
        self.node.end(Signal::SIGKILL);
        clear_clock(pid);
        self.start();
    }

    /// Starts the node without waiting for it.
    pub(super) fn start(&mut self) {
        serve_next(&mut self.node, &self.socket);
    }

    /// Who mirrors a directory.
    pub(super) fn mirror(&self) -> Login {
        self.mirror.clone()
    }

    /// What a node that has ended must not leave: the disks are taken away as well, which an open file would forbid.
    pub(super) fn what_is_left(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        let homes = self.node.home("acme").parent().map(Path::to_owned);
        let disks: Vec<Disk> =
            self.disk.take().into_iter().chain(self.slow.as_mut().and_then(|s| s.disk.take())).collect();
        let places = homes.into_iter().chain(disks.iter().map(|disk| disk.at.join("home")));
        let partials: Vec<PathBuf> = places.flat_map(|place| partials(&place)).collect();
        self.beginnings = partials.len();
        let devices: Vec<String> = disks.iter().map(|disk| device(&disk.at)).collect();
        for disk in disks {
            // Not as its drop would do it: a disk in use must not go.
            let unmounted = finish(Command::new("umount").arg(&disk.at), "");
            let in_use = || format!("a disk is in use: {}", unmounted.stderr);
            left.extend((!unmounted.status.success()).then(in_use));
            std::mem::forget(disk);
        }
        let ours: Vec<u32> = self.slow.iter().flat_map(Slow::processes).chain([std::process::id()]).collect();
        let name = self.node.dir().file_name().expect("it has a name").to_string_lossy().into_owned();
        left.extend(super::aftermath::processes(&name, &devices, &ours));
        left.extend(
            self.groups.iter().filter(|groups| groups.groups_inside() > 0).map(|_| "control groups".to_owned()),
        );
        left
    }

    /// Our processes of this name: the whole line of commands is the monitor's in all that it forked.
    pub(super) fn processes(&self, name: &str) -> Vec<u32> {
        let mine = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(text(self.node.dir()))
        };
        let of_us = descendants(std::process::id()).into_iter().filter(|(_, n)| n == name).map(|(pid, _)| pid);
        of_us.filter(mine).filter(|pid| !crate::harness::has_ended(*pid)).collect()
    }

    /// First processes of cells: those that a shell zygote of ours has.
    pub(super) fn workers(&self) -> Vec<u32> {
        let zygotes = self.processes("enclos-shells");
        let alive = |pid: &u32| !crate::harness::has_ended(*pid);
        descendants(std::process::id())
            .into_iter()
            .map(|(pid, _)| pid)
            .filter(|pid| crate::harness::parent(*pid).is_some_and(|parent| zygotes.contains(&parent)))
            .filter(alive)
            .collect()
    }
}

fn serve(node: &mut Node, socket: &TcpListener) {
    serve_next(node, socket);
    node.await_hello();
}

fn serve_next(node: &mut Node, socket: &TcpListener) {
    let name = format!("listen-127.0.0.1_{}", node.port());
    node.serve_with(socket, &name);
}

/// Somebody of `acme` with a directory of the same name, and settings as `enclos user set` takes them.
fn worker(node: &Node, name: &str, services: &str, settings: &[&str]) -> Login {
    let place = node.home("acme").join("www").join(name);
    fs::create_dir(&place).expect("a directory");
    node.own(&place);
    let login = node.user_with(name, "acme", services, &[(&format!("www/{name}"), "rw")]);
    if !settings.is_empty() {
        node.admin(&[&["user", "set", name], settings].concat());
    }
    login
}

/// Somebody of an account that lies elsewhere, and where the files are; the account is made with the first.
fn user_at(node: &Node, account: &str, home: &Path, name: &str) -> (Login, PathBuf) {
    if !home.exists() {
        fs::create_dir(home).expect("a home");
        node.own(home);
        node.account_at(account, home);
    }
    let place = home.join(name);
    fs::create_dir(&place).expect("a directory");
    node.own(&place);
    (node.user(name, account, &[(name, "rw")]), place)
}

/// What a disk is called where it is mounted.
fn device(at: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").expect("the mounts");
    let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(text(at))).expect("it is mounted");
    line.split(' ').next().expect("a device").to_owned()
}

fn with_download(place: &Path, login: Login) -> Login {
    fs::write(place.join("download"), DOWNLOAD.bytes()).expect("a file");
    login
}

/// Few megabytes and few files, all of them for the account.
fn small_disk(node: &Node) -> Disk {
    let at = node.dir().join("small");
    fs::create_dir(&at).expect("a directory");
    Disk::image(&at, 24, &["mkfs.ext4", "-q", "-m", "0", "-N", "256"])
}

/// Whether control groups can bound memory here.
fn bounds_memory() -> bool {
    let groups = Path::new("/sys/fs/cgroup");
    let modern = fs::read_to_string(groups.join("cgroup.subtree_control"));
    groups.join("memory").is_dir() || modern.is_ok_and(|controllers| controllers.contains("memory"))
}

/// Has the node read the time from a file, if the library for it is installed.
fn set_clock(node: &mut Node) -> Option<PathBuf> {
    let library = PathBuf::from(format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH));
    if !library.exists() {
        return None;
    }
    let clock = node.dir().join("clock");
    fs::write(&clock, "+0").expect("a file");
    // Loaded into the server alone: what it keeps in /dev/shm belongs to the first that loads it.
    let (script, server) = (node.dir().join("enclos.sh"), node.identity().enclos());
    let (library, server, time) = (text(&library), text(&server), text(&clock));
    // Its times of files are made under a lock that all its processes share, and that whoever is killed there never gives back.
    let clock_of =
        format!("FAKETIME_TIMESTAMP_FILE={time} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1");
    let lines = [
        "#!/bin/sh",
        "for last; do :; done",
        &format!("[ \"$last\" != serve ] || exec env LD_PRELOAD={library} {clock_of} {server} \"$@\""),
        &format!("exec {server} \"$@\""),
    ];
    write_script(&script, &lines.join("\n"));
    node.replace_binary(&script, ("TZ", "UTC"));
    Some(clock)
}

fn write_script(at: &Path, text: &str) {
    fs::write(at, text).expect("a script");
    fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("make it executable");
}

/// What the library for the clock leaves behind of a process that was killed.
fn clear_clock(pid: u32) {
    for name in ["faketime_shm_", "sem.faketime_sem_"] {
        // There is none where it cleared away itself.
        drop(fs::remove_file(format!("/dev/shm/{name}{pid}")));
    }
}

/// A disk that can be made to stand still as a whole: its image is a file on a filesystem that programs serve, sshfs and the
/// SFTP server of OpenSSH behind it.
pub(super) struct Slow {
    pub(super) disk: Option<Disk>,
    served: PathBuf,
    server: Child,
}

impl Slow {
    fn mount(node: &Node) -> Slow {
        let (at, behind) = (node.dir().join("served"), node.dir().join("behind"));
        for place in [&at, &behind] {
            fs::create_dir(place).expect("a directory");
        }
        let image = behind.join("image");
        File::create(&image).and_then(|file| file.set_len(32 << 20)).expect("an image");
        run_tool("mkfs.ext4", &["-q", "-m", "0", text(&image)]);
        let script = node.dir().join("sftp-server.sh");
        write_script(&script, "#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n");
        let mut command = Command::new("sshfs");
        command.arg(format!("slow:{}", behind.display())).arg(&at);
        // In the foreground, so that it can be found and ended.
        command.arg("-f").arg("-o").arg(format!("ssh_command={}", script.display()));
        let server = command.stdin(Stdio::null()).spawn().expect("start sshfs; tests/run installs it");
        let mut slow = Slow { disk: None, served: at.clone(), server };
        let mounted = wait_until(Duration::from_secs(20), || at.join("image").exists());
        assert_eq!(mounted, Waiting::Came, "sshfs does not mount");
        let place = node.dir().join("slow");
        fs::create_dir(&place).expect("a directory");
        slow.disk = Some(Disk::mount(at.join("image"), &place, "loop"));
        slow
    }

    fn at(&self) -> PathBuf {
        self.disk.as_ref().expect("it is mounted").at.clone()
    }

    /// The processes that serve it.
    fn processes(&self) -> Vec<u32> {
        let behind = descendants(self.server.id()).into_iter().map(|(pid, _)| pid);
        behind.chain([self.server.id()]).collect()
    }

    /// Has everything that is asked of it wait, or be answered again.
    pub(super) fn stand_still(&self, still: bool) {
        let how = if still { Signal::SIGSTOP } else { Signal::SIGCONT };
        descendants(self.server.id()).into_iter().for_each(|(pid, _)| signal(pid, how));
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.stand_still(false);
        self.disk = None;
        drop(Command::new("umount").arg("-l").arg(&self.served).status());
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
