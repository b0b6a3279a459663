//! One big file, by OpenSSH's `sftp` and by a faster client.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Runtime;

use crate::fast::{self, Way};
use crate::report::{Report, Unit};
use crate::server::{Place, Server};
use crate::{Extent, Taken, taken};

/// How a cipher is called by us, and what is asked of OpenSSH's client for it.
pub(crate) type Cipher = (&'static str, &'static str);

pub(crate) const AES_128_GCM: Cipher = ("aes128-gcm", "aes128-gcm@openssh.com");
const CIPHERS: [Cipher; 2] = [AES_128_GCM, ("chacha20-poly1305", "chacha20-poly1305@openssh.com")];
const OTHER_CIPHERS: [Cipher; 2] = [("aes256-gcm", "aes256-gcm@openssh.com"), ("aes256-ctr", "aes256-ctr")];
/// What goes with ciphers that do not authenticate by themselves.
const MAC: &str = "hmac-sha2-256-etm@openssh.com";
/// What both servers know, Debian 12's OpenSSH too.
pub(crate) const KEX: &str = "curve25519-sha256";
pub(crate) const ABOUT: &str = "The memory that an upload takes was given free just before, by the one before it: a virtual machine \
    gives its host what is free for longer, and to have it again costs more processor time than all that is measured here.";
pub(crate) const ABOUT_CIPHERS: &str = "By OpenSSH's client. aes256-ctr goes with hmac-sha2-256-etm.";
/// What the last upload has left behind.
const LAST: &str = "last";

pub(crate) fn measure(place: &Place, servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    prepare(place, servers, extent)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for round in 0..extent.rounds {
        eprintln!("transfers, round {} of {}", round + 1, extent.rounds);
        for cipher in CIPHERS {
            for server in servers {
                big_file(place, server, cipher, extent, report)?;
                big_file_faster(&runtime, server, cipher, extent, report)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn measure_ciphers(place: &Place, servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    prepare(place, servers, extent)?;
    for round in 0..extent.rounds {
        eprintln!("ciphers, round {} of {}", round + 1, extent.rounds);
        for cipher in OTHER_CIPHERS {
            for server in servers {
                big_file(place, server, cipher, extent, report)?;
            }
        }
    }
    Ok(())
}

/// Makes the file that is sent, the one that is fetched from each server, and what the first upload replaces.
pub(crate) fn prepare(place: &Place, servers: &[Server], extent: Extent) -> Result<()> {
    if !place.path("big").exists() {
        random_file(&place.path("big"), extent.file_size)?;
    }
    for server in servers {
        for name in ["big", LAST] {
            let there = server.files().join(name);
            if !there.exists() {
                fs::copy(place.path("big"), &there)?;
                server.own(&there)?;
            }
        }
    }
    Ok(())
}

/// Bytes that do not compress.
pub(crate) fn random_file(path: &Path, size: u64) -> Result<()> {
    let mut out = File::create(path)?;
    let mut block = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        let part = left.min(block.len() as u64);
        rustix::rand::getrandom(&mut block, rustix::rand::GetRandomFlags::empty())?;
        out.write_all(block.get(..usize::try_from(part)?).context("a part of the block")?)?;
        left -= part;
    }
    Ok(())
}

pub(crate) fn big_file(
    place: &Place,
    server: &Server,
    (name, cipher): Cipher,
    extent: Extent,
    report: &mut Report,
) -> Result<()> {
    let gib = gib(extent);
    let got = taken(server, || sftp(place, server, cipher, "get big /dev/null\n"))?;
    transferred(report, server, &format!("get, {name}"), gib, got);
    let put = upload(server, extent, || sftp(place, server, cipher, "put big sent\n"))?;
    transferred(report, server, &format!("put, {name}"), gib, put);
    Ok(())
}

fn big_file_faster(
    runtime: &Runtime,
    server: &Server,
    (name, cipher): Cipher,
    extent: Extent,
    report: &mut Report,
) -> Result<()> {
    let gib = gib(extent);
    let cipher = russh::cipher::Name::try_from(cipher).ok().context("a cipher that the library knows")?;
    let transfer = |way, file| runtime.block_on(fast::transfer(server, cipher, way, file, extent.file_size));
    let got = taken(server, || transfer(Way::Get, "big"))?;
    transferred(report, server, &format!("get by a faster client, {name}"), gib, got);
    let put = upload(server, extent, || transfer(Way::Put, "sent"))?;
    transferred(report, server, &format!("put by a faster client, {name}"), gib, put);
    Ok(())
}

pub(crate) fn gib(extent: Extent) -> f64 {
    extent.file_size as f64 / (1_u64 << 30) as f64
}

/// Measures the upload of a file called `sent`. The memory that it takes is that of the upload before, which is removed
/// just now. A virtual machine gives its host what has been free for a second or two, and to have it again costs 0.5 to
/// 3.5 s of processor time per GiB, which the kernel counts as the writer's: more than all that is to be measured.
pub(crate) fn upload(server: &Server, extent: Extent, work: impl FnOnce() -> Result<()>) -> Result<Taken> {
    let (last, sent) = (server.files().join(LAST), server.files().join("sent"));
    server.settle()?;
    fs::remove_file(&last)?;
    let put = taken(server, work)?;
    ensure!(fs::metadata(&sent)?.len() == extent.file_size, "the file has not arrived whole");
    fs::rename(sent, last)?;
    Ok(put)
}

pub(crate) fn transferred(report: &mut Report, server: &Server, row: &str, gib: f64, taken: Taken) {
    report.note(&format!("{row}: throughput"), Unit::MibPerSecond, server, gib * 1024.0 / taken.wall.as_secs_f64());
    report.note(&format!("{row}: server CPU"), Unit::SecondsPerGib, server, taken.cpu.as_secs_f64() / gib);
}

pub(crate) fn sftp(place: &Place, server: &Server, cipher: &str, commands: &str) -> Result<()> {
    let mut command = Command::new("sftp");
    command.args(["-q", "-b", "-"]).args(options(server, cipher));
    command.arg(format!("{}@127.0.0.1", server.user())).current_dir(place.path(""));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("was piped")?.write_all(commands.as_bytes())?;
    let ended = child.wait_with_output()?;
    ensure!(ended.status.success(), "sftp: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}

/// What OpenSSH's clients are told.
pub(crate) fn options(server: &Server, cipher: &str) -> Vec<String> {
    let options = [
        format!("Ciphers={cipher}"),
        format!("MACs={MAC}"),
        format!("KexAlgorithms={KEX}"),
        format!("Port={}", server.port()),
        format!("IdentityFile={}", server.key().display()),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=no".to_owned(),
        "UserKnownHostsFile=/dev/null".to_owned(),
        "LogLevel=ERROR".to_owned(),
    ];
    let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option]);
    ["-F", "/dev/null"].into_iter().map(str::to_owned).chain(options).collect()
}
