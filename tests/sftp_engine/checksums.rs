//! `check-file` and its relatives: whole files, blocks, and files that take long.

use super::*;

/// Of nothing, and of "mine" (FIPS 180-2, RFC 1321; computed by other programs).
const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SHA1_OF_MINE: &str = "8034c43d15bb7ef42e2cc24255217acfc5f4b2f4";
const MD5_OF_MINE: &str = "918b81db5e91d031548b963c93845e5b";

struct Asked<'a> {
    algorithms: &'a [u8],
    offset: u64,
    length: u64,
    block: u32,
}

const WHOLE: Asked<'_> = Asked { algorithms: b"md5", offset: 0, length: 0, block: 0 };

impl Asked<'_> {
    fn of(&self, request: &[u8], what: &[u8]) -> Vec<u8> {
        let numbers = [&self.offset.to_be_bytes()[..], &self.length.to_be_bytes(), &self.block.to_be_bytes()].concat();
        packet(200, 1, &[&text(request), &text(what), &text(self.algorithms), &numbers])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The algorithm of an answer, and its sums.
fn sums(answer: &Reply) -> (String, String) {
    assert_eq!(answer.kind, 201, "sums were expected: {}", String::from_utf8_lossy(&answer.body));
    let algorithm = string(&answer.body[4..]);
    let sums = hex(&answer.body[8 + algorithm.len()..]);
    (String::from_utf8(algorithm).expect("a name"), sums)
}

fn told(algorithm: &str, sums: &str) -> (String, String) {
    (algorithm.into(), sums.into())
}

#[test]
fn a_file_is_summed_by_name_and_by_handle() {
    let mut bench = Bench::new();
    let asked = Asked { algorithms: b"crc32, sha1,md5", ..WHOLE };
    assert_eq!(sums(&bench.ask(&asked.of(b"check-file-name", b"file"))), told("sha1", SHA1_OF_MINE));
    let handle = bench.ask(&open(1, b"file", 1)).handle();
    assert_eq!(sums(&bench.ask(&WHOLE.of(b"check-file-handle", &handle))), told("md5", MD5_OF_MINE));
    let part = Asked { algorithms: b"sha256", offset: 4, ..WHOLE };
    assert_eq!(sums(&bench.ask(&part.of(b"check-file-handle", &handle))), told("sha256", SHA256_OF_NOTHING));
    // paramiko's dialect: a handle, and the name of the request once more before the rest.
    let answer = bench.ask(&WHOLE.of(b"check-file", &handle));
    let named = [&text(b"check-file")[..], &text(b"md5")].concat();
    assert_eq!(
        (&answer.body[4..4 + named.len()], hex(&answer.body[4 + named.len()..])),
        (&named[..], MD5_OF_MINE.into())
    );
}

#[test]
fn every_block_has_its_sum() {
    let mut bench = Bench::new();
    fs::write(bench.at("blocks"), [7; 700]).expect("a file");
    fs::write(bench.at("300"), [7; 300]).expect("a file");
    fs::write(bench.at("100"), [7; 100]).expect("a file");
    let mut of = |name: &[u8], block: u32| sums(&bench.ask(&Asked { block, ..WHOLE }.of(b"check-file-name", name))).1;
    let (whole, rest) = (of(b"300", 0), of(b"100", 0));
    assert_eq!(of(b"blocks", 300), [whole.as_str(), &whole, &rest].concat());
    assert_eq!(of(b"300", 300), whole);
    assert_eq!(of(b"300", 512), whole);
}

#[test]
fn a_large_file_is_summed_between_other_requests() {
    let mut bench = Bench::new();
    let file = fs::File::create(bench.at("large")).expect("a file");
    file.set_len(64 << 20).expect("a large one");
    let handle = bench.ask(&open(1, b"file", 1)).handle();
    assert!(bench.send(&WHOLE.of(b"check-file-name", b"large")).is_empty());
    assert_eq!(bench.ask(&read(2, &handle, 0, 4)).kind, 103);
    let (mut out, mut parts) = (Vec::new(), 0);
    while bench.engine.is_busy() {
        bench.engine.work(&mut out);
        parts += 1;
    }
    assert!(parts > 50, "{parts} parts");
    assert_eq!(sums(&replies(&out)[0]), told("md5", "7f614da9329cd3aebf59b91aadc30bf0"));
}

#[test]
fn what_has_no_sum_is_told() {
    let mut bench = Bench::new();
    fs::File::create(bench.at("large")).expect("a file").set_len(1 << 40).expect("a large one");
    let mut refused = |asked: Asked<'_>, path: &[u8]| bench.ask(&asked.of(b"check-file-name", path)).text();
    assert_eq!(
        refused(Asked { algorithms: b"crc32", ..WHOLE }, b"file"),
        "no such checksum here: ask for sha256, sha1 or md5"
    );
    assert_eq!(refused(Asked { block: 255, ..WHOLE }, b"file"), "blocks for checksums have 256 bytes or more");
    assert!(refused(Asked { block: 256, ..WHOLE }, b"large").starts_with("too many blocks for one answer"));
    assert_eq!(refused(WHOLE, b"missing"), "no such file or directory");
    assert_eq!(refused(WHOLE, b"dir"), "this is a directory");
    let handle = bench.ask(&open(1, b"new", 2 | 8)).handle();
    let told = bench.ask(&WHOLE.of(b"check-file-handle", &handle)).text();
    assert_eq!(told, "the file was not opened for this: open it for reading or writing as needed");
}
