//! The two servers under measurement, on directories, keys and ports of their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::cgroup::Group;

/// Owner of the files.
const ACCOUNT: u32 = 5001;
/// The user for files; with OpenSSH also for programs.
const USER: &str = "bench";
/// The user for programs with Enclos.
const RUNNER: &str = "runner";
/// The password of the user for files.
pub(crate) const PASSWORD: &str = "bench";

/// Everything on disk, in memory if there is room.
#[derive(Debug)]
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Result<Place> {
        let shm = Path::new("/dev/shm");
        let room = rustix::fs::statvfs(shm).map(|v| v.f_bavail * v.f_frsize).unwrap_or_default();
        let base = if room > 4 << 30 { shm.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("enclos-bench-").tempdir_in(base)?;
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let place = Place { dir };
        new_key(&place.key())?;
        new_key(&place.authority())?;
        // Not beside the key, where OpenSSH's client would find it.
        let certified = place.path("certified.pub");
        fs::copy(place.key().with_extension("pub"), &certified)?;
        let sign = ["-q", "-I", "bench", "-n", USER, "-s"];
        run(Command::new("ssh-keygen").args(sign).arg(place.authority()).arg(certified))?;
        Ok(place)
    }

    /// Who signs certificates.
    fn authority(&self) -> PathBuf {
        self.path("authority")
    }

    /// A certificate for the key.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("certified-cert.pub")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The key that logs in everywhere.
    pub(crate) fn key(&self) -> PathBuf {
        self.path("key")
    }
}

/// One server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    version: String,
    port: u16,
    runner: &'static str,
    key: PathBuf,
    files: PathBuf,
    config: PathBuf,
    log: PathBuf,
    group: Group,
    process: Child,
}

/// What is known of a server before it runs.
struct Plan {
    name: &'static str,
    version: String,
    port: u16,
    runner: &'static str,
    key: PathBuf,
    files: PathBuf,
    config: PathBuf,
    /// Where it lies, and where its log goes.
    dir: PathBuf,
}

impl Server {
    /// The newest sshd that was fetched, or Debian's, in the foreground with internal-sftp and a configuration of its own.
    /// Its user exists only in the `/etc/passwd` that it sees.
    pub(crate) fn openssh(place: &Place) -> Result<Server> {
        let dir = make_dir(&place.path("openssh"), 0, 0o755)?;
        let files = make_dir(&dir.join("files"), ACCOUNT, 0o755)?;
        // Its privilege separation wants this directory, which the package's service would make.
        if !Path::new("/run/sshd").exists() {
            fs::DirBuilder::new().mode(0o755).create("/run/sshd").context("make /run/sshd")?;
        }
        let host_key = dir.join("host_key");
        new_key(&host_key)?;
        fs::copy(place.key().with_extension("pub"), dir.join("authorized_keys"))?;
        let (port, config) = (free_port()?, dir.join("sshd_config"));
        let lines = [
            format!("ListenAddress 127.0.0.1:{port}"),
            format!("HostKey {}", host_key.display()),
            format!("AuthorizedKeysFile {}", dir.join("authorized_keys").display()),
            "Subsystem sftp internal-sftp".to_owned(),
            format!("TrustedUserCAKeys {}", place.authority().with_extension("pub").display()),
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication yes\nUseDNS no\nMaxStartups 1000"
                .to_owned(),
            "LogLevel ERROR\nMaxSessions 1000".to_owned(),
        ];
        fs::write(&config, lines.join("\n") + "\n")?;
        let newest = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/openssh");
        let sshd = if newest.exists() { newest.join("usr/sbin/sshd") } else { "/usr/sbin/sshd".into() };
        if newest.exists() {
            let own = |program: &str| newest.join("usr/lib/openssh").join(program).display().to_string();
            let lines = format!("SshdSessionPath {}\nSshdAuthPath {}\n", own("sshd-session"), own("sshd-auth"));
            File::options().append(true).open(&config)?.write_all(lines.as_bytes())?;
        }
        let users = dir.join("passwd");
        // As Debian stores it.
        let crypt = "print crypt($ARGV[0], q($y$j9T$abcdefghijklmnop$))";
        let hash = said(Command::new("perl").args(["-e", crypt, PASSWORD]))?;
        ensure!(hash.starts_with("$y$"), "the C library knows no yescrypt");
        let user = format!("{USER}:{hash}:{ACCOUNT}:{ACCOUNT}::{}:/bin/bash\n", files.display());
        fs::write(&users, fs::read_to_string("/etc/passwd").context("read /etc/passwd")? + &user)?;
        let version = said(Command::new(&sshd).arg("-V"))?;
        let command = format!("exec {} -D -e -f {}", sshd.display(), config.display());
        let inside = format!("mount --bind {} /etc/passwd && {command}", users.display());
        let key = place.key();
        let plan = Plan { name: "OpenSSH", version, port, runner: USER, key, files, config, dir };
        Server::start(plan, &format!("exec unshare --mount sh -c '{inside}'"))
    }

