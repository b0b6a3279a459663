//! Random bytes as a PROXY header, of either version: addresses or nothing, never a panic.
//!
//! Run from the repository: `cargo +nightly fuzz run --fuzz-dir tests/fuzz proxy_headers`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((source, destination)) = enclos::session::parse_proxy_header(bytes) {
        assert_eq!(source.ip(), source.ip().to_canonical());
        assert_eq!(destination.ip(), destination.ip().to_canonical());
    }
});
