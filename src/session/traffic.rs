//! How fast a connection may be, and whether anything moves on it.
//!
//! A bandwidth is shared by all sessions that are held to it, which are processes: in a page of memory stands, for each
//! direction, the moment at which all that was taken is paid for. Whoever wants to send takes its turn by moving it on, and
//! waits for the moment that stood there before. That is the virtual scheduling form of the generic cell rate algorithm
//! (ITU-T I.371, annex A): one number for each direction, no process that hands out turns, and none that others wait for.
//!
//! Trusts: nobody who has the page. Whatever stands in it, a turn comes within [`MOST_AHEAD`].
//!
//! What waits is data, where it is made or used. The client's requests, windows and signs of life pass.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Error;
use crate::domain::{Bounds, ByteCount};
use crate::wire::{self, LinkError};

/// What may be sent at once after a rest, as time.
const BURST: u64 = 100_000_000;
/// The length of one turn: with it many sessions that share little still come to their turns soon.
const TURN: u64 = 50_000_000;
/// Longest that a turn is waited for, whatever the page says.
const MOST_AHEAD: u64 = 2_000_000_000;
/// Bounds of what is taken in one turn.
const LEAST_AT_ONCE: u64 = 1024;
const MOST_AT_ONCE: u64 = 32 * 1024;
/// How long the connection is not read while more waits than should. Clients whose windows are kept almost shut would
/// otherwise send two bytes at a time as fast as they are answered.
const HOLD: Duration = Duration::from_millis(20);
/// How often it is looked whether a client rests.
const SHORTEST_LOOK: Duration = Duration::from_millis(50);
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// The traffic of one connection. Copies are of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Something moved since it was last looked.
    moved: AtomicBool,
    /// No read before then.
    held: std::sync::Mutex<Option<Instant>>,
    bound: OnceLock<Bound>,
    is_bound: Notify,
}

#[derive(Debug)]
struct Bound {
    idle: Option<Duration>,
    lanes: Vec<Lane>,
    begun: Instant,
}

