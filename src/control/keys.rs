//! Public keys as people hand them in.

use base64ct::{Base64Unpadded, Encoding};
use sha2::{Digest, Sha256};
use ssh_key::{Algorithm, HashAlg, PublicKey};

use super::key_options::{self, BadOption, Honoured};
use crate::domain::{BadLine, KeyBlob, KeyLine, Principals, Scope, Terms};

/// Smallest RSA key taken.
const SMALLEST_RSA: usize = 2048;

/// Most keys added at a time.
const MOST: usize = 100;

/// Why a text is not a key we take. The text says what to hand in instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The private half.
    #[error("this is a private key; never hand it out. Give the public one, whose file ends in .pub")]
    Private,
    /// No key in it.
    #[error("this is not a public key; give one line such as: ssh-ed25519 AAAA... name@host")]
    Malformed,
    /// More than anybody has.
    #[error("there are {count} keys in it; at most {most} can be added at a time", most = MOST)]
    Several {
        /// How many.
        count: usize,
    },
    /// More than one where one is asked for.
    #[error("there are {count} keys in it; give one")]
    OneOnly {
        /// How many.
        count: usize,
    },
    /// One of the lines.
    #[error("line {number}")]
    Line {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        source: Box<BadKey>,
    },
    /// The line cannot be read.
    #[error(transparent)]
    Form(#[from] BadLine),
    /// An option in front of the key.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// An authority among a user's own keys.
    #[error("a user's own keys name no authorities; have it added with: enclos ca add")]
    OwnAuthority,
    /// A certificate.
    #[error(
        "this is a certificate; give the key of its authority with: enclos ca add, or the key without its certificate"
    )]
    Certificate,
    /// Too weak.
    #[error("RSA keys need at least 2048 bits; make a new one with: ssh-keygen -t ed25519")]
    WeakRsa,
    /// Not to be trusted any more.
    #[error("DSA keys are not safe any more; make a new one with: ssh-keygen -t ed25519")]
    Dsa,
    /// Longer than any real key.
    #[error("the key is longer than any that is taken")]
    Long,
}

/// A key that can be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParsedKey {
    /// In wire form.
    pub blob: KeyBlob,
    /// `SHA256:` and base64.
    pub fingerprint: String,
    /// Its algorithm by its SSH name.
    pub algorithm: String,
    /// The comment behind it.
    pub label: String,
    /// What its options leave of the user's rights.
    pub scope: Scope,
    /// When and from where its options let it be used.
    pub terms: Terms,
    /// That it is an authority's (`cert-authority`), and the names that its certificates have to say.
    pub authority: Option<Principals>,
}

/// Reads public keys as `ssh-keygen` and `authorized_keys` have them: at least one, or none at all with the line that is
/// wrong.
pub(super) fn parse(text: &str) -> Result<Vec<ParsedKey>, BadKey> {
    if text.contains("PRIVATE KEY-----") {
        return Err(BadKey::Private);
    }
    let is_key = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let lines: Vec<(usize, &str)> = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| is_key(line)).collect();
    match lines.len() {
        0 => return Err(BadKey::Malformed),
        count if count > MOST => return Err(BadKey::Several { count }),
        _ => {}
    }
    let at_line = |number| move |source| BadKey::Line { number, source: Box::new(source) };
    lines.into_iter().map(|(number, line)| parse_line(line).map_err(at_line(number))).collect()
}

/// The fingerprint of a key in wire form, whatever key it is.
pub(super) fn fingerprint(key: &KeyBlob) -> String {
    let digest = Sha256::digest(key.as_bytes());
    format!("SHA256:{}", Base64Unpadded::encode_string(&digest))
}

pub(super) fn parse_line(line: &str) -> Result<ParsedKey, BadKey> {
    let KeyLine { options, key: line } = KeyLine::parse(line)?;
    let first = line.split_whitespace().next().unwrap_or_default();
    if first.ends_with("-cert-v01@openssh.com") {
        return Err(BadKey::Certificate);
    }
    if first == "ssh-dss" {
        return Err(BadKey::Dsa);
    }
    let key = PublicKey::from_openssh(line).map_err(|_| BadKey::Malformed)?;
    strong_enough(&key)?;
    let algorithm = key.algorithm().to_string();
    let Honoured { scope, terms, authority } = key_options::honour(options, algorithm.starts_with("sk-"))?;
    let blob = key.to_bytes().map_err(|_| BadKey::Malformed)?;
    Ok(ParsedKey {
        blob: KeyBlob::new(blob).map_err(|_| BadKey::Long)?,
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        algorithm,
        label: label(key.comment().as_str_lossy()),
        scope,
        terms,
        authority,
    })
}

