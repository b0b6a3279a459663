//! Host keys of a node: made when they are missing, never replaced; `enclos host-key …`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use serde::Serialize;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, PrivateKey, PublicKey};

use super::args::HostKey;
use super::{CommandError, Context, Result, table};

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

/// A host key, as `host-key list` shows it.
#[derive(Debug, Serialize)]
struct Shown {
    algorithm: String,
    fingerprint: String,
    certificate: bool,
    path: PathBuf,
}

/// Says what clients, their known_hosts and the DNS should know.
pub(super) fn run(context: &Context<'_>, command: &HostKey) -> Result<()> {
    let directory = &context.node.monitor.paths.keys;
    let keys = public_keys(directory)?;
    match command {
        HostKey::List => list(&keys, context.json),
        HostKey::KnownHosts { host } => {
            let port = context.node.monitor.listen.first().map_or(22, std::net::SocketAddr::port);
            known_hosts(&keys, host, port)
        }
        HostKey::Sshfp { host } => sshfp(&keys, host),
    }
}

/// The public halves of the keys that are there; the private ones are not needed, and are root's alone.
fn public_keys(directory: &Path) -> Result<Vec<(PathBuf, PublicKey)>> {
    let mut keys = Vec::new();
    for kind in [Kind::Ed25519, Kind::Ecdsa, Kind::Rsa] {
        let path = public_path(&directory.join(kind.file_name()));
        match fs::read_to_string(&path) {
            Ok(text) => keys.push((path, PublicKey::from_openssh(text.trim_end())?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(CommandError::File { what: "read the public key", path, source }),
        }
    }
    if keys.is_empty() {
        let sentence = format!(
            "no public host key in {}; a node makes one at its first start, and ssh-keygen -y that of a private one",
            directory.display()
        );
        return Err(CommandError::Input(sentence));
    }
    Ok(keys)
}

fn list(keys: &[(PathBuf, PublicKey)], json: bool) -> Result<()> {
    let shown: Vec<Shown> = keys
        .iter()
        .map(|(path, key)| Shown {
            algorithm: key.algorithm().to_string(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            certificate: certificate_path(path).exists(),
            path: path.clone(),
        })
        .collect();
    if json {
        return print(&serde_json::to_string_pretty(&shown)?);
    }
    let row = |key: &Shown| {
        let certificate = if key.certificate { "yes" } else { "-" };
        vec![key.algorithm.clone(), key.fingerprint.clone(), certificate.to_owned(), key.path.display().to_string()]
    };
    let rows: Vec<Vec<String>> = shown.iter().map(row).collect();
    print(&table::layout(&["ALGORITHM", "FINGERPRINT", "CERTIFICATE", "FILE"], &rows))
}

/// Lines for `known_hosts` (sshd(8)): a port other than 22 stands beside the name in brackets.
fn known_hosts(keys: &[(PathBuf, PublicKey)], host: &str, port: u16) -> Result<()> {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    for (_, key) in keys {
        let blob = PublicKey::new(key.key_data().clone(), "").to_openssh()?;
        print(&format!("{name} {}", blob.trim_end()))?;
    }
    Ok(())
}

/// Records for the DNS (RFC 4255; numbers by RFC 6594 and RFC 7479), with SHA-256.
fn sshfp(keys: &[(PathBuf, PublicKey)], host: &str) -> Result<()> {
    for (_, key) in keys {
        let algorithm = match key.algorithm() {
            Algorithm::Rsa { .. } => 1,
            Algorithm::Ecdsa { .. } => 3,
            _ => 4,
        };
        let digest = key.fingerprint(HashAlg::Sha256);
        let hex: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        print(&format!("{host} IN SSHFP {algorithm} 2 {hex}"))?;
    }
    Ok(())
}

fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").map_err(CommandError::Print)
}

/// Where the certificate of a public key lies: `KEY-cert.pub` beside `KEY.pub`.
fn certificate_path(public: &Path) -> PathBuf {
    let stem = public.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    public.with_file_name(format!("{stem}-cert.pub"))
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
