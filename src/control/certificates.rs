//! OpenSSH certificates (PROTOCOL.certkeys) as clients show them: read, and the signature of the authority checked.
//!
//! A session has done the same, but a session may be captured: what is believed of a certificate is what is read here. It
//! trusts nothing in the bytes but what the authority has signed.

use sha1::{Digest, Sha1};
use sha2::Sha256;
use ssh_key::certificate::CertType;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, Certificate};

use super::keys::is_long_enough;
use crate::domain::{
    AuthorityFacts, CertificateBlob, CertificateFacts, CertificateKind, Certified, CriticalOption, Extensions, Flaw,
};

/// How often a certificate's type may be named in one: by itself, and a few times by chance. A certificate signed by a
/// certificate is refused, but only after it was read, and reading goes as deep as it is nested.
const MOST_MARKERS: usize = 4;
const MARKER: &[u8] = b"-cert-v01@";
/// Longest name of an option that is looked at, and longest value: a forced command.
const LONGEST_OPTION: usize = 4096;
/// Most bytes of all names that a certificate is made out to: they travel with all other facts.
const LONGEST_PRINCIPALS: usize = 4096;
/// What is kept of the name that an authority gives a certificate, in characters.
const LONGEST_KEY_ID: usize = 128;
/// Options whose values mean something here.
const KNOWN_OPTIONS: [&str; 3] = ["force-command", "source-address", "verify-required"];

/// Digests of a key, as lists of revoked keys have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digests {
    /// `SHA256:` and base64, as `ssh-keygen -l` prints it.
    pub sha256: String,
    /// In hexadecimal digits.
    pub sha1: String,
}

impl Digests {
    /// Those of a key in its wire form.
    pub(super) fn of(blob: &[u8]) -> Digests {
        Digests { sha256: fingerprint(&Sha256::digest(blob)), sha1: hexadecimal(&Sha1::digest(blob)) }
    }
}

/// As `ssh-keygen -l` prints the digest of a key.
pub(super) fn fingerprint(digest: &[u8]) -> String {
    format!("SHA256:{}", <base64ct::Base64Unpadded as base64ct::Encoding>::encode_string(digest))
}

/// In hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// A certificate that could be read. Whose it is and who signed it is still to be found out.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    certificate: Certificate,
    /// Of its own key.
    pub(super) subject: Digests,
    /// Of the key that is said to have signed it.
    pub(super) authority: Digests,
}

/// Reads a certificate.
pub(super) fn parse(blob: &CertificateBlob) -> Result<Parsed, Flaw> {
    let bytes = blob.as_bytes();
    if bytes.windows(MARKER.len()).filter(|window| *window == MARKER).count() > MOST_MARKERS {
        return Err(Flaw::Nested);
    }
    let certificate = Certificate::from_bytes(bytes).map_err(|_| Flaw::Malformed)?;
    if certificate.signature_key().is_certificate() || certificate.public_key().is_certificate() {
        return Err(Flaw::Nested);
    }
    if !is_strong(certificate.public_key()) {
        return Err(Flaw::WeakKey);
    }
    if !is_strong(certificate.signature_key()) {
        return Err(Flaw::WeakAuthority);
    }
    if certificate.valid_principals().iter().map(String::len).sum::<usize>() > LONGEST_PRINCIPALS {
        return Err(Flaw::Malformed);
    }
    let (subject, authority) = (digests(certificate.public_key())?, digests(certificate.signature_key())?);
    Ok(Parsed { certificate, subject, authority })
}

fn digests(key: &KeyData) -> Result<Digests, Flaw> {
    let blob = ssh_key::PublicKey::from(key.clone()).to_bytes().map_err(|_| Flaw::Malformed)?;
    Ok(Digests::of(&blob))
}

fn is_strong(key: &KeyData) -> bool {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => true,
        Algorithm::Rsa { .. } => key.rsa().is_some_and(is_long_enough),
        _ => false,
    }
}

