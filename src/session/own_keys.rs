//! A user's own `~/.ssh/authorized_keys`, looked at when something of the user's has ended that may have written there.
//!
//! The file is read here, with the rights of the user and no others: links lead to no place that the user does not see.
//! What stands in it means nothing before control has looked at it.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::monitor_link::MonitorLink;
use crate::domain::KeyFile;
use crate::files::{Access, Creation, Opening, Reason, Root};
use crate::wire::{Event, FromSession, Granted};

/// Looks at the file, and tells when it has changed.
#[derive(Clone, Debug)]
pub(super) struct OwnKeys {
    monitor: MonitorLink,
    root: Arc<Root>,
    path: Arc<[u8]>,
    told: Arc<Mutex<Told>>,
}

/// What the node was told.
#[derive(Debug, Default)]
struct Told {
    last: Option<KeyFile>,
    times: u32,
}

/// Most changes of one connection that are told. Each costs the node work in its database; whoever rewrites the file more often
/// has the last of it seen at the next connection.
const MOST_TOLD: u32 = 100;

impl OwnKeys {
    /// For a user whose own keys are taken.
    pub(super) fn of(granted: &Granted, root: Root, monitor: MonitorLink) -> Option<OwnKeys> {
        let path = format!("{}/.ssh/authorized_keys", granted.layout.home);
        let root = Arc::new(root);
        granted.takes_own_keys.then(|| OwnKeys { monitor, root, path: path.into_bytes().into(), told: Arc::default() })
    }

    /// Looks, and waits until what was found is known to the node: whoever comes with such a key then finds it taken.
    pub(super) async fn look(&self) {
        // One at a time: the node hears of the next change only after it has looked at the last.
        let mut told = self.told.lock().await;
        let Some(file) = self.read().await else { return };
        if told.last.as_ref() == Some(&file) || told.times >= MOST_TOLD {
            return;
        }
        told.times += 1;
        if told.times == MOST_TOLD {
            let why = "authorized_keys changes too often; it is looked at again in the next connection".to_owned();
            self.monitor.report(Event::Refused { what: "own keys".to_owned(), why }).await;
        }
        // A node that cannot be told is asked again when something else ends.
        if self.monitor.ask(&FromSession::OwnKeys(file.clone())).await.is_ok() {
            told.last = Some(file);
        }
    }

    /// What stands in the file; one that is not there says that there are no such keys. `None` when it cannot be read.
    async fn read(&self) -> Option<KeyFile> {
        let how = Opening { access: Access::Read, creation: Creation::Never, truncate: false, append: false, mode: 0 };
        let file = match self.root.open_file(&self.path, &how) {
            Ok(file) => file,
            Err(error) if error.reason == Reason::NotFound => return KeyFile::new(String::new()).ok(),
            Err(_) => return None,
        };
        let mut bytes = Vec::with_capacity(1024);
        loop {
            let room = (KeyFile::LONGEST + 1).saturating_sub(bytes.len());
            match file.read_at(bytes.len() as u64, &mut bytes, room) {
                Ok(0) => break,
                Ok(_) if bytes.len() > KeyFile::LONGEST => {
                    let why = format!("authorized_keys is longer than {} bytes", KeyFile::LONGEST);
                    self.monitor.report(Event::Refused { what: "own keys".to_owned(), why }).await;
                    return None;
                }
                Ok(_) => bytes.reserve(1024),
                Err(_) => return None,
            }
        }
        KeyFile::new(String::from_utf8_lossy(&bytes).into_owned()).ok()
    }
}
