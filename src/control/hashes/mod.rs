//! Hashes of passwords as hosts already have them: read, bounded in what they cost, and compared without telling how much
//! of them was right.
//!
//! New hashes are argon2id alone; any other is replaced by one when its password is typed (`passwords`). What is read
//! here comes from an operator or from our own database: a text that is none of these is nobody's password.

mod digest;
mod md5_crypt;

use std::str::FromStr;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use sha_crypt::ShaCrypt;
use subtle::ConstantTimeEq;
use yescrypt::Yescrypt;

use digest::Digested;
use md5_crypt::Md5Crypt;

/// A hash that a password can be compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored(Scheme);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheme {
    /// RFC 9106.
    Argon2(String),
    /// `$2a$`, `$2b$`, `$2y$`: every byte behind the 72nd is ignored.
    Bcrypt(String),
    /// `$y$`: Debian's since 11.
    Yescrypt(String),
    /// `$5$` and `$6$`.
    Sha(String),
    /// `$1$` and `$apr1$`.
    Md5(Md5Crypt),
    /// One digest, with or without salt and rounds: LDAP's and PBKDF2.
    Digested(Digested),
}

/// Why a text cannot be taken for the hash of a password. The text says what to do; it shows nothing of the hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHash {
    /// Its beginning says nothing to us.
    #[error(
        "this hash is of no kind that is known: argon2, bcrypt ($2b$), yescrypt ($y$), sha512-crypt ($6$), sha256-crypt ($5$), \
         md5-crypt ($1$), apr1, pbkdf2 and LDAP's {{SSHA}}, {{SSHA256}}, {{SSHA512}}, {{SMD5}}, {{CRYPT}}; set a password instead"
    )]
    Unknown,
    /// It begins with `!` or `*`.
    #[error("this hash is locked; to let nobody in by a password: enclos passwd USER --remove")]
    Locked,
    /// It is the password itself.
    #[error("this is a password and no hash of one; set it with: enclos passwd USER --stdin")]
    Clear,
    /// It is not as its kind should be.
    #[error("this is no whole hash of the kind {kind}; was something cut off?")]
    Malformed {
        /// Which kind.
        kind: &'static str,
    },
    /// Each login would take too long, or too much memory.
    #[error("this hash of the kind {kind} costs more at each login than is allowed ({bound}); set a password instead")]
    Dear {
        /// Which kind.
        kind: &'static str,
        /// What is allowed.
        bound: &'static str,
    },
}

/// Longest text that is looked at.
const LONGEST: usize = 512;
/// Bytes that bcrypt looks at.
const OF_BCRYPT: usize = 72;

impl Stored {
    /// Whether this is the password behind the hash.
    pub fn is_of(&self, password: &[u8]) -> bool {
        // crypt(3) stops reading there, and PBKDF2 cannot tell such bytes at the end from none.
        if password.contains(&0) {
            return false;
        }
        match &self.0 {
            Scheme::Argon2(text) => {
                PasswordHash::new(text).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
            }
            Scheme::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Scheme::Yescrypt(text) => Yescrypt::default().verify_password(password, text.as_str()).is_ok(),
            Scheme::Sha(text) => ShaCrypt::default().verify_password(password, text.as_str()).is_ok(),
            Scheme::Md5(md5) => md5.is_of(password),
            Scheme::Digested(digested) => digested.is_of(password),
        }
    }

    /// Whether a password that was right should be hashed anew: unless it is as we would hash it. A password of which
    /// bcrypt saw a part only is left alone: another one with the same beginning was right as well.
    pub fn is_to_be_replaced(&self, password: &[u8], ours: &argon2::Params) -> bool {
        match &self.0 {
            Scheme::Argon2(text) => !PasswordHash::new(text).is_ok_and(|hash| {
                hash.algorithm.as_str() == "argon2id"
                    && argon2::Params::try_from(&hash).is_ok_and(|theirs| costs(&theirs) == costs(ours))
            }),
            Scheme::Bcrypt(_) => password.len() <= OF_BCRYPT,
            _ => true,
        }
    }
}

