//! A user's own `~/.ssh/authorized_keys`, looked at when something of the user's has ended that may have written there.
//!
//! The file is read here, with the rights of the user and no others: links lead to no place that the user does not see.
//! What stands in it means nothing before control has looked at it.

use std::sync::{Arc, Mutex};

use super::monitor_link::MonitorLink;
use super::programs::lock;
use crate::domain::KeyFile;
use crate::files::{Access, Creation, Opening, Reason, Root};
use crate::wire::{Event, FromSession, Granted};

/// Looks at the file, and tells when it has changed.
#[derive(Clone, Debug)]
pub(super) struct OwnKeys {
    monitor: MonitorLink,
    root: Arc<Root>,
    path: Arc<[u8]>,
    /// What was told last.
    told: Arc<Mutex<Option<KeyFile>>>,
}

impl OwnKeys {
    /// For a user whose own keys are taken.
    pub(super) fn of(granted: &Granted, root: Root, monitor: MonitorLink) -> Option<OwnKeys> {
        let path = format!("{}/.ssh/authorized_keys", granted.layout.home);
        let root = Arc::new(root);
        granted.takes_own_keys.then(|| OwnKeys { monitor, root, path: path.into_bytes().into(), told: Arc::default() })
    }

    /// Looks, and waits until what was found is known to the node: whoever comes with such a key then finds it taken.
    pub(super) async fn look(&self) {
        let Some(file) = self.read().await else { return };
        if lock(&self.told).as_ref() == Some(&file) {
            return;
        }
        // A node that cannot be told is asked again when something else ends.
        if self.monitor.ask(&FromSession::OwnKeys(file.clone())).await.is_ok() {
            *lock(&self.told) = Some(file);
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
