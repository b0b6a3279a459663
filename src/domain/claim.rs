//! Who someone says they are, and what they showed for it. Believed by nobody yet.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Credential, Factor, INVITE};

/// Something from the network exceeds what a claim may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {length} bytes is longer than {longest}")]
pub struct TooLong {
    what: &'static str,
    length: usize,
    longest: usize,
}

pub(super) fn fits(what: &'static str, length: usize, longest: usize) -> Result<(), TooLong> {
    if length <= longest { Ok(()) } else { Err(TooLong { what, length, longest }) }
}

/// A login name as the client typed it. It may be no name at all; whoever looks it up treats that as unknown, so that
/// an impossible name and an absent one cannot be told apart. Printed with escapes.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimedName(String);

impl ClaimedName {
    /// Most bytes of a login name that are passed on.
    pub const LONGEST: usize = 255;

    /// Takes what the client sent.
    pub fn new(text: &str) -> Result<Self, TooLong> {
        fits("login name", text.len(), Self::LONGEST)?;
        Ok(Self(text.to_owned()))
    }

    /// The name as it may be put on record: of an invitation's, which is a secret, only the beginning.
    #[must_use]
    pub fn on_record(&self) -> ClaimedName {
        let is_secret = self.0.starts_with(INVITE);
        ClaimedName(if is_secret {
            format!("{INVITE}{}...", self.0.chars().skip(INVITE.len()).take(4).collect::<String>())
        } else {
            self.0.clone()
        })
    }

    /// The text as sent. Unchecked: for look-ups, never for a path or a terminal.
    pub fn as_unchecked_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClaimedName {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        Self::new(&text)
    }
}

impl From<ClaimedName> for String {
    fn from(name: ClaimedName) -> String {
        name.0
    }
}

impl fmt::Debug for ClaimedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.on_record().0)
    }
}

impl fmt::Display for ClaimedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.on_record().0.escape_default())
    }
}

macro_rules! blob {
    ($(#[$doc:meta])* $type:ident, $what:literal, $(#[$longest_doc:meta])* $longest:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
        pub struct $type(Vec<u8>);

        impl $type {
            $(#[$longest_doc])*
            pub const LONGEST: usize = $longest;

            /// Takes the encoded bytes.
            pub fn new(bytes: Vec<u8>) -> Result<Self, TooLong> {
                fits($what, bytes.len(), Self::LONGEST)?;
                Ok(Self(bytes))
            }

            /// The encoded bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl TryFrom<Vec<u8>> for $type {
            type Error = TooLong;

            fn try_from(bytes: Vec<u8>) -> Result<Self, TooLong> {
                Self::new(bytes)
            }
        }

        impl From<$type> for Vec<u8> {
            fn from(blob: $type) -> Vec<u8> {
                blob.0
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({} bytes)"), self.0.len())
            }
        }
    };
}

blob! {
    /// A public key in its SSH wire form (RFC 4253, 6.6): the bytes that stand base64-encoded in `authorized_keys`.
    KeyBlob, "public key",
    /// Longest key we look at: RSA of 16,384 bits has some 2,100 bytes.
    8192
}
blob! {
    /// An OpenSSH certificate in its wire form (PROTOCOL.certkeys).
    CertificateBlob, "certificate",
    /// Longest certificate we look at: one of RSA 4096 by RSA 4096 has some 1,700 bytes and its names.
    8192
}

/// A password on its way to be judged. Prints nothing and is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(String);

impl Secret {
    /// Longest password we hash, in bytes.
    pub const LONGEST: usize = 1024;

    /// Takes the secret.
    pub fn new(text: &str) -> Result<Self, TooLong> {
        fits("password", text.len(), Self::LONGEST)?;
        Ok(Self(text.to_owned()))
    }

    /// The secret itself, for the one place that judges it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Secret {
    type Error = TooLong;

    fn try_from(mut text: String) -> Result<Self, TooLong> {
        let secret = Self::new(&text);
        text.zeroize();
        secret
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What was shown for a claim.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Proof {
    /// A key whose private half signed this connection's session identifier (RFC 4252, 7); the session checked it.
    Key(KeyBlob),
    /// The same of a key with a certificate. The session checked that the key signed; control reads the certificate again
    /// and checks who signed it.
    Certificate(CertificateBlob),
    /// A password; control judges it.
    Password(Secret),
    /// A code of an authenticator, or one for when it is lost; control judges it.
    Code(Secret),
}

impl Proof {
    /// Which kind it is.
    pub fn factor(&self) -> Factor {
        match self {
            Proof::Key(_) | Proof::Certificate(_) => Factor::Key,
            Proof::Password(_) => Factor::Password,
            Proof::Code(_) => Factor::Code,
        }
    }

    /// The key that was shown, if it was one.
    pub fn credential(&self) -> Option<Credential> {
        match self {
            Proof::Key(key) => Some(Credential::Key(key.clone())),
            Proof::Certificate(certificate) => Some(Credential::Certificate(certificate.clone())),
            Proof::Password(_) | Proof::Code(_) => None,
        }
    }
}

/// One attempt to log in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The name typed.
    pub user: ClaimedName,
    /// What was shown for it.
    pub proof: Proof,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        let secret = Secret::new("hunter2").expect("short");
        assert_eq!(format!("{secret:?}"), "Secret");
        let claim = Claim { user: ClaimedName::new("bob").expect("short"), proof: Proof::Password(secret) };
        assert!(!format!("{claim:?}").contains("hunter2"));
    }

    #[test]
    fn a_claimed_name_cannot_write_to_a_terminal() {
        let name = ClaimedName::new("a\x1b[2Jb\n").expect("short");
        assert!(!name.to_string().contains('\x1b'));
        assert!(!name.to_string().contains('\n'));
    }

    #[test]
    fn the_name_of_an_invitation_is_not_told() {
        let name = ClaimedName::new("invite-abcdefghij234567abcd").expect("short");
        for told in [name.to_string(), format!("{name:?}"), name.on_record().as_unchecked_str().to_owned()] {
            assert!(told.contains("invite-abcd...") && !told.contains("abcde"), "{told}");
        }
        assert_eq!(ClaimedName::new("bob").expect("short").on_record().as_unchecked_str(), "bob");
    }

    #[test]
    fn nothing_longer_than_its_bound_is_taken() {
        assert!(ClaimedName::new(&"a".repeat(256)).is_err());
        assert!(Secret::new(&"a".repeat(1025)).is_err());
        assert!(KeyBlob::new(vec![0; 8193]).is_err());
    }
}
