//! What OPEN, READ, WRITE and the attributes do to a file, where clients and the draft leave it to the server.

use std::os::unix::fs::{FileExt, MetadataExt};

use super::*;

const READ: u32 = 0x01;
const WRITE: u32 = 0x02;
const APPEND: u32 = 0x04;
const CREATE: u32 = 0x08;
const TRUNCATE: u32 = 0x10;
const EXCLUSIVE: u32 = 0x20;

fn attributes(kind: u8, of: &[u8], flags: u32, fields: &[u8]) -> Vec<u8> {
    packet(kind, 1, &[&text(of), &flags.to_be_bytes(), fields])
}

impl Bench {
    fn read(&mut self, path: &str) -> Vec<u8> {
        fs::read(self.at(path)).expect("a file")
    }
}

#[test]
fn flags_of_open_are_those_of_openssh() {
    let mut bench = Bench::new();
    // None of them: for reading. To be cut without being written: not for reading.
    let handle = bench.ask(&open(1, b"file", 0)).handle();
    assert_eq!(string(&bench.ask(&read(1, &handle, 0, 4)).body[4..]), b"mine");
    assert_eq!(bench.ask(&open(1, b"missing", WRITE)).code(), NO_SUCH_FILE);
    let taken = bench.ask(&open(1, b"file", WRITE | CREATE | EXCLUSIVE));
    assert_eq!((taken.code(), taken.text()), (FAILURE, "a file or directory of that name exists already".into()));
    bench.ask(&open(1, b"file", WRITE | CREATE)).handle();
    assert_eq!(bench.read("file"), b"mine");
    bench.ask(&open(1, b"file", WRITE | CREATE | TRUNCATE)).handle();
    assert_eq!(bench.read("file"), b"");
    bench.ask(&open(1, b"new", WRITE | CREATE | EXCLUSIVE)).handle();
    // A link counts as there, even if it leads nowhere.
    symlink("nowhere", bench.at("link")).expect("a link");
    assert_eq!(bench.ask(&open(1, b"link", WRITE | CREATE | EXCLUSIVE)).code(), FAILURE);
    assert!(!bench.at("nowhere").exists());
}

#[test]
fn appended_bytes_go_to_the_end_whatever_the_offset() {
    let mut bench = Bench::new();
    let handle = bench.ask(&open(1, b"file", WRITE | APPEND)).handle();
    for offset in [0, 2, 1 << 40, u64::MAX] {
        assert_eq!(bench.ask(&write(1, &handle, offset, b"+")).code(), OK);
    }
    assert_eq!(bench.read("file"), b"mine++++");
}

#[test]
fn a_handle_is_good_for_what_it_was_opened_for() {
    let mut bench = Bench::new();
    let (reading, writing) =
        (bench.ask(&open(1, b"file", READ)).handle(), bench.ask(&open(1, b"file", WRITE)).handle());
    let sentence = "the file was not opened for this: open it for reading or writing as needed";
    for refused in [bench.ask(&write(1, &reading, 0, b"x")), bench.ask(&read(1, &writing, 0, 4))] {
        assert_eq!((refused.code(), refused.text()), (3, sentence.into()));
    }
    assert_eq!(bench.read("file"), b"mine");
}

#[test]
fn files_of_many_terabytes_keep_their_holes() {
    let mut bench = Bench::new();
    let handle = bench.ask(&open(1, b"sparse", READ | WRITE | CREATE)).handle();
    let far = (4 << 40) + 12_345;
    assert_eq!(bench.ask(&write(1, &handle, far, b"far out")).code(), OK);
    assert_eq!(string(&bench.ask(&read(1, &handle, far, 100)).body[4..]), b"far out");
    assert_eq!(string(&bench.ask(&read(1, &handle, 1 << 40, 3)).body[4..]), [0; 3]);
    let size = bench.ask(&packet(8, 1, &[&text(&handle)])).body;
    assert_eq!(u64::from_be_bytes(size[8..16].try_into().expect("eight bytes")), far + 7);
    assert!(fs::metadata(bench.at("sparse")).expect("a file").blocks() < 1_000);
    // As a size it is set, too.
    assert_eq!(bench.ask(&attributes(9, b"sparse", 1, &(5_u64 << 40).to_be_bytes())).code(), OK);
    assert_eq!(fs::metadata(bench.at("sparse")).expect("a file").len(), 5 << 40);
    assert_eq!(bench.ask(&attributes(10, &handle, 1, &2_u64.to_be_bytes())).code(), OK);
    assert_eq!(bench.read("sparse"), [0; 2]);
}

#[test]
fn times_are_those_that_fit_into_32_bits() {
    let mut bench = Bench::new();
    for at in [0_u32, 1, i32::MAX as u32, 1 << 31, u32::MAX] {
        assert_eq!(bench.ask(&attributes(9, b"file", 8, &[at.to_be_bytes(), at.to_be_bytes()].concat())).code(), OK);
        assert_eq!(fs::metadata(bench.at("file")).expect("a file").mtime(), i64::from(at));
        let told = bench.ask(&packet(17, 1, &[&text(b"file")])).body;
        assert_eq!((number(&told[28..]), number(&told[32..])), (at, at));
    }
    // What others set before 1970 or after 2106 is told by its low bits, as OpenSSH does.
    let times = |seconds| {
        let at = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
        rustix::fs::Timestamps { last_access: at, last_modification: at }
    };
    for (seconds, low) in [(-2, u32::MAX - 1), (1_i64 << 32 | 5, 5)] {
        rustix::fs::utimensat(rustix::fs::CWD, bench.at("file"), &times(seconds), rustix::fs::AtFlags::empty())
            .expect("times");
        let told = bench.ask(&packet(17, 1, &[&text(b"file")])).body;
        assert_eq!(number(&told[32..]), low, "{seconds}");
    }
}

