//! The session's side of its channel to the monitor.
//!
//! One question at a time, each answered; reports in between; and at any moment the order to end. When the monitor dies
//! a session that serves goes on, as it must when the monitor is restarted, and one that is logging somebody in fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::wire::{AsyncLink, Deeds, EndReason, Event, FromSession, Link, LinkError, Received, ToSession};

/// Reports in one [`PERIOD`]: half of what the monitor takes for a breach, for its periods begin at other times.
const MOST_REPORTS: u32 = 200;
/// How long the budget of reports lasts.
const PERIOD: Duration = Duration::from_secs(10);

/// A shared handle to the channel.
#[derive(Clone, Debug)]
pub(super) struct MonitorLink {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: AsyncLink,
    /// What was received and nobody has taken yet: at most an answer, for only one question is open at a time.
    answer: std::sync::Mutex<Option<Received<ToSession>>>,
    answered: Notify,
    /// The monitor wants no questions any more.
    is_over: AtomicBool,
    /// Held by whoever has a question open.
    asking: Mutex<()>,
    reports: Mutex<Budget>,
    deeds: Mutex<Budget>,
}

/// Messages of deeds in one [`PERIOD`], half of what the monitor takes as well. They are some 16 KiB each.
const MOST_DEEDS: u32 = 400;

/// How many reports were made since when.
#[derive(Debug)]
struct Budget {
    since: Instant,
    made: u32,
    most: u32,
}

impl Budget {
    fn new(most: u32) -> Mutex<Budget> {
        Mutex::new(Budget { since: Instant::now(), made: 0, most })
    }

    /// Takes one report off the budget, and waits for the next one when it is used up: so the client that causes them is
    /// slowed down, and none is lost.
    async fn spend(&mut self) {
        while !self.try_spend() {
            tokio::time::sleep_until(self.since + PERIOD).await;
        }
    }

    /// The same where nobody waits; says whether there was any left.
    fn try_spend(&mut self) -> bool {
        if self.since.elapsed() >= PERIOD {
            *self = Budget { since: Instant::now(), made: 0, most: self.most };
        }
        let is_left = self.made < self.most;
        self.made += u32::from(is_left);
        is_left
    }
}

impl MonitorLink {
    /// Takes over the channel. A runtime must be running.
    pub(super) fn new(link: Link) -> std::io::Result<MonitorLink> {
        let link = AsyncLink::new(link)?;
        let inner = Inner {
            link,
            answer: std::sync::Mutex::new(None),
            answered: Notify::new(),
            is_over: AtomicBool::new(false),
            asking: Mutex::new(()),
            reports: Budget::new(MOST_REPORTS),
            deeds: Budget::new(MOST_DEEDS),
        };
        Ok(MonitorLink { inner: Arc::new(inner) })
    }

    /// Asks, and waits for the answer, which [`MonitorLink::told_to_end`] receives.
    pub(super) async fn ask(&self, question: &FromSession) -> Result<ToSession, LinkError> {
        Ok(self.ask_for(question).await?.message)
    }

    /// The same for an answer that a descriptor comes with.
    pub(super) async fn ask_for(&self, question: &FromSession) -> Result<Received<ToSession>, LinkError> {
        let _one_at_a_time = self.inner.asking.lock().await;
        if self.inner.is_over.load(Ordering::Relaxed) {
            return Ok(Received { message: ToSession::Denied, fd: None, more: Vec::new() });
        }
        self.inner.link.send(question).await?;
        loop {
            if let Some(answer) = self.take_answer() {
                return Ok(answer);
            }
            self.inner.answered.notified().await;
        }
    }

    /// Reports. What cannot be said because the monitor is gone is lost with it.
    pub(super) async fn report(&self, event: Event) {
        self.inner.reports.lock().await.spend().await;
        match self.inner.link.send(&FromSession::Event(event)).await {
            Ok(()) | Err(LinkError::Gone) => {}
            Err(error) => self.last_words(Event::ProtocolError { what: error.to_string() }),
        }
    }

    /// Whether the budget for what the client did is not used up; counts it. The client waits for none of it.
    pub(super) async fn may_report_deeds(&self) -> bool {
        self.inner.deeds.lock().await.try_spend()
    }

    /// Reports what the client did.
    pub(super) async fn report_deeds(&self, deeds: Deeds) {
        match self.inner.link.send(&FromSession::Did(deeds)).await {
            Ok(()) | Err(LinkError::Gone) => {}
            Err(error) => self.last_words(Event::ProtocolError { what: error.to_string() }),
        }
    }

    /// The same from where nothing can be awaited. Best effort by nature: the process is ending.
    pub(super) fn last_deeds(&self, deeds: Deeds) {
        drop(self.inner.link.try_send(&FromSession::Did(deeds)));
    }

    /// Reports from where nothing can be awaited. Best effort by nature: the process is ending.
    pub(super) fn last_words(&self, event: Event) {
        drop(self.inner.link.try_send(&FromSession::Event(event)));
    }

    /// Says that the client has rested for too long. When the monitor is gone nobody asks.
    pub(super) async fn say_idle(&self) {
        drop(self.inner.link.send(&FromSession::Idle).await);
    }

    /// Says that the process ends by itself. When the monitor is gone nobody asks.
    pub(super) fn say_goodbye(&self) {
        drop(self.inner.link.try_send(&FromSession::Left));
    }

    /// Receives for as long as the session lives; returns when it is told to end.
    pub(super) async fn told_to_end(&self) -> EndReason {
        loop {
            match self.inner.link.recv::<ToSession>().await {
                Ok(Received { message: ToSession::End(reason), .. }) => {
                    self.inner.is_over.store(true, Ordering::Relaxed);
                    // Whoever waits for an answer would keep the SSH library from saying goodbye.
                    self.put_answer(Received { message: ToSession::Denied, fd: None, more: Vec::new() });
                    return reason;
                }
                Ok(answer) => self.put_answer(answer),
                // Without a monitor there is nobody who could answer or end this session; it serves on.
                Err(_) => {
                    self.put_answer(Received { message: ToSession::Denied, fd: None, more: Vec::new() });
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    fn take_answer(&self) -> Option<Received<ToSession>> {
        self.inner.answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    fn put_answer(&self, answer: Received<ToSession>) {
        *self.inner.answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(answer);
        self.inner.answered.notify_one();
    }
}