impl FromStr for Stored {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        if text.len() > LONGEST || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadHash::Unknown);
        }
        if text.starts_with(['!', '*']) {
            return Err(BadHash::Locked);
        }
        if let Some(scheme) = digest::read(text)? {
            return Ok(Stored(Scheme::Digested(scheme)));
        }
        let text = strip_crypt(text);
        let id = text.strip_prefix('$').and_then(|rest| rest.split('$').next()).unwrap_or_default();
        let scheme = match id {
            "argon2id" | "argon2i" | "argon2d" => argon2(text)?,
            "2a" | "2b" | "2y" => bcrypt(text)?,
            "y" => yescrypt(text)?,
            "5" => sha_crypt(text, 43)?,
            "6" => sha_crypt(text, 86)?,
            "1" | "apr1" => Scheme::Md5(text.parse()?),
            _ => return Err(BadHash::Unknown),
        };
        Ok(Stored(scheme))
    }
}

/// LDAP's way to write what crypt(3) makes.
fn strip_crypt(text: &str) -> &str {
    let length = "{CRYPT}".len();
    match text.get(..length) {
        Some(scheme) if scheme.eq_ignore_ascii_case("{CRYPT}") => text.get(length..).unwrap_or_default(),
        _ => text,
    }
}

fn argon2(text: &str) -> Result<Scheme, BadHash> {
    let kind = "argon2";
    let malformed = BadHash::Malformed { kind };
    let hash = PasswordHash::new(text).map_err(|_| malformed.clone())?;
    let params = argon2::Params::try_from(&hash).map_err(|_| malformed.clone())?;
    let is_whole = hash.salt.is_some() && hash.hash.as_ref().is_some_and(|out| out.len() >= 16);
    let rounds = u64::from(params.m_cost()) * u64::from(params.t_cost());
    match is_whole {
        false => Err(malformed),
        true if params.m_cost() > 128 * 1024 || rounds > 512 * 1024 => {
            Err(BadHash::Dear { kind, bound: "128 MiB, and as much work as 512 MiB once" })
        }
        true => Ok(Scheme::Argon2(text.to_owned())),
    }
}

fn bcrypt(text: &str) -> Result<Scheme, BadHash> {
    let kind = "bcrypt";
    let cost = text.get(4..6).and_then(|cost| cost.parse::<u32>().ok());
    match (bcrypt::HashParts::from_str(text), cost) {
        (Ok(_), Some(cost)) if text.len() == 60 && cost > 14 => Err(BadHash::Dear { kind, bound: "a cost of 14" }),
        (Ok(_), Some(4..)) if text.len() == 60 => Ok(Scheme::Bcrypt(text.to_owned())),
        _ => Err(BadHash::Malformed { kind }),
    }
}

/// The library compares as many bytes as the text has, which could be none.
fn yescrypt(text: &str) -> Result<Scheme, BadHash> {
    let kind = "yescrypt";
    let fields: Vec<&str> = text.split('$').collect();
    let ["", "y", params, salt, hash] = fields.as_slice() else { return Err(BadHash::Malformed { kind }) };
    let params: yescrypt::Params = params.parse().map_err(|_| BadHash::Malformed { kind })?;
    if hash.len() != 43 || salt.is_empty() || !in_alphabet(salt) || !in_alphabet(hash) {
        return Err(BadHash::Malformed { kind });
    }
    let is_plain =
        yescrypt::Params::new(yescrypt::Mode::default(), params.n(), params.r(), 1).is_ok_and(|p| p == params);
    let bytes = params.n().saturating_mul(u64::from(params.r())).saturating_mul(128);
    if is_plain && bytes <= 128 << 20 {
        Ok(Scheme::Yescrypt(text.to_owned()))
    } else {
        Err(BadHash::Dear { kind, bound: "128 MiB, without parallelism and extra time" })
    }
}

