//! How far the windows of a connection's channels are opened while the input of some piles up. Pure.
//!
//! The SSH library opens a window again when its data has come, not when it was read, as soon as less than half of it is
//! left; and it has one size for the windows of all channels. It asks for that size each time it has opened one, so what
//! is answered holds for whichever channel is next. Channels that nobody reads must therefore be kept at the smallest
//! window that the library opens again at all, two bytes, and all others with them. But clients write to their channels
//! in turn: when the one comes before whose turn the other had two bytes, the size is large for just the next.

/// A window for those who wait for nobody.
pub(super) const WINDOW: u32 = 2 * 1024 * 1024;
/// The smallest window that the library still opens again.
const ALMOST_SHUT: u32 = 2;
/// Windows opened since a channel was narrow, after which it has gone, or writes no more.
const PATIENCE: u32 = 256;
/// A window for one channel, while the input of another piles up. Where the wrong one catches it, its pile grows by as much.
const ONE_TURN: u32 = 512 * 1024;

/// Why not all windows are wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pile {
    /// They are.
    Small,
    /// More input than should waits for some channels. Whether the one that was opened just now is among them.
    Large { is_cause: bool },
    /// So much waits that nothing may be added to it.
    Full,
}

/// Whose turn it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows {
    /// Whose window was opened last.
    last: Option<u32>,
    /// A channel that has a narrow window through no fault of its own, and the channel whose turn is before its.
    narrow: Option<Narrow>,
}

#[derive(Clone, Copy, Debug)]
struct Narrow {
    channel: u32,
    after: u32,
    /// Windows opened since.
    age: u32,
}

impl Windows {
    /// The window of `channel` was opened to `size`: what is the size for the next?
    pub(super) fn next(&mut self, channel: u32, size: u32, pile: Pile) -> u32 {
        let before = self.last.replace(channel).unwrap_or(channel);
        let is_cause = match pile {
            Pile::Small => {
                self.narrow = None;
                return WINDOW;
            }
            Pile::Large { is_cause } => is_cause,
            Pile::Full => return ALMOST_SHUT,
        };
        self.narrow = match self.narrow {
            // A wide one was for the narrow channel; who else may have caught it, its turn was another.
            _ if size > ALMOST_SHUT => None,
            Some(Narrow { channel: other, after, age }) if other != channel && age < PATIENCE => {
                Some(Narrow { channel: other, after, age: age + 1 })
            }
            _ if is_cause => None,
            _ => Some(Narrow { channel, after: before, age: 0 }),
        };
        if self.narrow.is_some_and(|narrow| narrow.after == channel) { ONE_TURN } else { ALMOST_SHUT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's channel: what it may send, as the library counts it too, and what it has sent.
    struct Sender {
        window: u32,
        sent: u64,
        is_cause: bool,
    }

    /// Has channels write in turn, as much as their windows allow; answers with what each has sent.
    fn in_turn(causes: &[bool], rounds: usize) -> Vec<u64> {
        let mut senders: Vec<Sender> =
            causes.iter().map(|is_cause| Sender { window: WINDOW, sent: 0, is_cause: *is_cause }).collect();
        let (mut windows, mut size) = (Windows::default(), WINDOW);
        for _ in 0..rounds {
            for (number, sender) in senders.iter_mut().enumerate() {
                let mut may = sender.window;
                while may > 0 {
                    let data = may.min(32 * 1024);
                    may -= data;
                    sender.sent += u64::from(data);
                    sender.window -= data;
                    if sender.window < size / 2 {
                        sender.window = size;
                        let pile = Pile::Large { is_cause: sender.is_cause };
                        size = windows.next(u32::try_from(number).expect("few"), size, pile);
                    }
                }
            }
        }
        senders.iter().map(|sender| sender.sent).collect()
    }

    #[test]
    fn what_is_read_goes_on_beside_what_is_not() {
        for causes in [&[true, false][..], &[false, true], &[true, true, false], &[true, false, true, true]] {
            let sent = in_turn(causes, 600);
            for (sent, is_cause) in sent.iter().zip(causes) {
                if *is_cause {
                    assert!(*sent < 8 << 20, "{causes:?}: {sent}");
                } else {
                    assert!(*sent > 50 << 20, "{causes:?}: {sent}");
                }
            }
        }
    }

    #[test]
    fn several_that_are_read_all_go_on() {
        let sent = in_turn(&[true, false, false, true, false], 1200);
        assert!([1, 2, 4].iter().all(|n| sent[*n] > 20 << 20), "{sent:?}");
        assert!([0, 3].iter().all(|n| sent[*n] < 12 << 20), "{sent:?}");
    }

    #[test]
    fn one_that_is_read_goes_on_when_the_others_send_nothing() {
        let mut windows = Windows::default();
        let pile = Pile::Large { is_cause: false };
        let mut size = ALMOST_SHUT;
        let opened: u64 = (0..100)
            .map(|_| {
                let given = size;
                size = windows.next(7, given, pile);
                u64::from(given)
            })
            .sum();
        assert!(opened > 10 << 20, "{opened}");
    }

    #[test]
    fn when_too_much_waits_nothing_is_added() {
        let mut windows = Windows::default();
        assert_eq!(windows.next(1, WINDOW, Pile::Full), ALMOST_SHUT);
        assert_eq!(windows.next(1, ALMOST_SHUT, Pile::Full), ALMOST_SHUT);
        assert_eq!(windows.next(1, ALMOST_SHUT, Pile::Small), WINDOW);
    }
}
