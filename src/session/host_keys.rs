//! The host keys of a node and their certificates, read once in the zygote.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ssh_key::certificate::CertType;
use ssh_key::{Certificate, PrivateKey};

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
    /// The certificate beside it is none.
    #[error("{} is not a certificate in OpenSSH's format", path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ssh_key::Error,
    },
    /// The certificate beside it cannot be used with it.
    #[error("the certificate {} {what}; sign the host key anew with: ssh-keygen -s CA -h -I NAME -n NAME {}", path.display(), of.display())]
    WrongCertificate {
        /// Which.
        path: PathBuf,
        /// The public key that it should be of.
        of: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What proves a node to its clients.
#[derive(Debug)]
pub(super) struct HostKeys {
    /// The private keys, best first.
    pub(super) keys: Vec<PrivateKey>,
    /// What authorities say of them (`ssh_host_ed25519_key-cert.pub`). Clients that trust none of those take the keys.
    pub(super) certificates: Vec<Certificate>,
}

/// Reads all host keys that are there; there must be one. What lies beside one as its certificate must be it.
pub(super) fn load(directory: &Path) -> Result<HostKeys, HostKeyError> {
    let mut found = HostKeys { keys: Vec::new(), certificates: Vec::new() };
    for name in NAMES {
        let Some(key) = load_one(&directory.join(name))? else { continue };
        found.certificates.extend(load_certificate(directory, name, &key)?);
        found.keys.push(key);
    }
    if found.keys.is_empty() {
        return Err(HostKeyError::None { directory: directory.to_owned() });
    }
    Ok(found)
}

fn load_certificate(directory: &Path, name: &str, key: &PrivateKey) -> Result<Option<Certificate>, HostKeyError> {
    let path = directory.join(format!("{name}-cert.pub"));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(HostKeyError::Unreadable { path, source }),
    };
    let certificate = match Certificate::from_openssh(text.trim_end()) {
        Ok(certificate) => certificate,
        Err(source) => return Err(HostKeyError::NoCertificate { path, source }),
    };
    let of = directory.join(format!("{name}.pub"));
    let wrong = |what| HostKeyError::WrongCertificate { path, of, what };
    if certificate.cert_type() != CertType::Host {
        return Err(wrong("is for a user and not for a host"));
    }
    if certificate.public_key() != key.public_key().key_data() {
        return Err(wrong("is that of another key"));
    }
    Ok(Some(certificate))
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
