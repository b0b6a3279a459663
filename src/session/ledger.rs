//! What the client of a connection does, on its way to the audit trail: gathered for a moment, sent in small messages, and
//! bounded. The client waits for none of it; what finds no room is counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::monitor_link::MonitorLink;
use crate::domain::{Deed, PeerText};
use crate::sftp::Journal;
use crate::wire::{Deeds, Granted};

/// How long deeds are gathered before they are sent.
const GATHERED: Duration = Duration::from_millis(200);
/// About how large a message becomes; far below the longest.
const PIECE: usize = 16 * 1024;
/// What may wait.
const MOST: usize = 256 * 1024;

/// The ledger of a connection; copies are of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    book: Mutex<Book>,
    /// So much is gathered that it is to be sent at once.
    is_due: Notify,
    /// The connection ends: what is left is sent at once.
    is_closing: AtomicBool,
    is_done: Notify,
    monitor: OnceLock<MonitorLink>,
}

#[derive(Debug, Default)]
struct Book {
    deeds: Vec<Deed>,
    weight: usize,
    lost: u64,
    /// A task sends what is there.
    is_sending: bool,
}

impl Ledger {
    /// Says where deeds are to be sent.
    pub(super) fn send_to(&self, monitor: MonitorLink) {
        // The first stays; there is one for each connection.
        drop(self.shared.monitor.set(monitor));
    }

    /// Takes note of a deed.
    pub(super) fn note(&self, deed: Deed) {
        let mut book = self.book();
        let weight = deed.weight();
        if book.weight + weight > MOST {
            book.lost = book.lost.saturating_add(1);
        } else {
            book.weight += weight;
            book.deeds.push(deed);
        }
        if book.weight >= PIECE {
            self.shared.is_due.notify_one();
        }
        // At the very end of a connection nothing is begun any more; the last words carry what is left.
        if let (false, Ok(runtime)) = (book.is_sending, tokio::runtime::Handle::try_current()) {
            book.is_sending = true;
            drop(runtime.spawn(self.clone().send()));
        }
    }

    /// Sends until nothing is left. What is taken out is sent: nothing is held while something else is waited for.
    async fn send(self) {
        let Some(monitor) = self.shared.monitor.get() else { return };
        loop {
            if self.book().weight < PIECE && !self.is_closing() {
                drop(tokio::time::timeout(GATHERED, self.shared.is_due.notified()).await);
            }
            while !self.is_closing() && !monitor.may_report_deeds().await {
                drop(tokio::time::timeout(GATHERED, self.shared.is_due.notified()).await);
            }
            let Some(deeds) = self.take() else { break };
            monitor.report_deeds(deeds).await;
        }
        self.shared.is_done.notify_one();
    }

    /// Sends all that is left, for as long as `patience`: nothing more is done on the connection.
    pub(super) async fn close(&self, patience: Duration) {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        self.shared.is_due.notify_one();
        if self.book().is_sending {
            drop(tokio::time::timeout(patience, self.shared.is_done.notified()).await);
        }
    }

    fn is_closing(&self) -> bool {
        self.shared.is_closing.load(Ordering::Relaxed)
    }

    /// The next message; `None` when there is none, and the task is over.
    fn take(&self) -> Option<Deeds> {
        let mut book = self.book();
        if book.deeds.is_empty() && book.lost == 0 {
            *book = Book::default();
            return None;
        }
        let (mut count, mut weight) = (0, 0);
        for deed in &book.deeds {
            if weight >= PIECE {
                break;
            }
            weight += deed.weight();
            count += 1;
        }
        book.weight = book.weight.saturating_sub(weight);
        let deeds = book.deeds.drain(..count).collect();
        // With the next message and not with the last one, which may not be sent any more.
        let lost = std::mem::take(&mut book.lost);
        Some(Deeds { deeds, lost })
    }

