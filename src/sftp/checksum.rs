//! `check-file` (draft-ietf-secsh-filexfer-extensions-00, section 3): checksums of a file or its blocks, so that a client
//! can compare without reading. Libraries compute them.
//!
//! Two dialects ask: `check-file-name` and `check-file-handle` of the draft, which WinSCP, ProFTPD and Bitvise speak, and
//! `check-file` of paramiko, which means a handle and wants that name repeated in the answer.

use md5::Md5;
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Sha256, Sha384, Sha512};

use super::answer::{self, put_string};
use super::codes::{self, LONGEST_DATA};
use super::engine::{Engine, Served};
use super::failure::Failure;
use super::jobs::{Job, Work};
use super::reader::Reader;
use crate::files::{Access, Creation, File, Opening};

/// Read at once.
const READ: usize = 256 * 1024;
/// Read for one part.
const PART: u64 = 1024 * 1024;
/// Smallest block that may be asked for (section 3).
const SMALLEST_BLOCK: u32 = 256;

/// How a file is opened for it.
const OPENING: Opening =
    Opening { access: Access::Read, creation: Creation::Never, truncate: false, append: false, mode: 0 };

type Hash = Box<dyn DynDigest + Send>;

fn new<H: DynDigest + Send + Default + 'static>() -> Hash {
    Box::new(H::default())
}

/// The first algorithm of a client's list, separated by commas, that we have.
fn choose(list: &[u8]) -> Option<(&'static str, Hash)> {
    list.split(|b| *b == b',').find_map(|name| {
        Some(match name.trim_ascii() {
            b"sha256" => ("sha256", new::<Sha256>()),
            b"sha1" => ("sha1", new::<Sha1>()),
            b"md5" => ("md5", new::<Md5>()),
            b"sha384" => ("sha384", new::<Sha384>()),
            b"sha512" => ("sha512", new::<Sha512>()),
            _ => return None,
        })
    })
}

/// A checksum that has begun.
pub(super) struct Checksum {
    file: File,
    name: &'static str,
    hash: Hash,
    /// The next byte to be read, and the first that is not.
    at: u64,
    end: u64,
    /// Bytes of one block, and how many of the present one are not yet read.
    block: u64,
    left: u64,
    sums: Vec<u8>,
    naming: Naming,
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checksum").field("name", &self.name).field("at", &self.at).finish_non_exhaustive()
    }
}

/// Whether the answer begins with the name of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// It does.
    Named,
    /// It does not.
    Not,
}

/// Whether there is more to read.
pub(super) enum Checked {
    /// There is.
    Part,
    /// There is not.
    All,
}

/// What a request asks for, behind the file.
struct Asked<'a> {
    algorithms: &'a [u8],
    offset: u64,
    length: u64,
    block: u32,
}

impl<'a> Asked<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Asked<'a>, Failure> {
        let (algorithms, offset, length) = (reader.string()?, reader.u64()?, reader.u64()?);
        Ok(Asked { algorithms, offset, length, block: reader.u32()? })
    }
}

impl Checksum {
    /// Without a length it goes to the end of the file; without a block size there is one sum.
    fn new(file: File, asked: &Asked<'_>, naming: Naming) -> Result<Checksum, Failure> {
        let (name, hash) = choose(asked.algorithms).ok_or(Failure::NoSuchChecksum)?;
        if asked.block != 0 && asked.block < SMALLEST_BLOCK {
            return Err(Failure::SmallBlock);
        }
        let size = file.stat()?.size;
        let end = match asked.length {
            0 => size,
            length => asked.offset.saturating_add(length).min(size),
        };
        let block = if asked.block == 0 { u64::MAX } else { u64::from(asked.block) };
        let blocks = end.saturating_sub(asked.offset).div_ceil(block);
        if blocks.saturating_mul(hash.output_size() as u64) > LONGEST_DATA as u64 {
            return Err(Failure::ManyBlocks);
        }
        Ok(Checksum { file, name, hash, at: asked.offset, end, block, left: block, sums: Vec::new(), naming })
    }

    /// Reads a part.
    pub(super) fn step(&mut self) -> Result<Checked, Failure> {
        let mut buffer = Vec::new();
        let stop = self.end.min(self.at.saturating_add(PART));
        while self.at < stop {
            buffer.clear();
            let most = usize::try_from((stop - self.at).min(self.left)).unwrap_or(READ).min(READ);
            let got = self.file.read_at(self.at, &mut buffer, most)?;
            if got == 0 {
                // It became shorter meanwhile.
                self.end = self.at;
                break;
            }
            self.hash.update(&buffer);
            self.at = self.at.saturating_add(got as u64);
            self.left = self.left.saturating_sub(got as u64);
            if self.left == 0 {
                self.finish_block();
            }
        }
        if self.at < self.end {
            return Ok(Checked::Part);
        }
        // Of nothing at all there is one sum.
        if self.left < self.block || self.sums.is_empty() {
            // A file that may not be read has none.
            self.file.read_at(0, &mut buffer, 0)?;
            self.finish_block();
        }
        Ok(Checked::All)
    }

    fn finish_block(&mut self) {
        self.sums.extend_from_slice(&self.hash.finalize_reset());
        self.left = self.block;
    }

    /// The answer, when all is read: the algorithm, and the sums behind one another to the end of the packet.
    pub(super) fn answer(&self, id: u32, out: &mut Vec<u8>) {
        answer::packet(out, codes::EXTENDED_REPLY, id, |out| {
            if self.naming == Naming::Named {
                put_string(out, b"check-file");
            }
            put_string(out, self.name.as_bytes());
            out.extend_from_slice(&self.sums);
        });
    }
}

impl Engine {
    /// `check-file-name`.
    pub(super) fn check_file_name(&mut self, id: u32, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Served {
        let path = self.path(reader.string()?)?;
        let asked = Asked::read(&mut reader)?;
        let file = self.root.open_file(&path, &OPENING)?;
        let work = Work::Checksum(Box::new(Checksum::new(file, &asked, Naming::Not)?));
        self.begin(Job { id, handles: Vec::new(), work }, out)
    }

    /// `check-file-handle`, and `check-file` whose answer is named.
    pub(super) fn check_file_handle(
        &mut self,
        id: u32,
        mut reader: Reader<'_>,
        naming: Naming,
        out: &mut Vec<u8>,
    ) -> Served {
        let handle = reader.string()?;
        let asked = Asked::read(&mut reader)?;
        let file = self.handles.file(handle)?.duplicate()?;
        let work = Work::Checksum(Box::new(Checksum::new(file, &asked, naming)?));
        self.begin(Job { id, handles: vec![handle.to_vec()], work }, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(list: &[u8], of: &[u8]) -> Option<(&'static str, String)> {
        let (name, mut hash) = choose(list)?;
        hash.update(of);
        Some((name, hash.finalize().iter().map(|b| format!("{b:02x}")).collect()))
    }

    /// The examples of FIPS 180-2 and RFC 1321.
    #[test]
    fn sums_are_those_of_the_standards() {
        let cases = [
            ("md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ];
        for (name, expected) in cases {
            assert_eq!(sum(name.as_bytes(), b"abc"), Some((name, expected.to_owned())));
        }
    }

    #[test]
    fn the_first_that_both_have_is_taken() {
        assert_eq!(sum(b"crc32,sha1,md5", b"").map(|(name, _)| name), Some("sha1"));
        assert_eq!(sum(b"crc32", b""), None);
        assert_eq!(sum(b"", b""), None);
    }
}