impl Parsed {
    /// The number that its authority gave it.
    pub(super) fn serial(&self) -> u64 {
        self.certificate.serial()
    }

    /// What its authority calls it.
    pub(super) fn key_id(&self) -> &str {
        self.certificate.key_id()
    }

    /// Whether whoever is said to have signed it did.
    fn check_signature(&self) -> Result<(), Flaw> {
        if matches!(self.certificate.signature().algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
            return Err(Flaw::Sha1);
        }
        // Of the library's checks this is the one that is about the signature alone; who the authority is, for whom and
        // until when the certificate is good is decided from what it says.
        self.certificate.verify_signature().map_err(|_| Flaw::Forged)
    }

    /// What it says, if the authority has signed it that it is said to be by.
    pub(super) fn facts(&self, authority: AuthorityFacts, is_revoked: bool) -> Result<CertificateFacts, Flaw> {
        self.check_signature()?;
        let certificate = &self.certificate;
        Ok(CertificateFacts {
            certified: Certified {
                key_id: certificate.key_id().chars().take(LONGEST_KEY_ID).collect(),
                serial: certificate.serial(),
                authority: authority.fingerprint.clone(),
            },
            fingerprint: self.subject.sha256.clone(),
            kind: match certificate.cert_type() {
                CertType::User => CertificateKind::User,
                CertType::Host => CertificateKind::Host,
            },
            principals: certificate.valid_principals().to_vec(),
            valid_from: certificate.valid_after(),
            valid_until: certificate.valid_before(),
            critical: self.critical()?,
            extensions: self.extensions(),
            options: self.digest_of_options(),
            is_revoked,
            authority,
        })
    }

    fn critical(&self) -> Result<Vec<CriticalOption>, Flaw> {
        let option = |(name, value): (&String, &String)| {
            let is_known = KNOWN_OPTIONS.contains(&name.as_str());
            if is_known && value.len() > LONGEST_OPTION {
                return Err(Flaw::Malformed);
            }
            let value = if is_known { value.clone() } else { String::new() };
            Ok(CriticalOption { name: name.chars().take(64).collect(), value })
        };
        // One that is not known is enough to be refused for.
        let unknown =
            self.certificate.critical_options().iter().find(|(name, _)| !KNOWN_OPTIONS.contains(&name.as_str()));
        match unknown {
            Some(one) => Ok(vec![option(one)?]),
            None => self.certificate.critical_options().iter().map(option).collect(),
        }
    }

    fn extensions(&self) -> Extensions {
        let says = |name: &str| self.certificate.extensions().contains_key(name);
        Extensions {
            terminal: says("permit-pty"),
            ports: says("permit-port-forwarding"),
            agent: says("permit-agent-forwarding"),
        }
    }

    /// The same for certificates that say the same about what may be done.
    fn digest_of_options(&self) -> String {
        let mut digest = Sha256::new();
        let Extensions { terminal, ports, agent } = self.extensions();
        digest.update([u8::from(terminal), u8::from(ports), u8::from(agent)]);
        for (name, value) in self.certificate.critical_options().iter() {
            for text in [name, value] {
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text.as_bytes());
            }
        }
        hexadecimal(&digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Principals, Scope, Terms};

    /// Made by `ssh-keygen -s ca -I laptop -n alice,bob -z 42 -O force-command='bin/deploy now' -O no-pty -V
    /// 20250101Z:20350101Z`, with keys of kind ed25519.
    const LAPTOP: &str = include_str!("testing/laptop-cert.pub");
    /// The key that signed it.
    const CA: &str = include_str!("testing/ca.pub");

    fn blob(line: &str) -> Vec<u8> {
        let encoded = line.split_whitespace().nth(1).expect("a key behind its kind");
        data_encoding::BASE64.decode(encoded.as_bytes()).expect("base64")
    }

