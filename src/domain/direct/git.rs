//! `git-upload-pack`, `git-receive-pack` and `git-upload-archive`, each with the path of one repository and nothing else,
//! as git-shell takes them. What clients quote of a `~` git reads itself.

use super::NotDirect;
use super::words::Word;

/// The parts of git that clients start.
const COMMANDS: [&str; 3] = ["upload-pack", "receive-pack", "upload-archive"];

/// The command that `git-command`, or `git` with the next word, names.
pub(super) fn command(name: &[u8], words: &mut impl Iterator<Item = Word>) -> Option<&'static str> {
    let known = |name: &[u8]| COMMANDS.into_iter().find(|command| command.as_bytes() == name);
    match name {
        b"git" => known(&words.next().filter(|word| !word.from_home)?.bytes),
        name => known(name.strip_prefix(b"git-")?),
    }
}

pub(super) fn arguments(command: &'static str, words: Vec<Word>, home: &str) -> Result<Vec<Vec<u8>>, NotDirect> {
    let [path] = <[Word; 1]>::try_from(words)
        .map_err(|_| NotDirect::Paths { program: "git", what: "the path of one repository, and nothing else," })?;
    if path.is_option() {
        return Err(NotDirect::Option { program: "git", option: path.shown() });
    }
    Ok(vec![b"git".into(), command.into(), path.expand(home)])
}
