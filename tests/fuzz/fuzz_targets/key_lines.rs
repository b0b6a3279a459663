//! Any text as a line of `authorized_keys`, its values as lists of addresses, and all of it as ways to log in: nothing may panic, and what was read
//! must read back the same.
//!
//! Run from the repository: `cargo +nightly fuzz run --fuzz-dir tests/fuzz key_lines`.
#![no_main]

use enclos::domain::{KeyLine, Logins, ScopePaths, Sources};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(logins) = text.parse::<Logins>() {
        assert_eq!(logins.to_string().parse(), Ok(logins));
    }
    let Ok(line) = KeyLine::parse(text) else { return };
    assert!(text.trim().ends_with(line.key));
    for value in line.options.iter().filter_map(|option| option.value.as_deref()).chain([text]) {
        if let Ok(sources) = value.parse::<Sources>() {
            assert_eq!(sources.to_string().parse(), Ok(sources));
        }
        if let Ok(paths) = value.parse::<ScopePaths>() {
            assert_eq!(paths.to_string().parse(), Ok(paths));
        }
    }
});
