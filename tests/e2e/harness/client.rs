//! The clients that people have, told to use nothing of whoever runs the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::node::Node;
use super::process::finish;

/// Somebody's means to log in: name, key, and where.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) key: PathBuf,
    pub(crate) port: u16,
    known_hosts: PathBuf,
    password: Option<String>,
    methods: Option<&'static str>,
    from: Option<&'static str>,
}

impl Login {
    /// A login by that name with a new key, which the server does not know yet.
    pub(crate) fn new(node: &Node, user: &str) -> Login {
        let dir = node.dir().join("clients");
        fs::create_dir_all(&dir).expect("a directory");
        let login = Login {
            user: user.to_owned(),
            key: dir.join(user),
            port: node.port(),
            known_hosts: dir.join("known_hosts"),
            password: None,
            methods: None,
            from: None,
        };
        new_key(&login.key);
        login.trust_host_key(&node.state().join("keys/ssh_host_ed25519_key"));
        login
    }

    /// The same person under another name.
    pub(crate) fn named(&self, user: &str) -> Login {
        Login { user: user.to_owned(), ..self.clone() }
    }

    /// The same person at another node.
    pub(crate) fn on(&self, node: &Node) -> Login {
        let dir = node.dir().join("clients");
        fs::create_dir_all(&dir).expect("a directory");
        let known_hosts = dir.join(format!("known_hosts-{}", self.user));
        let login = Login { port: node.port(), known_hosts, ..self.clone() };
        login.trust_host_key(&node.state().join("keys/ssh_host_ed25519_key"));
        login
    }

    /// The same person at another address, one of this host.
    pub(crate) fn from(&self, address: &'static str) -> Login {
        Login { from: Some(address), ..self.clone() }
    }

    /// The same person, by way of something that listens on another port for the same node.
    pub(crate) fn through(&self, node: &Node, port: u16) -> Login {
        let known_hosts = node.dir().join("clients").join(format!("known_hosts-{}-{port}", self.user));
        let login = Login { port, known_hosts, ..self.clone() };
        login.trust_host_key(&node.state().join("keys/ssh_host_ed25519_key"));
        login
    }

    /// The same person with another key.
    pub(crate) fn with_key(&self, key: &Path) -> Login {
        Login { key: key.to_owned(), ..self.clone() }
    }

    /// The same person with a password in place of a key; several lines are what is typed at each try.
    pub(crate) fn with_password(&self, password: &str) -> Login {
        Login { password: Some(password.to_owned()), ..self.clone() }
    }

    /// The same person with these methods, in this order, and what is typed at each question, a line for each.
    pub(crate) fn answering(&self, methods: &'static str, typed: &str) -> Login {
        Login { password: Some(typed.to_owned()), methods: Some(methods), ..self.clone() }
    }

    /// The half of the key that the server is told.
    pub(crate) fn public_key(&self) -> PathBuf {
        self.key.with_extension("pub")
    }

    /// The same person, who knows other servers.
    pub(crate) fn knowing(&self, known_hosts: &Path) -> Login {
        Login { known_hosts: known_hosts.to_owned(), ..self.clone() }
    }

    /// The file that names the server's key.
    pub(crate) fn known_hosts(&self) -> &Path {
        &self.known_hosts
    }

    fn trust_host_key(&self, private: &Path) {
        let public = finish(Command::new("ssh-keygen").arg("-y").arg("-f").arg(private), "").ok();
        fs::write(&self.known_hosts, format!("[127.0.0.1]:{} {public}", self.port)).expect("write known_hosts");
    }

    /// Options that OpenSSH's programs share: this key, this host key, and nothing from a user's or system's files.
    pub(crate) fn options(&self) -> Vec<String> {
        let mut options = vec!["-F".to_owned(), "/dev/null".to_owned()];
        let set = [
            format!("Port={}", self.port),
            format!("UserKnownHostsFile={}", self.known_hosts.display()),
            format!("IdentityFile={}", self.key.display()),
        ];
        let fixed = [
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "ConnectTimeout=30",
        ];
        let method = match (&self.password, self.methods) {
            (None, _) => ["PreferredAuthentications=publickey", "BatchMode=yes"],
            (Some(typed), None) => ["PreferredAuthentications=password", prompts(typed)],
            (Some(_), Some(methods)) => [methods, "NumberOfPasswordPrompts=1"],
        };
        for option in set.into_iter().chain(fixed.into_iter().chain(method).map(str::to_owned)) {
            options.extend(["-o".to_owned(), option]);
        }
        if let Some(from) = self.from {
            options.extend(["-o".to_owned(), format!("BindAddress={from}")]);
        }
        options
    }

