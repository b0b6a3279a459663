//! A client that sends SFTP packets as it likes (draft-ietf-secsh-filexfer-02), over the pipes of `ssh -s HOST sftp`.
//!
//! It shares no code with the server and checks nothing that it sends: a hostile client's packets are what tests of
//! confinement are made of.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::client::{Login, ssh};

/// Codes of SSH_FXP_STATUS (section 7).
pub(crate) mod status {
    pub(crate) const OK: u32 = 0;
    pub(crate) const EOF: u32 = 1;
    pub(crate) const NO_SUCH_FILE: u32 = 2;
    pub(crate) const PERMISSION_DENIED: u32 = 3;
}

/// Flags of SSH_FXP_OPEN (section 6.3).
pub(crate) mod open {
    pub(crate) const READ: u32 = 1;
    pub(crate) const WRITE: u32 = 2;
    pub(crate) const APPEND: u32 = 4;
    pub(crate) const CREATE: u32 = 8;
    pub(crate) const TRUNCATE: u32 = 16;
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Code and sentence.
    Status(u32, String),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<(Vec<u8>, Attributes)>),
    Attributes(Attributes),
    Extended(Vec<u8>),
}

impl Reply {
    /// Whether the request was done, or answered with what was asked for.
    pub(crate) fn is_success(&self) -> bool {
        !matches!(self, Reply::Status(code, _) if *code != status::OK)
    }

    /// The code of a status.
    pub(crate) fn code(&self) -> Option<u32> {
        match self {
            Reply::Status(code, _) => Some(*code),
            _ => None,
        }
    }
}

/// File attributes (section 5); what was not sent is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) size: Option<u64>,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) permissions: Option<u32>,
    pub(crate) times: Option<(u32, u32)>,
}

impl Attributes {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        let flags = flag(self.size.is_some(), 1)
            | flag(self.owner.is_some(), 2)
            | flag(self.permissions.is_some(), 4)
            | flag(self.times.is_some(), 8);
        out.extend(flags.to_be_bytes());
        out.extend(self.size.iter().flat_map(|n| n.to_be_bytes()));
        out.extend(self.owner.iter().flat_map(|(u, g)| [u.to_be_bytes(), g.to_be_bytes()].concat()));
        out.extend(self.permissions.iter().flat_map(|n| n.to_be_bytes()));
        out.extend(self.times.iter().flat_map(|(a, m)| [a.to_be_bytes(), m.to_be_bytes()].concat()));
        out
    }
}

/// Reads what the server sent; a short packet is a failure of the server.
struct Packet<'a>(&'a [u8]);

impl Packet<'_> {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let (head, rest) = self.0.split_at_checked(count).expect("the server sent a short packet");
        self.0 = rest;
        head.to_vec()
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    fn string(&mut self) -> Vec<u8> {
        let length = self.u32() as usize;
        self.take(length)
    }

    fn attributes(&mut self) -> Attributes {
        let flags = self.u32();
        let mut found = Attributes::default();
        if flags & 1 != 0 {
            found.size = Some(self.u64());
        }
        if flags & 2 != 0 {
            found.owner = Some((self.u32(), self.u32()));
        }
        if flags & 4 != 0 {
            found.permissions = Some(self.u32());
        }
        if flags & 8 != 0 {
            found.times = Some((self.u32(), self.u32()));
        }
        found
    }

    fn names(&mut self) -> Vec<(Vec<u8>, Attributes)> {
        let count = self.u32();
        (0..count)
            .map(|_| {
                let name = self.string();
                self.string();
                (name, self.attributes())
            })
            .collect()
    }
}

/// One SFTP connection.
#[derive(Debug)]
pub(crate) struct Raw {
    ssh: Child,
    to: ChildStdin,
    from: ChildStdout,
    next_id: u32,
    extensions: Vec<(String, String)>,
    watch: Option<Watch>,
    caught: Vec<String>,
}

/// Says, in words, what is wrong with an answer to a request of this type.
pub(crate) type Watch = fn(u8, &Reply) -> Option<String>;

impl Raw {
    /// Logs in and says hello.
    pub(crate) fn connect(login: &Login) -> Raw {
        Raw::try_connect(login).unwrap_or_else(|e| panic!("{} cannot open sftp: {e}", login.user))
    }

    /// Says hello in another version; the server must answer in version 3.
    pub(crate) fn connect_asking(login: &Login, version: u8) -> Raw {
        Raw::greet(ssh(login), login, version).unwrap_or_else(|e| panic!("{} cannot open sftp: {e}", login.user))
    }

    /// As `connect`; an error is what `ssh` said.
    pub(crate) fn try_connect(login: &Login) -> Result<Raw, String> {
        Raw::greet(ssh(login), login, 3)
    }

