//! Host keys of a node: made when they are missing, never replaced.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey};

use super::{CommandError, Result};

/// A kind of key that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ed25519,
    Ecdsa,
    Rsa,
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "ed25519" => Ok(Kind::Ed25519),
            "ecdsa" => Ok(Kind::Ecdsa),
            "rsa" => Ok(Kind::Rsa),
            _ => Err("use ed25519, ecdsa or rsa".to_owned()),
        }
    }
}

impl Kind {
    fn file_name(self) -> &'static str {
        match self {
            Kind::Ed25519 => "ssh_host_ed25519_key",
            Kind::Ecdsa => "ssh_host_ecdsa_key",
            Kind::Rsa => "ssh_host_rsa_key",
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Kind::Ed25519 => Algorithm::Ed25519,
            Kind::Ecdsa => Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
            Kind::Rsa => Algorithm::Rsa { hash: None },
        }
    }
}

/// Makes the kinds of host keys that are missing.
pub(super) fn make_missing(directory: &Path, kinds: &[Kind]) -> Result<()> {
    for kind in kinds {
        let path = directory.join(kind.file_name());
        if !path.exists() {
            write_pair(&path, kind.algorithm(), "host key")?;
        }
    }
    Ok(())
}

/// Makes an ed25519 key when a directory has no host key at all, as at a first start.
pub(super) fn make_first(directory: &Path) -> Result<()> {
    let kinds = [Kind::Ed25519, Kind::Ecdsa, Kind::Rsa];
    if kinds.iter().any(|k| directory.join(k.file_name()).exists()) {
        return Ok(());
    }
    make_missing(directory, &[Kind::Ed25519])
}

/// Writes a new private key, readable by its owner only, and the public one beside it with `.pub`.
pub(super) fn write_pair(path: &Path, algorithm: Algorithm, comment: &str) -> Result<()> {
    // From the system and not from the generator of this thread, whose state every process forked later would share.
    let mut key = PrivateKey::random(&mut UnwrapErr(SysRng), algorithm)?;
    key.set_comment(comment);
    write(path.to_owned(), 0o600, key.to_openssh(LineEnding::LF)?.as_bytes())?;
    let public = format!("{}\n", key.public_key().to_openssh()?);
    write(public_path(path), 0o644, public.as_bytes())
}

/// Where the public half of a key lies.
pub(super) fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn write(path: PathBuf, mode: u32, bytes: &[u8]) -> Result<()> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
    opened.and_then(|mut file| file.write_all(bytes)).map_err(|source| CommandError::File {
        what: "write the key",
        path,
        source,
    })
}
