//! Public keys as people hand them in.

use ssh_key::{Algorithm, HashAlg, PublicKey};

use crate::domain::KeyBlob;

/// Smallest RSA key taken.
const SMALLEST_RSA: usize = 2048;

/// Why a text is not a key we take. The text says what to hand in instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The private half.
    #[error("this is a private key; never hand it out. Give the public one, whose file ends in .pub")]
    Private,
    /// No key in it.
    #[error("this is not a public key; give one line such as: ssh-ed25519 AAAA... name@host")]
    Malformed,
    /// More than one.
    #[error("there are {count} keys in it; add them one at a time")]
    Several {
        /// How many.
        count: usize,
    },
    /// Options in front.
    #[error("options in front of a key ({options:?}) are not supported yet; give the key alone")]
    Options {
        /// What stands there.
        options: String,
    },
    /// A certificate.
    #[error("this is a certificate; certificates are not supported yet. Give the key alone")]
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
}

/// Reads one public key as `ssh-keygen` writes it.
pub(super) fn parse(text: &str) -> Result<ParsedKey, BadKey> {
    if text.contains("PRIVATE KEY-----") {
        return Err(BadKey::Private);
    }
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    match lines.as_slice() {
        [] => Err(BadKey::Malformed),
        [line] => parse_line(line),
        several => Err(BadKey::Several { count: several.len() }),
    }
}

fn parse_line(line: &str) -> Result<ParsedKey, BadKey> {
    let first = line.split_whitespace().next().unwrap_or_default();
    if first.ends_with("-cert-v01@openssh.com") {
        return Err(BadKey::Certificate);
    }
    let Ok(key) = PublicKey::from_openssh(line) else { return Err(not_a_key(line, first)) };
    strong_enough(&key)?;
    let blob = key.to_bytes().map_err(|_| BadKey::Malformed)?;
    Ok(ParsedKey {
        blob: KeyBlob::new(blob).map_err(|_| BadKey::Long)?,
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        algorithm: key.algorithm().to_string(),
        label: label(key.comment().as_str_lossy()),
    })
}

/// Options stand in front of the algorithm, which can then be found further on.
fn not_a_key(line: &str, first: &str) -> BadKey {
    let later = line.split_whitespace().skip(1).any(|word| word.starts_with("ssh-") || word.starts_with("ecdsa-"));
    match later {
        true if first.starts_with("ssh-dss") => BadKey::Dsa,
        true => BadKey::Options { options: first.chars().take(64).collect() },
        false if first == "ssh-dss" => BadKey::Dsa,
        false => BadKey::Malformed,
    }
}

fn strong_enough(key: &PublicKey) -> Result<(), BadKey> {
    match key.algorithm() {
        Algorithm::Dsa => Err(BadKey::Dsa),
        Algorithm::Rsa { .. } => {
            let bytes = key.key_data().rsa().and_then(|rsa| rsa.n().as_positive_bytes()).map_or(0, <[u8]>::len);
            if bytes * 8 >= SMALLEST_RSA { Ok(()) } else { Err(BadKey::WeakRsa) }
        }
        _ => Ok(()),
    }
}

fn label(comment: &str) -> String {
    comment.chars().filter(|c| !c.is_control()).take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn a_line_of_ssh_keygen_is_a_key() {
        let key = parse(&format!("# laptop\n{KEY} bob@example\n")).expect("a key");
        assert_eq!(key.fingerprint, "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ");
        assert_eq!((key.algorithm.as_str(), key.label.as_str()), ("ssh-ed25519", "bob@example"));
    }

    #[test]
    fn whatever_else_is_handed_in_gets_its_own_sentence() {
        assert_eq!(parse("-----BEGIN OPENSSH PRIVATE KEY-----"), Err(BadKey::Private));
        assert_eq!(parse(""), Err(BadKey::Malformed));
        assert_eq!(parse("hello"), Err(BadKey::Malformed));
        assert_eq!(parse(&format!("{KEY}\n{KEY}")), Err(BadKey::Several { count: 2 }));
        assert!(matches!(parse(&format!("restrict {KEY}")), Err(BadKey::Options { .. })));
        assert_eq!(parse("ssh-ed25519-cert-v01@openssh.com AAAA"), Err(BadKey::Certificate));
    }
}
