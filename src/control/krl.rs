//! Key revocation lists of OpenSSH (PROTOCOL.krl), as `ssh-keygen -k` writes them: what is on them, as rows of ours.
//!
//! The bytes come from an operator's file; whatever they are, reading them ends, with an error or a bounded list.

use super::certificates::{fingerprint, hexadecimal};
use super::outcome::Revoked;
use sha2::{Digest, Sha256};

/// Most entries of one list that are taken; a range of serial numbers is one.
pub(super) const MOST: usize = 10_000;

const MAGIC: u64 = 0x5353_484b_524c_0a00;

/// Why a file is no list that can be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKrl {
    /// It does not begin as one.
    #[error("this is no key revocation list of OpenSSH; make one with: ssh-keygen -k")]
    Other,
    /// Of a format that is not known.
    #[error("the list has format {0}; only format 1 is known")]
    Version(u32),
    /// It ends too early, or a part of it makes no sense.
    #[error("the list is cut off or damaged")]
    Damaged,
    /// Something in it must be understood, and is not.
    #[error("the list has a section or extension that must be understood and is not known here: {0}")]
    Unknown(String),
    /// There is too much.
    #[error("the list has more than {MOST} entries; give ranges of serial numbers, or revoke the authority")]
    TooMany,
}

type Result<T> = std::result::Result<T, BadKrl>;

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BadKrl::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| BadKrl::Damaged)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn string(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.u32()?).map_err(|_| BadKrl::Damaged)?;
        self.take(length)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What was read so far.
#[derive(Default)]
struct List(Vec<Revoked>);

impl List {
    fn add(&mut self, what: Revoked) -> Result<()> {
        if self.0.len() >= MOST {
            return Err(BadKrl::TooMany);
        }
        self.0.push(what);
        Ok(())
    }
}

/// Everything on a list.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Revoked>> {
    let mut reader = Reader(bytes);
    if reader.u64() != Ok(MAGIC) {
        return Err(BadKrl::Other);
    }
    match reader.u32()? {
        1 => {}
        version => return Err(BadKrl::Version(version)),
    }
    // Its version, its date and its flags; what is reserved, and a comment.
    for _ in 0..3 {
        reader.u64()?;
    }
    for _ in 0..2 {
        reader.string()?;
    }
    let mut list = List::default();
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let mut section = Reader(reader.string()?);
        match kind {
            1 => certificates(&mut section, &mut list)?,
            2 => each(&mut section, |key| list.add(Revoked::Key { fingerprint: fingerprint(&Sha256::digest(key)) }))?,
            3 => each(&mut section, |digest| match digest.len() {
                20 => list.add(Revoked::KeySha1 { digest: hexadecimal(digest) }),
                _ => Err(BadKrl::Damaged),
            })?,
            5 => each(&mut section, |digest| match digest.len() {
                32 => list.add(Revoked::Key { fingerprint: fingerprint(digest) }),
                _ => Err(BadKrl::Damaged),
            })?,
            // A signature over the list, which OpenSSH does not look at any more: whoever gives it to us is believed.
            4 => {
                section.string()?;
                reader.string()?;
            }
            255 => extension(&mut section)?,
            other => return Err(BadKrl::Unknown(format!("section {other}"))),
        }
    }
    Ok(list.0)
}

fn each<'a>(section: &mut Reader<'a>, mut what: impl FnMut(&'a [u8]) -> Result<()>) -> Result<()> {
    while !section.is_empty() {
        what(section.string()?)?;
    }
    Ok(())
}

fn extension(section: &mut Reader<'_>) -> Result<()> {
    let name = section.string()?;
    let is_critical = section.u8()? != 0;
    section.string()?;
    let name = || String::from_utf8_lossy(name).chars().take(64).collect();
    if is_critical { Err(BadKrl::Unknown(name())) } else { Ok(()) }
}

/// Certificates of one authority, or of any where none is named.
fn certificates(section: &mut Reader<'_>, list: &mut List) -> Result<()> {
    let key = section.string()?;
    section.string()?;
    let authority = (!key.is_empty()).then(|| fingerprint(&Sha256::digest(key)));
    let serials = |from, to| Revoked::Serials { authority: authority.clone(), from, to };
    while !section.is_empty() {
        let kind = section.u8()?;
        let mut part = Reader(section.string()?);
        match kind {
            0x20 => {
                while !part.is_empty() {
                    let serial = part.u64()?;
                    list.add(serials(serial, serial))?;
                }
            }
            0x21 => {
                let (from, to) = (part.u64()?, part.u64()?);
                list.add(serials(from, to))?;
            }
            0x22 => {
                let first = part.u64()?;
                let bits = part.string()?;
                for (from, to) in runs(first, bits)? {
                    list.add(serials(from, to))?;
                }
            }
            0x23 => each(&mut part, |key_id| {
                let key_id = String::from_utf8(key_id.to_vec()).map_err(|_| BadKrl::Damaged)?;
                list.add(Revoked::KeyId { authority: authority.clone(), key_id })
            })?,
            0x39 => extension(&mut part)?,
            other => return Err(BadKrl::Unknown(format!("section {other:#x} of certificates"))),
        }
    }
    Ok(())
}

