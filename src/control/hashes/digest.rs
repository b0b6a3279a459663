//! One digest of the password: LDAP's salted ones (RFC 2307 and OpenLDAP's), and PBKDF2 as Python's passlib, Django and the
//! PHC write it.

use base64ct::{Base64, Base64Unpadded, Encoding};
use hmac::Hmac;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{BadHash, is_equal};

/// A hash, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digested {
    digest: Function,
    /// Of PBKDF2; `None` for the digest of password and salt.
    rounds: Option<u32>,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// Most rounds of PBKDF2 that a login may take.
const MOST_ROUNDS: u32 = 2_000_000;

impl Function {
    fn length(self) -> usize {
        match self {
            Function::Md5 => 16,
            Function::Sha1 => 20,
            Function::Sha256 => 32,
            Function::Sha384 => 48,
            Function::Sha512 => 64,
        }
    }
}

/// Reads a hash of these kinds; `None` when it is of another.
pub(super) fn read(text: &str) -> Result<Option<Digested>, BadHash> {
    if let Some((scheme, rest)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return ldap(&scheme.to_ascii_uppercase(), rest);
    }
    if let Some((function, rest)) = text.strip_prefix("pbkdf2_").and_then(|rest| rest.split_once('$')) {
        let function = pbkdf2_function(function).ok_or(BadHash::Unknown)?;
        // Django takes the salt as it is written.
        return pbkdf2(function, rest, |salt| Some(salt.as_bytes().to_vec())).map(Some);
    }
    let Some((id, rest)) = text.strip_prefix('$').and_then(|rest| rest.split_once('$')) else { return Ok(None) };
    match id.strip_prefix("pbkdf2") {
        None => Ok(None),
        Some("") => pbkdf2(Function::Sha1, rest, decode).map(Some),
        Some(function) => {
            let function = function.strip_prefix('-').and_then(pbkdf2_function).ok_or(BadHash::Unknown)?;
            pbkdf2(function, rest, decode).map(Some)
        }
    }
}

fn pbkdf2_function(name: &str) -> Option<Function> {
    match name.to_ascii_lowercase().as_str() {
        "sha1" => Some(Function::Sha1),
        "sha256" => Some(Function::Sha256),
        "sha512" => Some(Function::Sha512),
        _ => None,
    }
}

fn ldap(scheme: &str, rest: &str) -> Result<Option<Digested>, BadHash> {
    let salted = |digest| of_ldap(digest, rest, Salt::Some).map(Some);
    let bare = |digest| of_ldap(digest, rest, Salt::None).map(Some);
    match scheme {
        "CRYPT" => Ok(None),
        "SMD5" => salted(Function::Md5),
        "SSHA" => salted(Function::Sha1),
        "SSHA256" => salted(Function::Sha256),
        "SSHA384" => salted(Function::Sha384),
        "SSHA512" => salted(Function::Sha512),
        "PBKDF2" => pbkdf2(Function::Sha1, rest, decode).map(Some),
        "CLEARTEXT" | "PLAIN" | "CLEAR" => Err(BadHash::Clear),
        "MD5" => bare(Function::Md5),
        "SHA" => bare(Function::Sha1),
        "SHA256" => bare(Function::Sha256),
        "SHA384" => bare(Function::Sha384),
        "SHA512" => bare(Function::Sha512),
        _ => match scheme.strip_prefix("PBKDF2-").and_then(pbkdf2_function) {
            Some(function) => pbkdf2(function, rest, decode).map(Some),
            None => Err(BadHash::Unknown),
        },
    }
}

/// Whether a salt belongs to a scheme.
#[derive(PartialEq, Eq)]
enum Salt {
    Some,
    None,
}

/// The digest, and behind it the salt.
fn of_ldap(digest: Function, text: &str, wanted: Salt) -> Result<Digested, BadHash> {
    let malformed = BadHash::Malformed { kind: "LDAP" };
    let bytes = Base64::decode_vec(text).map_err(|_| malformed.clone())?;
    match bytes.split_at_checked(digest.length()) {
        Some((hash, salt)) if salt.is_empty() == (wanted == Salt::None) => {
            Ok(Digested { digest, rounds: None, salt: salt.to_vec(), hash: hash.to_vec() })
        }
        _ => Err(malformed),
    }
}

fn pbkdf2(digest: Function, text: &str, read_salt: fn(&str) -> Option<Vec<u8>>) -> Result<Digested, BadHash> {
    let kind = "pbkdf2";
    let fields: Vec<&str> = text.split('$').collect();
    let [params, salt, hash] = fields.as_slice() else { return Err(BadHash::Malformed { kind }) };
    let (salt, hash) = (read_salt(salt).unwrap_or_default(), decode(hash).unwrap_or_default());
    let rounds = params.split(',').next().map(|first| first.strip_prefix("i=").unwrap_or(first));
    let rounds = rounds.and_then(|rounds| rounds.parse::<u32>().ok()).unwrap_or_default();
    if salt.is_empty() || hash.len() != digest.length() || rounds == 0 {
        return Err(BadHash::Malformed { kind });
    }
    if rounds > MOST_ROUNDS {
        return Err(BadHash::Dear { kind, bound: "2000000 rounds" });
    }
    Ok(Digested { digest, rounds: Some(rounds), salt, hash })
}

/// Base64 with or without padding, and with passlib's `.` for `+`.
fn decode(text: &str) -> Option<Vec<u8>> {
    Base64Unpadded::decode_vec(&text.trim_end_matches('=').replace('.', "+")).ok()
}

impl Digested {
    /// Whether this is the password behind the hash.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        let made = match (self.rounds, self.digest) {
            (None, Function::Md5) => self.digest::<Md5>(password),
            (None, Function::Sha1) => self.digest::<Sha1>(password),
            (None, Function::Sha256) => self.digest::<Sha256>(password),
            (None, Function::Sha384) => self.digest::<Sha384>(password),
            (None, Function::Sha512) => self.digest::<Sha512>(password),
            (Some(rounds), digest) => self.stretched(password, rounds, digest),
        };
        is_equal(&made, &self.hash)
    }

    fn digest<D: Digest>(&self, password: &[u8]) -> Vec<u8> {
        D::new().chain_update(password).chain_update(&self.salt).finalize().to_vec()
    }

    fn stretched(&self, password: &[u8], rounds: u32, digest: Function) -> Vec<u8> {
        let mut made = vec![0; digest.length()];
        let done = match digest {
            Function::Sha1 => pbkdf2::pbkdf2::<Hmac<Sha1>>(password, &self.salt, rounds, &mut made),
            Function::Sha256 => pbkdf2::pbkdf2::<Hmac<Sha256>>(password, &self.salt, rounds, &mut made),
            Function::Sha512 => pbkdf2::pbkdf2::<Hmac<Sha512>>(password, &self.salt, rounds, &mut made),
            // No such hash can be read.
            Function::Md5 | Function::Sha384 => return Vec::new(),
        };
        if done.is_ok() { made } else { Vec::new() }
    }
}
