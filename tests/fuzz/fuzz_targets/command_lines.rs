//! Any command line: what is taken is one of three programs, without a word that could be an option nobody looked at.
//!
//! Run from the repository: `cargo +nightly fuzz run --fuzz-dir tests/fuzz command_lines`.
#![no_main]

use enclos::domain::{DIRECT, DirectCommand, Services};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let services: Services = DIRECT.into_iter().collect();
    let Ok(command) = DirectCommand::parse(line, services, "/start") else { return };
    let words = command.arguments();
    assert!(words.iter().all(|word| !word.iter().any(u8::is_ascii_control)));
    assert_eq!(words[0], command.program().as_bytes());
    match command.program() {
        "git" => assert!(words.len() == 3 && !words[2].starts_with(b"-")),
        "rsync" => {
            assert_eq!(words[1], b"--server");
            let forbidden: [&[u8]; 6] = [b"--rsh", b"--daemon", b"--config", b"--rsync-path", b"--log-file", b"-e "];
            let options = words.iter().filter(|word| word.starts_with(b"-"));
            assert!(options.into_iter().all(|word| !forbidden.iter().any(|f| word.starts_with(f))));
        }
        "scp" => assert!(words.iter().all(|word| !word.starts_with(b"-S")) || words.iter().any(|word| word == b"--")),
        other => panic!("{other}"),
    }
});
