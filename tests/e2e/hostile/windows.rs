//! Windows and packets that leave no room, too much of it, or that are not kept to; and much to send beside them.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::files::{Files, adjust, data, open_channel, read, request, sftp, write};
use super::measures::Taken;
use super::peer::Peer;
use super::{Came, Siege};
use crate::harness::{Disk, Identity, open, string};

/// As long as a READ is answered in full.
const LONGEST: u32 = 255 * 1024;

fn place(siege: &Siege) -> PathBuf {
    siege.node.home("acme").join("www/site1")
}

fn big_file(siege: &Siege) {
    let file = place(siege).join("big");
    fs::write(&file, vec![5; 1 << 20]).expect("a file");
    siege.node.own(&place(siege));
}

/// Requests whose answers have no room; then there is room, and all of them come.
pub(super) fn nothing(siege: &mut Siege) -> Came {
    big_file(siege);
    let mut files = siege.files(0);
    let (count, taken) = siege.watching_files(&mut files, |files| {
        let reads: Vec<u8> = (0..400).flat_map(|id| sftp(17, id, &string(b"/big"))).collect();
        files.write(&reads).expect("sent");
        assert!(files.peer.is_answered(), "the connection waits for the channel's window");
        files.peer.send(&adjust(files.theirs, 1 << 20)).expect("sent");
        (0..=400).filter(|_| files.packet().is_ok()).count()
    });
    assert_eq!(count, 401);
    Came { told: "400 requests wait, and are answered when there is room".to_owned(), taken }
}

/// READs of the first file that a channel has opened, without waiting for its handle: it is one of these, and the READs of
/// others are answered with a sentence.
fn blind_reads(count: u32) -> Vec<u8> {
    (0..count).flat_map(|id| read(id, &string(&u64::from(id % 3).to_be_bytes()), 0, LONGEST)).collect()
}

/// Packets in which nothing or next to nothing can be sent, and much to send: nobody spins, and nothing piles up.
pub(super) fn tiny_packets(siege: &mut Siege) -> Came {
    big_file(siege);
    let (mut told, mut taken) = (Vec::new(), Taken::default());
    for largest in [0, 1, 16, 300] {
        let mut peer = siege.logged_in();
        let (end, took) = siege.watching(&mut peer, |peer| ask_much(peer, largest));
        told.push(format!("at most {largest}: {}", end.unwrap_or("the connection is ended")));
        taken = taken.with(took);
    }
    Came { told: told.join(", "), taken }
}

/// Asks for much on a channel with such packets, and reads what comes of it.
fn ask_much(peer: &mut Peer, largest: u32) -> io::Result<&'static str> {
    let Some((theirs, _)) = open_channel(peer, 0, u32::MAX, largest)? else { return Ok("refused") };
    peer.send(&request(theirs, "subsystem", &string(b"sftp")))?;
    let open_big = sftp(3, 1, &[&string(b"/big")[..], &open::READ.to_be_bytes(), &[0; 4]].concat());
    peer.send(&data(theirs, &[&[0, 0, 0, 5, 1, 0, 0, 0, 3][..], &open_big].concat()))?;
    peer.send(&data(theirs, &blind_reads(300)))?;
    if peer.is_answered() { Ok("goes on") } else { Ok("ended") }
}

pub(super) fn widened(siege: &mut Siege) -> Came {
    let mut files = siege.files(1 << 20).greeted().expect("sftp");
    let (told, taken) = siege.watching_files(&mut files, |files| {
        let sent = (0..10_000).take_while(|_| files.peer.send(&adjust(files.theirs, u32::MAX)).is_ok()).count();
        if files.stat("/").is_ok() { format!("{sent} taken, and the channel goes on") } else { "ended".to_owned() }
    });
    Came { told, taken }
}

/// A client that does not keep to the window that the server gave, and gives none for the answers.
pub(super) fn beyond(siege: &mut Siege) -> Came {
    let mut files = siege.files(0);
    let ((sent, end), taken) = siege.watching_files(&mut files, |files| {
        let part = data(files.theirs, &write(1, &string(&[0; 8]), 0, &[0; 31_000]));
        let peer = &mut files.peer;
        let sent = (0..2_000).take_while(|_| peer.send(&part).and_then(|()| peer.pass_over()).is_ok()).count();
        (sent, if peer.is_answered() { "the connection goes on" } else { "the connection is ended" })
    });
    Came { told: format!("{} MiB sent, {end}", (sent * 31_000) >> 20), taken }
}

