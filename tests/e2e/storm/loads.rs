//! The load: people and tools who work all the while, are cut off, come again, and know what they were told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::journal::{Journal, Text, Way};
use crate::harness::{Attributes, Login, Numbers, Raw, Reply, finish, open, ssh, ssh_line, string};

/// What is written at a time.
const BLOCK: usize = 32_000;
/// Files that a load leaves lying around.
const KEPT: u64 = 6;

/// How one load comes along, for the one who watches it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Things done, each of them answered.
    steps: AtomicU64,
    /// Times that it was cut off.
    cuts: AtomicU64,
    /// Cut uploads that were gone on with.
    resumed: AtomicU64,
    /// Sentences that refused something, and how often.
    refused: Mutex<BTreeMap<String, u64>>,
    stop: AtomicBool,
    paused: AtomicBool,
    is_waiting: AtomicBool,
}

impl Pace {
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    pub(super) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }

    pub(super) fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::SeqCst)
    }

    /// How often something was refused with a sentence that has this in it.
    pub(super) fn refused(&self, part: &str) -> u64 {
        let refused = self.refused.lock().expect("nobody panics with it");
        refused.iter().filter(|(sentence, _)| sentence.contains(part)).map(|(_, count)| count).sum()
    }

    /// Everything that was refused, to be read.
    pub(super) fn refusals(&self) -> String {
        format!("{:?}", self.refused.lock().expect("nobody panics with it"))
    }

    /// Has it wait before the next thing it does; says whether it waits already.
    pub(super) fn pause(&self, pause: bool) -> bool {
        self.paused.store(pause, Ordering::SeqCst);
        self.is_waiting.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::SeqCst);
    }

    fn wait(&self) {
        while self.paused.load(Ordering::SeqCst) && !self.is_over() {
            self.is_waiting.store(true, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(2));
        }
        self.is_waiting.store(false, Ordering::SeqCst);
    }
}

/// Why something was not done.
#[derive(Debug)]
enum Stop {
    /// The connection has ended.
    Cut,
    /// The server has said no, and why.
    Refused(String),
}

/// One that works, in a thread of its own.
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) pace: Arc<Pace>,
    pub(super) journal: Option<Arc<Mutex<Journal>>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn start(
        name: &'static str,
        journal: Option<Arc<Mutex<Journal>>>,
        mut round: impl FnMut(&Pace) -> Result<(), Stop> + Send + 'static,
    ) -> Load {
        let pace = Arc::new(Pace::default());
        let seen = Arc::clone(&pace);
        let thread = thread::spawn(move || {
            while !seen.is_over() {
                seen.wait();
                // As people work, and not as fast as a machine can.
                thread::sleep(Duration::from_millis(5));
                match round(&seen) {
                    Ok(()) => seen.step(),
                    Err(Stop::Cut) => drop(seen.cuts.fetch_add(1, Ordering::SeqCst)),
                    Err(Stop::Refused(sentence)) => {
                        let mut refused = seen.refused.lock().expect("nobody panics with it");
                        *refused.entry(sentence).or_default() += 1;
                    }
                }
            }
        });
        Load { name, pace, journal, thread: Some(thread) }
    }

    /// Whether it still works: a load that has panicked does not.
    pub(super) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Tells it to end with what it is doing.
    pub(super) fn stop(&self) {
        self.pace.stop.store(true, Ordering::SeqCst);
    }

    /// Waits for that.
    pub(super) fn join(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a load");
        }
    }

    pub(super) fn journal(&self) -> Option<MutexGuard<'_, Journal>> {
        self.journal.as_ref().map(|journal| journal.lock().expect("nobody panics with it"))
    }

    /// Writes files in place, syncs them, and goes on with those that were cut.
    pub(super) fn in_place(name: &'static str, login: Login, place: PathBuf, seed: u64) -> Load {
        let journal = Arc::new(Mutex::new(Journal::new(place, Way::InPlace)));
        let mut uploads = Uploads::new(login, Arc::clone(&journal), seed);
        Load::start(name, Some(journal), move |pace| uploads.write_in_place(pace))
    }

    /// Uploads files that show when they are whole: now a new one, now one that is there.
    pub(super) fn atomic(name: &'static str, login: Login, place: PathBuf, seed: u64) -> Load {
        let journal = Arc::new(Mutex::new(Journal::new(place, Way::Whole)));
        let mut uploads = Uploads::new(login, Arc::clone(&journal), seed);
        Load::start(name, Some(journal), move |pace| uploads.upload_whole(pace))
    }

    /// Reads one file again and again.
    pub(super) fn downloads(name: &'static str, login: Login, file: Text) -> Load {
        let mut sftp = Connection::new(login);
        let bytes = file.bytes();
        Load::start(name, None, move |_| {
            let handle = sftp.open("download", open::READ)?;
            for (n, part) in bytes.chunks(BLOCK).enumerate() {
                let asked =
                    [string(&handle), ((n * BLOCK) as u64).to_be_bytes().to_vec(), 32_000_u32.to_be_bytes().to_vec()];
                match sftp.ask(5, &asked.concat())? {
                    Reply::Data(data) => assert!(data == part, "part {n} of a download is wrong"),
                    other => panic!("a download is cut short by {other:?}"),
                }
            }
            sftp.close_after(&handle, Ok(()))
        })
    }

    /// Talks to a program that answers every line: `ssh` with these arguments.
    pub(super) fn talk(name: &'static str, login: Login, arguments: Vec<String>) -> Load {
        let mut talk: Option<Talk> = None;
        let mut words = 0_u64;
        Load::start(name, None, move |_| {
            words += 1;
            let talking = talk.get_or_insert_with(|| Talk::begin(&login, &arguments));
            let said = talking.say(&format!("word {words}"));
            if said.is_none() {
                talk = None;
            }
            said.ok_or(Stop::Cut)
        })
    }

    /// Mirrors a directory in which something changes each time.
    pub(super) fn rsync(name: &'static str, login: Login, local: PathBuf) -> Load {
        let mut round = 0_u64;
        Load::start(name, None, move |_| {
            round += 1;
            let text = Text { seed: round, length: 20_000 };
            std::fs::write(local.join(format!("file-{}", round % 10)), text.bytes()).expect("a file");
            if mirror(&login, &local) { Ok(()) } else { Err(Stop::Cut) }
        })
    }
}

