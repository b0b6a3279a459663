//! Variables that a client may set for its programs, by name.

use serde::{Deserialize, Serialize};

/// Those that change how a program speaks and not what it does; and where the connection comes from, which the session
/// says and not the client.
const HARMLESS: [&str; 5] = ["LANG", "COLORTERM", "GIT_PROTOCOL", "SSH_CLIENT", "SSH_CONNECTION"];

/// Whether a variable changes nothing that a program does, even for a login that may run that program alone.
pub fn is_harmless(name: &str) -> bool {
    HARMLESS.contains(&name) || name.starts_with("LC_")
}

/// A pattern of names of variables: `*` stands for any characters and `?` for one (`AcceptEnv` of OpenSSH).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariablePattern(String);

/// Why a text is no such pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a pattern of names of variables: use letters, digits, '_', '*' and '?', such as DEPLOY_*")]
pub struct BadVariablePattern(String);

impl VariablePattern {
    /// Longest pattern, in bytes.
    const LONGEST: usize = 128;

    /// Whether a name fits it; upper and lower case differ.
    pub fn matches(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name.as_bytes())
    }
}

/// Goes forward through both; after a mismatch the last `*` takes one byte more.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut looked) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(looked) {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at, looked));
                at += 1;
            }
            (Some(wanted), _) if *wanted == b'?' || wanted == byte => {
                at += 1;
                looked += 1;
            }
            (_, Some((back, taken))) => {
                star = Some((back, taken + 1));
                (at, looked) = (back + 1, taken + 1);
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(at).all(|left| *left == b'*')
}

impl std::str::FromStr for VariablePattern {
    type Err = BadVariablePattern;

    fn from_str(text: &str) -> Result<Self, BadVariablePattern> {
        let is_good = |b: u8| b.is_ascii_alphanumeric() || b"_*?".contains(&b);
        if text.is_empty() || text.len() > Self::LONGEST || !text.bytes().all(is_good) {
            return Err(BadVariablePattern(text.chars().take(64).collect()));
        }
        Ok(VariablePattern(text.to_owned()))
    }
}

impl TryFrom<String> for VariablePattern {
    type Error = BadVariablePattern;

    fn try_from(text: String) -> Result<Self, BadVariablePattern> {
        text.parse()
    }
}

impl From<VariablePattern> for String {
    fn from(pattern: VariablePattern) -> String {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_openssh() {
        let fits = |pattern: &str, name: &str| pattern.parse::<VariablePattern>().expect("a pattern").matches(name);
        assert!(fits("FOO_*", "FOO_BAR") && fits("FOO_*", "FOO_") && fits("*", "X") && fits("A?C", "ABC"));
        assert!(fits("*_A*B", "x_A_AB") && !fits("FOO_*", "foo_x") && !fits("FOO_*", "FOO") && !fits("A?C", "AC"));
        for text in ["", "A=B", "A B", "A\n", "[A-Z]"] {
            assert!(text.parse::<VariablePattern>().is_err(), "{text:?}");
        }
    }
}
