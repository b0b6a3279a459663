//! See [`decoders::proxy_headers`]. Run by `tests/fuzz/run proxy_headers`.
#![no_main]

#[path = "../decoders.rs"]
#[expect(dead_code, reason = "each target hands over to one of them")]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::proxy_headers(bytes));