/// One bandwidth, and where those who share it take turns: upwards and downwards.
#[derive(Debug)]
struct Lane {
    rate: u64,
    turns: &'static [AtomicU64; 2],
    /// Held by the channel that waits for its turn. The others stand behind it: a connection takes one turn at a time however
    /// many channels it has, or with enough of them all turns would lie further ahead than is waited for.
    waiting: [tokio::sync::Mutex<()>; 2],
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Traffic {
    /// From now on the connection is bound so; for each bandwidth there is a page.
    pub(super) fn bind(&self, bounds: &Bounds, pages: Vec<OwnedFd>) -> Result<(), Error> {
        let rates: Vec<ByteCount> = bounds.bandwidths().collect();
        if rates.len() != pages.len() {
            return Err(LinkError::Malformed.into());
        }
        let lane = |(rate, page): (&ByteCount, &OwnedFd)| {
            let turns = wire::map_shared(page).map_err(|errno| Error::Runtime(errno.into()))?;
            Ok::<_, Error>(Lane { rate: rate.get().max(1), turns, waiting: Default::default() })
        };
        let lanes = rates.iter().zip(&pages).map(lane).collect::<Result<_, _>>()?;
        let idle = bounds.idle.map(|seconds| Duration::from_secs(seconds.into()));
        // It is bound once: a client is let in once.
        drop(self.inner.bound.set(Bound { idle, lanes, begun: Instant::now() }));
        self.inner.is_bound.notify_one();
        Ok(())
    }

    fn lanes(&self) -> &[Lane] {
        self.inner.bound.get().map_or(&[], |bound| &bound.lanes)
    }

    /// Whether it is held to a bandwidth.
    pub(super) fn is_limited(&self) -> bool {
        !self.lanes().is_empty()
    }

    /// How much to take in one turn, of `most`.
    pub(super) fn at_once(&self, most: usize) -> usize {
        let of = |lane: &Lane| (lane.rate.saturating_mul(TURN) / 1_000_000_000).clamp(LEAST_AT_ONCE, MOST_AT_ONCE);
        let least = self.lanes().iter().map(of).min().and_then(|least| usize::try_from(least).ok());
        least.map_or(most, |least| least.min(most))
    }

    /// Notes that something moved.
    pub(super) fn note(&self) {
        self.inner.moved.store(true, Ordering::Relaxed);
    }

    /// Waits for the turn of so many bytes that the client has sent.
    pub(super) async fn up(&self, bytes: usize) {
        self.turn(Way::Up, bytes).await;
    }

    /// Waits for the turn of so many bytes for the client.
    pub(super) async fn down(&self, bytes: usize) {
        self.note();
        self.turn(Way::Down, bytes).await;
    }

    async fn turn(&self, way: Way, bytes: usize) {
        if bytes == 0 {
            return;
        }
        for lane in self.lanes() {
            let ([up, down], [waits_up, waits_down]) = (lane.turns, &lane.waiting);
            let (at, waiting) = if way == Way::Up { (up, waits_up) } else { (down, waits_down) };
            let _first = waiting.lock().await;
            let wait = take(at, lane.rate, bytes as u64, wire::shared_clock());
            if wait > 0 {
                tokio::time::sleep(Duration::from_nanos(wait)).await;
            }
        }
    }

    /// The connection is not to be read for a moment.
    pub(super) fn hold(&self) {
        *self.held() = Some(Instant::now() + HOLD);
    }

    /// Until when it is not to be read, once.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held().take()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.inner.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until nothing has moved for as long as the client may rest.
    pub(super) async fn rested(&self) {
        let bound = loop {
            match self.inner.bound.get() {
                Some(bound) => break bound,
                None => self.inner.is_bound.notified().await,
            }
        };
        let Some(idle) = bound.idle else { return std::future::pending().await };
        let mut rest = Rest { idle, since: bound.begun };
        let has_moved = || self.inner.moved.swap(false, Ordering::Relaxed);
        while !rest.is_over(has_moved(), Instant::now()) {
            tokio::time::sleep(rest.look()).await;
        }
    }
}

/// How long nothing has moved.
struct Rest {
    idle: Duration,
    since: Instant,
}

impl Rest {
    /// How long until it is looked again.
    fn look(&self) -> Duration {
        (self.idle / 10).clamp(SHORTEST_LOOK, LONGEST_LOOK)
    }

