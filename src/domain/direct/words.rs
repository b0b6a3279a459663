//! Words of a command line, for programs that are started without a shell.
//!
//! What quoting means is taken as POSIX shells take it (XCU 2.2); whatever else a shell would do something with is refused,
//! so a line that is taken here has the words that a shell would have made of it. `tests/command_lines.rs` asks one.

use super::NotDirect;

/// One word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// What it says, without quotes.
    pub(super) bytes: Vec<u8>,
    /// Whether an unquoted `~` stood before that.
    pub(super) from_home: bool,
}

impl Word {
    /// The word with the directory that `~` stands for.
    pub(super) fn expand(self, home: &str) -> Vec<u8> {
        if self.from_home { [home.as_bytes(), &self.bytes].concat() } else { self.bytes }
    }

    /// Whether a program would take it for an option.
    pub(super) fn is_option(&self) -> bool {
        !self.from_home && self.bytes.starts_with(b"-")
    }

    /// Whether it says just this.
    pub(super) fn is(&self, text: &str) -> bool {
        !self.from_home && self.bytes == text.as_bytes()
    }

    /// For a sentence: short, and harmless on a terminal.
    pub(super) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let home = if self.from_home { "~" } else { "" };
        home.chars().chain(text.chars().take(60)).flat_map(char::escape_debug).collect()
    }
}

/// Takes a command line apart.
pub(super) fn split(line: &[u8]) -> Result<Vec<Word>, NotDirect> {
    if line.len() > super::LONGEST {
        return Err(NotDirect::Long);
    }
    if line.iter().any(u8::is_ascii_control) {
        return Err(NotDirect::Control);
    }
    let (mut words, mut rest) = (Vec::new(), line);
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(words);
        }
        let mut word = Word::default();
        rest = read_word(rest, &mut word)?;
        words.push(word);
    }
}

/// Reads one word, and answers with what follows it.
fn read_word<'l>(line: &'l [u8], word: &mut Word) -> Result<&'l [u8], NotDirect> {
    let mut rest = line;
    if let Some(after) = rest.strip_prefix(b"~") {
        // `~name` is somebody's home; here is nobody else.
        if !matches!(after.first(), None | Some(b'/' | b' ')) {
            return Err(NotDirect::Special('~'));
        }
        (word.from_home, rest) = (true, after);
    }
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b' ' => break,
            b'\'' => single_quoted(after, &mut word.bytes)?,
            b'"' => double_quoted(after, &mut word.bytes)?,
            b'\\' => {
                let (escaped, after) = after.split_first().ok_or(NotDirect::Unfinished)?;
                word.bytes.push(*escaped);
                after
            }
            // Some shells read it as a home there too.
            b'~' if matches!(word.bytes.last(), Some(b'=' | b':')) => return Err(NotDirect::Special('~')),
            plain if is_plain(*plain) => {
                word.bytes.push(*plain);
                after
            }
            special => return Err(NotDirect::Special(char::from(*special))),
        };
    }
    Ok(rest)
}

fn single_quoted<'l>(line: &'l [u8], bytes: &mut Vec<u8>) -> Result<&'l [u8], NotDirect> {
    let end = line.iter().position(|b| *b == b'\'').ok_or(NotDirect::Unfinished)?;
    let (quoted, rest) = line.split_at(end);
    bytes.extend_from_slice(quoted);
    Ok(rest.get(1..).unwrap_or_default())
}

/// In double quotes a backslash quotes those characters alone that a shell would do something with.
fn double_quoted<'l>(line: &'l [u8], bytes: &mut Vec<u8>) -> Result<&'l [u8], NotDirect> {
    let mut rest = line;
    loop {
        let (first, after) = rest.split_first().ok_or(NotDirect::Unfinished)?;
        rest = match (first, after.split_first()) {
            (b'"', _) => return Ok(after),
            (b'\\', Some((escaped @ (b'$' | b'`' | b'"' | b'\\'), after))) => {
                bytes.push(*escaped);
                after
            }
            (special @ (b'$' | b'`' | b'\\'), _) => return Err(NotDirect::Special(char::from(*special))),
            (plain, _) => {
                bytes.push(*plain);
                after
            }
        };
    }
}

/// What is itself to every shell, wherever it stands in a word but for a `~` at its beginning.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-_./,:=+@%~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let words = split(line.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}"));
        words.into_iter().map(|w| String::from_utf8(w.expand("/home")).expect("text")).collect()
    }

    #[test]
    fn quoting_is_that_of_a_shell() {
        assert_eq!(words("git-upload-pack 're po'\\''s'"), ["git-upload-pack", "re po's"]);
        assert_eq!(words(r#"scp -t "a b\$c""#), ["scp", "-t", "a b$c"]);
        assert_eq!(words(r"rsync . my\ dir/\[x\]"), ["rsync", ".", "my dir/[x]"]);
        assert_eq!(words("a '' \"\" b~ ü"), ["a", "", "", "b~", "ü"]);
        assert_eq!(words("~ ~/x '~/x' \\~ a~/x"), ["/home", "/home/x", "~/x", "~", "a~/x"]);
        assert!(words("  ").is_empty());
    }

    #[test]
    fn what_a_shell_would_do_something_with_is_refused() {
        for line in [
            "a;b",
            "a|b",
            "a&b",
            "a>b",
            "a<b",
            "(a)",
            "a `b`",
            "a $b",
            "a $(b)",
            "a \"$b\"",
            "a \"`b`\"",
            "a *",
            "a ?",
            "a [b]",
            "a {b,c}",
            "a #b",
            "a !b",
            "~bob",
            "~\"/x\"",
            "a^b",
            "a=~",
            "a:~/b",
        ] {
            assert!(matches!(split(line.as_bytes()), Err(NotDirect::Special(_))), "{line}");
        }
        for line in ["a\nb", "a 'b\nc'", "a\0b", "a\tb", "a 'b\x1b'", "a\x7f"] {
            assert!(matches!(split(line.as_bytes()), Err(NotDirect::Control)), "{line:?}");
        }
        for line in ["a 'b", "a \"b", "a b\\", "a \"b\\"] {
            assert!(split(line.as_bytes()).is_err(), "{line}");
        }
        assert_eq!(split(&vec![b'a'; super::super::LONGEST + 1]), Err(NotDirect::Long));
    }
}