    /// A command of OpenSSH's, with the means to ask for the password.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(password) = &self.password {
            let ask = self.key.with_file_name("ask");
            let typed = self.key.with_file_name(format!("typed-{}", std::process::id()));
            fs::write(&typed, format!("{password}\n")).expect("write what is typed");
            // Each prompt takes one line.
            fs::write(&ask, "#!/bin/sh\nhead -n 1 \"$TYPED\"\nsed -i 1d \"$TYPED\"\n").expect("write the asker");
            fs::set_permissions(&ask, fs::Permissions::from_mode(0o755)).expect("make it executable");
            command.env("SSH_ASKPASS", ask).env("SSH_ASKPASS_REQUIRE", "force").env("TYPED", typed);
        }
        command.args(self.options());
        command
    }

    /// `user@127.0.0.1`
    pub(crate) fn at(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }
}

fn prompts(typed: &str) -> &'static str {
    if typed.contains('\n') { "NumberOfPasswordPrompts=2" } else { "NumberOfPasswordPrompts=1" }
}

/// Makes a key pair.
pub(crate) fn new_key(at: &Path) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "a test's key", "-f"]).arg(at);
    finish(&mut command, "").ok();
    // Whoever runs the server's command line must be able to read it.
    fs::set_permissions(at.with_extension("pub"), fs::Permissions::from_mode(0o644)).expect("let others read it");
}

/// `ssh` as this login, with the host still to come.
pub(crate) fn ssh(login: &Login) -> Command {
    login.command("ssh")
}

/// The same as one word for programs that start it themselves.
pub(crate) fn ssh_line(login: &Login) -> String {
    let quoted = login.options().into_iter().map(|option| format!("'{option}'"));
    std::iter::once("ssh".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

/// `sftp` that takes its commands from standard input and stops at the first that fails.
pub(crate) fn sftp(login: &Login) -> Command {
    let mut command = login.command("sftp");
    command.args(["-b", "-"]).arg(login.at());
    command
}

/// `scp -r` from one place to the other; a place on the server is written `:path`.
pub(crate) fn scp(login: &Login, from: &str, to: &str) -> Command {
    let place = |p: &str| if p.starts_with(':') { format!("{}{p}", login.at()) } else { p.to_owned() };
    let mut command = login.command("scp");
    command.args(["-q", "-r", "-p"]).arg(place(from)).arg(place(to));
    command
}

/// `rclone` with a remote `enclos:`.
pub(crate) fn rclone(login: &Login) -> Command {
    let mut command = Command::new("rclone");
    command.args(["--config", "/dev/null", "--checkers", "4", "--transfers", "4", "--retries", "1"]);
    command.env("RCLONE_CONFIG_ENCLOS_TYPE", "sftp").env("RCLONE_CONFIG_ENCLOS_HOST", "127.0.0.1");
    command.env("RCLONE_CONFIG_ENCLOS_PORT", login.port.to_string()).env("RCLONE_CONFIG_ENCLOS_USER", &login.user);
    command.env("RCLONE_CONFIG_ENCLOS_KEY_FILE", &login.key);
    command.env("RCLONE_CONFIG_ENCLOS_KNOWN_HOSTS_FILE", &login.known_hosts);
    // There is no shell here, so no md5sum: rclone compares by downloading.
    command.env("RCLONE_CONFIG_ENCLOS_SHELL_TYPE", "none").env("RCLONE_CONFIG_ENCLOS_DISABLE_HASHCHECK", "true");
    command
}

/// A mounted view, unmounted when it goes.
#[derive(Debug)]
pub(crate) struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// Where.
    pub(crate) fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let ended = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.at).status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be unmounted", self.at.display());
        }
    }
}

/// Mounts what the login sees.
pub(crate) fn sshfs(login: &Login, at: &Path) -> Mounted {
    fs::create_dir_all(at).expect("a place to mount at");
    let mut command = Command::new("sshfs");
    command.arg(format!("{}:/", login.at())).arg(at);
    let options = login.options();
    let ssh = options.iter().map(|o| o.replace(' ', "\\ ")).collect::<Vec<_>>().join(" ");
    command.arg("-o").arg(format!("ssh_command=ssh {ssh}"));
    // It stays behind as a daemon and would keep a pipe open.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mounted = command.status().expect("start sshfs; tests/run installs it");
    assert!(mounted.success(), "sshfs does not mount: {mounted}");
    Mounted { at: at.to_owned() }
}
