//! Attacks by the clients that people have. What they print and fetch is searched for canaries.
//!
//! `scp -O`, rsync and git are those of a login that may start them and nothing else: it is the narrower door.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::files::tree;
use super::loot::Loot;
use super::race::beside;
use super::table::Protocol;
use super::world::{CANARY, Kind, MARK, Place, REPOSITORY, remove, text};
use crate::harness::{Login, Waiting, finish, ssh, wait_until};

/// A client that fetches and stores by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Sftp,
    Scp,
    OldScp,
    Rsync,
    Git,
}

impl Client {
    pub(super) const ALL: [Client; 5] = [Client::Sftp, Client::Scp, Client::OldScp, Client::Rsync, Client::Git];

    pub(super) fn protocol(self) -> Protocol {
        match self {
            Client::Sftp => Protocol::Sftp,
            Client::Scp => Protocol::Scp,
            Client::OldScp => Protocol::OldScp,
            Client::Rsync => Protocol::Rsync,
            Client::Git => Protocol::Git,
        }
    }
}

/// One connection, which all clients of a place share.
#[derive(Debug)]
pub(super) struct Connection {
    master: Child,
    options: Vec<String>,
    at: String,
}

impl Connection {
    pub(super) fn new(login: &Login, socket: &Path) -> Connection {
        // One that was killed has left its name.
        remove(socket);
        let shared = format!("ControlPath={}", text(socket));
        let mut command = ssh(login);
        command.args(["-N", "-o", "ControlMaster=yes", "-o", &shared]).arg(login.at());
        let master = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("start ssh");
        assert_eq!(wait_until(Duration::from_secs(60), || socket.exists()), Waiting::Came, "no connection");
        let options = login.options().into_iter().chain(["-o".to_owned(), shared]).collect();
        Connection { master, options, at: login.at() }
    }

    /// `ssh` over this connection.
    pub(super) fn command(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(&self.options);
        ssh
    }

    /// With whom.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    fn line(&self) -> String {
        let quoted = self.options.iter().map(|option| format!("'{option}'"));
        std::iter::once("ssh".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
    }

    /// `ssh` with a command line for the other side.
    fn run(&self, command: &str) -> Command {
        let mut ssh = self.command();
        ssh.arg(&self.at).arg(command);
        ssh
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.master.kill());
        self.master.wait().expect("our own child");
    }
}

/// Something that is attempted by a client.
pub(super) type ByClient = fn(&mut Attacker<'_>);

/// A client at work from a place.
pub(super) struct Attacker<'a> {
    pub(super) client: Client,
    pub(super) place: &'a Place,
    pub(super) connection: &'a Connection,
    pub(super) loot: &'a mut Loot,
}