    /// Enclos, as released.
    pub(crate) fn enclos(place: &Place) -> Result<Server> {
        let (plan, command) = Server::plan_enclos(place, "enclos")?;
        Server::start(plan, &command)
    }

    /// ProFTPD with mod_sftp.
    pub(crate) fn proftpd(place: &Place) -> Result<Server> {
        let dir = make_dir(&place.path("proftpd"), 0, 0o755)?;
        let files = make_dir(&dir.join("files"), ACCOUNT, 0o755)?;
        let (host_key, keys, users) = (dir.join("host_key"), dir.join("keys"), dir.join("passwd"));
        // It reads neither OpenSSH's form of private keys nor that of public ones.
        let make = ["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"];
        run(Command::new("ssh-keygen").args(make).arg(&host_key))?;
        let public = Command::new("ssh-keygen").arg("-e").arg("-f").arg(place.key().with_extension("pub")).output()?;
        fs::write(&keys, public.stdout)?;
        fs::write(&users, format!("{USER}:x:{ACCOUNT}:{ACCOUNT}::{}:/bin/bash\n", files.display()))?;
        fs::set_permissions(&users, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let (port, config) = (free_port()?, dir.join("proftpd.conf"));
        let lines = [
            format!("ServerType standalone\nDefaultServer on\nDefaultAddress 127.0.0.1\nPort {port}\nUseIPv6 off"),
            "ModulePath /usr/lib/proftpd\nLoadModule mod_sftp.c\nUser nobody\nGroup nogroup".to_owned(),
            format!("PidFile {0}/pid\nScoreboardFile {0}/board", dir.display()),
            "SystemLog none\nWtmpLog off\nDelayEngine off\nRequireValidShell off\nMaxInstances none".to_owned(),
            format!("AuthUserFile {}\nAuthOrder mod_auth_file.c\nAllowOverwrite on", users.display()),
            format!("SFTPEngine on\nSFTPHostKey {}\nSFTPAuthMethods publickey", host_key.display()),
            format!("SFTPAuthorizedUserKeys file:{}", keys.display()),
        ];
        fs::write(&config, lines.join("\n") + "\n")?;
        let version = said(Command::new("proftpd").arg("-v")).context("proftpd is needed")?;
        let command = format!("exec proftpd -n -q -c {}", config.display());
        let key = place.key();
        Server::start(Plan { name: "ProFTPD", version, port, runner: USER, key, files, config, dir }, &command)
    }

    /// `rclone serve sftp`, which is Go's SSH and SFTP in one process for all.
    pub(crate) fn rclone(place: &Place) -> Result<Server> {
        let dir = make_dir(&place.path("rclone"), 0, 0o755)?;
        let files = make_dir(&dir.join("files"), ACCOUNT, 0o755)?;
        let host_key = dir.join("host_key");
        new_key(&host_key)?;
        let version = said(Command::new("rclone").arg("--version")).context("rclone is needed")?;
        let (port, key) = (free_port()?, place.key());
        let command = format!(
            "exec rclone serve sftp {} --addr 127.0.0.1:{port} --user {USER} --authorized-keys {} --key {} --config /dev/null \
             --dir-cache-time 0s",
            files.display(),
            key.with_extension("pub").display(),
            host_key.display()
        );
        let config = dir.join("none");
        Server::start(Plan { name: "rclone", version, port, runner: USER, key, files, config, dir }, &command)
    }

    /// The same, with the log saying how long cells take, and among so many more mounts of the host.
    pub(crate) fn enclos_of_cells(place: &Place, mounts: usize) -> Result<Server> {
        let (plan, command) = Server::plan_enclos(place, &format!("cells-{mounts}"))?;
        let filter = "ENCLOS_LOG_FILTER=info,enclos::monitor::cells=debug,sqlx=warn";
        let inside = format!("{}export {filter}; {command}", among_mounts(&plan.dir, mounts)?);
        Server::start(plan, &format!("exec unshare --mount sh -c '{inside}'"))
    }

    fn plan_enclos(place: &Place, name: &str) -> Result<(Plan, String)> {
        let binary = env!("CARGO_BIN_EXE_enclos");
        let dir = make_dir(&place.path(name), 0, 0o755)?;
        let home = make_dir(&dir.join("account"), ACCOUNT, 0o755)?;
        let files = make_dir(&home.join("files"), ACCOUNT, 0o755)?;
        let (port, config) = (free_port()?, dir.join("enclos.toml"));
        // All clients come from one address: what they have not yet logged in with is no flood.
        let open = "exempt_sources = [\"127.0.0.0/8\"]\nmax_unauthenticated = 100";
        fs::write(&config, format!("listen = [\"127.0.0.1:{port}\"]\n{open}\nstate = {:?}\n", dir.join("state")))?;
        let key = place.key();
        let version = said(Command::new(binary).arg("--version"))?;
        let command = format!("exec {binary} --config {} serve", config.display());
        let plan = Plan { name: "Enclos", version, port, runner: RUNNER, key, files, config, dir };
        let (home, id) = (text(&home)?, ACCOUNT.to_string());
        plan.admin(&["account", "add", "bench", "--uid", &id, "--gid", &id, "--home", home])?;
        plan.add_user(USER, &["sftp"])?;
        plan.add_user(RUNNER, &["sftp", "exec", "shell"])?;
        admin_with(&plan.config, &["passwd", USER, "--stdin"], PASSWORD)?;
        let authority = place.authority().with_extension("pub");
        plan.admin(&["ca", "add", "--user", USER, "--file", text(&authority)?])?;
        Ok((plan, command))
    }

    fn start(plan: Plan, command: &str) -> Result<Server> {
        let Plan { name, version, port, runner, key, files, config, dir } = plan;
        let group = Group::new(text(Path::new(dir.file_name().context("a name")?))?)?;
        let log = dir.join("log");
        let out = File::create(&log)?;
        let mut shell = Command::new("setpriv");
        shell.args(["--pdeathsig", "TERM", "--", "sh", "-c", &(group.enter() + command)]);
        let (variable, value) = tuning()?;
        shell.env(variable, value);
        let process = shell.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?;
        let mut server = Server { name, version, port, runner, key, files, config, log, group, process };
        server.await_greeting().with_context(|| server.said())?;
        server.settle()?;
        Ok(server)
    }

    /// Its log.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Who runs programs.
    pub(crate) fn runner(&self) -> &'static str {
        self.runner
    }

