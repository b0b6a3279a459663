//! Puts answers together behind one another in one buffer.

use super::codes::{self, Status};

/// Appends one packet: its length is filled in when the body is there.
pub(super) fn packet(out: &mut Vec<u8>, kind: u8, id: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out, kind, id);
    body(out);
    finish(out, start);
}

/// Begins a packet; [`finish`] must follow with what this returns.
pub(super) fn begin(out: &mut Vec<u8>, kind: u8, id: u32) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    put_u32(out, id);
    start
}

/// Fills in the length of the packet that begins at `start`.
pub(super) fn finish(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&length);
    }
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

/// A string that is put together in its place: its length is filled in when it is there.
pub(super) fn put_sized(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&length);
    }
}

/// STATUS (section 7): code, sentence, language.
pub(super) fn status(out: &mut Vec<u8>, id: u32, code: Status, sentence: &str) {
    packet(out, codes::STATUS, id, |out| {
        put_u32(out, code as u32);
        put_string(out, sentence.as_bytes());
        put_string(out, b"en");
    });
}

/// The STATUS of a request that was done.
pub(super) fn done(out: &mut Vec<u8>, id: u32) {
    status(out, id, Status::Ok, "done");
}
