//! `rsync --server`: the side that a client starts. The lists are of what rsync 3.5's client sends (its rrsync keeps the
//! same ones), without what runs programs, reads further options, or writes devices.

use super::NotDirect;
use super::words::Word;

const PROGRAM: &str = "rsync";
/// Options of one letter without a value. `s` has a sentence of its own, `e` is looked at.
const LETTERS: &[u8] = b"ACDEHIJKLNORSUWXbcdgklmnopqrtuvxyz";

/// Long options without a value.
const PLAIN: &[&str] = &[
    "append",
    "copy-unsafe-links",
    "delay-updates",
    "delete",
    "delete-after",
    "delete-before",
    "delete-delay",
    "delete-during",
    "delete-excluded",
    "delete-missing-args",
    "dirs",
    "existing",
    "fake-super",
    "force",
    "from0",
    "fsync",
    "fuzzy",
    "group",
    "hard-links",
    "ignore-errors",
    "ignore-existing",
    "ignore-missing-args",
    "ignore-times",
    "inplace",
    "links",
    "list-only",
    "mkpath",
    "msgs2stderr",
    "munge-links",
    "new-compress",
    "no-W",
    "no-implied-dirs",
    "no-msgs2stderr",
    "no-r",
    "no-relative",
    "no-specials",
    "numeric-ids",
    "old-compress",
    "one-file-system",
    "open-noatime",
    "owner",
    "partial",
    "perms",
    "preallocate",
    "recursive",
    "remove-sent-files",
    "remove-source-files",
    "safe-links",
    "size-only",
    "specials",
    "stats",
    "super",
    "times",
    "use-qsort",
];

/// Long options with a value: behind a `=`, or in the next word.
const WITH_VALUE: &[&str] = &[
    "backup-dir",
    "block-size",
    "bwlimit",
    "checksum-choice",
    "checksum-seed",
    "compare-dest",
    "compress-choice",
    "compress-level",
    "compress-threads",
    "copy-dest",
    "files-from",
    "groupmap",
    "iconv",
    "info",
    "link-dest",
    "log-format",
    "max-alloc",
    "max-delete",
    "max-size",
    "min-size",
    "modify-window",
    "only-write-batch",
    "partial-dir",
    "skip-compress",
    "stderr",
    "suffix",
    "temp-dir",
    "timeout",
    "usermap",
];

pub(super) fn arguments(words: Vec<Word>, home: &str) -> Result<Vec<Vec<u8>>, NotDirect> {
    check(&words)?;
    let words = words.into_iter().map(|word| word.expand(home));
    Ok(std::iter::once(PROGRAM.into()).chain(words).collect())
}

/// `--server [--sender] options . paths`
fn check(words: &[Word]) -> Result<(), NotDirect> {
    let mut words = words.iter().peekable();
    if !words.next().is_some_and(|word| word.is("--server")) {
        return Err(NotDirect::NotServer { program: PROGRAM, how: "rsync --server, as rsync sends it" });
    }
    words.next_if(|word| word.is("--sender"));
    loop {
        match words.next() {
            // With -s alone there are neither.
            None => return Err(NotDirect::Paths { program: PROGRAM, what: "a dot and at least one path" }),
            Some(word) if word.is(".") => break,
            Some(word) if wants_value(word)? => {
                let value = words.next().filter(|value| !value.is_option());
                value.ok_or_else(|| refused(word))?;
            }
            Some(_) => {}
        }
    }
    if words.peek().is_none() {
        return Err(NotDirect::Paths { program: PROGRAM, what: "at least one path" });
    }
    // Options are recognized among paths as well; clients write `./-x`.
    words.find(|word| word.is_option()).map_or(Ok(()), |word| Err(refused(word)))
}

fn refused(word: &Word) -> NotDirect {
    NotDirect::Option { program: PROGRAM, option: word.shown() }
}

/// Whether the next word is the value of this option.
fn wants_value(word: &Word) -> Result<bool, NotDirect> {
    let known = |list: &[&str], name: &[u8]| list.iter().any(|option| option.as_bytes() == name);
    if word.from_home {
        return Err(refused(word));
    }
    let Some(long) = word.bytes.strip_prefix(b"--") else {
        return short(word).map(|()| false);
    };
    let equals = long.iter().position(|b| *b == b'=');
    match equals.and_then(|at| long.get(..at)) {
        Some(name) if known(WITH_VALUE, name) => Ok(false),
        None if known(WITH_VALUE, long) => Ok(true),
        None if known(PLAIN, long) => Ok(false),
        _ if long == b"secluded-args" || long == b"protect-args" => Err(NotDirect::Secluded),
        _ => Err(refused(word)),
    }
}

/// Letters in one word, of which `e` is the last option: what follows it says what the client can do. Anything else
/// there would be a program to run.
fn short(word: &Word) -> Result<(), NotDirect> {
    let Some(letters) = word.bytes.strip_prefix(b"-").filter(|letters| !letters.is_empty()) else {
        return Err(refused(word));
    };
    if let Some(size) = letters.strip_prefix(b"B") {
        return if !size.is_empty() && size.iter().all(u8::is_ascii_digit) { Ok(()) } else { Err(refused(word)) };
    }
    for (at, letter) in letters.iter().enumerate() {
        match letter {
            b'e' if is_ability(letters.get(at + 1..).unwrap_or_default()) => return Ok(()),
            b's' => return Err(NotDirect::Secluded),
            letter if LETTERS.contains(letter) => {}
            _ => return Err(refused(word)),
        }
    }
    Ok(())
}

/// `.iLsfxCIvu`, or `31.14` and the same letters: the version of a protocol that is not done yet.
fn is_ability(text: &[u8]) -> bool {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = text.get(digits..).unwrap_or_default();
    rest.strip_prefix(b".").is_some_and(|letters| letters.iter().all(u8::is_ascii_alphanumeric))
}