fn sha_crypt(text: &str, length: usize) -> Result<Scheme, BadHash> {
    let kind = if length == 43 { "sha256-crypt" } else { "sha512-crypt" };
    let fields: Vec<&str> = text.split('$').collect();
    let (rounds, salt, hash) = match fields.as_slice() {
        ["", _, salt, hash] => (None, salt, hash),
        ["", _, rounds, salt, hash] => (Some(*rounds), salt, hash),
        _ => return Err(BadHash::Malformed { kind }),
    };
    if hash.len() != length || salt.len() > 16 || !in_alphabet(salt) || !in_alphabet(hash) {
        return Err(BadHash::Malformed { kind });
    }
    let rounds = rounds.map(|rounds| rounds.strip_prefix("rounds=").and_then(|n| n.parse::<u32>().ok()));
    match rounds {
        None | Some(Some(1_000..=1_000_000)) => Ok(Scheme::Sha(text.to_owned())),
        Some(Some(1_000_001..)) => Err(BadHash::Dear { kind, bound: "1000000 rounds" }),
        Some(_) => Err(BadHash::Malformed { kind }),
    }
}

/// The alphabet of crypt(3).
fn in_alphabet(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
}

/// What a hash costs. The length of what comes out is no part of it.
fn costs(params: &argon2::Params) -> (u32, u32, u32) {
    (params.m_cost(), params.t_cost(), params.p_cost())
}

