//! Verdicts on passwords, on few threads, alike for everybody; new hashes are argon2id (RFC 9106).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;

use super::hashes::Stored;
use super::turns::{TooMany, Turns};
use crate::domain::{Block, Secret};

/// Bits of an address that make a source: all of IPv4, and of IPv6 those of a network such as one customer has.
const SOURCE: u8 = 64;
/// Longest that wrong passwords are held back for others that take long, in microseconds: a machine that is busy makes all of
/// them slow, and should not make them slower.
const MOST_PATIENCE: u64 = 1_000_000;

/// Why a password could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many at once.
    #[error("too many passwords are waiting to be judged")]
    Busy,
    /// The thread that judged it failed.
    #[error("judge a password: it could not be finished")]
    Unfinished,
    /// The hash could not be made.
    #[error("hash a password")]
    Hash(#[source] argon2::password_hash::Error),
}

/// Makes the hash that is stored (PHC string, argon2id, 19 MiB, 2 passes: OWASP's and the crate's default).
pub(super) fn hash(secret: &Secret) -> Result<String, PasswordError> {
    let hash: PasswordHash =
        Argon2::default().hash_password(secret.expose().as_bytes()).map_err(PasswordError::Hash)?;
    Ok(hash.to_string())
}

/// What is to be said of a password.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the one. With a hash that is to be kept in place of the one that it was compared with, if that was not ours.
    Right(Option<String>),
    /// It is not.
    Wrong,
}

fn judge(secret: &Secret, stored: &str) -> Verdict {
    let password = secret.expose().as_bytes();
    match stored.parse::<Stored>() {
        Ok(stored) if stored.is_of(password) => {
            let is_old = stored.is_to_be_replaced(password, Argon2::default().params());
            // That it cannot be hashed anew today makes it no less right.
            Verdict::Right(is_old.then(|| hash(secret).ok()).flatten())
        }
        _ => Verdict::Wrong,
    }
}

/// Judges passwords, a bounded number at a time; who comes from different places takes turns.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    threads: Turns<Block>,
    /// What a name without a password is measured against, so that it takes as long as one with.
    nobody: Arc<str>,
    /// Longest that a wrong password took, in microseconds. Hashes that came from elsewhere take longer or shorter than ours:
    /// every wrong one is answered as late as the slowest, so that the time tells of nobody.
    slowest: Arc<AtomicU64>,
}

impl Judge {
    /// A judge that hashes at most `threads` at the same time.
    pub(super) fn new(threads: usize) -> Result<Judge, PasswordError> {
        let unguessable = Secret::new(&format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>()));
        let nobody = match unguessable {
            Ok(secret) => hash(&secret)?,
            // 64 characters fit; were it otherwise, an unreadable hash is still nobody's password.
            Err(_) => String::new(),
        };
        Ok(Judge { threads: Turns::new(threads), nobody: nobody.into(), slowest: Arc::default() })
    }

    /// Whether the secret is the one behind the stored hash. Without a hash it never is, after the same time.
    pub(super) async fn judge(
        &self,
        secret: Secret,
        stored: Option<String>,
        from: IpAddr,
    ) -> Result<Verdict, PasswordError> {
        let (verdict, took) = self.judge_now(secret, stored, from).await?;
        if verdict == Verdict::Wrong {
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let slowest = self.slowest.fetch_max(took.min(MOST_PATIENCE), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_micros(slowest.saturating_sub(took))).await;
        }
        Ok(verdict)
    }

    async fn judge_now(
        &self,
        secret: Secret,
        stored: Option<String>,
        from: IpAddr,
    ) -> Result<(Verdict, Duration), PasswordError> {
        let _thread = self.threads.take(Block::around(from, SOURCE)).await.map_err(|TooMany| PasswordError::Busy)?;
        let is_somebody = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobody.to_string());
        let begun = Instant::now();
        let judged = tokio::task::spawn_blocking(move || judge(&secret, &stored)).await;
        let verdict = judged.map_err(|_| PasswordError::Unfinished)?;
        Ok((if is_somebody { verdict } else { Verdict::Wrong }, begun.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn secret(text: &str) -> Secret {
        Secret::new(text).expect("short")
    }

    #[tokio::test]
    async fn only_the_right_password_of_somebody_is_right() {
        let judge = Judge::new(1).expect("a judge");
        let stored = hash(&secret("right")).expect("a hash");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let verdict = async |typed, stored| judge.judge(secret(typed), stored, HERE).await.expect("a verdict");
        assert_eq!(verdict("right", Some(stored.clone())).await, Verdict::Right(None));
        assert_eq!(verdict("wrong", Some(stored)).await, Verdict::Wrong);
        assert_eq!(verdict("right", None).await, Verdict::Wrong);
        assert_eq!(verdict("", Some(String::new())).await, Verdict::Wrong);
        assert_eq!(verdict("right", Some("right".to_owned())).await, Verdict::Wrong);
    }

    #[tokio::test]
    async fn another_hash_is_replaced_by_ours_when_its_password_is_typed() {
        let judge = Judge::new(1).expect("a judge");
        let other = "$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/".to_owned();
        let verdict = judge.judge(secret("correct horse"), Some(other.clone()), HERE).await.expect("a verdict");
        let Verdict::Right(Some(ours)) = verdict else { panic!("{verdict:?}") };
        assert!(ours.starts_with("$argon2id$"));
        let again = judge.judge(secret("correct horse"), Some(ours), HERE).await.expect("a verdict");
        assert_eq!(again, Verdict::Right(None));
        assert_eq!(judge.judge(secret("wrong"), Some(other), HERE).await.expect("a verdict"), Verdict::Wrong);
    }
}