    /// Runs a command of Enclos's administration.
    pub(crate) fn admin(&self, arguments: &[&str]) -> Result<()> {
        admin(&self.config, arguments)
    }

    /// Adds a user of Enclos, with the key that logs in everywhere.
    pub(crate) fn add_user(&self, name: &str, services: &[&str]) -> Result<()> {
        add_user(&self.config, &self.key, name, services)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Who transfers files.
    pub(crate) fn user(&self) -> &'static str {
        USER
    }

    pub(crate) fn key(&self) -> &Path {
        &self.key
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Where the user's files are on disk.
    pub(crate) fn files(&self) -> &Path {
        &self.files
    }

    /// Gives a file to whoever the server's user is on disk.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        Ok(chown(path, Some(ACCOUNT), Some(ACCOUNT))?)
    }

    /// The same with all that lies beneath.
    pub(crate) fn own_all(&self, path: &Path) -> Result<()> {
        run(Command::new("chown").args(["-R", &format!("{ACCOUNT}:{ACCOUNT}"), "--"]).arg(path))
    }

    fn await_greeting(&mut self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}", self.name);
            }
            if greets(self.port) {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        bail!("{} does not answer", self.name)
    }

    /// Waits until no process has come or gone for a while: those of ended connections are then gone, and those that
    /// are kept ready for the next are there.
    pub(crate) fn settle(&self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(20);
        let mut last = self.group.processes()?;
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_millis(200) {
            ensure!(Instant::now() < until, "{} does not come to rest", self.name);
            sleep(Duration::from_millis(5));
            let now = self.group.processes()?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.process.id()) {
            let asked = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
            if let (Ok(()), Ok(_)) = (asked, self.process.wait()) {
                // Sessions of sshd outlive it until their client is gone, and the clients were ours.
                let until = Instant::now() + Duration::from_secs(5);
                while self.group.processes().is_ok_and(|p| !p.is_empty()) && Instant::now() < until {
                    sleep(Duration::from_millis(10));
                }
            }
        }
    }
}