/// The fingerprint and the algorithm of a key in its wire form, if it is one that is taken.
pub(super) fn look_at(blob: &KeyBlob) -> Result<(String, String), BadKey> {
    let key = PublicKey::from_bytes(blob.as_bytes()).map_err(|_| BadKey::Malformed)?;
    strong_enough(&key)?;
    Ok((key.fingerprint(HashAlg::Sha256).to_string(), key.algorithm().to_string()))
}

/// A key by itself, as it was shown.
pub(super) fn of_blob(blob: KeyBlob, comment: &str) -> Result<ParsedKey, BadKey> {
    let key = PublicKey::from_bytes(blob.as_bytes()).map_err(|_| BadKey::Malformed)?;
    if key.key_data().is_certificate() || key.key_data().is_other() {
        return Err(BadKey::Malformed);
    }
    strong_enough(&key)?;
    Ok(ParsedKey {
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        algorithm: key.algorithm().to_string(),
        blob,
        label: label(comment),
        scope: Scope::default(),
        terms: Terms::default(),
        authority: None,
    })
}

fn strong_enough(key: &PublicKey) -> Result<(), BadKey> {
    match key.algorithm() {
        Algorithm::Dsa => Err(BadKey::Dsa),
        Algorithm::Rsa { .. } if !key.key_data().rsa().is_some_and(is_long_enough) => Err(BadKey::WeakRsa),
        _ => Ok(()),
    }
}

/// Whether an RSA key has as many bits as are needed.
pub(super) fn is_long_enough(rsa: &ssh_key::public::RsaPublicKey) -> bool {
    rsa.n().as_positive_bytes().is_some_and(|bytes| bytes.len() * 8 >= SMALLEST_RSA)
}

fn label(comment: &str) -> String {
    comment.chars().filter(|c| !c.is_control()).take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    /// The form that `ssh-keygen -t ed25519-sk` writes.
    const SK_ED25519: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqtiAAAABHNzaDo=";

    fn one(text: &str) -> ParsedKey {
        let mut keys = parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        assert_eq!(keys.len(), 1);
        keys.remove(0)
    }

    fn wrong(text: &str) -> BadKey {
        match parse(text).expect_err(text) {
            BadKey::Line { number: 1, source } => *source,
            other => other,
        }
    }

    #[test]
    fn a_line_of_ssh_keygen_is_a_key() {
        let key = one(&format!("# laptop\n{KEY} bob@example\n"));
        assert_eq!(key.fingerprint, "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ");
        assert_eq!((key.algorithm.as_str(), key.label.as_str()), ("ssh-ed25519", "bob@example"));
        assert!(key.scope.is_whole() && key.terms == Terms::default());
    }

    #[test]
    fn whatever_else_is_handed_in_gets_its_own_sentence() {
        assert_eq!(wrong("-----BEGIN OPENSSH PRIVATE KEY-----"), BadKey::Private);
        assert_eq!(wrong(""), BadKey::Malformed);
        assert_eq!(wrong("hello"), BadKey::Malformed);
        assert_eq!(wrong("hello you"), BadKey::Malformed);
        assert!(matches!(wrong("hello, you"), BadKey::Form(_)));
        assert!(matches!(wrong(&format!("fast {KEY}")), BadKey::Option(BadOption::Unknown(_))));
        assert_eq!(wrong("ssh-ed25519-cert-v01@openssh.com AAAA"), BadKey::Certificate);
        assert_eq!(wrong("ssh-dss AAAA"), BadKey::Dsa);
        assert_eq!(wrong("restrict ssh-dss AAAA"), BadKey::Dsa);
    }

    #[test]
    fn a_file_is_taken_as_a_whole_or_not_at_all() {
        assert_eq!(parse(&format!("{KEY}\n\n# second\nrestrict {KEY} two\n")).expect("two keys").len(), 2);
        let refused = parse(&format!("{KEY}\n# second\ntunnel=\"1\" {KEY}\n")).expect_err("a tunnel");
        assert!(matches!(refused, BadKey::Line { number: 3, .. }), "{refused:?}");
        assert!(matches!(parse(&format!("{KEY}\n").repeat(101)), Err(BadKey::Several { count: 101 })));
    }

    #[test]
    fn a_security_key_is_a_key() {
        let key = one(&format!("no-touch-required {SK_ED25519} token"));
        assert_eq!(key.algorithm, "sk-ssh-ed25519@openssh.com");
        assert!(matches!(wrong(&format!("verify-required {SK_ED25519}")), BadKey::Option(BadOption::Unserved { .. })));
        assert!(matches!(wrong(&format!("no-touch-required {KEY}")), BadKey::Option(BadOption::Unserved { .. })));
    }
}