/// Answers pile up nowhere: the window is wide open, and nothing is read from the connection.
pub(super) fn never_reads(siege: &mut Siege) -> Came {
    big_file(siege);
    let mut files = siege.files(u32::MAX).greeted().expect("sftp");
    let handle = files.handle("/big", Some(open::READ)).expect("a handle");
    let (others, taken) = siege.watching_files(&mut files, |files| {
        let reads: Vec<u8> = (0..600).flat_map(|id| read(id, &handle, 0, LONGEST)).collect();
        files.write(&reads).expect("sent");
        // Somebody with the same name is served meanwhile.
        let second = Files::open(Peer::log_in(&siege.bob).expect("a login"), 1 << 30).expect("sftp");
        let mut second = second.greeted().expect("sftp");
        (0..300).filter(|_| second.stat("/").is_ok()).count()
    });
    assert_eq!(others, 300, "the user's other connection is served");
    let (answers, later) = siege.watching_files(&mut files, |files| {
        (0..600).filter(|_| files.packet().is_ok_and(|packet| packet.len() == 9 + LONGEST as usize)).count()
    });
    assert_eq!(answers, 600, "all answers come when they are read");
    Came { told: "150 MiB of answers wait, and come when they are read".to_owned(), taken: taken.with(later) }
}

/// Lengths within SFTP that the server must not believe either.
pub(super) fn long_packets(siege: &mut Siege) -> Came {
    let mut taken = None;
    for length in [256_u32 << 20, u32::MAX, 1 << 20, 0] {
        for inner in [false, true] {
            let mut files = siege.files(1 << 20).greeted().expect("sftp");
            let ((), took) = siege.watching_files(&mut files, |files| {
                let body = [&[17][..], &1_u32.to_be_bytes(), &length.to_be_bytes(), b"/"].concat();
                let packet = if inner { string(&body) } else { [&length.to_be_bytes()[..], &[17; 64]].concat() };
                files.write(&packet).expect("sent");
                if inner {
                    assert_eq!(files.packet().expect("an answer").first(), Some(&101));
                } else {
                    // The channel is closed with a sentence, and the connection goes on; or it waits for the rest.
                    assert!(files.peer.is_answered());
                }
            });
            taken = Some(took.with(taken.unwrap_or_default()));
        }
    }
    Came { told: "each is refused".to_owned(), taken: taken.expect("several") }
}

/// Two channels of one connection: one asks for much and takes nothing, the other uploads.
pub(super) fn uploads(siege: &mut Siege) -> Came {
    let size: u64 = if siege.identity == Identity::Root { 4 << 30 } else { 256 << 20 };
    big_file(siege);
    let mut files = siege.files(1 << 30).greeted().expect("sftp");
    let (theirs, _) = open_channel(&mut files.peer, 1, 200_000, 32_000).expect("an answer").expect("a channel");
    let (done, taken) = siege.watching_files(&mut files, |files| -> io::Result<()> {
        files.peer.send(&request(theirs, "subsystem", &string(b"sftp")))?;
        let open_big = sftp(3, 1, &[&string(b"/big")[..], &1_u32.to_be_bytes(), &[0; 4]].concat());
        files.peer.send(&data(theirs, &[&[0, 0, 0, 5, 1, 0, 0, 0, 3][..], &open_big].concat()))?;
        files.peer.send(&data(theirs, &blind_reads(300)))?;
        upload(files, size)
    });
    done.unwrap_or_else(|e| panic!("the upload: {e}\n{}", siege.node.log()));
    let written = fs::metadata(place(siege).join("upload")).expect("the file").len();
    assert_eq!(written, 64 << 20);
    fs::remove_file(place(siege).join("upload")).expect("the file");
    Came { told: format!("{} MiB uploaded", size >> 20), taken }
}