/// Compares without telling how much is equal.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    !one.is_empty() && bool::from(one.ct_eq(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// "correct horse" as crypt(3) of Debian 12, `openssl passwd`, and Python's hashlib have it.
    const GOOD: &[&str] = &[
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79",
        "$y$j75$abcdefgh$Jakf0CHhzdQOivqISxvBXCIRIaxY0Fs1wJGsJSurry/",
        "$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0",
        "$6$rounds=10000$saltstring$RSYX800PBUlPFzt5jRv2um1cURoaxGG39HgaJQWZRCbrFkEiv0mjfWp5SP56VAr33R/Th91SsTRNAtZHhoQFt1",
        "$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/",
        "$5$rounds=1400$another$RNlH6mZ0SjA/bVzRT3p3amHg75YSUzsFR3hGHcPl75B",
        "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80",
        "$1$xy$PyqBeJVhgjyPhe/YVnpmY.",
        "$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/",
        "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
        "$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
        "$2a$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
        "{CRYPT}$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/",
        "{SSHA}K0MZxWoMPVRxegoJBeg1/wEGvbpzYWx0MTIzNA==",
        "{ssha}K0MZxWoMPVRxegoJBeg1/wEGvbpzYWx0MTIzNA==",
        "{SSHA256}LBWHKVk8AqLFDGjNCFn++x9EnLelCHLkEmBsFi2U3AJzYWx0MTIzNA==",
        "{SSHA512}foa0o5b0ZNtnD4d7mkHNhvOYnvv07lgQLIiqhLd1FEa5XsTVUbPtF47ABIGbnQq2Ah1uFh4t800l1g7N4YIQh3NhbHQxMjM0",
        "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
        "{MD5}PLTnMmMfR+brlh80VUt83g==",
        "{SMD5}xO6uPl93NAYSG+7+PGvwd3NhbHQxMjM0",
        "$pbkdf2$1000$c2FsdHNhbHRzYWx0$JfNU29qvQkW1UgahO6OQ0oP6O0I",
        "$pbkdf2-sha256$29000$c2FsdHNhbHRzYWx0$qVIrcKKG1vCtBBMce139swLX534xS3jWoSuPlsfP4Us",
        "$pbkdf2-sha256$i=29000,l=32$c2FsdHNhbHRzYWx0$qVIrcKKG1vCtBBMce139swLX534xS3jWoSuPlsfP4Us",
        "$pbkdf2-sha512$25000$c2FsdHNhbHRzYWx0$oa823HAsmCOEP8Pzc6O/N3Oguj6boVo6PRuCopb1ySoVxU4zgOInfRJiWM1F/M1pMIHzOWfQta5om8xq8Z68ow",
        "{PBKDF2-SHA256}29000$c2FsdHNhbHRzYWx0$qVIrcKKG1vCtBBMce139swLX534xS3jWoSuPlsfP4Us",
        "pbkdf2_sha256$26000$saltsaltsalt$Zhr5ykgSffIbzESFUa9rAB9xGYcgCYJnOVXco5L7i8s=",
    ];

    #[test]
    fn every_kind_that_hosts_have_is_judged() {
        for text in GOOD {
            let stored: Stored = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!(stored.is_of(b"correct horse"), "{text}");
            for wrong in [&b""[..], b"correct hors", b"correct horse ", b"Correct horse", b"correct horse\0"] {
                assert!(!stored.is_of(wrong), "{text} took {wrong:?}");
            }
            assert!(stored.is_to_be_replaced(b"correct horse", &argon2::Params::default()), "{text}");
        }
    }

    #[test]
    fn a_hash_that_lacks_something_is_refused_and_matches_nothing() {
        for text in GOOD {
            for cut in 1..text.len() {
                let part = text.get(..cut).expect("ASCII");
                if part == text.trim_end_matches('=') {
                    continue;
                }
                if let Ok(stored) = part.parse::<Stored>() {
                    assert!(!stored.is_of(b"correct horse") && !stored.is_of(b""), "{part}");
                }
            }
        }
        for text in [
            "$y$j9T$salt$",
            "$6$salt$",
            "$1$salt$",
            "$pbkdf2-sha256$1000$c2FsdA$",
            "{SSHA}",
            "{SSHA}AAAA",
            "pbkdf2_sha256$1$x$",
            "$2b$05$",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
        ] {
            assert!(matches!(text.parse::<Stored>(), Err(BadHash::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn what_would_be_dear_is_refused_before_it_is_tried() {
        let bcrypt = "$2b$15$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";
        let yescrypt = "$y$jLT$F5Jx5fExrKuPp53xLKQ..1$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79";
        let sha = "$5$rounds=999999999$another$RNlH6mZ0SjA/bVzRT3p3amHg75YSUzsFR3hGHcPl75B";
        let pbkdf2 = "$pbkdf2-sha256$400000000$c2FsdHNhbHRzYWx0$qVIrcKKG1vCtBBMce139swLX534xS3jWoSuPlsfP4Us";
        let argon2 = "$argon2id$v=19$m=1048576,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for text in [bcrypt, yescrypt, sha, pbkdf2, argon2] {
            assert!(
                matches!(text.parse::<Stored>(), Err(BadHash::Dear { .. })),
                "{text}: {:?}",
                text.parse::<Stored>()
            );
        }
    }

    #[test]
    fn what_is_no_hash_gets_its_own_sentence() {
        assert_eq!("!$6$x$y".parse::<Stored>(), Err(BadHash::Locked));
        assert_eq!("*".parse::<Stored>(), Err(BadHash::Locked));
        for text in ["", "correct horse", "secret", "$9$x", "$2x$05$abc", "{FOO}x", "ab1FNDRCbvlGw"] {
            assert_eq!(text.parse::<Stored>(), Err(BadHash::Unknown), "{text}");
        }
        for text in ["{CLEARTEXT}secret", "{PLAIN}secret"] {
            assert_eq!(text.parse::<Stored>(), Err(BadHash::Clear), "{text}");
        }
    }

    #[test]
    fn a_password_that_bcrypt_saw_in_part_is_not_hashed_anew() {
        let stored: Stored = GOOD[9].parse().expect("bcrypt");
        let ours = argon2::Params::default();
        assert!(stored.is_to_be_replaced(&[b'x'; 72], &ours) && !stored.is_to_be_replaced(&[b'x'; 73], &ours));
    }

    proptest! {
        #[test]
        fn no_text_is_too_hard(text in "[$]?(2b|y|5|6|1|apr1|pbkdf2-sha256|argon2id|[{]SSHA[}])?[$a-zA-Z0-9./=,+{}]{0,120}") {
            if let Ok(stored) = text.parse::<Stored>() {
                prop_assert!(!stored.is_of(b""));
            }
        }
    }
}
