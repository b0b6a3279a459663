//! Text that a peer chose: bytes as they came, and the same with everything escaped that a terminal or a reader of lines
//! could take for something else.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that a peer chose, of bounded length. Never for a terminal; [`Escaped`] is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerText(Vec<u8>);

impl PeerText {
    /// Most bytes that are kept: the longest path there is (path_resolution(7)).
    pub const LONGEST: usize = 4096;

    /// The beginning of what came, as far as it is kept.
    pub fn new(bytes: &[u8]) -> PeerText {
        PeerText(bytes.get(..Self::LONGEST).unwrap_or(bytes).to_vec())
    }

    /// The bytes.
    pub fn as_unchecked_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Escaped::new(&self.0).as_str())
    }
}

impl Serialize for PeerText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for PeerText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PeerText, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = PeerText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} bytes", PeerText::LONGEST)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<PeerText, E> {
        if bytes.len() > PeerText::LONGEST {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        Ok(PeerText::new(bytes))
    }
}

/// Text that can be shown: no control character of any kind is in it, nor anything else that moves a cursor, turns the
/// direction of a line or ends it, nor what is no text at all. Such is written as `\n`, `\x1b`, `\u{202e}` or `\xff`, and a
/// backslash as `\\`, so what was there can be read back and two texts never look alike for having been escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Escaped(String);

impl Escaped {
    /// Escapes.
    pub fn new(bytes: &[u8]) -> Escaped {
        if bytes.iter().all(|byte| (b' '..=b'~').contains(byte) && *byte != b'\\') {
            return Escaped(String::from_utf8_lossy(bytes).into_owned());
        }
        let mut shown = String::with_capacity(bytes.len() + 16);
        for chunk in bytes.utf8_chunks() {
            chunk.valid().chars().for_each(|c| put(&mut shown, c));
            chunk.invalid().iter().for_each(|byte| shown.push_str(&format!("\\x{byte:02x}")));
        }
        Escaped(shown)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One character, as it is or escaped. What the standard library does not print as it is, which is most of what is
/// invisible, is escaped; so are the marks that join, hide or turn.
fn put(shown: &mut String, c: char) {
    match c {
        '\\' => shown.push_str("\\\\"),
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        '"' | '\'' => shown.push(c),
        c if c.is_ascii_control() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if c.is_control() || is_deceptive(c) => shown.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        // Behind another character, where an accent may stand.
        c => shown.extend(['a', c].iter().collect::<String>().escape_debug().skip(1)),
    }
}

/// Characters that change how others are read: separators of lines, marks of direction, joiners, tags.
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(bytes: &[u8]) -> String {
        Escaped::new(bytes).to_string()
    }

    #[test]
    fn what_a_terminal_would_obey_is_told_and_not_done() {
        assert_eq!(shown(b"plain name.txt"), "plain name.txt");
        assert_eq!(shown("grün 文".as_bytes()), "grün 文");
        assert_eq!(shown(b"a\x1b[2J\x07\nb"), "a\\x1b[2J\\x07\\nb");
        assert_eq!(shown(b"\xff\xc2\x9b31m"), "\\xff\\u{9b}31m");
        assert_eq!(shown("txt.\u{202e}exe\u{2066}\u{200b}".as_bytes()), "txt.\\u{202e}exe\\u{2066}\\u{200b}");
        assert_eq!(shown(b"\\n"), "\\\\n", "two names never look alike");
    }

    #[test]
    fn what_is_too_long_is_cut_and_never_taken_from_others() {
        assert_eq!(PeerText::new(&[b'a'; 5000]).as_unchecked_bytes().len(), PeerText::LONGEST);
        let long = postcard::to_stdvec(&vec![b'a'; PeerText::LONGEST + 1]).expect("encoded");
        assert!(postcard::from_bytes::<PeerText>(&long).is_err());
    }

    proptest! {
        #[test]
        fn nothing_dangerous_is_left(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let shown = shown(&bytes);
            prop_assert!(!shown.chars().any(|c| c.is_control() || is_deceptive(c)), "{:?}", shown);
        }

        #[test]
        fn nothing_dangerous_is_left_of_text(text in "\\PC{0,40}|.{0,40}|[\u{0}-\u{ffff}]{0,40}") {
            let shown = shown(text.as_bytes());
            prop_assert!(!shown.chars().any(|c| c.is_control() || is_deceptive(c)), "{:?}", shown);
        }

        #[test]
        fn different_names_stay_different(one in proptest::collection::vec(any::<u8>(), 0..6), other in proptest::collection::vec(any::<u8>(), 0..6)) {
            prop_assert_eq!(one == other, shown(&one) == shown(&other));
        }

        #[test]
        fn it_comes_back_over_a_link(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let sent = postcard::to_stdvec(&PeerText::new(&bytes)).expect("encoded");
            prop_assert_eq!(postcard::from_bytes::<PeerText>(&sent).expect("decoded"), PeerText::new(&bytes));
        }
    }
}
