//! The host keys of a node, read once in the zygote.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ssh_key::PrivateKey;

/// Names that are looked for, in the order in which they are offered.
const NAMES: [&str; 3] = ["ssh_host_ed25519_key", "ssh_host_ecdsa_key", "ssh_host_rsa_key"];

/// Why a host key was not taken. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// There is none.
    #[error("no host key in {}; make one with: ssh-keygen -t ed25519 -N '' -f {}/ssh_host_ed25519_key", directory.display(), directory.display())]
    None {
        /// Where one was looked for.
        directory: PathBuf,
    },
    /// It cannot be read.
    #[error("host key {} cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("host key {} can be read by others (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no private key, or has a passphrase.
    #[error("host key {} is not a private key without passphrase in OpenSSH's format", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ssh_key::Error,
    },
}

/// Reads all host keys that are there; there must be one.
pub(super) fn load(directory: &Path) -> Result<Vec<PrivateKey>, HostKeyError> {
    let keys: Vec<PrivateKey> =
        NAMES.iter().filter_map(|name| load_one(&directory.join(name)).transpose()).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(HostKeyError::None { directory: directory.to_owned() });
    }
    Ok(keys)
}

fn load_one(path: &Path) -> Result<Option<PrivateKey>, HostKeyError> {
    let unreadable = |source| HostKeyError::Unreadable { path: path.to_owned(), source };
    let mode = match fs::metadata(path) {
        Ok(found) => found.mode() & 0o777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if mode & 0o077 != 0 {
        return Err(HostKeyError::Mode { path: path.to_owned(), mode });
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let malformed = |source| HostKeyError::Malformed { path: path.to_owned(), source };
    let key = PrivateKey::from_openssh(text).map_err(malformed)?;
    if key.is_encrypted() { Err(malformed(ssh_key::Error::Encrypted)) } else { Ok(Some(key)) }
}
