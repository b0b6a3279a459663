//! Attacks by requests themselves, whatever names are in them: none that the server knows, with less or more in them than they
//! say, at places where no file reaches, and many at once. Whoever sends them gets nothing, and the connection beside goes on.

use super::files::NEW;
use super::world::{Kind, Place};
use crate::harness::{Attributes, Raw, Reply, open, string};

/// Handles that are asked for.
const MANY: usize = 3000;
/// Handles that a session gives.
const MOST: usize = 1000;

/// X29: types that are none, requests that are cut off or lie about their lengths, and one larger than any packet.
pub(super) fn malformed(raw: &mut Raw, place: &Place) -> Vec<String> {
    let name = string(&place.at("inside.txt"));
    let lies = [&u32::MAX.to_be_bytes()[..], b"inside.txt"].concat();
    let mut requests: Vec<(u8, Vec<u8>)> = [0, 21, 99, 100, 106, 199, 202, 255].map(|kind| (kind, name.clone())).into();
    for kind in (3..=20).chain([200]) {
        requests.push((kind, Vec::new()));
        requests.push((kind, lies.clone()));
        requests.push((kind, name[..name.len() - 1].to_vec()));
    }
    requests.push((3, vec![0; 300_000]));
    let mut got = Vec::new();
    let mut other = Raw::connect(&place.login);
    for (kind, body) in requests {
        let answer = other.try_ask(kind, &body);
        match answer {
            Some(answer) if !matches!(answer, Reply::Status(1.., _)) => {
                got.push(format!("request {kind} of {} bytes was done: {answer:?}", body.len()));
            }
            Some(_) => {}
            // The server may take leave of whom it does not understand.
            None => other = Raw::connect(&place.login),
        }
    }
    got.extend((!raw.stat(&place.at("")).is_success()).then(|| "the connection beside has ended".to_owned()));
    got
}

/// X31: offsets and sizes that no file has, and handles without end.
pub(super) fn extremes(raw: &mut Raw, place: &Place) -> Vec<String> {
    let mut got = Vec::new();
    let (large, read) = (place.at("large"), place.at("inside.txt"));
    let offsets = [1 << 63, (1 << 63) - 1, u64::MAX, u64::MAX - 3];
    if let Reply::Handle(handle) = raw.open(&read, open::READ) {
        for offset in offsets {
            got.extend(raw.read(&handle, offset, 32_768).is_success().then(|| format!("read at {offset}")));
        }
        raw.close(&handle);
    }
    if let Reply::Handle(handle) = raw.open(&large, NEW) {
        for offset in offsets {
            got.extend(raw.write_at(&handle, offset, b"far away").is_success().then(|| format!("wrote at {offset}")));
            let size = Attributes { size: Some(offset), ..Attributes::default() };
            // One less than the kernel's largest is for the file system to say.
            let is_size = raw.setstat(&large, &size).is_success() && offset > 1 << 63;
            got.extend(is_size.then(|| format!("a size of {offset}")));
        }
        raw.close(&handle);
        raw.remove(&large);
    } else if place.kind == Kind::Rw {
        got.push("the row failed: nothing could be written".to_owned());
    }
    let top = place.at("");
    let opened: Vec<Vec<u8>> = std::iter::repeat_with(|| raw.opendir(&top))
        .take(MANY)
        .map_while(|answer| if let Reply::Handle(handle) = answer { Some(handle) } else { None })
        .collect();
    if opened.len() > MOST {
        got.push(format!("{} handles", opened.len()));
    }
    if opened.is_empty() {
        got.push("the row failed: nothing could be opened".to_owned());
    }
    for handle in opened {
        raw.close(&handle);
    }
    got.extend((!raw.stat(&top).is_success()).then(|| "the session does not go on".to_owned()));
    got
}
