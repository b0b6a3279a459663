//! Names that uploads have before they are whole.
//!
//! `.ht-enclos-upload.TAG.NAME`, in the directory of the file that it will be. Web servers serve nothing that begins with
//! `.ht` (Apache by its default configuration, nginx by the usual one), so half a `config.php` is not handed out as text;
//! and as the name ends like the one it will get, what a server runs by its ending it still does not show.

use std::ffi::CString;
use std::hash::{DefaultHasher, Hasher};

use crate::domain;

/// What all of them begin with.
const PREFIX: &[u8] = domain::UNFINISHED.as_bytes();
/// The tag of an upload that a later connection may go on with.
const RESUMABLE: &[u8] = b"0";
/// Longest name on every filesystem of Linux.
const LONGEST: usize = 255;
/// Stands before the hash of a name that is too long to be repeated.
const HASHED: u8 = b'#';

/// Whether an upload that is cut off can be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By any later connection; there is one for each name.
    Resumable,
    /// By nobody; the number tells it from others.
    Single(u64),
}

/// Whether a name is one of an upload that is not whole.
pub(super) fn is_partial(name: &[u8]) -> bool {
    domain::is_unfinished(name)
}

/// Whether a path or the target of a link names one. Nobody may: the name says to anybody which file is on its way, also
/// where that file will be hidden from them.
pub fn names_a_partial(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(is_partial)
}

/// The name that an upload to `target` has until it is whole.
pub(super) fn name_for(target: &[u8], kind: Kind) -> CString {
    let mut name = PREFIX.to_vec();
    match kind {
        Kind::Resumable => name.extend_from_slice(RESUMABLE),
        Kind::Single(number) => name.extend_from_slice(format!("{number:016x}").as_bytes()),
    }
    name.push(b'.');
    if name.len() + target.len() <= LONGEST {
        name.extend_from_slice(target);
    } else {
        name.push(HASHED);
        name.extend_from_slice(format!("{:016x}.", hash(target)).as_bytes());
        let room = LONGEST.saturating_sub(name.len());
        name.extend_from_slice(target.get(target.len().saturating_sub(room)..).unwrap_or_default());
    }
    // A target comes from a `CString`.
    CString::new(name).unwrap_or_default()
}

/// The name that a resumable upload will get, as far as its own says it.
pub(super) fn target_of(partial: &[u8]) -> Option<&[u8]> {
    let target = partial.strip_prefix(PREFIX)?.strip_prefix(RESUMABLE)?.strip_prefix(b".")?;
    let is_hashed = target.first() == Some(&HASHED) && partial.len() == LONGEST;
    (!is_hashed && !target.is_empty()).then_some(target)
}

/// The same in every process of this release; an upload of another one is not found, and cleared away in time.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_will_become() {
        let name = name_for(b"index.php", Kind::Resumable);
        assert_eq!(name.to_bytes(), b".ht-enclos-upload.0.index.php");
        assert!(is_partial(name.to_bytes()));
        assert_eq!(target_of(name.to_bytes()), Some(&b"index.php"[..]));
        assert_eq!(target_of(name_for(b"index.php", Kind::Single(7)).to_bytes()), None);
        assert!(!is_partial(b".htaccess") && target_of(b".htaccess").is_none());
    }

    #[test]
    fn a_long_name_fits_and_stays_its_own() {
        let long = |last: &[u8]| [&[b'n'; 255 - 5], last].concat();
        let (one, other) = (name_for(&long(b"a.php"), Kind::Resumable), name_for(&long(b"b.php"), Kind::Resumable));
        assert_eq!(one.to_bytes().len(), 255);
        assert!(one.to_bytes().ends_with(b"na.php") && one != other);
        assert_eq!(one, name_for(&long(b"a.php"), Kind::Resumable));
        assert_eq!(target_of(one.to_bytes()), None);
    }
}
