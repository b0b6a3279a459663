//! A line of `authorized_keys` (sshd(8), AUTHORIZED_KEYS FILE FORMAT): options, a key, a comment.
//!
//! Read here as it is written; what an option comes to is decided by whoever adds the key. None is ever skipped.

/// A line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLine<'a> {
    /// What stands in front of the key.
    pub options: Vec<KeyOption>,
    /// The key and its comment.
    pub key: &'a str,
}

/// One option, by its name in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOption {
    /// `restrict`, `from`, ...
    pub name: String,
    /// What stands between quotes after `=`.
    pub value: Option<String>,
}

/// Why a line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Longer than OpenSSH reads.
    #[error("the line has {length} bytes; OpenSSH reads at most {longest}", longest = KeyLine::LONGEST)]
    Long {
        /// Its length.
        length: usize,
    },
    /// A quote is opened and not closed.
    #[error("a quote of the options is not closed")]
    OpenQuote,
    /// A value is not written between quotes.
    #[error("the value of {name} must stand between quotes: {name}=\"...\"")]
    Unquoted {
        /// Of which option.
        name: String,
    },
    /// Something stands where an option should.
    #[error("{0:?} is not an option")]
    NoOption(String),
    /// Nothing stands behind the options.
    #[error("there is no key behind the options")]
    NoKey,
}

/// Names with which a key begins; what begins otherwise begins with options.
const KEYS: [&str; 5] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "webauthn-sk-"];

impl<'a> KeyLine<'a> {
    /// Longest line, in bytes: OpenSSH's limit.
    pub const LONGEST: usize = 8192;

    /// Takes a line apart.
    pub fn parse(line: &'a str) -> Result<KeyLine<'a>, BadLine> {
        let line = line.trim();
        if line.len() > Self::LONGEST {
            return Err(BadLine::Long { length: line.len() });
        }
        if KEYS.iter().any(|name| line.starts_with(name)) || !is_worth_reading(line) {
            return Ok(KeyLine { options: Vec::new(), key: line });
        }
        let mut rest = line;
        let mut options = Vec::new();
        loop {
            let (option, behind) = option(rest)?;
            options.push(option);
            rest = match behind.strip_prefix(',') {
                Some(next) => next,
                None => break line_behind(options, behind),
            }
        }
    }
}

/// A line of one word is no options with a key.
fn is_worth_reading(line: &str) -> bool {
    line.contains([' ', '\t'])
}

fn line_behind(options: Vec<KeyOption>, rest: &str) -> Result<KeyLine<'_>, BadLine> {
    let key = rest.trim_start_matches([' ', '\t']);
    match (key.len() < rest.len(), key.is_empty()) {
        (true, false) => Ok(KeyLine { options, key }),
        (_, true) => Err(BadLine::NoKey),
        (false, false) => Err(BadLine::NoOption(cut(rest))),
    }
}

/// One option and what stands behind it.
fn option(text: &str) -> Result<(KeyOption, &str), BadLine> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return Err(BadLine::NoOption(cut(text)));
    }
    let name = name.to_ascii_lowercase();
    let Some(value) = rest.strip_prefix('=') else { return Ok((KeyOption { name, value: None }, rest)) };
    let Some(quoted) = value.strip_prefix('"') else { return Err(BadLine::Unquoted { name }) };
    let (value, behind) = unquoted(quoted)?;
    Ok((KeyOption { name, value: Some(value) }, behind))
}

/// What stands before the closing quote, in which `\"` is a quote and every other backslash is itself.
fn unquoted(text: &str) -> Result<(String, &str), BadLine> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let at = rest.find(['"', '\\']).ok_or(BadLine::OpenQuote)?;
        let (before, found) = rest.split_at(at);
        value.push_str(before);
        if let Some(behind) = found.strip_prefix('"') {
            return Ok((value, behind));
        }
        rest = match found.strip_prefix("\\\"") {
            Some(behind) => {
                value.push('"');
                behind
            }
            None => {
                value.push('\\');
                found.strip_prefix('\\').unwrap_or_default()
            }
        };
    }
}

fn cut(text: &str) -> String {
    text.split([' ', '\t', ',']).next().unwrap_or_default().chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAA bob@example";

    fn options(text: &str) -> Vec<(String, Option<String>)> {
        let line = format!("{text} {KEY}");
        let read = KeyLine::parse(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(read.key, KEY);
        read.options.into_iter().map(|o| (o.name, o.value)).collect()
    }

    fn option(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn a_key_alone_has_no_options() {
        for line in [KEY, "sk-ssh-ed25519@openssh.com AAAA", "ecdsa-sha2-nistp256 AAAA"] {
            assert_eq!(KeyLine::parse(line), Ok(KeyLine { options: Vec::new(), key: line }));
        }
    }

    #[test]
    fn options_are_read_as_openssh_reads_them() {
        assert_eq!(options("restrict,PTY"), [option("restrict", None), option("pty", None)]);
        assert_eq!(options(r#"command="echo \"a, b\" \n""#), [option("command", Some(r#"echo "a, b" \n"#))]);
        assert_eq!(
            options("from=\"192.0.2.*,!192.0.2.9\",no-pty"),
            [option("from", Some("192.0.2.*,!192.0.2.9")), option("no-pty", None)]
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_line() {
        assert_eq!(KeyLine::parse(&format!("command=\"x {KEY}")), Err(BadLine::OpenQuote));
        assert_eq!(KeyLine::parse(&format!("command=x {KEY}")), Err(BadLine::Unquoted { name: "command".into() }));
        assert_eq!(KeyLine::parse(&format!("restrict,,pty {KEY}")), Err(BadLine::NoOption(String::new())));
        assert_eq!(KeyLine::parse(&format!("restrict, {KEY}")), Err(BadLine::NoOption(String::new())));
        assert_eq!(KeyLine::parse(r#"from="a" "#), Ok(KeyLine { options: Vec::new(), key: r#"from="a""# }));
        assert_eq!(KeyLine::parse(r#"from="a b""#), Err(BadLine::NoKey));
        assert!(matches!(KeyLine::parse(&"x".repeat(8193)), Err(BadLine::Long { .. })));
    }

    proptest! {
        #[test]
        fn no_text_is_too_hard(line in "\\PC{0,200}") {
            if let Ok(read) = KeyLine::parse(&line) {
                prop_assert!(line.trim().ends_with(read.key));
                prop_assert!(read.options.iter().all(|o| !o.name.is_empty()));
            }
        }

        #[test]
        fn nothing_of_a_value_is_lost(value in "[^\u{0}-\u{1f}\"\\\\]{0,40}", quotes in 0_usize..3) {
            let value = format!("{value}{}", "\"".repeat(quotes));
            let line = format!("no-pty,command=\"{}\" {KEY}", value.replace('"', "\\\""));
            let read = KeyLine::parse(&line).expect("a line");
            prop_assert_eq!(read.options.len(), 2);
            prop_assert_eq!(read.options[1].value.as_deref(), Some(value.as_str()));
            prop_assert_eq!(read.key, KEY);
        }
    }
}