    fn read(bytes: Vec<u8>) -> Result<Parsed, Flaw> {
        parse(&CertificateBlob::new(bytes).expect("short"))
    }

    fn authority(fingerprint: &str) -> AuthorityFacts {
        AuthorityFacts {
            fingerprint: fingerprint.to_owned(),
            principals: Principals::default(),
            scope: Scope::default(),
            terms: Terms::default(),
        }
    }

    #[test]
    fn a_certificate_of_ssh_keygen_says_what_it_was_made_to_say() {
        let parsed = read(blob(LAPTOP)).expect("a certificate");
        assert_eq!(parsed.authority, Digests::of(&blob(CA)));
        let facts = parsed.facts(authority("SHA256:ca"), false).expect("signed");
        assert_eq!(facts.certified.to_string(), "laptop serial 42 by SHA256:ca");
        assert_eq!((facts.kind, facts.principals.join(",").as_str()), (CertificateKind::User, "alice,bob"));
        assert_eq!((facts.valid_from, facts.valid_until), (1_735_689_600, 2_051_222_400));
        assert_eq!(facts.extensions, Extensions { terminal: false, ports: true, agent: true });
        let forced = CriticalOption { name: "force-command".into(), value: "bin/deploy now".into() };
        assert_eq!(facts.critical, [forced]);
    }

    #[test]
    fn no_bit_of_it_can_be_changed() {
        let good = blob(LAPTOP);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            let read = read(bad).and_then(|parsed| parsed.facts(authority("SHA256:ca"), false));
            assert!(read.is_err(), "byte {at}");
        }
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat()
    }

    /// A certificate that says to be signed by this key.
    fn signed_by(key: &[u8]) -> Vec<u8> {
        let kind = string(b"ssh-ed25519-cert-v01@openssh.com");
        let fields = [kind, string(&[]), string(&[1; 32]), vec![0; 8], vec![0, 0, 0, 1], string(b"x"), string(&[])];
        let options = [vec![0; 8], vec![255; 8], string(&[]), string(&[]), string(&[]), string(key)];
        let signature = string(&[string(b"ssh-ed25519"), string(&[0; 64])].concat());
        [fields.concat(), options.concat(), signature].concat()
    }

    #[test]
    fn a_certificate_signs_none_however_deep() {
        let mut nested = signed_by(&blob(CA));
        assert!(read(nested.clone()).is_ok_and(|parsed| parsed.check_signature() == Err(Flaw::Forged)));
        let mut depth = 0;
        while nested.len() < CertificateBlob::LONGEST {
            if depth > 0 {
                assert_eq!(read(nested.clone()).expect_err("nested"), Flaw::Nested, "{depth}");
            }
            nested = signed_by(&nested);
            depth += 1;
        }
        assert!(depth > 20);
    }

    #[test]
    fn options_that_say_the_same_share_a_home_and_others_do_not() {
        let digest = |line: &str| read(blob(line)).expect("a certificate").digest_of_options();
        assert_eq!(digest(LAPTOP), digest(LAPTOP));
        let plain = read(signed_by(&blob(CA))).expect("a certificate").digest_of_options();
        assert_ne!(digest(LAPTOP), plain);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_hard(bytes in proptest::collection::vec(any::<u8>(), 0..600), is_headed in any::<bool>()) {
            let head = string(b"ssh-ed25519-cert-v01@openssh.com");
            let bytes = if is_headed { [head, bytes].concat() } else { bytes };
            prop_assert!(read(bytes).and_then(|parsed| parsed.check_signature()).is_err());
        }

        #[test]
        fn no_pieces_of_a_certificate_are_too_hard(cut in 0_usize..500, at in 0_usize..500, byte in any::<u8>()) {
            let mut bytes = blob(LAPTOP);
            bytes.truncate(cut);
            if let Some(there) = bytes.get_mut(at) {
                *there = byte;
            }
            prop_assert!(read(bytes).is_err() || cut >= blob(LAPTOP).len());
        }
    }
}