impl Attacker<'_> {
    fn command(&self) -> Command {
        let mut command = match self.client {
            Client::Sftp => Command::new("sftp"),
            Client::Scp | Client::OldScp => Command::new("scp"),
            Client::Rsync => Command::new("rsync"),
            Client::Git => Command::new("git"),
        };
        match self.client {
            Client::Sftp => command.args(&self.connection.options).args(["-b", "-", &self.connection.at]),
            Client::Scp => command.args(&self.connection.options).args(["-q", "-r", "-p"]),
            Client::OldScp => command.args(&self.connection.options).args(["-q", "-O", "-T", "-r", "-p"]),
            Client::Rsync => command.args(["-e", &self.connection.line()]),
            Client::Git => command
                .env("GIT_SSH_COMMAND", self.connection.line())
                .env("HOME", &self.loot.dir)
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_TERMINAL_PROMPT", "0"),
        };
        command
    }

    /// As many names of each canary as the client is not too slow for.
    fn names(&self) -> Vec<String> {
        let most = match self.client {
            Client::Sftp | Client::Rsync => usize::MAX,
            Client::Scp => 6,
            Client::OldScp | Client::Git => 3,
        };
        if most == usize::MAX {
            return plain(self.place.names().into_iter());
        }
        let of = |path: &PathBuf| {
            let names = self.place.names_of(path);
            [0, 5, 16, 3, 13, 24].iter().take(most).map(|at| names[*at].clone()).collect::<Vec<_>>()
        };
        let paths = match self.client {
            Client::Git => self.place.directories().into_iter().map(|d| d.join(REPOSITORY)).collect(),
            _ => self.place.targets(),
        };
        plain(paths.iter().flat_map(of))
    }

    fn remote(&self, name: &str) -> String {
        format!("{}:{name}", self.connection.at)
    }

    /// Fetches all of these, by whatever the client has for it.
    fn fetch(&mut self, names: &[String]) {
        let mut command = self.command();
        match self.client {
            Client::Sftp => {
                let lines = names.iter().map(|name| {
                    let name = quoted(name);
                    format!(
                        "-get {name} got\n-get -r {name} got-all\n-ls -la {name}\n-df {name}\n-cd {name}\n-pwd\n-cd\n"
                    )
                });
                self.loot.run(&mut command, &lines.collect::<String>());
            }
            Client::Scp | Client::OldScp => {
                command.args(names.iter().map(|name| self.remote(name))).arg(".");
                self.loot.run(&mut command, "");
            }
            Client::Rsync => {
                let (first, rest) = names.split_first().expect("names");
                command.args(["-rLt", "--ignore-errors"]).arg(self.remote(first));
                command.args(rest.iter().map(|name| format!(":{name}"))).arg("got/");
                self.loot.run(&mut command, "");
            }
            Client::Git => {
                for name in names {
                    let mut command = self.command();
                    command.args(["ls-remote", &self.remote(name)]);
                    self.loot.run(&mut command, "");
                }
            }
        }
    }

    /// Puts something in place of each of these, and takes it away where the client can.
    fn store(&mut self, names: &[String]) {
        let bait = self.loot.dir.join("bait");
        for name in names {
            fs::write(&bait, "overwritten").expect("a file");
            let (mut command, remote) = (self.command(), self.remote(name));
            match self.client {
                Client::Sftp => {
                    let (name, bait) = (quoted(name), quoted(text(&bait)));
                    let lines = format!(
                        "-put {bait} {name}\n-put -a {bait} {name}\n-mkdir {name}\n-mkdir {name}/made\n-chmod 666 {name}\n\
                         -chown 0 {name}\n-ln {name} linked\n-get linked\n-rename {name} taken\n-get taken\n-ln -s x {name}\n\
                         -put {bait} bait\n-rename bait {name}\n-rm {name}\n-rmdir {name}\n-rm linked\n-rm taken\n-rm bait\n"
                    );
                    self.loot.run(&mut command, &lines);
                }
                Client::Scp | Client::OldScp => {
                    self.loot.run(command.arg(&bait).arg(&remote), "");
                }
                Client::Rsync => {
                    self.loot.run(command.args(["-t", "--inplace", "--mkpath"]).arg(&bait).arg(&remote), "");
                }
                Client::Git => self.push(&remote),
            }
        }
    }

    fn push(&mut self, remote: &str) {
        let own = self.loot.dir.with_extension("git");
        if !own.exists() {
            let mut make = Command::new("git");
            make.args(["init", "-q", text(&own)]);
            finish(&mut make, "").ok();
            let mut commit = Command::new("git");
            commit.current_dir(&own).args(["-c", "user.name=t", "-c", "user.email=t@example.org"]);
            finish(commit.args(["commit", "-q", "--allow-empty", "-m", "x"]), "").ok();
        }
        let mut push = self.command();
        push.args(["--git-dir", text(&own.join(".git")), "push", "-f", remote, "HEAD:refs/heads/made"]);
        self.loot.run(&mut push, "");
    }
}

/// Names that can stand on a command line.
pub(super) fn plain(names: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
    let texts = names.filter_map(|name| String::from_utf8(name).ok());
    texts.filter(|name| !name.chars().any(char::is_control) && !name.contains(['\\', '\''])).collect()
}

/// As OpenSSH's sftp takes a name.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// X01, X02, X19
pub(super) fn names(by: &mut Attacker<'_>) {
    let names = by.names();
    by.fetch(&names);
}

