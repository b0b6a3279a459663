//! Verdicts on passwords: argon2id (RFC 9106), on few threads, alike for everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::domain::Secret;

/// Most claims that wait for a thread; more are told to come again.
const MOST_WAITING: usize = 64;

/// Why a password could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many at once.
    #[error("too many passwords are waiting to be judged")]
    Busy,
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

fn verify(secret: &Secret, stored: &str) -> bool {
    match PasswordHash::new(stored) {
        Ok(hash) => Argon2::default().verify_password(secret.expose().as_bytes(), &hash).is_ok(),
        Err(_) => false,
    }
}

/// Judges passwords, a bounded number at a time.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    threads: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// What a name without a password is measured against, so that it takes as long as one with.
    nobody: Arc<str>,
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
        Ok(Judge { threads: Arc::new(Semaphore::new(threads.max(1))), waiting: Arc::default(), nobody: nobody.into() })
    }

    /// Whether the secret is the one behind the stored hash. Without a hash it never is, after the same work.
    pub(super) async fn is_right(&self, secret: Secret, stored: Option<String>) -> Result<bool, PasswordError> {
        let _place = Place::take(&self.waiting).ok_or(PasswordError::Busy)?;
        let _thread = self.threads.acquire().await.map_err(|_| PasswordError::Busy)?;
        let is_somebody = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobody.to_string());
        let judged = tokio::task::spawn_blocking(move || verify(&secret, &stored)).await;
        Ok(judged.map_err(|_| PasswordError::Busy)? && is_somebody)
    }
}

/// One of the places in the queue; given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Place<'a>> {
        let place = Place(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text).expect("short")
    }

    #[tokio::test]
    async fn only_the_right_password_of_somebody_is_right() {
        let judge = Judge::new(1).expect("a judge");
        let stored = hash(&secret("right")).expect("a hash");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(judge.is_right(secret("right"), Some(stored.clone())).await.expect("a verdict"));
        assert!(!judge.is_right(secret("wrong"), Some(stored)).await.expect("a verdict"));
        assert!(!judge.is_right(secret("right"), None).await.expect("a verdict"));
        assert!(!judge.is_right(secret(""), Some(String::new())).await.expect("a verdict"));
    }

    #[test]
    fn a_place_in_the_queue_is_given_back() {
        let waiting = AtomicUsize::new(0);
        let places: Vec<_> = (0..MOST_WAITING).map(|_| Place::take(&waiting).expect("a place")).collect();
        assert!(Place::take(&waiting).is_none());
        drop(places);
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }
}