    /// The same, as one more channel of a connection that `ssh` shares at `control`.
    pub(crate) fn try_join(login: &Login, control: &Path) -> Result<Raw, String> {
        let mut command = ssh(login);
        command.arg("-o").arg(format!("ControlPath={}", control.display()));
        Raw::greet(command, login, 3)
    }

    fn greet(mut command: Command, login: &Login, version: u8) -> Result<Raw, String> {
        command.args(["-o", "LogLevel=ERROR", "-s"]).arg(login.at()).arg("sftp");
        let mut ssh =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start ssh");
        let to = ssh.stdin.take().expect("was piped");
        let from = ssh.stdout.take().expect("was piped");
        let mut raw = Raw { ssh, to, from, next_id: 0, extensions: Vec::new(), watch: None, caught: Vec::new() };
        // SSH_FXP_INIT (section 4).
        if raw.write(&[0, 0, 0, 5, 1, 0, 0, 0, version]).is_err() {
            return Err(raw.complaint());
        }
        match raw.packet() {
            Some((2, body)) => {
                let mut body = Packet(&body);
                assert_eq!(body.u32(), 3, "the server speaks version 3");
                while !body.0.is_empty() {
                    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("extensions are text");
                    let extension = (text(body.string()), text(body.string()));
                    raw.extensions.push(extension);
                }
                Ok(raw)
            }
            Some((kind, _)) => Err(format!("the first packet has type {kind}")),
            None => Err(raw.complaint()),
        }
    }

    fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.ssh.stderr.take() {
            stderr.read_to_string(&mut text).expect("read what ssh says");
        }
        text
    }

    /// Has every answer looked at from now on.
    pub(crate) fn watched_by(mut self, watch: Watch) -> Raw {
        self.watch = Some(watch);
        self
    }

    /// What was wrong with the answers since this was asked last.
    pub(crate) fn caught(&mut self) -> Vec<String> {
        std::mem::take(&mut self.caught)
    }

    /// What the server announced.
    pub(crate) fn extensions(&self) -> &[(String, String)] {
        &self.extensions
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.to.write_all(bytes)?;
        self.to.flush()
    }

    /// The next packet, or `None` when the connection has ended.
    fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut length = [0; 4];
        self.from.read_exact(&mut length).ok()?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.from.read_exact(&mut body).ok()?;
        let (kind, rest) = body.split_first()?;
        Some((*kind, rest.to_vec()))
    }

    /// Sends one request and waits for its answer.
    pub(crate) fn ask(&mut self, kind: u8, body: &[u8]) -> Reply {
        self.try_ask(kind, body).unwrap_or_else(|| panic!("the connection ended: {}", self.complaint()))
    }

    /// The same; `None` when the connection has ended.
    pub(crate) fn try_ask(&mut self, kind: u8, body: &[u8]) -> Option<Reply> {
        let id = self.send(kind, body).ok()?;
        let (answered, reply) = self.receive()?;
        assert_eq!(answered, id, "an answer to another request: {reply:?}");
        if let Some(wrong) = self.watch.and_then(|watch| watch(kind, &reply)) {
            self.caught.push(format!("{wrong} (request {kind} of {})", body.escape_ascii()));
        }
        Some(reply)
    }

    /// Sends one request and says its number.
    pub(crate) fn send(&mut self, kind: u8, body: &[u8]) -> std::io::Result<u32> {
        let id = self.next_id;
        self.next_id += 1;
        let length = u32::try_from(body.len() + 5).expect("a packet");
        let packet = [&length.to_be_bytes()[..], &[kind], &id.to_be_bytes()[..], body].concat();
        self.write(&packet)?;
        Ok(id)
    }

    /// Sends requests without waiting, then takes all answers; they stand in the order of the requests.
    pub(crate) fn ask_at_once(&mut self, requests: &[(u8, Vec<u8>)]) -> Vec<Reply> {
        let first = self.next_id;
        for (kind, body) in requests {
            self.send(*kind, body).expect("a connection");
        }
        let mut answers: Vec<_> = requests.iter().map(|_| self.receive().expect("an answer")).collect();
        answers.sort_by_key(|(id, _)| *id);
        assert!(answers.iter().zip(first..).all(|((id, _), wanted)| *id == wanted), "each is answered once");
        answers.into_iter().map(|(_, reply)| reply).collect()
    }

    /// The next answer, and the number of the request; `None` when the connection has ended.
    pub(crate) fn receive(&mut self) -> Option<(u32, Reply)> {
        let (kind, body) = self.packet()?;
        let mut body = Packet(&body);
        let id = body.u32();
        let reply = match kind {
            101 => {
                let code = body.u32();
                Reply::Status(code, String::from_utf8(body.string()).expect("a sentence"))
            }
            102 => Reply::Handle(body.string()),
            103 => Reply::Data(body.string()),
            104 => Reply::Names(body.names()),
            105 => Reply::Attributes(body.attributes()),
            201 => Reply::Extended(body.0.to_vec()),
            other => panic!("the server sent a packet of type {other}"),
        };
        Some((id, reply))
    }

    pub(crate) fn open(&mut self, path: &[u8], flags: u32) -> Reply {
        self.ask(3, &[string(path), flags.to_be_bytes().to_vec(), Attributes::default().encode()].concat())
    }

    pub(crate) fn close(&mut self, handle: &[u8]) -> Reply {
        self.ask(4, &string(handle))
    }

    pub(crate) fn read(&mut self, handle: &[u8], offset: u64, length: u32) -> Reply {
        self.ask(5, &[string(handle), offset.to_be_bytes().to_vec(), length.to_be_bytes().to_vec()].concat())
    }

    pub(crate) fn write_at(&mut self, handle: &[u8], offset: u64, data: &[u8]) -> Reply {
        self.ask(6, &[string(handle), offset.to_be_bytes().to_vec(), string(data)].concat())
    }

    pub(crate) fn lstat(&mut self, path: &[u8]) -> Reply {
        self.ask(7, &string(path))
    }

    pub(crate) fn setstat(&mut self, path: &[u8], wanted: &Attributes) -> Reply {
        self.ask(9, &[string(path), wanted.encode()].concat())
    }

    pub(crate) fn opendir(&mut self, path: &[u8]) -> Reply {
        self.ask(11, &string(path))
    }

    pub(crate) fn readdir(&mut self, handle: &[u8]) -> Reply {
        self.ask(12, &string(handle))
    }

    pub(crate) fn remove(&mut self, path: &[u8]) -> Reply {
        self.ask(13, &string(path))
    }

    pub(crate) fn mkdir(&mut self, path: &[u8]) -> Reply {
        self.ask(14, &[string(path), Attributes::default().encode()].concat())
    }

    pub(crate) fn rmdir(&mut self, path: &[u8]) -> Reply {
        self.ask(15, &string(path))
    }

    pub(crate) fn realpath(&mut self, path: &[u8]) -> Reply {
        self.ask(16, &string(path))
    }

    pub(crate) fn stat(&mut self, path: &[u8]) -> Reply {
        self.ask(17, &string(path))
    }

    /// `None` when the connection has ended.
    pub(crate) fn try_stat(&mut self, path: &[u8]) -> Option<Reply> {
        self.try_ask(17, &string(path))
    }

    pub(crate) fn rename(&mut self, from: &[u8], to: &[u8]) -> Reply {
        self.ask(18, &[string(from), string(to)].concat())
    }

    pub(crate) fn readlink(&mut self, path: &[u8]) -> Reply {
        self.ask(19, &string(path))
    }

    /// As OpenSSH has it: the target first.
    pub(crate) fn symlink(&mut self, target: &[u8], link: &[u8]) -> Reply {
        self.ask(20, &[string(target), string(link)].concat())
    }

    /// An extended request whose arguments are strings.
    pub(crate) fn extended(&mut self, name: &str, arguments: &[&[u8]]) -> Reply {
        let body: Vec<u8> = arguments.iter().flat_map(|a| string(a)).collect();
        self.ask(200, &[string(name.as_bytes()), body].concat())
    }

    /// A whole file, or the answer that stood in the way.
    pub(crate) fn contents(&mut self, path: &[u8]) -> Result<Vec<u8>, Reply> {
        let handle = match self.open(path, open::READ) {
            Reply::Handle(handle) => handle,
            other => return Err(other),
        };
        let mut all = Vec::new();
        let end = loop {
            match self.read(&handle, all.len() as u64, 32_768) {
                Reply::Data(data) => all.extend(data),
                end => break end,
            }
        };
        self.close(&handle);
        if end.code() == Some(status::EOF) { Ok(all) } else { Err(end) }
    }

    /// All names of a directory, or the answer that stood in the way.
    pub(crate) fn names(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, Reply> {
        let handle = match self.opendir(path) {
            Reply::Handle(handle) => handle,
            other => return Err(other),
        };
        let mut all = Vec::new();
        let end = loop {
            match self.readdir(&handle) {
                Reply::Names(names) => all.extend(names.into_iter().map(|(name, _)| name)),
                end => break end,
            }
        };
        self.close(&handle);
        if end.code() == Some(status::EOF) { Ok(all) } else { Err(end) }
    }

    /// Writes a whole file.
    pub(crate) fn put(&mut self, path: &[u8], data: &[u8], flags: u32) -> Reply {
        match self.open(path, flags) {
            Reply::Handle(handle) => {
                let written = self.write_at(&handle, 0, data);
                self.close(&handle);
                written
            }
            other => other,
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        drop(self.ssh.kill());
        drop(self.ssh.wait());
    }
}

/// A string as SSH writes it (RFC 4251, section 5).
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat()
}
