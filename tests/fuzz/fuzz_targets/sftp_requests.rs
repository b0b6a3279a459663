//! See [`decoders::sftp_requests`]. Run by `tests/fuzz/run sftp_requests`.
#![no_main]

#[path = "../decoders.rs"]
#[expect(dead_code, reason = "each target hands over to one of them")]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::sftp_requests(bytes));
