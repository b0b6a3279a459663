//! Login and account names.
//!
//! A name is later part of paths, log lines and listings, so its alphabet is closed: `[a-z0-9][a-z0-9._-]{0,31}`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} name {text:?} is not allowed: use 1 to 32 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
)]
pub struct BadName {
    what: &'static str,
    text: String,
}

fn check(what: &'static str, text: &str) -> Result<(), BadName> {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    if first && rest && text.len() <= 32 {
        Ok(())
    } else {
        Err(BadName { what, text: text.chars().take(64).collect() })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                check($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                check($what, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Name of a hosting account, unique over all nodes that share a database.
    AccountName, "account"
}
name! {
    /// Login name of a sub-user, unique over all nodes that share a database.
    UserName, "user"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_names() {
        for text in ["bob", "acme-bob", "0x", "a.b_c-d", &"a".repeat(32)] {
            assert_eq!(text.parse::<UserName>().expect(text).as_str(), text);
        }
    }

    #[test]
    fn what_could_lead_a_path_or_a_log_astray_is_no_name() {
        for text in ["", ".", "..", "-rf", "a/b", "../x", "Bob", "a b", "a\0", "a\n", "é", &"a".repeat(33)] {
            assert!(text.parse::<AccountName>().is_err(), "{text:?}");
        }
    }
}
