//! Codes of authenticators (RFC 6238: SHA-1, six digits, thirty seconds, which is what every app has) and recovery codes.
//!
//! Runs in: control. A code is taken once; the database holds which. Kept in memory: who typed wrong codes of late, and who
//! showed a right one from where, and need not show another for a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::{Timestamp, UserId, UserName};

/// Seconds that a code is good for, by the authenticator's clock.
const STEP: i64 = 30;
/// Steps that a clock may be wrong, either way.
const SKEW: i64 = 1;
/// Wrong codes in a row after which a user has to wait. Somebody who has the first factor guesses one code in a million.
const MOST_WRONG: u32 = 5;
/// For how long.
const PAUSE: Duration = Duration::from_secs(60);
/// How long somebody who showed a code need not show another, from the same address and with the same key or password:
/// clients such as FileZilla open a second connection for transfers.
const GRACE: Duration = Duration::from_secs(300);
/// Most users that are remembered, either way.
const MOST_REMEMBERED: usize = 4096;
/// Recovery codes that come with an authenticator.
const RECOVERY_CODES: usize = 10;

/// A new authenticator.
pub(super) struct Enrolment {
    /// In base32, for the app.
    pub secret: String,
    /// To be kept on paper.
    pub recovery: Vec<String>,
}

/// Draws a secret and recovery codes.
pub(super) fn enrol() -> Enrolment {
    Enrolment {
        secret: BASE32_NOPAD.encode(&rand::random::<[u8; 20]>()),
        recovery: (0..RECOVERY_CODES).map(|_| grouped(&BASE32_NOPAD.encode(&rand::random::<[u8; 10]>()))).collect(),
    }
}

/// `ABCD-EFGH-...`
fn grouped(code: &str) -> String {
    let letters: Vec<char> = code.chars().collect();
    letters.chunks(4).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// What an app reads from a QR code.
pub(super) fn uri(user: &UserName, secret: &str) -> String {
    format!("otpauth://totp/enclos:{user}?secret={secret}&issuer=enclos")
}

/// What somebody typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Six digits.
    Digits(u32),
    /// A recovery code, by what is kept of it.
    Recovery(String),
    /// Neither.
    Nothing,
}

/// Reads what was typed; spaces and hyphens are for people.
pub(super) fn read(text: &str) -> Typed {
    let code: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').take(64).collect();
    match code.len() {
        6 if code.bytes().all(|b| b.is_ascii_digit()) => code.parse().map_or(Typed::Nothing, Typed::Digits),
        16 if code.is_ascii() => Typed::Recovery(recovery_hash(&code)),
        _ => Typed::Nothing,
    }
}

/// What is kept of a recovery code.
pub(super) fn recovery_hash(code: &str) -> String {
    let plain: String = code.chars().filter(|c| *c != '-').collect::<String>().to_ascii_uppercase();
    HEXLOWER.encode(&Sha256::digest(plain))
}

/// The step whose code this is, if it is one of those around now.
pub(super) fn step_of(digits: u32, secret: &str, now: Timestamp) -> Option<i64> {
    let key = BASE32_NOPAD.decode(secret.as_bytes()).ok().filter(|key| !key.is_empty())?;
    let current = now.0 / STEP;
    let is_of = |step: &i64| bool::from(code_at(&key, *step).ct_eq(&digits));
    // The latest, so that the same digits of an earlier step are used up with it.
    ((current - SKEW)..=(current + SKEW)).rev().find(is_of)
}

/// RFC 4226, 5.3.
fn code_at(key: &[u8], step: i64) -> u32 {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return u32::MAX };
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest.last().copied().unwrap_or_default() & 0xf);
    let Some(Ok(bytes)) = digest.get(offset..offset + 4).map(<[u8; 4]>::try_from) else { return u32::MAX };
    (u32::from_be_bytes(bytes) & 0x7fff_ffff) % 1_000_000
}

/// With what somebody logs in from where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Comer {
    /// Who.
    pub user: UserName,
    /// From where.
    pub from: IpAddr,
    /// With which key; `None` for a password.
    pub fingerprint: Option<String>,
}

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Codes {
    wrong: HashMap<UserId, (u32, Instant)>,
    graces: HashMap<Comer, Instant>,
}

impl Codes {
    /// Whether a code of this user is looked at now. It counts as a wrong one from here on, so that no more of them are
    /// looked at side by side than one after the other.
    pub(super) fn begin(&mut self, user: UserId, now: Instant) -> bool {
        let is_over = |(count, last): &(u32, Instant)| *count >= MOST_WRONG && now.duration_since(*last) < PAUSE;
        if self.wrong.get(&user).is_some_and(is_over) {
            return false;
        }
        if self.wrong.len() >= MOST_REMEMBERED {
            self.wrong.retain(|_, (_, last)| now.duration_since(*last) < PAUSE);
        }
        let (count, last) = self.wrong.entry(user).or_insert((0, now));
        // After a pause there is one more try, not another five.
        *count = count.saturating_add(1);
        *last = now;
        true
    }

