//! What can be shown at a login, and what has to be shown together.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Factor {
    /// A key, by a signature.
    Key,
    /// A password.
    Password,
    /// A code of an authenticator (RFC 6238), or one of those kept for when it is lost.
    Code,
}

impl Factor {
    /// Every one there is.
    pub const ALL: [Factor; 3] = [Factor::Key, Factor::Password, Factor::Code];

    /// As written in commands and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Factor::Key => "publickey",
            Factor::Password => "password",
            Factor::Code => "totp",
        }
    }
}

/// Several of them, in no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Factors(u8);

impl Factors {
    /// None of them.
    pub const NONE: Factors = Factors(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, factor: Factor) -> Factors {
        Factors(self.0 | 1 << factor as u8)
    }

    /// These and those.
    #[must_use]
    pub fn and(self, others: Factors) -> Factors {
        Factors(self.0 | others.0)
    }

    /// These without those.
    #[must_use]
    pub fn without(self, others: Factors) -> Factors {
        Factors(self.0 & !others.0)
    }

    /// Whether one is among them.
    pub fn contains(self, factor: Factor) -> bool {
        self.0 & (1 << factor as u8) != 0
    }

    /// Whether all of those are among them.
    pub fn contain(self, others: Factors) -> bool {
        others.without(self) == Factors::NONE
    }
}

/// The ways into a user's account: each is what has to be shown together, `publickey+totp`. As text, with commas between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Logins(Vec<Factors>);

/// Why a text says no ways in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLogins {
    /// A word is unknown, or stands there twice.
    #[error("{0:?} is no way to log in; use publickey, password, or several at once such as publickey+totp")]
    Unknown(String),
    /// A code alone is no proof.
    #[error("totp alone is not enough; write publickey+totp or password+totp")]
    CodeAlone,
}

impl Logins {
    /// The ways there are for a user, with an authenticator or without. Unless something was said, a user with one shows its
    /// code each time.
    pub fn ways(&self, has_authenticator: bool) -> Vec<Factors> {
        if !self.0.is_empty() {
            return self.0.clone();
        }
        let besides = if has_authenticator { Factors::NONE.with(Factor::Code) } else { Factors::NONE };
        [Factor::Key, Factor::Password].map(|first| besides.with(first)).to_vec()
    }

    /// Whether nothing was said.
    pub fn is_unsaid(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::str::FromStr for Logins {
    type Err = BadLogins;

    fn from_str(text: &str) -> Result<Self, BadLogins> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut ways = words.map(way).collect::<Result<Vec<_>, _>>()?;
        ways.sort_by_key(|way| way.0);
        ways.dedup();
        Ok(Logins(ways))
    }
}

fn way(text: &str) -> Result<Factors, BadLogins> {
    let mut all = Factors::NONE;
    for word in text.split('+') {
        let known = Factor::ALL.into_iter().find(|factor| factor.as_str() == word.trim());
        match known {
            Some(factor) if !all.contains(factor) => all = all.with(factor),
            _ => return Err(BadLogins::Unknown(text.chars().take(64).collect())),
        }
    }
    if all == Factors::NONE.with(Factor::Code) { Err(BadLogins::CodeAlone) } else { Ok(all) }
}

by_text!(BadLogins: Logins);

impl fmt::Display for Factors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = Factor::ALL.into_iter().filter(|one| self.contains(*one)).map(Factor::as_str).collect();
        f.write_str(&words.join("+"))
    }
}

impl fmt::Display for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(text: &str) -> Logins {
        text.parse().expect(text)
    }

    #[test]
    fn ways_read_back_as_they_are_written() {
        for text in ["", "publickey", "password", "publickey,publickey+totp", "publickey+password+totp"] {
            assert_eq!(logins(text).to_string(), text);
        }
        assert_eq!(logins("totp+publickey, totp+publickey").to_string(), "publickey+totp");
        for text in ["keyboard-interactive", "publickey+", "publickey+publickey", "+", "none"] {
            assert!(matches!(text.parse::<Logins>(), Err(BadLogins::Unknown(_))), "{text}");
        }
        assert_eq!("publickey,totp".parse::<Logins>(), Err(BadLogins::CodeAlone));
    }

    #[test]
    fn an_authenticator_is_asked_for_unless_something_else_was_said() {
        let shown = |logins: &Logins, has| logins.ways(has).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&logins(""), false), ["publickey", "password"]);
        assert_eq!(shown(&logins(""), true), ["publickey+totp", "password+totp"]);
        assert_eq!(shown(&logins("publickey"), true), ["publickey"]);
    }
}
