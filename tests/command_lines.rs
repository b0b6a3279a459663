//! Command lines that are taken without a shell have the words that a shell would have made of them: bash is asked.

use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use enclos::domain::{DIRECT, DirectCommand, Services};
use proptest::prelude::*;

const HOME: &str = "/home/bob";

/// The words that bash makes of a line. It finds no files to expand a pattern to.
fn words_of_bash(line: &[u8]) -> Vec<Vec<u8>> {
    let mut script = b"show() { printf '%s\\0' \"$@\"; }; show ".to_vec();
    script.extend_from_slice(line);
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c"]).arg(std::ffi::OsStr::from_bytes(&script));
    let output = bash.env_clear().env("HOME", HOME).output().expect("bash");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let mut words: Vec<Vec<u8>> = output.stdout.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
    assert_eq!(words.pop(), Some(Vec::new()), "each word ends with a NUL");
    words
}

fn taken(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let services: Services = DIRECT.into_iter().collect();
    Some(DirectCommand::parse(line, services, HOME).ok()?.arguments().to_vec())
}

/// Beginnings that are good, so that what follows decides.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let beginning = prop_oneof![
        Just("rsync --server -logDtpre.iLsfxCIvu . "),
        Just("rsync --server --sender -re.L --partial . ~/"),
        Just("scp -r -t "),
        Just("scp -f -- "),
        Just("scp -f \""),
        Just("scp -f '"),
    ];
    // Much of what means something to a shell, and some of what does not.
    let character =
        prop_oneof![3 => "[a-z~/.=-]", 2 => "[ '\"\\\\]", 2 => "[ -~]", 1 => any::<char>().prop_map(String::from)];
    (beginning, prop::collection::vec(character, 0..16)).prop_map(|(b, c)| [b, &c.concat()].concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_taken_is_what_a_shell_would_read(line in lines()) {
        if let Some(words) = taken(&line) {
            prop_assert_eq!(words, words_of_bash(&line), "{}", String::from_utf8_lossy(&line));
        }
    }

    #[test]
    fn any_bytes_are_answered(line in prop::collection::vec(any::<u8>(), 0..200)) {
        taken(&line);
    }
}

#[test]
fn bash_is_asked_about_what_clients_send() {
    for line in [
        "rsync --server -logDtpre.iLsfxCIvu --usermap=\\*:x --log-format=%i . ~/t ./-x my\\ dir 'it'\\''s' \"a\\$b\"",
        "scp -d -t -- ~",
    ] {
        assert_eq!(taken(line.as_bytes()).expect("taken"), words_of_bash(line.as_bytes()), "{line}");
    }
}
