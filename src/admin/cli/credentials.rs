//! `enclos key …` and `enclos passwd`

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;

use nix::sys::termios::{self, LocalFlags, SetArg};

use super::args::{Key, Passwd, Totp};
use super::{CommandError, Context, Result, report};
use crate::control::{Operation, Outcome};
use crate::domain::{KeyChange, Secret};

/// More than any file with as many keys as can be added at a time.
const LONGEST_KEY_FILE: u64 = 512 * 1024;

pub(super) fn run_key(context: &Context<'_>, command: Key) -> Result<()> {
    context.perform(match command {
        Key::Add { user, file, options } => {
            return add(context, Operation::KeyAdd { user, text: read_key(&file)?, change: options.change()? });
        }
        Key::Set { user, key, options } => {
            let change = options.change()?;
            if change == KeyChange::default() {
                return Err(CommandError::Input("say what to change; see: enclos key set --help".to_owned()));
            }
            Operation::KeySet { user, key, change }
        }
        Key::List { user } => Operation::KeyList { user },
        Key::Remove { user, key } => Operation::KeyRemove { user, key },
    })
}

fn add(context: &Context<'_>, operation: Operation) -> Result<()> {
    let outcome = context.ask(operation)?;
    let added = match &outcome {
        Outcome::Key(key) => std::slice::from_ref(key),
        Outcome::Keys(keys) => keys,
        _ => &[],
    };
    if added.iter().any(|key| key.algorithm.starts_with("sk-")) {
        eprintln!(
            "enclos: note: whether a security key was touched cannot be checked here; its signature is, as that of any key"
        );
    }
    report::print(&outcome, context.json)
}

pub(super) fn read_key(path: &Path) -> Result<String> {
    let unreadable = |source| CommandError::File { what: "read the public key", path: path.to_owned(), source };
    let mut text = String::new();
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(unreadable)?) };
    source.take(LONGEST_KEY_FILE).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

pub(super) fn run_totp(context: &Context<'_>, command: Totp) -> Result<()> {
    context.perform(match command {
        Totp::Enrol { user } => Operation::TotpEnrol { user },
        Totp::Remove { user } => Operation::TotpRemove { user },
    })
}

pub(super) fn run_passwd(context: &Context<'_>, options: &Passwd) -> Result<()> {
    if options.hash {
        let hash = if options.stdin || !io::stdin().is_terminal() { read_line()? } else { ask("Hash: ")? };
        let hash = Secret::new(hash.trim()).map_err(|e| CommandError::Input(e.to_string()))?;
        return context.perform(Operation::PasswdHash { user: options.user.clone(), hash });
    }
    let password = if options.remove { None } else { Some(read_password(options.stdin)?) };
    context.perform(Operation::Passwd { user: options.user.clone(), password })
}

fn read_password(from_stdin: bool) -> Result<Secret> {
    let text = if from_stdin || !io::stdin().is_terminal() { read_line()? } else { ask_twice()? };
    Secret::new(&text).map_err(|e| CommandError::Input(e.to_string()))
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    let read = io::stdin().lock().take(4096).read_line(&mut line);
    read.map_err(|source| CommandError::File {
        what: "read the password from",
        path: "standard input".into(),
        source,
    })?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask_twice() -> Result<String> {
    let (first, second) = (ask("Password: ")?, ask("Again: ")?);
    if first == second { Ok(first) } else { Err(CommandError::Input("the two passwords differ; try again".into())) }
}

/// Reads a line from the terminal without showing it.
fn ask(prompt: &str) -> Result<String> {
    let failed = |source| CommandError::System { step: "ask for a password", source };
    eprint!("{prompt}");
    let stdin = io::stdin();
    let shown = termios::tcgetattr(&stdin).map_err(failed)?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    termios::tcsetattr(&stdin, SetArg::TCSAFLUSH, &hidden).map_err(failed)?;
    let line = read_line();
    termios::tcsetattr(&stdin, SetArg::TCSAFLUSH, &shown).map_err(failed)?;
    eprintln!();
    line
}
