//! Trees of files to be moved about, and what became of them.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whose a file is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) path: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Owners of everything beneath a directory, links included and not followed.
pub(crate) fn owners(root: &Path) -> Vec<Owned> {
    let mut found = Vec::new();
    let mut front = vec![root.to_owned()];
    while let Some(dir) = front.pop() {
        for entry in fs::read_dir(&dir).expect("a directory").map(|e| e.expect("an entry")) {
            let seen = entry.metadata().expect("an entry's owner");
            found.push(Owned { path: entry.path(), uid: seen.uid(), gid: seen.gid() });
            if seen.is_dir() {
                front.push(entry.path());
            }
        }
    }
    found
}

/// Pseudo-random numbers that are the same in every run (xorshift64*, Vigna 2016).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// A file of `size` bytes that do not compress and do not repeat.
pub(crate) fn random_file(path: &Path, size: u64, seed: u64) {
    let mut numbers = Numbers::new(seed);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).expect("a new file"));
    let mut block = [0; 4096];
    let mut left = size;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            word.copy_from_slice(&numbers.next().to_le_bytes());
        }
        let part = usize::try_from(left.min(4096)).expect("a block");
        out.write_all(&block[..part]).expect("write");
        left -= part as u64;
    }
    out.flush().expect("write the rest");
}

/// A tree of `files` small files in directories of a hundred, with names that are no plain words.
pub(crate) fn make_tree(root: &Path, files: usize) {
    for n in 0..files {
        let dir = root.join(format!("dir {:03}", n / 100));
        if n % 100 == 0 {
            fs::create_dir_all(&dir).expect("a directory");
        }
        fs::write(dir.join(format!("file-{n:05} ü.txt")), format!("content of {n}\n").repeat(n % 7)).expect("a file");
    }
}

/// A checksum of a file (FNV-1a over 8-byte words), to compare two of them.
pub(crate) fn checksum(path: &Path) -> u64 {
    let mut file = File::open(path).unwrap_or_else(|e| panic!("open {}: {e}", path.display()));
    let mut block = vec![0; 1 << 20];
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut kept = 0;
    loop {
        let read = file.read(&mut block[kept..]).expect("read");
        let filled = kept + read;
        let whole = if read == 0 { filled } else { filled - filled % 8 };
        for word in block[..whole].chunks(8) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            sum = (sum ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
        block.copy_within(whole..filled, 0);
        kept = filled - whole;
        if read == 0 {
            return sum ^ file.metadata().expect("its size").len();
        }
    }
}