/// Two channels of one connection: one has asked for much and is paused, on the other much is read. The library sends nothing
/// of its queue while a channel has something that waits for its window (see `tests/results/russh-limits.md`), so nothing
/// may be handed to it that has no room there.
pub(super) fn paused(siege: &mut Siege) -> Came {
    big_file(siege);
    let mut files = siege.files(u32::MAX).greeted().expect("sftp");
    let (theirs, _) = open_channel(&mut files.peer, 1, 200_000, 32_000).expect("an answer").expect("a channel");
    let is_whole = |packet: Vec<u8>| packet.len() == 9 + LONGEST as usize;
    let (beside, taken) = siege.watching_files(&mut files, |files| {
        files.peer.send(&request(theirs, "subsystem", &string(b"sftp"))).expect("sent");
        // It has read something, and so has said how far its window is open.
        files.peer.send(&adjust(theirs, 1)).expect("sent");
        let open_big = sftp(3, 1, &[&string(b"/big")[..], &open::READ.to_be_bytes(), &[0; 4]].concat());
        files.peer.send(&data(theirs, &[&[0, 0, 0, 5, 1, 0, 0, 0, 3][..], &open_big].concat())).expect("sent");
        files.peer.send(&data(theirs, &blind_reads(300))).expect("sent");
        let handle = files.handle("/big", Some(open::READ)).expect("a handle");
        let reads: Vec<u8> = (0..80).flat_map(|id| read(id, &handle, 0, LONGEST)).collect();
        files.write(&reads).expect("sent");
        let beside = (0..80).take_while(|_| files.packet().is_ok_and(is_whole)).count();
        files.peer.send(&adjust(theirs, 1 << 30)).expect("sent");
        beside
    });
    assert_eq!(beside, 80, "the paused channel holds up the other\n{}", siege.node.log());
    Came { told: "80 of 80 answers come meanwhile".to_owned(), taken }
}

/// Writes the same 64 MiB again and again, with some requests on their way.
fn upload(files: &mut Files, size: u64) -> io::Result<()> {
    let part = vec![3; LONGEST as usize];
    let handle = files.handle("/upload", Some(open::WRITE | open::CREATE | open::TRUNCATE))?;
    let (mut sent, mut done, mut waiting) = (0_u64, 0_u64, 0);
    let mut at = 0;
    while sent < size {
        let length = part.len().min(usize::try_from((64 << 20) - at).expect("small"));
        let room = files.room();
        let told = |e: io::Error| io::Error::other(format!("{sent} bytes sent, {done} done, room {room}: {e}"));
        files.write(&write(1, &handle, at, &part[..length])).map_err(told)?;
        if waiting >= 16 {
            files.packet().and_then(|status| is_done(&status)).map_err(told)?;
            (done, waiting) = (done + 1, waiting - 1);
        }
        (sent, waiting) = (sent + length as u64, waiting + 1);
        at = (at + length as u64) % (64 << 20);
    }
    (0..waiting).try_for_each(|_| is_done(&files.packet()?))
}

fn is_done(status: &[u8]) -> io::Result<()> {
    match (status.first(), status.get(5..9)) {
        (Some(101), Some([0, 0, 0, 0])) => Ok(()),
        _ => Err(io::Error::other(format!("{status:?} in answer to a write"))),
    }
}

/// A million names of one file; root has a disk in memory for them. An ordinary user has fewer, on the usual disk.
pub(super) fn many_names(siege: &mut Siege) -> Came {
    let (node, root) = (&siege.node, siege.identity == Identity::Root);
    let home = node.dir().join("many");
    fs::create_dir(&home).expect("a directory");
    let _disk = root.then(|| Disk::tmpfs(&home, "size=2g,nr_inodes=1100000,mode=755"));
    let (directory, count) = (home.join("names"), if root { 1_000_000 } else { 20_000 });
    fs::create_dir(&directory).expect("a directory");
    fs::write(directory.join("first"), "").expect("a file");
    node.own(&home);
    for n in 1..count {
        fs::hard_link(directory.join("first"), directory.join(format!("name-{n:07}"))).expect("a name");
    }
    node.account_at("many", &home);
    let login = node.user("many", "many", &[("names", "ro")]);
    let mut files =
        Files::open(Peer::log_in(&login).expect("a login"), u32::MAX).and_then(Files::greeted).expect("sftp");
    let handle = files.handle("/", None).expect("a handle");
    let (found, taken) = siege.watching_files(&mut files, |files| list(files, &handle).expect("all names"));
    // `.` and `..` are among them.
    assert_eq!(found, count + 2);
    Came { told: format!("{found} names, 2,000 answers asked for ahead"), taken }
}

/// Counts the names of a directory; many are asked for before any answer is read.
fn list(files: &mut Files, handle: &[u8]) -> io::Result<u64> {
    let ask = |count: u32| (0..count).flat_map(|id| sftp(12, id, handle)).collect::<Vec<u8>>();
    files.write(&ask(2_000))?;
    let (mut found, mut waiting, mut is_over) = (0, 2_000, false);
    while waiting > 0 {
        let packet = files.packet()?;
        waiting -= 1;
        match (packet.first(), packet.get(5..9).and_then(|b| b.first_chunk::<4>())) {
            (Some(104), Some(names)) => found += u64::from(u32::from_be_bytes(*names)),
            _ => is_over = true,
        }
        if waiting < 1_000 && !is_over {
            files.write(&ask(1_000))?;
            waiting += 1_000;
        }
    }
    Ok(found)
}
