//! md5-crypt: `$1$` of old systems and `$apr1$` of Apache's `htpasswd`.
//!
//! Written out here, as Poul-Henning Kamp's algorithm has no library that is kept; what it makes is compared with
//! crypt(3)'s and `openssl passwd`'s in the tests of the parent. It is read, never made.

use std::str::FromStr;

use base64ct::{Base64ShaCrypt, Encoding};
use md5::{Digest, Md5};

use super::{BadHash, in_alphabet, is_equal};

/// A hash, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Md5Crypt {
    /// `$1$` or `$apr1$`, which is hashed as well.
    magic: &'static str,
    salt: String,
    hash: String,
}

/// The order in which bytes of the digest are written.
const ORDER: [[usize; 3]; 5] = [[12, 6, 0], [13, 7, 1], [14, 8, 2], [15, 9, 3], [5, 10, 4]];

impl FromStr for Md5Crypt {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        let magic = if text.starts_with("$1$") { "$1$" } else { "$apr1$" };
        let malformed = BadHash::Malformed { kind: if magic == "$1$" { "md5-crypt" } else { "apr1" } };
        let (salt, hash) =
            text.strip_prefix(magic).and_then(|rest| rest.split_once('$')).ok_or_else(|| malformed.clone())?;
        if salt.is_empty() || salt.len() > 8 || hash.len() != 22 || !in_alphabet(salt) || !in_alphabet(hash) {
            return Err(malformed);
        }
        Ok(Md5Crypt { magic, salt: salt.to_owned(), hash: hash.to_owned() })
    }
}

impl Md5Crypt {
    /// Whether this is the password behind the hash.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        is_equal(written(&self.digest(password)).as_bytes(), self.hash.as_bytes())
    }

    fn digest(&self, password: &[u8]) -> [u8; 16] {
        let salt = self.salt.as_bytes();
        let alternate = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
        let mut first = Md5::new().chain_update(password).chain_update(self.magic).chain_update(salt);
        for part in password.chunks(alternate.len()) {
            first.update(alternate.get(..part.len()).unwrap_or(&alternate));
        }
        let mut left = password.len();
        while left > 0 {
            // A quirk of the original: a zero byte, or the first of the password.
            first.update(if left & 1 == 1 { &[0] } else { password.get(..1).unwrap_or_default() });
            left >>= 1;
        }
        let mut digest: [u8; 16] = first.finalize().into();
        for round in 0..1000 {
            let is_odd = round % 2 == 1;
            let mut next = Md5::new();
            next.update(if is_odd { password } else { &digest });
            if round % 3 != 0 {
                next.update(salt);
            }
            if round % 7 != 0 {
                next.update(password);
            }
            next.update(if is_odd { &digest } else { password });
            digest = next.finalize().into();
        }
        digest
    }
}

fn written(digest: &[u8; 16]) -> String {
    let byte = |at: &usize| digest.get(*at).copied().unwrap_or_default();
    let ordered: Vec<u8> = ORDER.iter().flatten().chain(&[11]).map(byte).collect();
    Base64ShaCrypt::encode_string(&ordered)
}
