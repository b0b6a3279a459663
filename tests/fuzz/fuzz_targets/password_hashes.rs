//! Any text as the hash of a password: nothing may panic, and none may be the hash of an empty password by being cut off.
//!
//! Run from the repository: `cargo +nightly fuzz run --fuzz-dir tests/fuzz password_hashes`.
#![no_main]

use enclos::control::hashes::Stored;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(stored) = text.parse::<Stored>() {
        assert!(!stored.is_of(b"\0"));
    }
});