/// X04, X24: links that others left, one by one and with all that is in the grant.
pub(super) fn planted_links(by: &mut Attacker<'_>) {
    let mut names = plain(by.place.behind_planted().into_iter());
    if by.client == Client::Git {
        let repositories = ["private-dir", "sibling-dir", "up/private", "host-dir"].map(|d| format!("planted-{d}"));
        names = repositories.iter().map(|d| format!("{}/{d}/{REPOSITORY}", text(&by.place.grant()))).collect();
    } else {
        by.fetch(&names);
        // Then all that is in the grant, but for what leads to the host's programs, which a cell shows.
        for link in ["planted-root-dir", "planted-proc-dir"] {
            remove(&by.place.grant().join(link));
        }
        names.clear();
        names.push(".".to_owned());
        names.push(text(&by.place.grant()).to_owned());
    }
    by.fetch(&names);
}

/// X03: links of one's own, made by the client.
pub(super) fn own_links(by: &mut Attacker<'_>) {
    let names = by.names();
    if by.client == Client::Sftp {
        let lines = names.iter().map(|name| format!("-ln -s {} own\n-get own\n-rm own\n", quoted(name)));
        let mut command = by.command();
        by.loot.run(&mut command, &lines.collect::<String>());
        return;
    }
    let links = by.loot.dir.with_extension("links");
    remove(&links);
    fs::create_dir(&links).expect("a directory");
    for (n, name) in names.iter().enumerate() {
        std::os::unix::fs::symlink(name, links.join(format!("own-{n}"))).expect("a link");
    }
    let mut send = by.command();
    send.arg("-l").arg(format!("{}/", text(&links))).arg(by.remote("sent/")).arg("-r");
    by.loot.run(&mut send, "");
    by.fetch(&["sent/".to_owned()]);
}

/// X05 to X10
pub(super) fn stores(by: &mut Attacker<'_>) {
    let mut names: Vec<String> = by.names();
    let every = match by.client {
        Client::Sftp => 1,
        Client::Rsync => 12,
        _ => 6,
    };
    names = names.into_iter().step_by(every).collect();
    if by.client != Client::Git {
        names.extend(plain(by.place.behind_planted().into_iter().step_by(every)));
        names.extend(plain(by.place.in_grant("planted-dangling").into_iter()));
    }
    by.store(&names);
}

/// X13, X14: what is fetched is exchanged with a link that leads out.
pub(super) fn race(by: &mut Attacker<'_>) {
    let (honest, link) = (by.place.grant().join("swap"), by.place.grant().join("swapped"));
    fs::create_dir(&honest).expect("a directory");
    fs::write(honest.join(CANARY), "harmless\n").expect("a file");
    std::os::unix::fs::symlink("../../private", &link).expect("a link");
    by.place.give(&honest);
    let names = plain(by.place.in_grant(&format!("swap/{CANARY}")).into_iter());
    let store = [text(&by.place.grant().join("swap/made-by-an-attack")).to_owned()];
    beside(&honest, &link, || {
        by.fetch(&names);
        by.store(&store);
    });
    remove(&link);
    remove(&honest);
}

/// X21
pub(super) fn listings(by: &mut Attacker<'_>) {
    let names = plain(by.place.names_of_directories().into_iter());
    if by.client == Client::Sftp {
        let mut command = by.command();
        by.loot.run(&mut command, &names.iter().map(|n| format!("-ls -la {}\n", quoted(n))).collect::<String>());
        return;
    }
    for name in names.iter().step_by(12) {
        let mut command = by.command();
        let said = by.loot.run(command.args(["-r", "--list-only", &by.remote(&format!("{name}/"))]), "");
        // What has a canary's name and not its time, an attack before has made in the cell's own `/tmp`.
        let is_canary = |line: &&str| line.contains(CANARY) && line.contains(" 2001/09/0");
        let listed: Vec<&str> = said.stdout.lines().filter(is_canary).collect();
        by.loot.heard("listed", &listed.join("\n").replace(CANARY, MARK));
    }
}

