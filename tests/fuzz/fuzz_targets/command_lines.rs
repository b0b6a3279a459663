//! See [`decoders::command_lines`]. Run by `tests/fuzz/run command_lines`.
#![no_main]

#[path = "../decoders.rs"]
#[expect(dead_code, reason = "each target hands over to one of them")]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::command_lines(bytes));
