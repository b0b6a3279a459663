//! `enclos audit`

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Done, OperationError, Result};
use crate::control::outcome::{ChangedPath, EventView, Outcome};
use crate::control::store::{AuditPage, AuditQuery, Store, StoreError, Stored};

/// Most events of one answer.
pub(super) const MOST: u32 = 2000;
/// Events read at once for a summary.
const AT_ONCE: u32 = 2000;
/// Most paths in a summary; when there are more, the deepest are told by the directories that they lie in.
const MOST_PATHS: usize = 500;

/// The events that are wanted.
pub(super) async fn search(store: &Store, query: &AuditQuery, page: AuditPage, most: u32) -> Result<Done> {
    let found = store.audit(query, page, most.min(MOST)).await?;
    let events = found.into_iter().map(view).collect::<std::result::Result<_, StoreError>>()?;
    Ok(Done::quietly(Outcome::Events(events)))
}

fn view(stored: Stored) -> std::result::Result<EventView, StoreError> {
    match serde_json::from_str(&stored.record) {
        Ok(event) => Ok(EventView { id: stored.id, event }),
        Err(_) => Err(StoreError::Row { what: "audit record", text: stored.record }),
    }
}

/// What was changed, path by path.
pub(super) async fn summary(store: &Store, query: &AuditQuery) -> Result<Done> {
    let (mut paths, mut last) = (Paths::default(), 0);
    loop {
        let found = store.audit(query, AuditPage::After(last), AT_ONCE).await?;
        let Some(end) = found.last() else { break };
        last = end.id;
        for stored in found {
            paths.add(&view(stored).map_err(OperationError::Store)?.event);
        }
    }
    Ok(Done::quietly(Outcome::Changes(paths.told())))
}

/// What was done to paths so far.
#[derive(Default)]
struct Paths {
    known: BTreeMap<String, ChangedPath>,
    /// Paths longer than so many names are told by the directory of that depth.
    depth: Option<usize>,
}

impl Paths {
    fn add(&mut self, event: &Value) {
        let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default();
        let number = |field: &str| event.get(field).and_then(Value::as_u64).unwrap_or(0);
        let (kind, path, time, user) = (text("kind"), text("path"), text("time"), text("user"));
        let mut change = ChangedPath::at(path, time, user);
        match kind {
            "file-written" => {
                (change.written, change.bytes) = (1, number("bytes"));
                change.created = u64::from(event.get("created") == Some(&Value::Bool(true)));
            }
            "file-copied" | "directory-created" | "link-created" | "name-added" => change.created = 1,
            "file-removed" | "directory-removed" => change.removed = 1,
            "file-renamed" => {
                change.renamed = 1;
                self.merge(ChangedPath { renamed: 1, ..ChangedPath::at(text("to"), time, user) });
            }
            "mode-changed" | "file-resized" => change.altered = 1,
            _ => return,
        }
        self.merge(change);
    }

    fn merge(&mut self, mut change: ChangedPath) {
        if let Some(depth) = self.depth {
            change.path = cut(&change.path, depth);
        }
        match self.known.get_mut(&change.path) {
            Some(known) => known.and(change),
            None => drop(self.known.insert(change.path.clone(), change)),
        }
        while self.known.len() > MOST_PATHS && self.depth != Some(1) {
            let deepest = self.known.keys().map(|path| depth(path)).max().unwrap_or(1);
            self.depth = Some(deepest.saturating_sub(1).max(1));
            for (_, known) in std::mem::take(&mut self.known) {
                let path = cut(&known.path, self.depth.unwrap_or(1));
                match self.known.get_mut(&path) {
                    Some(other) => other.and(known),
                    None => drop(self.known.insert(path.clone(), ChangedPath { path, ..known })),
                }
            }
        }
    }

    fn told(self) -> Vec<ChangedPath> {
        self.known.into_values().collect()
    }
}

fn depth(path: &str) -> usize {
    path.trim_end_matches("/...").split('/').filter(|part| !part.is_empty()).count()
}

/// The directory of that depth around a path, if the path is longer.
fn cut(path: &str, most: usize) -> String {
    if depth(path) <= most {
        return path.to_owned();
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).take(most).collect();
    format!("/{}/...", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &str) -> Value {
        serde_json::json!({ "kind": "file-written", "path": path, "bytes": 3, "created": true, "time": "2026", "user": "bob" })
    }

    #[test]
    fn changes_of_one_path_are_told_together() {
        let mut paths = Paths::default();
        paths.add(&written("/a/x"));
        paths.add(&written("/a/x"));
        paths.add(
            &serde_json::json!({ "kind": "file-renamed", "path": "/a/x", "to": "/a/y", "time": "2027", "user": "eve" }),
        );
        paths.add(&serde_json::json!({ "kind": "login", "time": "2027" }));
        let told = paths.told();
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].written, told[0].bytes, told[0].created, told[0].renamed), (2, 6, 2, 1));
        assert_eq!((told[0].last.as_str(), told[0].users.len()), ("2027", 2));
    }

    #[test]
    fn of_many_paths_directories_are_told() {
        let mut paths = Paths::default();
        for number in 0..5000 {
            paths.add(&written(&format!("/a/{}/{number}", number % 7)));
        }
        let told = paths.told();
        assert!(told.len() <= 7 * 2, "{}", told.len());
        assert_eq!(told.iter().map(|path| path.written).sum::<u64>(), 5000);
        assert!(told.iter().any(|path| path.path == "/a/3/..."), "{told:?}");
    }
}
