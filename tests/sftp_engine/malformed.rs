//! Requests that are cut, stretched or nonsense: each is answered, does nothing, and leaves the next one alone.

use super::*;

const MALFORMED: &str = "the request is malformed";

/// One good request of every kind: what the tests call it, its type, and its body.
fn every_request(handle: &[u8], directory: &[u8]) -> Vec<(&'static str, u8, Vec<u8>)> {
    let none = 0_u32.to_be_bytes();
    let all = [&0x8000_000f_u32.to_be_bytes()[..], &9_u64.to_be_bytes(), &[0xff; 8], &0o600_u32.to_be_bytes(), &[7; 8]];
    let all = [&all.concat()[..], &1_u32.to_be_bytes(), &text(b"name@example.com"), &text(b"value")].concat();
    let (name, other, handle) = (text(b"new"), text(b"other"), text(handle));
    let place = [9_u64.to_be_bytes(), 5_u64.to_be_bytes()].concat();
    let sums = [&text(b"md5")[..], &place, &none].concat();
    let mut requests = vec![
        ("OPEN", 3, [&name[..], &0x1a_u32.to_be_bytes(), &all].concat()),
        ("READ", 5, [&handle[..], &place[..8], &none].concat()),
        ("WRITE", 6, [&handle[..], &place[..8], &text(b"data")].concat()),
        ("LSTAT", 7, text(b"file")),
        ("FSTAT", 8, handle.clone()),
        ("SETSTAT", 9, [&text(b"file")[..], &all].concat()),
        ("FSETSTAT", 10, [&handle[..], &all].concat()),
        ("OPENDIR", 11, text(b"dir")),
        ("READDIR", 12, text(directory)),
        ("REMOVE", 13, text(b"file")),
        ("MKDIR", 14, [&name[..], &all].concat()),
        ("RMDIR", 15, text(b"dir")),
        ("REALPATH", 16, text(b"file")),
        ("STAT", 17, text(b"file")),
        ("RENAME", 18, [&text(b"file")[..], &other].concat()),
        ("READLINK", 19, text(b"file")),
        ("SYMLINK", 20, [&name[..], &other].concat()),
        ("CLOSE", 4, handle.clone()),
    ];
    let extended = [
        ("posix-rename@openssh.com", [&text(b"file")[..], &other].concat()),
        ("statvfs@openssh.com", text(b"file")),
        ("fstatvfs@openssh.com", handle.clone()),
        ("hardlink@openssh.com", [&text(b"file")[..], &other].concat()),
        ("fsync@openssh.com", handle.clone()),
        ("lsetstat@openssh.com", [&text(b"file")[..], &all].concat()),
        ("expand-path@openssh.com", text(b"~")),
        ("copy-data", [&handle[..], &place, &handle, &place[..8]].concat()),
        ("home-directory", text(b"")),
        ("users-groups-by-id@openssh.com", [text(&none), text(&none)].concat()),
        ("space-available", text(b"dir")),
        ("copy-file", [&text(b"file")[..], &other, &[0]].concat()),
        ("check-file", [&handle[..], &sums].concat()),
        ("check-file-name", [&text(b"file")[..], &sums].concat()),
        ("check-file-handle", [&handle[..], &sums].concat()),
        ("vendor-id", [&name[..], &name, &name, &place[..8]].concat()),
    ];
    requests.extend(extended.map(|(name, body)| (name, 200, [&text(name.as_bytes())[..], &body].concat())));
    requests
}