/// How the C library is to copy: as the service unit has it, for both servers.
fn tuning() -> Result<(&'static str, &'static str)> {
    let unit = include_str!("../../deploy/enclos.service");
    let setting = unit.lines().find_map(|line| line.strip_prefix("Environment="));
    setting.and_then(|setting| setting.split_once('=')).context("the unit sets how the C library copies")
}

impl Plan {
    fn admin(&self, arguments: &[&str]) -> Result<()> {
        admin(&self.config, arguments)
    }

    fn add_user(&self, name: &str, services: &[&str]) -> Result<()> {
        add_user(&self.config, &self.key, name, services)
    }
}

fn admin(config: &Path, arguments: &[&str]) -> Result<()> {
    admin_with(config, arguments, "")
}

/// The same with something to read.
fn admin_with(config: &Path, arguments: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enclos"));
    command.arg("--config").arg(config).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("was piped")?.write_all(input.as_bytes())?;
    let ended = child.wait_with_output()?;
    ensure!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}

fn new_key(path: &Path) -> Result<()> {
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path))
}

fn add_user(config: &Path, key: &Path, name: &str, services: &[&str]) -> Result<()> {
    let services = services.iter().flat_map(|service| ["--service", service]);
    let add: Vec<&str> = ["user", "add", name, "--account", "bench"].into_iter().chain(services).collect();
    admin(config, &add)?;
    admin(config, &["grant", "add", name, "files", "--mode", "rw"])?;
    admin(config, &["key", "add", name, "--file", text(&key.with_extension("pub"))?])
}

/// Shell text that makes mounts, for a namespace of its own.
pub(crate) fn among_mounts(dir: &Path, mounts: usize) -> Result<String> {
    let dir = dir.join("mounts");
    fs::create_dir_all(&dir)?;
    for n in 0..mounts {
        fs::create_dir_all(dir.join(n.to_string()))?;
    }
    Ok(format!("for n in $(seq 0 {mounts}); do [ -d {0}/$n ] && mount --bind {0}/$n {0}/$n; done; ", text(&dir)?))
}

fn make_dir(path: &Path, owner: u32, mode: u32) -> Result<PathBuf> {
    fs::DirBuilder::new().mode(mode).create(path).with_context(|| format!("make {}", path.display()))?;
    chown(path, Some(owner), Some(owner))?;
    Ok(path.to_owned())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a plain path")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut line = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
        && stream.write_all(b"SSH-2.0-bench\r\n").is_ok()
        && BufReader::new(stream).read_until(b'\n', &mut line).is_ok()
        && line.starts_with(b"SSH-2.0-")
}

/// Runs a program that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let ended = command.output().with_context(|| format!("start {command:?}"))?;
    ensure!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}

/// The first line that a program says, on either output.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let ended = command.output().with_context(|| format!("start {command:?}"))?;
    let all = [ended.stdout, ended.stderr].concat();
    Ok(String::from_utf8_lossy(&all).lines().next().unwrap_or_default().to_owned())
}
