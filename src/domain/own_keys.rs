//! Keys that a user puts into its own `~/.ssh/authorized_keys`, as `ssh-copy-id` does.

use serde::{Deserialize, Serialize};

/// Whether such keys are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnKeys {
    /// They mean nothing.
    #[default]
    Refused,
    /// They are the user's like others.
    Taken,
}

impl OwnKeys {
    /// As written in JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            OwnKeys::Refused => "refused",
            OwnKeys::Taken => "taken",
        }
    }
}

/// A word that is neither `refused` nor `taken`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("own keys are refused or taken")]
pub struct UnknownOwnKeys;

impl std::str::FromStr for OwnKeys {
    type Err = UnknownOwnKeys;

    fn from_str(text: &str) -> Result<Self, UnknownOwnKeys> {
        [OwnKeys::Refused, OwnKeys::Taken].into_iter().find(|own| own.as_str() == text).ok_or(UnknownOwnKeys)
    }
}

/// What stands in the file: a session has read it with its user's rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyFile(String);

impl KeyFile {
    /// Longest file that is looked at, in bytes.
    pub const LONGEST: usize = 32 * 1024;
    /// Most lines that are looked at; each costs the node work, whether it is a key or not.
    pub const MOST_LINES: usize = 100;
    /// Most keys of one that are taken.
    pub const MOST_KEYS: usize = 20;

    /// Takes what was read.
    pub fn new(text: String) -> Result<KeyFile, super::TooLong> {
        super::claim::fits("authorized_keys", text.len(), Self::LONGEST)?;
        Ok(KeyFile(text))
    }

    /// Its lines that are not empty and no comment, each with its number.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = (1..).zip(self.0.lines().map(str::trim));
        lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    }
}

impl TryFrom<String> for KeyFile {
    type Error = super::TooLong;

    fn try_from(text: String) -> Result<Self, super::TooLong> {
        Self::new(text)
    }
}

impl From<KeyFile> for String {
    fn from(file: KeyFile) -> String {
        file.0
    }
}
