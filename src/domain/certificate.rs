//! What is known of an OpenSSH certificate (PROTOCOL.certkeys) that somebody shows, and of the authority that signed it.
//!
//! These are facts: control has read the certificate and checked its signature. What they come to, `authority` decides.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{CertificateBlob, KeyBlob, Scope, Terms};

/// What a public key was shown as.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Credential {
    /// By itself.
    Key(KeyBlob),
    /// With a certificate.
    Certificate(CertificateBlob),
}

/// Names that certificates are made out to, in no order. Its text has one in a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Principals(Vec<String>);

/// Why a text is no list of names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPrincipals {
    /// One is none.
    #[error(
        "{0:?} is no principal: give a name as ssh-keygen -n has it, 1 to 255 bytes without spaces, commas and control characters"
    )]
    Name(String),
    /// They are too many.
    #[error("more than {} principals, or {} bytes of them, cannot be kept", Principals::MOST, Principals::MOST_BYTES)]
    TooMany,
}

impl Principals {
    /// Most names of one list.
    pub const MOST: usize = 64;
    /// Most bytes of them together.
    pub const MOST_BYTES: usize = 2048;

    /// Whether none is said.
    pub fn is_unsaid(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl TryFrom<Vec<String>> for Principals {
    type Error = BadPrincipals;

    fn try_from(mut names: Vec<String>) -> Result<Self, BadPrincipals> {
        let is_bad = |c: char| c.is_control() || c.is_whitespace() || c == ',';
        if let Some(bad) = names.iter().find(|name| name.is_empty() || name.len() > 255 || name.contains(is_bad)) {
            return Err(BadPrincipals::Name(bad.chars().take(64).collect()));
        }
        names.sort();
        names.dedup();
        let is_much = names.len() > Self::MOST || names.iter().map(String::len).sum::<usize>() > Self::MOST_BYTES;
        if is_much { Err(BadPrincipals::TooMany) } else { Ok(Principals(names)) }
    }
}

impl From<Principals> for Vec<String> {
    fn from(principals: Principals) -> Vec<String> {
        principals.0
    }
}

impl FromStr for Principals {
    type Err = BadPrincipals;

    fn from_str(text: &str) -> Result<Self, BadPrincipals> {
        text.lines().map(str::to_owned).collect::<Vec<_>>().try_into()
    }
}

impl fmt::Display for Principals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// An authority whose certificates are taken for a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityFacts {
    /// Its key, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// Names of which a certificate has to say one, besides those of the user.
    pub principals: Principals,
    /// What its certificates may do of what the user may.
    pub scope: Scope,
    /// When and from where they may be used.
    pub terms: Terms,
}

/// For whom a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateKind {
    /// Users.
    User,
    /// Hosts.
    Host,
}

/// What must be honoured, or the certificate is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CriticalOption {
    /// `source-address`, `force-command`, ...
    pub name: String,
    /// What it says.
    pub value: String,
}

/// What a certificate says may be done; what is not said may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extensions {
    /// `permit-pty`
    pub terminal: bool,
    /// `permit-port-forwarding`
    pub ports: bool,
    /// `permit-agent-forwarding`
    pub agent: bool,
}

/// Which certificate it is, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// What the authority calls it.
    pub key_id: String,
    /// The number that the authority gave it.
    pub serial: u64,
    /// The authority's key.
    pub authority: String,
}

impl fmt::Display for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} serial {} by {}", self.key_id.escape_default(), self.serial, self.authority)
    }
}

/// A certificate that an authority has signed which is trusted with a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// Which.
    pub certified: Certified,
    /// The key that it is about.
    pub fingerprint: String,
    /// For whom it is.
    pub kind: CertificateKind,
    /// The names that it is made out to.
    pub principals: Vec<String>,
    /// Seconds since 1970 from which it is good.
    pub valid_from: u64,
    /// Seconds from which it is not any more; the greatest number for never.
    pub valid_until: u64,
    /// What must be honoured.
    pub critical: Vec<CriticalOption>,
    /// What may be done.
    pub extensions: Extensions,
    /// The same for certificates of one authority that say the same about what may be done.
    pub options: String,
    /// Whether it, its key or its authority was revoked.
    pub is_revoked: bool,
    /// Who signed it.
    pub authority: AuthorityFacts,
}

/// What makes a certificate worth nothing, whoever signed it and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Flaw {
    /// It cannot be read.
    #[error("certificate cannot be read")]
    Malformed,
    /// A certificate signs it.
    #[error("certificate signed by a certificate")]
    Nested,
    /// Its own key is weak, or of no kind that is taken.
    #[error("key of the certificate is too weak or of an unknown kind")]
    WeakKey,
    /// Its authority's key is.
    #[error("key of the authority is too weak or of an unknown kind")]
    WeakAuthority,
    /// It is signed with SHA-1.
    #[error("certificate signed with SHA-1")]
    Sha1,
    /// Its authority has not signed it.
    #[error("signature of the authority is wrong")]
    Forged,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_read_back_as_they_are_written() {
        for text in ["", "web", "db\nweb", "a@b.example"] {
            assert_eq!(text.parse::<Principals>().expect(text).to_string(), text);
        }
        for text in ["a b", "a,b", "\u{1b}", "a\n\nb", &"x".repeat(256)] {
            assert!(matches!(text.parse::<Principals>(), Err(BadPrincipals::Name(_))), "{text:?}");
        }
        let many = (0..65).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        assert_eq!(many.parse::<Principals>(), Err(BadPrincipals::TooMany));
    }

    #[test]
    fn a_key_id_cannot_write_to_a_terminal() {
        let certified = Certified { key_id: "a\x1b[2J\n".into(), serial: 1, authority: "SHA256:x".into() };
        assert_eq!(certified.to_string(), "a\\u{1b}[2J\\n serial 1 by SHA256:x");
    }
}
