//! What the monitor notes, as records. Everything that a peer chose is escaped here.

use std::sync::Arc;

use super::lost;
use crate::control::keys;
use crate::domain::{Deed, Escaped, Factor, Factors, Finish, PeerText};
use crate::telemetry::audit::{Credential, Event, Head, Moment, Record, Who};
use crate::wire::{Deeds, EndReason, Event as Reported, Note, Noted, Stamp, Why};

/// The records of one note, mostly one.
pub(super) fn records(node: &str, note: Note) -> Vec<Record> {
    let Note { at, stamp, what } = note;
    let (at, head) = (Moment(at), Head::new(who(node, stamp)));
    let one = |event| vec![Record { at, head: head.clone(), event }];
    match what {
        Noted::Started => one(Event::NodeStarted),
        Noted::Stopped => one(Event::NodeStopped),
        Noted::LoggedIn => one(Event::Login),
        Noted::Denied { user, factor, key, why } => one(Event::LoginRefused {
            name: Escaped::new(user.as_unchecked_str().as_bytes()),
            method: factor.as_str().to_owned(),
            fingerprint: key.map(|key| keys::fingerprint(&key)),
            why,
        }),
        Noted::Ended { seconds, why } => one(Event::SessionEnded { seconds, why: word(why).to_owned() }),
        Noted::Reported(event) => one(reported(event)),
        Noted::Broke { what } => one(Event::SessionBroken { what: Escaped::new(what.as_bytes()) }),
        Noted::Did(deeds) => done(at, &head, deeds),
    }
}

fn done(at: Moment, head: &Arc<Head>, deeds: Deeds) -> Vec<Record> {
    let record = |deed| Record { at, head: head.clone(), event: event(deed) };
    let mut records: Vec<Record> = deeds.deeds.into_iter().map(record).collect();
    if deeds.lost > 0 {
        records.push(lost(head.clone(), deeds.lost));
    }
    records
}

fn who(node: &str, stamp: Option<Stamp>) -> Who {
    let node = node.to_owned();
    let Some(Stamp { run, conn, peer, holder }) = stamp else { return Who { node, ..Who::default() } };
    let connection = Some(format!("{run:x}-{conn}"));
    let source = Some(peer.to_string());
    let Some(holder) = holder else { return Who { node, connection, source, ..Who::default() } };
    let (fingerprint, label) = holder.key.unzip();
    let credential = Credential {
        method: method(holder.shown),
        fingerprint,
        label: label.map(|label| Escaped::new(label.as_bytes())),
    };
    Who {
        node,
        connection,
        source,
        account: Some(holder.account),
        user: Some(holder.user),
        credential: Some(credential),
        operator: None,
    }
}

fn method(shown: Factors) -> String {
    let words: Vec<&str> = Factor::ALL.into_iter().filter(|f| shown.contains(*f)).map(Factor::as_str).collect();
    words.join("+")
}

fn word(why: Why) -> &'static str {
    match why {
        Why::Client => "client",
        Why::Told(EndReason::Revoked) => "revoked",
        Why::Told(EndReason::Shutdown) => "shutdown",
        Why::Told(EndReason::Killed) => "killed",
        Why::Told(EndReason::Banned) => "banned",
        // Those are not in yet, and no session of theirs is on record.
        Why::Told(EndReason::HeldBack | EndReason::TooSlow) => "client",
        Why::Told(EndReason::Over) => "over",
        Why::Told(EndReason::Idle) => "idle",
        Why::Broken => "broken",
    }
}

fn reported(event: Reported) -> Event {
    let text = |text: String| Escaped::new(PeerText::new(text.as_bytes()).as_unchecked_bytes());
    match event {
        Reported::SftpOpened => Event::SftpOpened,
        Reported::SftpClosed { read, written } => Event::SftpClosed { read, written },
        Reported::Refused { what, why } => Event::Refused { what: text(what), why: text(why) },
        Reported::ProtocolError { what } => Event::ProtocolError { what: text(what) },
        Reported::Panicked { place } => Event::SessionBroken { what: text(place) },
    }
}

fn event(deed: Deed) -> Event {
    let text = |text: PeerText| Escaped::new(text.as_unchecked_bytes());
    match deed {
        Deed::Wrote { path, bytes, made, closed } => {
            Event::FileWritten { path: text(path), bytes, created: made, closed }
        }
        Deed::Copied { from, path } => Event::FileCopied { path: text(path), from: text(from) },
        Deed::Renamed { path, to } => Event::FileRenamed { path: text(path), to: text(to) },
        Deed::Removed { path } => Event::FileRemoved { path: text(path) },
        Deed::MadeDirectory { path } => Event::DirectoryCreated { path: text(path) },
        Deed::RemovedDirectory { path } => Event::DirectoryRemoved { path: text(path) },
        Deed::ChangedMode { path, mode } => Event::ModeChanged { path: text(path), mode: format!("{mode:04o}") },
        Deed::Resized { path, size } => Event::FileResized { path: text(path), size },
        Deed::MadeLink { path, target } => Event::LinkCreated { path: text(path), target: text(target) },
        Deed::MadeName { path, of } => Event::NameAdded { path: text(path), of: text(of) },
        Deed::Started { number, what, command, terminal } => {
            Event::ProgramStarted { number, program: what, command: text(command), terminal }
        }
        Deed::Ended { number, how: Finish::Exit(status) } => {
            Event::ProgramEnded { number, status: Some(status), signal: None }
        }
        Deed::Ended { number, how: Finish::Signal(name) } => {
            Event::ProgramEnded { number, status: None, signal: Some(text(name)) }
        }
        Deed::Connected { to } => Event::ForwardOpened { to: text(to) },
        Deed::Listening { on } => Event::ForwardListening { on: text(on) },
        Deed::Accepted { on, from } => Event::ForwardAccepted { on: text(on), from: text(from) },
    }
}