fn names(bench: &Bench) -> Vec<String> {
    let entries = fs::read_dir(bench.at("")).expect("the root");
    let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_request_that_is_cut_anywhere_does_nothing() {
    let mut bench = Bench::new();
    let handle = bench.ask(&open(1, b"file", 3)).handle();
    let directory = bench.ask(&packet(11, 1, &[&text(b"dir")])).handle();
    let before = (names(&bench), fs::metadata(bench.at("file")).expect("a file").modified().expect("a time"));
    for (name, kind, body) in every_request(&handle, &directory) {
        for end in 0..body.len() {
            let answer = bench.ask(&packet(kind, 77, &[&body[..end]]));
            assert_eq!((answer.code(), answer.text()), (BAD_MESSAGE, MALFORMED.into()), "{name} of {end} bytes");
            assert_eq!(number(&answer.body), 77);
        }
    }
    let after = (names(&bench), fs::metadata(bench.at("file")).expect("a file").modified().expect("a time"));
    assert_eq!(before, after);
    assert_eq!(fs::read(bench.at("file")).expect("a file"), b"mine");
}

#[test]
fn what_follows_a_request_in_its_packet_is_left_aside() {
    let mut bench = Bench::new();
    let longer = packet(17, 1, &[&text(b"file"), b"and more"]);
    let answers = bench.send(&[longer, packet(17, 2, &[&text(b"file")])].concat());
    assert_eq!(answers.iter().map(|a| (a.kind, number(&a.body))).collect::<Vec<_>>(), [(105, 1), (105, 2)]);
}

#[test]
fn lengths_that_point_out_of_the_packet_are_malformed() {
    let mut bench = Bench::new();
    for length in [5_u32, 255, 0x7fff_ffff, u32::MAX] {
        let name = [&length.to_be_bytes()[..], b"file"].concat();
        for kind in [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 200] {
            assert_eq!(bench.ask(&packet(kind, 1, &[&name])).code(), BAD_MESSAGE, "request {kind}");
        }
    }
}

#[test]
fn counts_are_believed_only_as_far_as_there_is_something() {
    let mut bench = Bench::new();
    let extended = |count: u32| packet(9, 1, &[&text(b"file"), &0x8000_0000_u32.to_be_bytes(), &count.to_be_bytes()]);
    for count in [1, 64, 65, u32::MAX] {
        assert_eq!(bench.ask(&extended(count)).code(), BAD_MESSAGE, "{count} attributes");
    }
    assert_eq!(bench.ask(&extended(0)).code(), OK);
    let ids =
        |bytes: usize| packet(200, 1, &[&text(b"users-groups-by-id@openssh.com"), &text(&vec![0; bytes]), &text(b"")]);
    assert_eq!(bench.ask(&ids(4 * 1024)).kind, 201);
    for bytes in [3, 4 * 1025] {
        assert_eq!(bench.ask(&ids(bytes)).code(), BAD_MESSAGE, "{bytes} bytes of ids");
    }
}

#[test]
fn unknown_requests_are_told_so_and_the_next_is_served() {
    let mut bench = Bench::new();
    for kind in (21..=255).filter(|kind| *kind != 200).chain([0, 2]) {
        let answer = bench.ask(&packet(kind, 9, &[b"anything"]));
        assert_eq!((answer.code(), number(&answer.body)), (UNSUPPORTED, 9), "request {kind}");
    }
    assert_eq!(bench.ask(&packet(17, 1, &[&text(b"file")])).kind, 105);
}

proptest! {
    /// Bytes of good requests are exchanged, so that more of each parser is reached than with bytes of any kind.
    #[test]
    fn requests_with_some_wrong_bytes_are_answered(
        wrong in prop::collection::vec((0..34_usize, 0..80_usize, any::<u8>()), 1..60)
    ) {
        let mut bench = Bench::new();
        let handle = bench.ask(&open(1, b"file", 3)).handle();
        let directory = bench.ask(&packet(11, 1, &[&text(b"dir")])).handle();
        let requests = every_request(&handle, &directory);
        for (which, at, byte) in wrong {
            let (_, kind, mut body) = requests[which % requests.len()].clone();
            let at = at % body.len();
            body[at] = byte;
            let mut answers = bench.send(&packet(kind, 5, &[&body]));
            let mut parts = 0;
            while bench.engine.is_busy() {
                let mut out = Vec::new();
                bench.engine.work(&mut out);
                answers.extend(replies(&out));
                parts += 1;
                if parts == 20 {
                    // A wrong byte made the file one of many terabytes, which are being copied or summed.
                    return Ok(());
                }
            }
            prop_assert_eq!(answers.len(), 1);
            prop_assert_eq!(number(&answers[0].body), 5);
        }
    }
}