/// X72
pub(super) fn read_only(by: &mut Attacker<'_>) {
    let (directory, file) = match by.place.kind {
        Kind::Ro => (by.place.grant(), "inside.txt"),
        _ => (by.place.grant().join("config"), "config/app.ini"),
    };
    let before = tree(&directory);
    let new = format!("{file}.new");
    let names = [file, &new].map(|name| plain(by.place.in_grant(name).into_iter().take(1)));
    by.store(&names.concat());
    by.store(&[text(&by.place.grant().join(file)).to_owned()]);
    if tree(&directory) != before {
        by.loot.heard("changed", MARK);
    }
}

/// X70: options of rsync that name other places, or have the other side read a list of names.
pub(super) fn options_of_rsync(by: &mut Attacker<'_>) {
    let outside = by.place.home.join("private");
    let (outside, secret) = (text(&outside).to_owned(), text(&outside.join(CANARY)).to_owned());
    let planted = format!("{}/planted-private-dir", text(&by.place.grant()));
    for at in [&outside, &planted] {
        for option in ["backup-dir", "link-dest", "compare-dest", "copy-dest", "partial-dir", "temp-dir"] {
            let mut send = by.command();
            fs::write(by.loot.dir.join("inside.txt"), "sent\n").expect("a file");
            send.args(["-b", "-t", &format!("--{option}={at}"), "inside.txt", &by.remote("./")]);
            by.loot.run(&mut send, "");
        }
        let linked = format!("--link-dest={at}");
        fs::write(by.loot.dir.join(CANARY), "").expect("a file");
        let mut send = by.command();
        send.args(["-t", "--size-only", &linked, CANARY, &by.remote("./")]);
        by.loot.run(&mut send, "");
        by.fetch(&[CANARY.to_owned()]);
    }
    for arguments in [
        vec![format!("--files-from=:{secret}"), by.remote("/"), "got/".to_owned()],
        vec![format!("--files-from=:{planted}/{CANARY}"), by.remote("/"), "got/".to_owned()],
        vec![format!("-M--exclude-from={secret}"), by.remote("./"), "got/".to_owned()],
        vec![format!("-M--log-file={outside}/made.log"), by.remote("./"), "got/".to_owned()],
        vec![format!("-M--write-batch={outside}/made.batch"), by.remote("./"), "got/".to_owned()],
        vec!["-M--daemon".to_owned(), by.remote("./"), "got/".to_owned()],
    ] {
        let mut fetch = by.command();
        by.loot.run(fetch.arg("-r").args(arguments), "");
    }
}

/// X70: repositories in the grant that name objects, directories and files outside.
pub(super) fn repositories(by: &mut Attacker<'_>) {
    let grant = by.place.grant();
    let outside = by.place.home.join("private").join(REPOSITORY);
    let bare = |name: &str| {
        let at = grant.join(name);
        for directory in ["objects/info", "refs/heads"] {
            fs::create_dir_all(at.join(directory)).expect("a directory");
        }
        fs::write(at.join("HEAD"), "ref: refs/heads/main\n").expect("a file");
        fs::write(at.join("config"), "[core]\nrepositoryformatversion = 0\nbare = true\n").expect("a file");
        at
    };
    let commit = fs::read_to_string(outside.join("refs/heads").join(MARK)).expect("the canary's commit");
    let by_alternates = bare("alternates.git");
    fs::write(by_alternates.join("objects/info/alternates"), format!("{}\n", text(&outside.join("objects"))))
        .expect("a file");
    fs::write(by_alternates.join("refs/heads/main"), &commit).expect("a file");
    let by_common = bare("common.git");
    fs::write(by_common.join("commondir"), format!("{}\n", text(&outside))).expect("a file");
    let by_link = bare("link.git");
    remove(&by_link.join("refs"));
    std::os::unix::fs::symlink(outside.join("refs"), by_link.join("refs")).expect("a link");
    let by_include = bare("include.git");
    let secret = by.place.home.join("private").join(CANARY);
    fs::write(
        by_include.join("config"),
        format!("[core]\nrepositoryformatversion = 0\nbare = true\n[include]\npath = {}\n", text(&secret)),
    )
    .expect("a file");
    let by_file = grant.join("file");
    fs::create_dir(&by_file).expect("a directory");
    fs::write(by_file.join(".git"), format!("gitdir: {}\n", text(&outside))).expect("a file");
    let by_head = bare("head.git");
    remove(&by_head.join("HEAD"));
    std::os::unix::fs::symlink(&secret, by_head.join("HEAD")).expect("a link");
    for name in ["alternates.git", "common.git", "link.git", "include.git", "head.git", "file"] {
        by.place.give(&grant.join(name));
        let remote = by.remote(text(&grant.join(name)));
        let mut clone = by.command();
        let said = by.loot.run(clone.args(["clone", "-q", "--bare", &remote, "got"]), "");
        if name == "alternates.git" && said.status.success() {
            by.loot.heard("cloned", MARK);
        }
        let mut list = by.command();
        by.loot.run(list.args(["ls-remote", &remote]), "");
        by.push(&remote);
    }
}

