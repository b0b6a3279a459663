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

/// The account's files under Enclos.
const ACCOUNT: u32 = 5001;
/// Debian's `nobody`: a user that exists everywhere, has no password, and may run internal-sftp.
const NOBODY: u32 = 65_534;

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
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(place.key()))?;
        Ok(place)
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
    user: &'static str,
    key: PathBuf,
    files: PathBuf,
    owner: u32,
    group: Group,
    process: Child,
}

impl Server {
    /// The newest sshd that was fetched, or Debian's, in the foreground with internal-sftp and a configuration of its own.
    pub(crate) fn openssh(place: &Place) -> Result<Server> {
        let dir = make_dir(&place.path("openssh"), 0, 0o755)?;
        let files = make_dir(&dir.join("files"), NOBODY, 0o755)?;
        // Its privilege separation wants this directory, which the package's service would make.
        if !Path::new("/run/sshd").exists() {
            fs::DirBuilder::new().mode(0o755).create("/run/sshd").context("make /run/sshd")?;
        }
        let host_key = dir.join("host_key");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&host_key))?;
        fs::copy(place.key().with_extension("pub"), dir.join("authorized_keys"))?;
        let (port, config) = (free_port()?, dir.join("sshd_config"));
        let lines = [
            format!("ListenAddress 127.0.0.1:{port}"),
            format!("HostKey {}", host_key.display()),
            format!("AuthorizedKeysFile {}", dir.join("authorized_keys").display()),
            format!("Subsystem sftp internal-sftp -d {}", files.display()),
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nUseDNS no\nMaxStartups 1000"
                .to_owned(),
            "LogLevel ERROR".to_owned(),
        ];
        fs::write(&config, lines.join("\n") + "\n")?;
        let newest = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/openssh");
        let sshd = if newest.exists() { newest.join("usr/sbin/sshd") } else { "/usr/sbin/sshd".into() };
        if newest.exists() {
            let own = |program: &str| newest.join("usr/lib/openssh").join(program).display().to_string();
            let lines = format!("SshdSessionPath {}\nSshdAuthPath {}\n", own("sshd-session"), own("sshd-auth"));
            File::options().append(true).open(&config)?.write_all(lines.as_bytes())?;
        }
        let version = said(Command::new(&sshd).arg("-V"))?;
        let command = format!("exec {} -D -e -f {}", sshd.display(), config.display());
        Server::start("OpenSSH", version, port, "nobody", NOBODY, place, files, &command)
    }

    /// Enclos, as released.
    pub(crate) fn enclos(place: &Place) -> Result<Server> {
        let binary = env!("CARGO_BIN_EXE_enclos");
        let dir = make_dir(&place.path("enclos"), 0, 0o755)?;
        let home = make_dir(&dir.join("account"), ACCOUNT, 0o755)?;
        let files = make_dir(&home.join("files"), ACCOUNT, 0o755)?;
        let (port, config) = (free_port()?, dir.join("enclos.toml"));
        fs::write(&config, format!("listen = [\"127.0.0.1:{port}\"]\nstate = {:?}\n", dir.join("state")))?;
        let key = place.key().with_extension("pub");
        let (home, key, id) = (text(&home)?, text(&key)?, ACCOUNT.to_string());
        for arguments in [
            &["account", "add", "bench", "--uid", &id, "--gid", &id, "--home", home][..],
            &["user", "add", "bench", "--account", "bench", "--service", "sftp"],
            &["grant", "add", "bench", "files", "--mode", "rw"],
            &["key", "add", "bench", "--file", key],
        ] {
            run(Command::new(binary).arg("--config").arg(&config).args(arguments).stdout(Stdio::null()))?;
        }
        let version = said(Command::new(binary).arg("--version"))?;
        let command = format!("exec {binary} --config {} serve", config.display());
        Server::start("Enclos", version, port, "bench", ACCOUNT, place, files, &command)
    }

    #[expect(clippy::too_many_arguments, reason = "two callers, just above, each with all of it")]
    fn start(
        name: &'static str,
        version: String,
        port: u16,
        user: &'static str,
        owner: u32,
        place: &Place,
        files: PathBuf,
        command: &str,
    ) -> Result<Server> {
        let group = Group::new(name)?;
        let log = File::create(place.path(&format!("{name}.log")))?;
        let mut shell = Command::new("setpriv");
        shell.args(["--pdeathsig", "TERM", "--", "sh", "-c", &(group.enter() + command)]);
        let process = shell.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let key = place.key();
        let mut server = Server { name, version, port, user, key, files, owner, group, process };
        server
            .await_greeting()
            .with_context(|| fs::read_to_string(place.path(&format!("{name}.log"))).unwrap_or_default())?;
        server.settle()?;
        Ok(server)
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

    pub(crate) fn user(&self) -> &'static str {
        self.user
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
        Ok(chown(path, Some(self.owner), Some(self.owner))?)
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
fn said(command: &mut Command) -> Result<String> {
    let ended = command.output().with_context(|| format!("start {command:?}"))?;
    let all = [ended.stdout, ended.stderr].concat();
    Ok(String::from_utf8_lossy(&all).lines().next().unwrap_or_default().to_owned())
}