    /// A code was right, which forgets the wrong ones.
    pub(super) fn was_right(&mut self, user: UserId) {
        self.wrong.remove(&user);
    }

    /// Somebody showed a code, and is in.
    pub(super) fn shown(&mut self, comer: Comer, now: Instant) {
        if self.graces.len() >= MOST_REMEMBERED {
            self.graces.retain(|_, since| now.duration_since(*since) < GRACE);
        }
        if self.graces.len() < MOST_REMEMBERED {
            self.graces.insert(comer, now);
        }
    }

    /// Whether somebody need not show a code.
    pub(super) fn is_waived(&self, comer: &Comer, now: Instant) -> bool {
        self.graces.get(comer).is_some_and(|since| now.duration_since(*since) < GRACE)
    }

    /// Something was withdrawn from a user, or from somebody: everybody it may concern shows a code again.
    pub(super) fn forget(&mut self, user: Option<&UserName>) {
        self.graces.retain(|comer, _| user.is_some_and(|user| comer.user != *user));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6238, appendix B, with the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let key = b"12345678901234567890";
        for (time, code) in
            [(59, 287_082), (1_111_111_109, 81_804), (1_234_567_890, 5_924), (20_000_000_000_i64, 353_130)]
        {
            assert_eq!(code_at(key, time / STEP), code, "{time}");
        }
    }

    #[test]
    fn a_clock_may_be_wrong_by_one_step_and_no_more() {
        let secret = BASE32_NOPAD.encode(b"12345678901234567890");
        let now = Timestamp(1_234_567_890);
        let code = |steps: i64| code_at(b"12345678901234567890", now.0 / STEP + steps);
        for steps in -1..=1 {
            assert_eq!(step_of(code(steps), &secret, now), Some(now.0 / STEP + steps));
        }
        assert_eq!(step_of(code(-2), &secret, now), None);
        assert_eq!(step_of(code(2), &secret, now), None);
        assert_eq!(step_of(code(0), "", now), None);
        assert_eq!(step_of(code(0), "not base32!", now), None);
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        assert_eq!(read(" 005 924 "), Typed::Digits(5924));
        let Enrolment { recovery, secret } = enrol();
        assert_eq!((recovery.len(), secret.len()), (10, 32));
        let code = recovery.first().expect("a code");
        assert_eq!(read(&code.to_ascii_lowercase()), Typed::Recovery(recovery_hash(code)));
        for text in ["", "12345", "1234567", "12345a", "１２３４５６", "ABCD-EFGH"] {
            assert_eq!(read(text), Typed::Nothing, "{text:?}");
        }
    }

    #[test]
    fn whoever_guesses_has_to_wait() {
        let (mut codes, now, bob) = (Codes::default(), Instant::now(), UserId(1));
        for _ in 0..MOST_WRONG {
            assert!(codes.begin(bob, now));
        }
        assert!(!codes.begin(bob, now) && codes.begin(UserId(2), now));
        let later = now + PAUSE;
        assert!(codes.begin(bob, later));
        assert!(!codes.begin(bob, later), "one more try after a pause");
        codes.was_right(bob);
        for _ in 0..MOST_WRONG {
            assert!(codes.begin(bob, later), "whoever was right begins anew");
        }
        assert!(!codes.begin(bob, later));
    }

    #[test]
    fn a_grace_is_for_the_same_person_place_and_key_and_ends() {
        let (mut codes, now) = (Codes::default(), Instant::now());
        let bob = Comer {
            user: "bob".parse().expect("a name"),
            from: "192.0.2.7".parse().expect("an address"),
            fingerprint: Some("SHA256:x".into()),
        };
        codes.shown(bob.clone(), now);
        assert!(codes.is_waived(&bob, now + GRACE - Duration::from_secs(1)) && !codes.is_waived(&bob, now + GRACE));
        for other in [
            Comer { fingerprint: None, ..bob.clone() },
            Comer { from: "192.0.2.8".parse().expect("an address"), ..bob.clone() },
            Comer { user: "eve".parse().expect("a name"), ..bob.clone() },
        ] {
            assert!(!codes.is_waived(&other, now));
        }
        codes.forget(Some(&"eve".parse().expect("a name")));
        assert!(codes.is_waived(&bob, now));
        codes.forget(Some(&bob.user));
        assert!(!codes.is_waived(&bob, now));
    }

    proptest! {
        #[test]
        fn no_text_is_too_hard(text in "\\PC{0,80}") {
            if let Typed::Digits(digits) = read(&text) {
                prop_assert!(digits < 1_000_000);
            }
        }
    }
}