/// Makes the directory of a login's cell like this one.
pub(super) fn mirror(login: &Login, local: &Path) -> bool {
    let mut rsync = Command::new("rsync");
    rsync.args(["-a", "--delete", "--timeout=60", "-e", &ssh_line(login)]);
    rsync.arg(format!("{}/", local.display())).arg(format!("{}:mirror/", login.at()));
    finish(&mut rsync, "").status.success()
}

/// A connection that is made anew when it is needed.
struct Connection {
    login: Login,
    raw: Option<Raw>,
}

impl Connection {
    fn new(login: Login) -> Connection {
        Connection { login, raw: None }
    }

    fn ask(&mut self, kind: u8, body: &[u8]) -> Result<Reply, Stop> {
        if self.raw.is_none() {
            self.raw = Some(Raw::try_connect(&self.login).map_err(|_| Stop::Cut)?);
        }
        match self.raw.as_mut().and_then(|raw| raw.try_ask(kind, body)) {
            None => {
                self.raw = None;
                Err(Stop::Cut)
            }
            Some(Reply::Status(1.., sentence)) => Err(Stop::Refused(sentence)),
            Some(reply) => Ok(reply),
        }
    }

    fn open(&mut self, name: &str, flags: u32) -> Result<Vec<u8>, Stop> {
        let body = [string(name.as_bytes()), flags.to_be_bytes().to_vec(), Attributes::default().encode()];
        match self.ask(3, &body.concat())? {
            Reply::Handle(handle) => Ok(handle),
            other => panic!("{other:?} in answer to an open"),
        }
    }

    fn write(&mut self, handle: &[u8], at: usize, data: &[u8]) -> Result<(), Stop> {
        self.ask(6, &[string(handle), (at as u64).to_be_bytes().to_vec(), string(data)].concat()).map(drop)
    }

    /// Writes a text from here to its end.
    fn write_from(&mut self, handle: &[u8], at: usize, text: Text) -> Result<(), Stop> {
        for (n, part) in text.bytes()[at..].chunks(BLOCK).enumerate() {
            self.write(handle, at + n * BLOCK, part)?;
        }
        Ok(())
    }

    /// Closes a file; what stood in the way before is what counts.
    fn close_after(&mut self, handle: &[u8], written: Result<(), Stop>) -> Result<(), Stop> {
        if matches!(written, Err(Stop::Cut)) {
            return written;
        }
        let closed = self.ask(4, &string(handle)).map(drop);
        written.and(closed)
    }

    fn sync(&mut self, handle: &[u8]) -> Result<(), Stop> {
        self.ask(200, &[string(b"fsync@openssh.com"), string(handle)].concat()).map(drop)
    }

    /// How much there is of a file; `None` where there is none.
    fn size(&mut self, name: &str) -> Result<Option<usize>, Stop> {
        match self.ask(17, &string(name.as_bytes())) {
            Ok(Reply::Attributes(seen)) => Ok(seen.size.map(|size| usize::try_from(size).expect("a small file"))),
            Ok(other) => panic!("{other:?} in answer to a stat"),
            Err(Stop::Refused(sentence)) if sentence.contains("no such file") => Ok(None),
            Err(stop) => Err(stop),
        }
    }
}

/// Somebody who uploads.
struct Uploads {
    connection: Connection,
    journal: Arc<Mutex<Journal>>,
    numbers: Numbers,
    round: u64,
    /// What was cut off, and up to where it is known to be there.
    cut: Option<(String, Text, usize)>,
}

