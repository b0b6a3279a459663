//! A program on a terminal, and somebody who types.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use super::process::{Waiting, wait_until};

/// Longest that an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal of which this is the keyboard and the screen. What runs on it is ended with it.
#[derive(Debug)]
pub(crate) struct Terminal {
    keyboard: File,
    /// For its size and modes.
    own: OwnedFd,
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    /// How much of the screen was looked at.
    at: usize,
}

impl Terminal {
    /// Starts a program on a new terminal, which is its controlling one. It speaks UTF-8, as those of our time do.
    pub(crate) fn start(command: &Command, columns: u16, rows: u16) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let own = openpt(flags).expect("a terminal");
        grantpt(&own).expect("a terminal");
        unlockpt(&own).expect("a terminal");
        let theirs = ioctl_tiocgptpeer(&own, flags).expect("its other side");
        let mut modes = tcgetattr(&theirs).expect("its modes");
        modes.input_modes.insert(InputModes::IUTF8);
        tcsetattr(&theirs, OptionalActions::Now, &modes).expect("its modes");
        set_size(&own, columns, rows);
        let child = on_terminal(command, &theirs).spawn().expect("start it; tests/run installs the clients");
        let keyboard = File::from(own.try_clone().expect("the terminal again"));
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (shown, mut source) = (Arc::clone(&screen), keyboard.try_clone().expect("the terminal again"));
        thread::spawn(move || {
            let mut part = [0; 4096];
            // Its end is an error (EIO): nobody has the other side open any more.
            while let Ok(got @ 1..) = source.read(&mut part) {
                shown.lock().expect("nobody panics here").extend_from_slice(&part[..got]);
            }
        });
        Terminal { keyboard, own, child, screen, at: 0 }
    }

    /// Types these characters.
    #[track_caller]
    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap_or_else(|e| panic!("{e}; it showed:\n{}", self.shown(0)));
    }

    /// Waits until the screen shows this after what was waited for before; answers with all up to there.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> String {
        let from = self.at;
        let mut found = None;
        let waited = wait_until(PATIENCE, || {
            found = self.find(text);
            found.is_some()
        });
        assert_eq!(waited, Waiting::Came, "{text:?} does not come; it shows:\n{}", self.shown(0));
        self.at = found.expect("just found");
        let screen = self.screen.lock().expect("nobody panics here");
        String::from_utf8_lossy(&screen[from..self.at]).into_owned()
    }

    /// Types a line and waits for this.
    #[track_caller]
    pub(crate) fn answers(&mut self, line: &str, text: &str) -> String {
        self.types(&format!("{line}\r"));
        self.until(text)
    }

    /// Where the text ends that is looked for.
    fn find(&self, text: &str) -> Option<usize> {
        let screen = self.screen.lock().expect("nobody panics here");
        let rest = &screen[self.at..];
        let start = rest.windows(text.len()).position(|part| part == text.as_bytes())?;
        Some(self.at + start + text.len())
    }

    /// What it showed from there on.
    pub(crate) fn shown(&self, from: usize) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("nobody panics here")[from..]).into_owned()
    }

    /// Changes its size; who runs on it is told by a signal.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        set_size(&self.own, columns, rows);
    }

    /// Process id of what was started.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the program's end; answers with its exit status.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let mut ended = None;
        let waited = wait_until(PATIENCE, || {
            ended = self.child.try_wait().expect("our own child");
            ended.is_some()
        });
        assert_eq!(waited, Waiting::Came, "it does not end; it shows:\n{}", self.shown(0));
        ended.and_then(|status| status.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().expect("our own child");
        }
        self.child.wait().expect("our own child");
    }
}

fn set_size(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("its size");
}

/// The same command in a session of its own, whose terminal this is.
fn on_terminal(command: &Command, terminal: &OwnedFd) -> Command {
    let mut on = Command::new("setsid");
    on.args(["--ctty", "--"]).arg(command.get_program()).args(command.get_args());
    on.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let stream = || Stdio::from(terminal.try_clone().expect("the terminal again"));
    on.stdin(stream()).stdout(stream()).stderr(stream());
    on
}