    /// Sends what was noted since, as far as the monitor takes it at once: the process is about to end.
    pub(super) fn last_words(&self) {
        let Some(monitor) = self.shared.monitor.get() else { return };
        while let Some(deeds) = self.take() {
            monitor.last_deeds(deeds);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A ledger as the journal of an SFTP channel: with paths of the host in place of those of the view.
#[derive(Debug)]
pub(super) struct HostJournal {
    ledger: Ledger,
    /// Where in the view, without slashes around, and where on the host each grant lies; the longest first.
    places: Vec<(String, String)>,
}

impl HostJournal {
    /// The journal of a client.
    pub(super) fn new(ledger: Ledger, granted: &Granted) -> HostJournal {
        let home = granted.home.as_str().trim_end_matches('/');
        let place = |at: &str, path: &str| (at.trim_matches('/').to_owned(), format!("{home}/{path}"));
        let mut places: Vec<(String, String)> =
            granted.layout.placed.iter().map(|p| place(&p.at, p.grant.path.as_str())).collect();
        places.sort_by_key(|(at, _)| std::cmp::Reverse(at.len()));
        HostJournal { ledger, places }
    }
}

impl Journal for HostJournal {
    fn path(&self, path: &[u8]) -> PeerText {
        let path = plain(path);
        for (at, on_host) in &self.places {
            let Some(rest) = path.strip_prefix(at.as_bytes()) else { continue };
            if rest.is_empty() || at.is_empty() || rest.starts_with(b"/") {
                let rest = rest.strip_prefix(b"/").unwrap_or(rest);
                let parts = [on_host.trim_end_matches('/').as_bytes(), rest];
                return PeerText::new(&if rest.is_empty() { parts[0].to_vec() } else { parts.join(&b'/') });
            }
        }
        PeerText::new(&[b"/", path.as_slice()].concat())
    }

    fn note(&mut self, deed: Deed) {
        self.ledger.note(deed);
    }
}

/// A path without slashes at its ends, doubled ones and `.`; `..` stays, for what it leads to depends on links.
fn plain(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Escaped, Grant, GrantId, Layout, Mode, Placed, ProgramPolicy, UploadPolicy};

    fn granted(places: &[(&str, &str)]) -> Granted {
        let placed = |(at, path): &(&str, &str)| Placed {
            grant: Grant { id: GrantId(1), path: path.parse().expect("a path"), mode: Mode::Rw, no_exec: false },
            at: (*at).to_owned(),
            nested: false,
        };
        Granted {
            user: "bob".parse().expect("a name"),
            account: "acme".parse().expect("a name"),
            owner: (5001, 5001),
            services: crate::domain::Services::NONE,
            home: "/srv/acme".parse().expect("a path"),
            layout: Layout { placed: places.iter().map(placed).collect(), start: "/".to_owned(), home: "/".to_owned() },
            uploads: UploadPolicy::default(),
            forwards: crate::domain::ForwardPolicy::default(),
            programs: ProgramPolicy::default(),
            bounds: Default::default(),
            takes_own_keys: false,
            last_login: None,
            cover: None,
        }
    }

    fn on_host(places: &[(&str, &str)], path: &str) -> String {
        let journal = HostJournal::new(Ledger::default(), &granted(places));
        Escaped::new(journal.path(path.as_bytes()).as_unchecked_bytes()).to_string()
    }

    #[test]
    fn paths_are_those_of_the_host() {
        let one = [("", "www/site1")];
        assert_eq!(on_host(&one, "/"), "/srv/acme/www/site1");
        assert_eq!(on_host(&one, "//a/./b/"), "/srv/acme/www/site1/a/b");
        assert_eq!(on_host(&one, "a"), "/srv/acme/www/site1/a");
        let two = [("site1", "www/site1"), ("site1/.env", "www/site1/.env"), ("logs", "logs")];
        assert_eq!(on_host(&two, "/site1/x"), "/srv/acme/www/site1/x");
        assert_eq!(on_host(&two, "/site12/x"), "/site12/x");
        assert_eq!(on_host(&two, "/site1/.env"), "/srv/acme/www/site1/.env");
        assert_eq!(on_host(&two, "/logs/../x"), "/srv/acme/logs/../x");
        let host = [("srv/acme/www", "www")];
        assert_eq!(on_host(&host, "/srv/acme/www/a"), "/srv/acme/www/a");
        assert_eq!(on_host(&host, "/tmp/a"), "/tmp/a");
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_last() {
        let ledger = Ledger::default();
        let deed = || Deed::Removed { path: PeerText::new(&[b'a'; 1000]) };
        for _ in 0..1000 {
            ledger.note(deed());
        }
        let (mut sent, mut lost) = (0, 0);
        while let Some(deeds) = ledger.take() {
            assert!(postcard::to_stdvec(&deeds).expect("encoded").len() < 32 * 1024, "a message stays small");
            assert_eq!(ledger.book().lost, 0, "is told as soon as something is");
            sent += deeds.deeds.len() as u64;
            lost += deeds.lost;
        }
        assert_eq!(sent + lost, 1000);
        assert!(sent > 200 && lost > 500, "{sent} sent, {lost} lost");
    }
}