impl Uploads {
    fn new(login: Login, journal: Arc<Mutex<Journal>>, seed: u64) -> Uploads {
        Uploads { connection: Connection::new(login), journal, numbers: Numbers::new(seed), round: 0, cut: None }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().expect("nobody panics with it")
    }

    fn next_text(&mut self) -> Text {
        self.round += 1;
        let length = usize::try_from(self.numbers.next() % 200_000).expect("small") + 1;
        Text { seed: self.numbers.next(), length }
    }

    fn write_in_place(&mut self, pace: &Pace) -> Result<(), Stop> {
        let (name, text, begun) = match self.cut.take() {
            Some(cut) => cut,
            None => (format!("file-{}", self.round), self.next_text(), 0),
        };
        self.cut = Some((name.clone(), text, begun));
        let flags = if begun == 0 { open::WRITE | open::CREATE | open::TRUNCATE } else { open::WRITE };
        if begun == 0 {
            self.journal().asked(&name, text.up_to(0));
        }
        let handle = self.connection.open(&name, flags)?;
        let written = self.write_and_sync(&handle, &name, text, begun);
        self.connection.close_after(&handle, written)?;
        self.cut = None;
        if begun > 0 {
            pace.resumed.fetch_add(1, Ordering::SeqCst);
        }
        self.clear_away("file-")
    }

    /// Syncs twice, so that there is something in between to be cut off at.
    fn write_and_sync(&mut self, handle: &[u8], name: &str, text: Text, begun: usize) -> Result<(), Stop> {
        for length in [text.length / 2, text.length] {
            let from = begun.min(length);
            self.connection.write_from(handle, from, text.up_to(length))?;
            self.connection.sync(handle)?;
            self.journal().acknowledged(name, text.up_to(length));
            self.cut = Some((name.to_owned(), text, length));
        }
        Ok(())
    }

    fn upload_whole(&mut self, pace: &Pace) -> Result<(), Stop> {
        if let Some((name, text, _)) = self.cut.take() {
            self.cut = Some((name.clone(), text, 0));
            if self.resume(&name, text)? {
                pace.resumed.fetch_add(1, Ordering::SeqCst);
            }
            self.cut = None;
        }
        let text = self.next_text();
        let is_new = self.round.is_multiple_of(2);
        let name = if is_new { format!("new-{}", self.round) } else { format!("old-{}", self.round % 8) };
        self.journal().asked(&name, text);
        if is_new {
            self.cut = Some((name.clone(), text, 0));
        }
        let handle = self.connection.open(&name, open::WRITE | open::CREATE | open::TRUNCATE)?;
        let written = self.connection.write_from(&handle, 0, text);
        self.connection.close_after(&handle, written)?;
        self.cut = None;
        self.journal().acknowledged(&name, text);
        if is_new { self.clear_away("new-") } else { Ok(()) }
    }

    /// Goes on with a new file that was cut off, by what is there of it; says whether there was something.
    fn resume(&mut self, name: &str, text: Text) -> Result<bool, Stop> {
        let Some(size) = self.connection.size(name)? else { return Ok(false) };
        assert!(size <= text.length, "{name} has {size} bytes, and {} were sent", text.length);
        let handle = self.connection.open(name, open::WRITE)?;
        let written = self.connection.write_from(&handle, size, text);
        self.connection.close_after(&handle, written)?;
        self.journal().acknowledged(name, text);
        Ok(true)
    }

    /// Removes what was uploaded some time ago.
    fn clear_away(&mut self, prefix: &str) -> Result<(), Stop> {
        let Some(old) = self.round.checked_sub(2 * KEPT) else { return Ok(()) };
        let name = format!("{prefix}{old}");
        self.journal().asked_to_remove(&name);
        match self.connection.ask(13, &string(name.as_bytes())) {
            // It may have been removed before an answer was cut off, or never have been made.
            Err(Stop::Refused(sentence)) if !sentence.contains("no such file") => return Err(Stop::Refused(sentence)),
            Ok(_) | Err(Stop::Refused(_)) => {}
            Err(stop) => return Err(stop),
        }
        self.journal().removed(&name);
        Ok(())
    }
}

/// A program on the other side that answers every line.
struct Talk {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Talk {
    fn begin(login: &Login, arguments: &[String]) -> Talk {
        let mut command = ssh(login);
        command.args(["-o", "LogLevel=ERROR"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("start ssh");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Talk { child, input, output: BufReader::new(output) }
    }

    /// `None` when it has ended.
    fn say(&mut self, word: &str) -> Option<()> {
        writeln!(self.input, "{word}").ok()?;
        let mut line = String::new();
        self.output.read_line(&mut line).ok()?;
        if line.is_empty() {
            return None;
        }
        assert_eq!(line.trim_end(), word, "a program answers something else");
        Some(())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
