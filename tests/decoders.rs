//! Every decoder that is ours, over examples and what once broke one (tests/fuzz/seeds), and over random bytes.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "fuzz/decoders.rs"]
mod decoders;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

/// What fuzzing of a decoder begins with.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(name);
    let files = fs::read_dir(&place).unwrap_or_else(|e| panic!("{}: {e}", place.display()));
    files.map(|file| fs::read(file.expect("a file").path()).expect("a seed")).collect()
}

#[test]
fn seeds_are_read() {
    for (name, decode) in decoders::ALL {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has none");
        seeds.iter().for_each(|bytes| decode(bytes));
    }
}

#[test]
fn every_target_is_one_of_them() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let manifest = fs::read_to_string(place.join("Cargo.toml")).expect("the manifest");
    for (name, _) in decoders::ALL {
        assert!(place.join("fuzz_targets").join(name).with_extension("rs").exists(), "{name} has no target");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
    }
    let count = fs::read_dir(place.join("fuzz_targets")).expect("targets").count();
    assert_eq!(count, decoders::ALL.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        decoders::ALL.iter().for_each(|(_, decode)| decode(&bytes));
    }

    /// Most seeds are understood; so is much of them with a few bytes changed.
    #[test]
    fn so_are_seeds_with_bytes_changed(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for (name, decode) in decoders::ALL {
            let mut bytes = which.get(&seeds(name)).clone();
            for (at, byte) in &changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            decode(&bytes);
        }
    }
}
