//! Symbolic links: making, reading, and finding where a path really leads.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::{Error, Reason, Root};

/// Links that one path may lead through, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// Longest path, in bytes.
const LONGEST: usize = 4095;

impl Root {
    /// Makes a link. The target is kept as it is; where it leads is decided whenever it is followed.
    pub fn make_link(&self, target: &[u8], path: &[u8]) -> Result<(), Error> {
        let at = self.at(path)?;
        Ok(rustix::fs::symlinkat(target, &at.parent, at.name.as_c_str())?)
    }

    /// What a link says.
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let at = self.at(path)?;
        Ok(rustix::fs::readlinkat(&at.parent, at.name.as_c_str(), Vec::new())?.into_bytes())
    }

    /// The path without links and dots, from the root's `/`. As with OpenSSH the last component need not be there, the
    /// ones before it must.
    ///
    /// The answer is a text and holds no promise: whoever uses it has it resolved again, by the kernel.
    pub fn real_path(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        if path.len() > LONGEST {
            return Err(Error::new(Reason::NameTooLong));
        }
        let mut done: Vec<u8> = Vec::new();
        let mut left: VecDeque<Vec<u8>> = components(path);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == b".." {
                done.truncate(done.iter().rposition(|b| *b == b'/').unwrap_or(0));
                continue;
            }
            let mut next = done.clone();
            next.push(b'/');
            next.extend_from_slice(&name);
            if next.len() > LONGEST {
                return Err(Error::new(Reason::NameTooLong));
            }
            match self.read_link(&next) {
                Ok(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Error::new(Reason::Loop));
                    }
                    if target.starts_with(b"/") {
                        done.clear();
                    }
                    for name in components(&target).into_iter().rev() {
                        left.push_front(name);
                    }
                }
                Err(error) => match error.errno {
                    // There, and no link.
                    Some(Errno::INVAL) => done = next,
                    Some(Errno::NOENT) if left.is_empty() => done = next,
                    _ => return Err(error),
                },
            }
        }
        if done.is_empty() {
            done.push(b'/');
        }
        Ok(done)
    }
}

fn components(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".").map(<[u8]>::to_vec).collect()
}