    /// Whether it is for as long as may be; `has_moved` says whether anything has since it was last looked.
    fn is_over(&mut self, has_moved: bool, now: Instant) -> bool {
        if has_moved {
            self.since = now;
        }
        now.saturating_duration_since(self.since) >= self.idle
    }
}

/// Takes a turn for so many bytes; answers with how long it is to be waited for.
fn take(at: &AtomicU64, rate: u64, bytes: u64, now: u64) -> u64 {
    let cost = bytes.saturating_mul(1_000_000_000) / rate;
    let begins = |stands: u64| stands.clamp(now.saturating_sub(BURST), now.saturating_add(MOST_AHEAD));
    let mut stands = at.load(Ordering::Relaxed);
    loop {
        let begin = begins(stands);
        let next = begin.saturating_add(cost);
        match at.compare_exchange_weak(stands, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return begin.saturating_sub(now),
            Err(other) => stands = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Has so many take turns on a clock of their own until `end`; what each has sent.
    fn share(takers: usize, rate: u64, bytes: u64, end: u64) -> Vec<u64> {
        let at = AtomicU64::new(0);
        let begin = 1_000 * SECOND;
        let mut sent = vec![0; takers];
        let mut ready = vec![begin; takers];
        loop {
            let (next, now) = ready.iter().copied().enumerate().min_by_key(|(_, at)| *at).expect("somebody");
            if now >= begin + end {
                return sent;
            }
            let wait = take(&at, rate, bytes, now);
            if now + wait < begin + end {
                sent[next] += bytes;
            }
            ready[next] = (now + wait).max(now + 1);
        }
    }

    #[test]
    fn what_is_sent_together_is_the_bandwidth() {
        for (takers, rate, bytes) in [(1, 1 << 20, 32 << 10), (5, 1 << 20, 16 << 10), (20, 64 << 10, 3 << 10)] {
            let sent = share(takers, rate, bytes, 10 * SECOND);
            let all: u64 = sent.iter().sum();
            let most = 10 * rate + rate / 10 + 2 * bytes;
            assert!(all <= most && all >= 10 * rate * 9 / 10, "{takers}: {all} of {most}");
            let fair = all / takers as u64;
            assert!(sent.iter().all(|one| *one >= fair / 2 && *one <= fair * 2), "{sent:?}");
        }
    }

    #[test]
    fn who_rested_has_no_more_than_a_burst() {
        let (at, rate) = (AtomicU64::new(0), 1 << 20);
        let now = 500 * SECOND;
        let mut sent = 0_u64;
        while take(&at, rate, 1024, now) == 0 {
            sent += 1024;
        }
        assert!((rate / 12..rate / 8).contains(&sent), "{sent}");
    }

    #[test]
    fn nobody_waits_longer_than_that_whatever_stands_there() {
        for nonsense in [u64::MAX, 1 << 62, 0] {
            let at = AtomicU64::new(nonsense);
            assert!(take(&at, 1 << 20, 1 << 20, 100 * SECOND) <= MOST_AHEAD);
            assert!(at.load(Ordering::Relaxed) <= 100 * SECOND + MOST_AHEAD + SECOND);
        }
        assert!(take(&AtomicU64::new(u64::MAX), 1, u64::MAX, u64::MAX) == 0);
    }

    #[tokio::test]
    async fn many_channels_have_no_more_than_one() {
        let (rate, size) = (1 << 20, 32 << 10);
        let turns = wire::map_shared(&wire::make_shared().expect("a page")).expect("mapped");
        let traffic = Traffic::default();
        let lanes = vec![Lane { rate, turns, waiting: Default::default() }];
        traffic.inner.bound.set(Bound { idle: None, lanes, begun: Instant::now() }).expect("not bound yet");
        let since = Instant::now();
        // More turns than lie within what one waits for at most, all asked for at the same moment.
        let channels: Vec<_> = (0..96)
            .map(|_| {
                let traffic = traffic.clone();
                tokio::spawn(async move { traffic.down(size).await })
            })
            .collect();
        for channel in channels {
            channel.await.expect("it ends");
        }
        let all = Duration::from_nanos(96 * size as u64 * SECOND / rate);
        assert!(since.elapsed() >= all - Duration::from_nanos(2 * BURST), "3 MiB took {:?}", since.elapsed());
    }

    #[test]
    fn each_way_has_the_whole_bandwidth_and_the_narrowest_one_counts() {
        let page = || wire::make_shared().expect("a page");
        let rate = |text: &str| text.parse().ok();
        let bounds = Bounds { idle: None, of_user: rate("1M"), of_key: rate("64K") };
        let traffic = Traffic::default();
        assert!(!traffic.is_limited() && traffic.at_once(9_000) == 9_000);
        assert!(traffic.bind(&bounds, vec![page()]).is_err(), "a page is missing");
        traffic.bind(&bounds, vec![page(), page()]).expect("bound");
        assert!(traffic.is_limited());
        assert_eq!(traffic.at_once(usize::MAX), 3276);
        let [up, down] = traffic.lanes()[1].turns;
        take(up, 64 << 10, 64 << 10, 100 * SECOND);
        assert_eq!(down.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_client_has_rested_when_nothing_moved_for_so_long() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut rest = Rest { idle: Duration::from_secs(60), since: begin };
        assert_eq!(rest.look(), Duration::from_secs(6));
        assert!(!rest.is_over(false, at(59)) && !rest.is_over(true, at(65)));
        assert!(!rest.is_over(false, at(124)) && rest.is_over(false, at(125)));
        assert_eq!(Rest { idle: Duration::from_secs(86_400), since: begin }.look(), LONGEST_LOOK);
    }
}
