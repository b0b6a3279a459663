//! Any bytes after INIT, over a directory with one file in it: the engine must neither panic nor grow without bound.
//!
//! Run from the repository: `cargo +nightly fuzz run --fuzz-dir tests/fuzz sftp_packets`.
#![no_main]

use std::sync::OnceLock;

use enclos::files::Root;
use enclos::sftp::{Engine, Settings};
use libfuzzer_sys::fuzz_target;

static TREE: OnceLock<std::path::PathBuf> = OnceLock::new();

fn tree() -> &'static std::path::Path {
    TREE.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("enclos-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        // Copies and checksums of this one take several parts.
        let large = std::fs::File::create(path.join("l")).expect("a file");
        large.set_len(16 << 20).expect("a large one");
        path
    })
}

fuzz_target!(|bytes: &[u8]| {
    let settings = Settings {
        user: "u".into(),
        group: "g".into(),
        owner_ids: (5001, 5001),
        own_ids: enclos::files::own_ids(),
        umask: 0o022,
        start: b"/".to_vec(),
        links: enclos::sftp::LinkOrder::default(),
    };
    let mut engine = Engine::new(Root::open(tree()).expect("the tree"), settings);
    let mut out = Vec::new();
    engine.feed(&[0, 0, 0, 5, 1, 0, 0, 0, 3], &mut out, 1 << 20).expect("INIT");
    for part in bytes.chunks(1_000) {
        if engine.feed(part, &mut out, 1 << 20).is_err() {
            break;
        }
        // What takes long is gone on with a few times; more comes in between.
        for _ in 0..4 {
            engine.work(&mut out);
        }
        if engine.resume(&mut out, 1 << 20).is_err() {
            break;
        }
        out.clear();
    }
});
