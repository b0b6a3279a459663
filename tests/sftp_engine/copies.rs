//! `copy-data`: whole and partial copies, a part at a time.

use super::*;

const READ: u32 = 1;
const WRITE: u32 = 2 | 8;
const APPEND: u32 = WRITE | 4;
/// More than is copied at once.
const LARGE: usize = 20 << 20;

fn copy(id: u32, from: &[u8], offset: u64, length: u64, to: &[u8], at: u64) -> Vec<u8> {
    let numbers = [offset.to_be_bytes(), length.to_be_bytes()].concat();
    packet(200, id, &[&text(b"copy-data"), &text(from), &numbers, &text(to), &at.to_be_bytes()])
}

fn content(of: usize) -> Vec<u8> {
    (0..of).map(|n| (n % 251) as u8).collect()
}

impl Bench {
    fn handle(&mut self, path: &str, flags: u32) -> Vec<u8> {
        self.ask(&open(1, path.as_bytes(), flags)).handle()
    }

    /// Goes on until nothing takes long any more; says how many parts that took, and all answers.
    fn work(&mut self) -> (usize, Vec<Reply>) {
        let (mut out, mut parts) = (Vec::new(), 0);
        while self.engine.is_busy() {
            self.engine.work(&mut out);
            self.engine.resume(&mut out, ROOM).expect("spoken well");
            parts += 1;
        }
        (parts, replies(&out))
    }
}

#[test]
fn parts_are_copied_to_where_they_are_wanted() {
    let mut bench = Bench::new();
    fs::write(bench.at("from"), content(100_000)).expect("a file");
    let (from, to) = (bench.handle("from", READ), bench.handle("to", WRITE));
    assert_eq!(bench.ask(&copy(1, &from, 10, 50, &to, 5)).code(), OK);
    assert_eq!(bench.ask(&copy(1, &from, 99_990, 0, &to, 55)).code(), OK);
    assert_eq!(bench.ask(&copy(1, &from, 99_990, 11, &to, 65)).code(), EOF);
    let expected = [&[0; 5][..], &content(100_000)[10..60], &content(100_000)[99_990..].repeat(2)].concat();
    assert_eq!(fs::read(bench.at("to")).expect("the copy"), expected);
    assert_eq!(bench.engine.totals().written, 70);
}

#[test]
fn a_copy_to_a_file_that_appends_goes_to_its_end() {
    let mut bench = Bench::new();
    fs::write(bench.at("to"), "before").expect("a file");
    let (from, to) = (bench.handle("file", READ), bench.handle("to", APPEND));
    assert_eq!(bench.ask(&copy(1, &from, 0, 0, &to, u64::MAX)).code(), OK);
    assert_eq!(fs::read(bench.at("to")).expect("the copy"), b"beforemine");
}

#[test]
fn a_file_is_not_copied_onto_itself() {
    let mut bench = Bench::new();
    fs::hard_link(bench.at("file"), bench.at("second")).expect("a second name");
    let (one, two) = (bench.handle("file", READ | WRITE), bench.handle("second", READ | WRITE));
    for (from, to) in [(&one, &one), (&one, &two)] {
        let refused = bench.ask(&copy(1, from, 0, 0, to, 4));
        assert_eq!((refused.code(), refused.text()), (FAILURE, "a file cannot be copied onto itself".into()));
    }
}

#[test]
fn a_large_copy_holds_up_only_its_own_files() {
    let mut bench = Bench::new();
    fs::write(bench.at("from"), content(LARGE)).expect("a large file");
    let (from, to) = (bench.handle("from", READ), bench.handle("to", WRITE));
    let other = bench.handle("file", READ);
    assert!(bench.send(&copy(7, &from, 0, 0, &to, 0)).is_empty() && bench.engine.is_busy());
    let answered = bench.ask(&read(8, &other, 0, 4));
    assert_eq!(number(&answered.body), 8);
    // What is about a file that is being copied waits, and what comes after it too.
    let close = |id: u32, handle: &[u8]| packet(4, id, &[&text(handle)]);
    assert!(bench.send(&[close(9, &to), close(10, &other)].concat()).is_empty());
    let (parts, answers) = bench.work();
    assert!(parts >= LARGE / (4 << 20) - 1, "{parts} parts");
    assert_eq!(answers.iter().map(|answer| number(&answer.body)).collect::<Vec<_>>(), [7, 9, 10]);
    assert!(answers.iter().all(|answer| answer.code() == OK) && bench.engine.backlog() == 0);
    assert!(fs::read(bench.at("to")).expect("the copy") == content(LARGE));
}

#[test]
fn more_copies_than_are_made_at_once_wait_for_one_another() {
    let mut bench = Bench::new();
    fs::write(bench.at("from"), content(LARGE)).expect("a large file");
    let targets: Vec<_> = (0..12).map(|n| bench.handle(&format!("to{n}"), WRITE)).collect();
    let own: Vec<_> = (0..12)
        .map(|n| {
            fs::hard_link(bench.at("from"), bench.at(&format!("from{n}"))).expect("one more name");
            bench.handle(&format!("from{n}"), READ)
        })
        .collect();
    let all: Vec<u8> = (0..12).flat_map(|n| copy(100 + n as u32, &own[n], 0, 0, &targets[n], 0)).collect();
    let mut answers = bench.send(&all);
    answers.extend(bench.work().1);
    let mut ids: Vec<_> = answers.iter().map(|answer| number(&answer.body)).collect();
    ids.sort_unstable();
    assert_eq!(ids, (100..112).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer.code() == OK));
}