/// X71
pub(super) fn subsystems(by: &mut Attacker<'_>) {
    let names = [
        "",
        "SFTP",
        "sftp ",
        "sftp;id",
        "../sftp",
        "internal-sftp",
        "/usr/lib/openssh/sftp-server",
        "exec",
        "shell",
        "netconf",
    ];
    for name in names {
        let mut ssh = by.connection.command();
        let said = by.loot.run(ssh.args(["-s", by.connection.at(), name]), "id\ncat /etc/passwd\n");
        if said.status.success() || !said.stdout.is_empty() {
            by.loot.heard("served", &format!("{MARK} {name:?}"));
        }
    }
}

/// X71, X73: what a login may start is what it starts, whatever else the line says.
pub(super) fn other_commands(by: &mut Attacker<'_>) {
    let secret = by.place.home.join("private").join(CANARY);
    let made = text(&by.place.grant()).to_owned() + "/made-by-an-attack";
    let touch = format!("touch {made}; cat {}", text(&secret));
    let tricks = |name: &str| -> Vec<String> {
        let all = ["$(X)", "`X`", ";X;", "|X", "&& X", "\nX\n", "<(X)", "'; X; '", "\"$(X)\"", "{x,$(X)}"];
        all.iter().map(|trick| name.replace("NAME", &trick.replace('X', &touch))).collect()
    };
    let mut lines: Vec<String> = vec!["cat /etc/passwd".into(), "sh".into(), touch.clone(), "env".into(), "".into()];
    match by.client {
        Client::OldScp => {
            lines.extend(["scp -S sh -f x", "scp -o ProxyCommand=X -f x", "scp -3 a b"].map(str::to_owned))
        }
        Client::Rsync => lines.extend(
            [
                "rsync --server --sender -e sh . x",
                "rsync --daemon --config=x",
                "rsync -e sh a b:",
                "rsync --server --rsync-path=sh . x",
                "rsync --server --sender --files-from=- . /",
            ]
            .map(str::to_owned),
        ),
        _ => lines.extend(
            [
                "git shell -c sh",
                "git-upload-pack --help",
                "git-upload-pack --upload-pack=sh x",
                "git-receive-pack --exec=sh x",
                "git -c core.pager=sh -p help",
                "git-upload-archive --remote=x y",
            ]
            .map(str::to_owned),
        ),
    }
    let shape = match by.client {
        Client::OldScp => "scp -f NAME",
        Client::Rsync => "rsync --server --sender -re.LsfxCIvu . NAME",
        _ => "git-upload-pack NAME",
    };
    lines.extend(tricks(shape));
    for line in lines {
        let connection = by.connection;
        let said = by.loot.run(&mut connection.run(&line), "id\n");
        if said.stdout.contains("uid=") || said.stdout.contains("root:x:") || said.stdout.contains("HOME=") {
            by.loot.heard("ran", &format!("{MARK} {line}"));
        }
    }
    if Path::new(&made).exists() {
        by.loot.heard("ran", &format!("{MARK} {touch}"));
    }
}
