//! See [`decoders::certificates`]. Run by `tests/fuzz/run certificates`.
#![no_main]

#[path = "../decoders.rs"]
#[expect(dead_code, reason = "each target hands over to one of them")]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::certificates(bytes));
