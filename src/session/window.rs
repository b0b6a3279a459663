//! How much may be sent on one channel: what its client has granted, less what was handed to the SSH library.
//!
//! The library keeps what does not fit the client's window, and as long as it keeps anything of one channel it takes nothing
//! from the queue that all channels share. So nothing is handed to it beyond the window. What it has sent is known when it
//! lets go of the bytes ([`Window::counted`]).
//!
//! How large the window is says the library only when the client opens it further. Until then that of OpenSSH is 64 packets,
//! as it always is. Others may have less, or far more: PuTTY and its kin begin with 2 GiB and say nothing for the first of them.
//! Of those so much more than was sent is handed over as may wait in the library: little at first, for all that waits leaves
//! at once when the window opens, and the library's buffer for what leaves is as large for ever as it had to be once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::Notify;

use super::programs::lock;

/// Packets that OpenSSH's window holds at first.
const PACKETS: u64 = 64;
/// The largest packet that OpenSSH takes; who takes more is somebody else.
const OPENSSH_PACKET: u32 = 32 * 1024;
/// What may wait in the library where the window is not known, until so much was sent; and from then on.
const LITTLE_WAITING: u64 = 64 * 1024;
const LITTLE: u64 = 16 * 1024 * 1024;
const MOST_WAITING: u64 = 2 * 1024 * 1024;

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
    /// Nobody has told how much that is.
    is_unknown: bool,
}

impl Window {
    /// That of a client that takes packets of such a size. Whether it is OpenSSH says what it calls itself by.
    pub(super) fn begins(packet: u32, ident: &[u8]) -> Window {
        let is_unknown = !ident.starts_with(b"SSH-2.0-OpenSSH_") || packet > OPENSSH_PACKET;
        let state = State { granted: PACKETS * u64::from(packet), handed: 0, is_unknown };
        Window { state: Mutex::new(state), ..Window::default() }
    }

    /// The window is `size` bytes now, after what was sent.
    pub(super) fn is_now(&self, size: u32) {
        let mut state = lock(&self.state);
        state.granted = self.sent.load(Ordering::Relaxed).saturating_add(u64::from(size));
        state.is_unknown = false;
        drop(state);
        self.opened.notify_waiters();
    }

    /// Whether only what is sent makes room, and no word of the client's.
    pub(super) fn is_unknown(&self) -> bool {
        lock(&self.state).is_unknown
    }

    /// The client has closed the channel.
    pub(super) fn shut(&self) {
        self.is_shut.store(true, Ordering::Relaxed);
        self.opened.notify_waiters();
    }

    /// How much may be sent.
    pub(super) fn room(&self) -> usize {
        usize::try_from(self.room_of(&lock(&self.state))).unwrap_or(usize::MAX)
    }

    fn room_of(&self, state: &State) -> u64 {
        let granted = if state.is_unknown {
            let sent = self.sent.load(Ordering::Relaxed);
            sent.saturating_add(if sent < LITTLE { LITTLE_WAITING } else { MOST_WAITING })
        } else {
            state.granted
        };
        granted.saturating_sub(state.handed)
    }

    /// Takes what may be sent, at most `most` of it.
    pub(super) fn take_now(&self, most: usize) -> usize {
        let mut state = lock(&self.state);
        let room = self.room_of(&state).min(most as u64);
        state.handed = state.handed.saturating_add(room);
        usize::try_from(room).unwrap_or(most)
    }

    /// Waits until something may be sent, and takes at most `most` of it; nothing when the channel is closed.
    pub(super) async fn take(&self, most: usize) -> Option<usize> {
        loop {
            let opened = self.opened.notified();
            if self.is_shut.load(Ordering::Relaxed) {
                return None;
            }
            match self.take_now(most) {
                0 => opened.await,
                room => return Some(room),
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
        // Where the window is not known, that is what makes room.
        self.window.opened.notify_waiters();
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

    /// What is taken of a window of `size` bytes that the client never opens further; the library keeps what is beyond it.
    fn taken_of(size: usize, ident: &[u8]) -> usize {
        let window = Arc::new(Window::begins(32_768, ident));
        let (mut taken, mut kept) = (0, Vec::new());
        loop {
            let room = window.take_now(100_000);
            if room == 0 || taken > 16 << 20 {
                return taken;
            }
            taken += room;
            let bytes = window.counted(vec![0; room].into());
            if taken > size {
                kept.push(bytes);
            }
        }
    }

    #[test]
    fn a_window_that_nobody_tells_of_is_not_in_the_way() {
        assert_eq!(taken_of(2 << 20, OPENSSH), 2 << 20, "OpenSSH's is known");
        let claimed = Window::begins(17 << 20, OPENSSH);
        assert!(claimed.is_unknown() && claimed.room() as u64 <= LITTLE_WAITING, "OpenSSH takes no such packets");
        assert!(taken_of(2 << 30, PUTTY) > 16 << 20, "it goes on");
        for size in [0, 64 << 10, 3 << 20] {
            let kept = taken_of(size, PUTTY).saturating_sub(size);
            assert!(kept as u64 <= LITTLE_WAITING, "{kept} wait in the library");
        }
    }

    #[test]
    fn what_the_client_tells_holds() {
        let window = Arc::new(Window::begins(32_768, PUTTY));
        window.is_now(10);
        assert_eq!(window.take_now(100), 10);
        drop(window.counted(vec![0; 10].into()));
        assert_eq!(window.take_now(100), 0);
    }
}
