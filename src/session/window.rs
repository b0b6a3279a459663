//! How much may be sent on one channel: what its client has granted, less what was handed to the SSH library.
//!
//! The library keeps what does not fit the client's window, and as long as it keeps anything of one channel it takes nothing
//! from the queue that all channels share. So nothing is handed to it beyond the window. What it has sent is known when it
//! lets go of the bytes ([`Window::counted`]).
//!
//! How large the window is says the library only when the client opens it further. Until then it is taken for 64 packets, as
//! OpenSSH, libssh2, paramiko, asyncssh, ssh2 and Go's library have it. PuTTY and its kin begin with 2 GiB and say nothing
//! for the first of them: of others than OpenSSH a little more is tried after a pause, and more as long as the library
//! keeps nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::programs::lock;

/// Packets that the window holds at first, of most clients.
const PACKETS: u64 = 64;
/// What is tried beyond that, once something was: as much may then wait in the library.
const STEP: u64 = 2 * 1024 * 1024;
/// How long the client is waited for before more is tried.
const PAUSE: Duration = Duration::from_millis(50);

/// The window of one channel.
#[derive(Debug, Default)]
pub(super) struct Window {
    state: Mutex<State>,
    /// All that the library has sent.
    sent: AtomicU64,
    /// Whether the client has closed the channel: nothing can be sent any more.
    is_shut: AtomicBool,
    opened: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// All that the client has ever granted.
    granted: u64,
    /// All that was ever handed to the library.
    handed: u64,
    guess: Guess,
}

/// Whether it is known what the client has granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Guess {
    /// It is, or there is no more than that.
    #[default]
    Right,
    /// It may be more. One packet is tried first.
    Low { packet: u64 },
    /// It was more.
    TooLow,
}

impl Window {
    /// That of a client that takes packets of such a size. Whether it is OpenSSH says what it calls itself by.
    pub(super) fn begins(packet: u32, ident: &[u8]) -> Window {
        let packet = u64::from(packet);
        let guess = if ident.starts_with(b"SSH-2.0-OpenSSH_") { Guess::Right } else { Guess::Low { packet } };
        let state = State { granted: PACKETS * packet, handed: 0, guess };
        Window { state: Mutex::new(state), ..Window::default() }
    }

    /// The window is `size` bytes now, after what was sent.
    pub(super) fn is_now(&self, size: u32) {
        let mut state = lock(&self.state);
        state.granted = self.sent.load(Ordering::Relaxed).saturating_add(u64::from(size));
        state.guess = Guess::Right;
        drop(state);
        self.opened.notify_waiters();
    }

    /// The client has closed the channel.
    pub(super) fn shut(&self) {
        self.is_shut.store(true, Ordering::Relaxed);
        self.opened.notify_waiters();
    }

    /// How much may be sent.
    pub(super) fn room(&self) -> usize {
        let mut state = lock(&self.state);
        self.look(&mut state);
        usize::try_from(state.granted.saturating_sub(state.handed)).unwrap_or(usize::MAX)
    }

    /// Takes what may be sent, at most `most` of it.
    pub(super) fn take_now(&self, most: usize) -> usize {
        let mut state = lock(&self.state);
        self.look(&mut state);
        let room = state.granted.saturating_sub(state.handed).min(most as u64);
        state.handed = state.handed.saturating_add(room);
        usize::try_from(room).unwrap_or(most)
    }

    /// Whether there may be more room than is known, so that somebody has to try.
    pub(super) fn is_to_be_tried(&self) -> bool {
        lock(&self.state).guess != Guess::Right
    }

    /// Where more has gone than was known of, so may the next.
    fn look(&self, state: &mut State) {
        if state.guess == Guess::TooLow && state.granted <= state.handed && self.has_sent(state) {
            state.granted = state.handed.saturating_add(STEP);
        }
    }

    fn has_sent(&self, state: &State) -> bool {
        self.sent.load(Ordering::Relaxed) >= state.handed
    }

