//! Readers of what comes from outside, each by itself, so that fuzz targets and their test can hand it anything. Nothing else
//! calls them here; nothing that they read is used.

use super::transfer::{self, Owners};
use super::{certificates, keys, krl};
use crate::domain::CertificateBlob;

/// Lines of `authorized_keys`, with what their options mean; says how many keys there are.
pub fn authorized_keys(text: &str) -> Option<usize> {
    keys::parse(text).ok().map(|keys| keys.len())
}

/// A certificate in its wire form, with its critical options and extensions; says whether it is one.
pub fn certificate(bytes: &[u8]) -> bool {
    CertificateBlob::new(bytes.to_vec()).is_ok_and(|blob| certificates::parse(&blob).is_ok())
}

/// A key revocation list (OpenSSH's PROTOCOL.krl); says how many revocations it comes to.
pub fn revocations(bytes: &[u8]) -> Option<usize> {
    krl::parse(bytes).ok().map(|list| list.len())
}

/// What exports and other servers' dumps are made of: a JSON export, a dump of SFTPGo, one of SQL, and OpenSSH's files.
pub fn imports(text: &str) {
    let owners = Owners { ids: Some((5000, 5000)), account: None };
    transfer::decode(text, &owners);
}