#[test]
fn pipes_sockets_and_devices_are_looked_at_and_never_waited_for() {
    let mut bench = Bench::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, bench.at("pipe"), rustix::fs::Mode::RWXU).expect("a pipe");
    let _socket = std::os::unix::net::UnixListener::bind(bench.at("socket")).expect("a socket");
    symlink("pipe", bench.at("link")).expect("a link");
    for name in [&b"pipe"[..], b"socket", b"link"] {
        for flags in [READ, WRITE, READ | WRITE, WRITE | CREATE | TRUNCATE, WRITE | APPEND] {
            assert_eq!(bench.ask(&open(1, name, flags)).code(), FAILURE, "{}", name.escape_ascii());
        }
        assert_eq!(bench.ask(&packet(17, 1, &[&text(name)])).kind, 105);
        assert_eq!(bench.ask(&attributes(9, name, 1, &5_u64.to_be_bytes())).code(), FAILURE);
        assert_eq!(bench.ask(&attributes(9, name, 4, &0o600_u32.to_be_bytes())).code(), OK);
        let sums = [&text(b"md5")[..], &[0; 20]].concat();
        assert_eq!(bench.ask(&packet(200, 1, &[&text(b"check-file-name"), &text(name), &sums])).code(), FAILURE);
        let copy = [&text(name)[..], &text(b"copy"), &[0]].concat();
        assert_eq!(bench.ask(&packet(200, 1, &[&text(b"copy-file"), &copy])).code(), FAILURE);
    }
    assert!(!bench.at("copy").exists());
}

#[test]
fn names_may_have_255_bytes_and_paths_4095() {
    let mut bench = Bench::new();
    let name = [b'n'; 255];
    let mut path = Vec::new();
    while path.len() + 256 < 4_000 {
        path.extend_from_slice(&name);
        assert_eq!(bench.ask(&attributes(14, &path, 0, &[])).code(), OK, "a path of {} bytes", path.len());
        path.push(b'/');
    }
    path.resize(4_095, b'f');
    bench.ask(&open(1, &path, WRITE | CREATE)).handle();
    assert_eq!(bench.ask(&packet(17, 1, &[&text(&path)])).kind, 105);
    let real = bench.ask(&packet(16, 1, &[&text(&path[..4_000])]));
    assert_eq!(string(&real.body[8..]).len(), 4_001);
    path.push(b'f');
    let refused = bench.ask(&open(1, &path, WRITE | CREATE));
    let sentence = "the name is too long: at most 255 bytes a name and 4095 a path";
    assert_eq!((refused.code(), refused.text()), (BAD_MESSAGE, sentence.into()));
}

#[test]
fn two_hundred_and_fifty_six_writes_at_once_arrive_in_order() {
    let mut bench = Bench::new();
    let handle = bench.ask(&open(1, b"many", WRITE | CREATE)).handle();
    let all: Vec<u8> =
        (0..256_u32).flat_map(|n| write(n, &handle, u64::from(n / 2) * 1_000, &n.to_be_bytes().repeat(250))).collect();
    let answers = bench.send(&all);
    assert_eq!(answers.iter().map(|a| number(&a.body)).collect::<Vec<_>>(), (0..256).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer.code() == OK));
    // Of two for one place the later wins.
    let file = fs::File::open(bench.at("many")).expect("a file");
    for place in 0..128_u32 {
        let mut word = [0; 4];
        file.read_exact_at(&mut word, u64::from(place) * 1_000).expect("written");
        assert_eq!(u32::from_be_bytes(word), 2 * place + 1);
    }
}

mod heavy {
    use super::*;

    /// Memory in use, in KiB.
    fn resident() -> u64 {
        let status = fs::read_to_string("/proc/self/status").expect("of this process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }

    #[test]
    fn a_million_names_are_listed_in_little_memory() {
        const NAMES: u32 = 1_000_000;
        let mut bench = Bench::new();
        for n in 0..NAMES {
            // One file has at most 65,000 names on ext4.
            let own = bench.at(&format!("dir/{:07}", n / 50_000 * 50_000));
            match n % 50_000 {
                0 => fs::write(own, "").expect("a file"),
                _ => fs::hard_link(own, bench.at(&format!("dir/{n:07}"))).expect("one more name"),
            }
        }
        let handle = bench.ask(&packet(11, 1, &[&text(b"dir")])).handle();
        let (before, mut names, mut largest) = (resident(), 0, 0);
        loop {
            let answer = bench.ask(&packet(12, 1, &[&text(&handle)]));
            if answer.kind == 101 {
                assert_eq!(answer.code(), EOF);
                break;
            }
            names += number(&answer.body[4..]);
            largest = largest.max(answer.body.len());
        }
        assert_eq!(names, NAMES + 2);
        assert!(largest < 128 * 1024, "an answer of {largest} bytes");
        assert!(resident() < before + 4 * 1024, "{before} KiB before, {} after", resident());
    }
}
