//! `scp -t` and `scp -f`: the sides of the old protocol that a client starts (`scp -O`).

use super::NotDirect;
use super::words::Word;

const PROGRAM: &str = "scp";
/// What clients send: verbose, recursive, times and modes, the target is a directory, quiet; and to (`t`) or from (`f`).
const LETTERS: &[u8] = b"vrpdqtf";

pub(super) fn arguments(words: Vec<Word>, home: &str) -> Result<Vec<Vec<u8>>, NotDirect> {
    let is_flags = |word: &&Word| word.is_option() && !word.is("--") && !word.is("-");
    let flags = words.iter().take_while(is_flags).count();
    let mut letters = Vec::new();
    for word in words.iter().take(flags) {
        let these = word.bytes.get(1..).unwrap_or_default();
        if !these.iter().all(|letter| LETTERS.contains(letter)) {
            return Err(NotDirect::Option { program: PROGRAM, option: word.shown() });
        }
        letters.extend_from_slice(these);
    }
    let (to, from) = (letters.contains(&b't'), letters.contains(&b'f'));
    if to == from {
        return Err(NotDirect::NotServer { program: PROGRAM, how: "scp -t or scp -f, as scp -O sends it" });
    }
    let has_end = words.get(flags).is_some_and(|word| word.is("--"));
    let paths = words.get(flags + usize::from(has_end)..).unwrap_or_default();
    // Options are recognized among paths as well, unless `--` has ended them.
    if let Some(word) = paths.iter().find(|word| word.is_option() && !has_end) {
        return Err(NotDirect::Option { program: PROGRAM, option: word.shown() });
    }
    if paths.is_empty() || (to && paths.len() > 1) {
        return Err(NotDirect::Paths { program: PROGRAM, what: "one path" });
    }
    let words = words.into_iter().map(|word| word.expand(home));
    Ok(std::iter::once(PROGRAM.into()).chain(words).collect())
}
