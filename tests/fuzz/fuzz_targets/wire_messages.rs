//! See [`decoders::wire_messages`]. Run by `tests/fuzz/run wire_messages`.
#![no_main]

#[path = "../decoders.rs"]
#[expect(dead_code, reason = "each target hands over to one of them")]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::wire_messages(bytes));