    /// Tries one packet, unless some is still in the library.
    fn try_more(&self) {
        let mut state = lock(&self.state);
        if let Guess::Low { packet } = state.guess
            && self.has_sent(&state)
        {
            state.granted = state.handed.saturating_add(packet);
            state.guess = Guess::TooLow;
        }
    }

    /// Waits until something may be sent, and takes at most `most` of it; nothing when the channel is closed.
    pub(super) async fn take(&self, most: usize) -> Option<usize> {
        loop {
            let opened = self.opened.notified();
            if self.is_shut.load(Ordering::Relaxed) {
                return None;
            }
            let room = self.take_now(most);
            if room > 0 {
                return Some(room);
            }
            if !self.is_to_be_tried() {
                opened.await;
            } else if tokio::time::timeout(PAUSE, opened).await.is_err() {
                self.try_more();
            }
        }
    }

    /// Gives back what was taken and not used.
    pub(super) fn put_back(&self, unused: usize) {
        let mut state = lock(&self.state);
        state.handed = state.handed.saturating_sub(unused as u64);
        drop(state);
        self.opened.notify_waiters();
    }

    /// Bytes for which room was taken, to be handed to the library: when it lets go of them, they are sent.
    pub(super) fn counted(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Counted { bytes, window: Arc::clone(self) })
    }
}

/// Bytes that tell when the library lets go of them.
struct Counted {
    bytes: Bytes,
    window: Arc<Window>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.window.sent.fetch_add(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENSSH: &[u8] = b"SSH-2.0-OpenSSH_10.0";
    const PUTTY: &[u8] = b"SSH-2.0-PuTTY_Release_0.78";

    #[test]
    fn no_more_is_taken_than_was_granted() {
        let window = Arc::new(Window::default());
        assert_eq!(window.take_now(10), 0);
        window.is_now(100);
        assert_eq!((window.take_now(70), window.take_now(70), window.take_now(70)), (70, 30, 0));
        let handed = window.counted(vec![0; 70].into());
        // The client grants more while the library still has what was handed to it.
        window.is_now(100 + 50);
        assert_eq!(window.room(), 50);
        drop(handed);
        assert_eq!(window.room(), 50, "what was sent had its room already");
        window.put_back(30);
        assert_eq!(window.room(), 80);
    }

    /// What is taken of a window of `size` bytes that the client never opens further, and what of it the library keeps.
    async fn taken_of(size: usize, ident: &[u8]) -> (usize, usize) {
        let window = Arc::new(Window::begins(32_768, ident));
        let (mut taken, mut kept) = (0, Vec::new());
        while let Ok(Some(room)) = tokio::time::timeout(6 * PAUSE, window.take(100_000)).await {
            taken += room;
            let bytes = window.counted(vec![0; room].into());
            if taken > size {
                kept.push(bytes);
            }
            if taken > 16 << 20 {
                break;
            }
        }
        (taken, taken.saturating_sub(size))
    }

    #[tokio::test]
    async fn a_window_that_nobody_tells_of_is_found_out() {
        assert_eq!(taken_of(2 << 20, OPENSSH).await, (2 << 20, 0), "OpenSSH tells");
        assert!(taken_of(2 << 30, PUTTY).await.0 > 16 << 20, "it goes on");
        let (_, kept) = taken_of(2 << 20, PUTTY).await;
        assert!(kept <= 32_768, "{kept} wait in the library");
        let (_, kept) = taken_of(3 << 20, PUTTY).await;
        assert!(kept as u64 <= STEP, "{kept} wait in the library");
    }

    #[tokio::test]
    async fn what_the_client_tells_holds() {
        let window = Arc::new(Window::begins(32_768, PUTTY));
        window.is_now(10);
        assert_eq!(window.take(100).await, Some(10));
        drop(window.counted(vec![0; 10].into()));
        assert!(tokio::time::timeout(10 * PAUSE, window.take(100)).await.is_err());
    }
}
