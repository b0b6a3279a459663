//! The two servers, each alone in a directory that is its `/`.
//!
//! OpenSSH's runs in a chroot, as the unprivileged user that our engine's thread takes for its filesystem calls: both are
//! held to modes and owners. What a chroot needs for starting a program is removed again once it has started.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use enclos::files::Root;
use enclos::sftp::{Engine, Settings};
use nix::unistd::{Gid, Uid};

/// The unprivileged user of both.
pub(crate) const USER: u32 = 54_321;
const SERVER: &str = "/usr/lib/openssh/sftp-server";
const INIT: [u8; 9] = [0, 0, 0, 5, 1, 0, 0, 0, 3];
/// The C library changes modes by way of `/proc`, which so must be there, in a mount namespace that ends with the server.
const START: &str = "mount --bind /proc \"$0/proc\" && exec chroot \"$1\" --groups= \"$0\" \\
    /oracle/loader --library-path /oracle /oracle/server -e -l QUIET -u 022";
const ROOM: usize = 1 << 30;

/// A server that answers one packet with one packet.
pub(crate) trait Side {
    /// The answer without its length field.
    fn ask(&mut self, packet: &[u8]) -> Vec<u8>;
}

/// OpenSSH's server.
pub(crate) struct OpenSsh {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// The VERSION packet.
    pub(crate) version: Vec<u8>,
}

impl OpenSsh {
    /// Starts it with `tree` as its `/`.
    pub(crate) fn start(tree: &Path) -> OpenSsh {
        let made = prepare(tree);
        let mut child = Command::new("unshare")
            .args(["--mount", "sh", "-c", START])
            .arg(tree)
            .arg(format!("--userspec={USER}:{USER}"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chroot starts OpenSSH's server");
        let (input, output) = (child.stdin.take().expect("its input"), child.stdout.take().expect("its output"));
        let mut started = OpenSsh { child, input, output, version: Vec::new() };
        started.version = started.ask(&INIT);
        for path in made {
            fs::remove_dir_all(tree.join(path)).expect("remove what the start needed");
        }
        started
    }
}

/// Puts into a tree what the program needs for starting.
fn prepare(tree: &Path) -> [&'static str; 2] {
    fs::create_dir(tree.join("oracle")).expect("a directory for the program");
    fs::create_dir(tree.join("dev")).expect("a directory for devices");
    fs::write(tree.join("dev/null"), "").expect("something by the name of /dev/null");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(tree.join("dev/null"), PermissionsExt::from_mode(0o666)).expect("open to all");
    fs::copy(SERVER, tree.join("oracle/server")).expect("OpenSSH's server; the package openssh-sftp-server has it");
    let told = Command::new("ldd").arg(SERVER).output().expect("ldd, for the libraries of the server").stdout;
    for line in String::from_utf8(told).expect("text").lines() {
        let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else { continue };
        let name = Path::new(path).file_name().and_then(|n| n.to_str()).expect("a library's name");
        let name = if name.starts_with("ld-linux") { "loader" } else { name };
        fs::copy(path, tree.join("oracle").join(name)).expect("a library");
    }
    ["oracle", "dev"]
}

impl Side for OpenSsh {
    fn ask(&mut self, packet: &[u8]) -> Vec<u8> {
        self.input.write_all(packet).expect("OpenSSH's server takes the packet");
        let mut length = [0; 4];
        self.output.read_exact(&mut length).expect("OpenSSH's server answers");
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.output.read_exact(&mut answer).expect("a whole answer");
        answer
    }
}

impl Drop for OpenSsh {
    fn drop(&mut self) {
        self.child.kill().expect("end OpenSSH's server");
        self.child.wait().expect("OpenSSH's server ends");
    }
}

/// Our engine.
pub(crate) struct Enclos {
    engine: Engine,
    /// The VERSION packet.
    pub(crate) version: Vec<u8>,
}

impl Enclos {
    /// Makes one with `tree` as its `/`.
    pub(crate) fn start(tree: &Path) -> Enclos {
        let settings = Settings {
            user: "bob".into(),
            group: "acme".into(),
            owner_ids: (USER, USER),
            own_ids: (USER, USER),
            umask: 0o022,
            start: b"/".to_vec(),
            home: b"/".to_vec(),
            links: enclos::sftp::LinkOrder::default(),
        };
        let engine = Engine::new(Root::open(tree).expect("the tree"), settings);
        let mut started = Enclos { engine, version: Vec::new() };
        started.version = started.ask(&INIT);
        started
    }
}

impl Side for Enclos {
    fn ask(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        {
            let _unprivileged = Unprivileged::begin();
            self.engine.feed(packet, &mut out, ROOM).expect("spoken well");
            while self.engine.is_busy() {
                self.engine.work(&mut out);
            }
        }
        let (length, answer) = out.split_first_chunk::<4>().expect("an answer");
        assert_eq!(u32::from_be_bytes(*length) as usize, answer.len(), "one answer");
        answer.to_vec()
    }
}

/// While it lives, this thread's filesystem calls are those of the unprivileged user.
struct Unprivileged;

impl Unprivileged {
    fn begin() -> Unprivileged {
        nix::unistd::setfsgid(Gid::from_raw(USER));
        nix::unistd::setfsuid(Uid::from_raw(USER));
        Unprivileged
    }
}

impl Drop for Unprivileged {
    fn drop(&mut self) {
        nix::unistd::setfsuid(Uid::from_raw(0));
        nix::unistd::setfsgid(Gid::from_raw(0));
    }
}