/// Runs of bits that are set in a number without a sign, the least bit standing for `first`.
fn runs(first: u64, number: &[u8]) -> Result<Vec<(u64, u64)>> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let bits = number.iter().rev().flat_map(|byte| (0..8).map(move |bit| byte & (1 << bit) != 0));
    for (at, _) in (0_u64..).zip(bits).filter(|(_, is_set)| *is_set) {
        let serial = first.checked_add(at).ok_or(BadKrl::Damaged)?;
        let is_full = runs.len() >= MOST;
        match runs.last_mut() {
            Some((_, to)) if to.checked_add(1) == Some(serial) => *to = serial,
            _ if is_full => return Err(BadKrl::TooMany),
            _ => runs.push((serial, serial)),
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn keygen(dir: &Path, arguments: &[&str]) {
        let made = Command::new("ssh-keygen").current_dir(dir).args(arguments).output().expect("ssh-keygen");
        assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
    }

    fn printed(dir: &Path, key: &str) -> String {
        let said = Command::new("ssh-keygen").current_dir(dir).args(["-l", "-f", key]).output().expect("ssh-keygen");
        String::from_utf8_lossy(&said.stdout).split_whitespace().nth(1).expect("a fingerprint").to_owned()
    }

    #[test]
    fn lists_of_ssh_keygen_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        for key in ["ca", "one", "two"] {
            keygen(dir, &["-q", "-t", "ed25519", "-N", "", "-f", key]);
        }
        std::fs::write(
            dir.join("spec"),
            "serial: 7\nserial: 10-1000\nserial: 2000\nserial: 2001\nserial: 2003\nid: lost laptop\n",
        )
        .expect("what is revoked");
        keygen(dir, &["-q", "-k", "-f", "list", "-s", "ca.pub", "spec", "one.pub"]);
        std::fs::write(dir.join("by-hash"), format!("hash: {}\n", printed(dir, "two.pub"))).expect("what is revoked");
        keygen(dir, &["-q", "-k", "-u", "-f", "list", "by-hash"]);
        let list = parse(&std::fs::read(dir.join("list")).expect("the list")).expect("a list");
        let authority = Some(printed(dir, "ca.pub"));
        let serials = |from, to| Revoked::Serials { authority: authority.clone(), from, to };
        let holds = |what: &Revoked| assert!(list.contains(what), "{what:?} is not in {list:?}");
        [(7, 7), (10, 1000), (2000, 2001), (2003, 2003)].into_iter().for_each(|(from, to)| holds(&serials(from, to)));
        holds(&Revoked::KeyId { authority: authority.clone(), key_id: "lost laptop".into() });
        holds(&Revoked::Key { fingerprint: printed(dir, "one.pub") });
        holds(&Revoked::Key { fingerprint: printed(dir, "two.pub") });
        assert_eq!(list.len(), 7, "{list:?}");
    }

    #[test]
    fn other_files_are_none() {
        assert_eq!(parse(b""), Err(BadKrl::Other));
        assert_eq!(parse(b"ssh-ed25519 AAAA"), Err(BadKrl::Other));
        let mut newer = MAGIC.to_be_bytes().to_vec();
        newer.extend([0, 0, 0, 2]);
        assert_eq!(parse(&newer), Err(BadKrl::Version(2)));
        newer[11] = 1;
        assert_eq!(parse(&newer), Err(BadKrl::Damaged));
    }

    #[test]
    fn bits_are_runs_of_serials() {
        assert_eq!(runs(100, &[0b1000_0001, 0b0000_0111]), Ok(vec![(100, 102), (108, 108), (115, 115)]));
        assert_eq!(runs(u64::MAX, &[2]), Err(BadKrl::Damaged));
        assert_eq!(runs(0, &[0x55; MOST]), Err(BadKrl::TooMany));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_hard(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), has_head in any::<bool>()) {
            if has_head {
                let mut head = MAGIC.to_be_bytes().to_vec();
                head.extend([0, 0, 0, 1]);
                head.extend([0; 32]);
                head.append(&mut bytes);
                bytes = head;
            }
            if let Ok(list) = parse(&bytes) {
                prop_assert!(list.len() <= MOST);
            }
        }
    }
}
