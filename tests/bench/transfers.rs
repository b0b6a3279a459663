//! One big file and many small ones, by OpenSSH's `sftp`.

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

const CIPHERS: [(&str, &str); 2] =
    [("aes128-gcm", "aes128-gcm@openssh.com"), ("chacha20-poly1305", "chacha20-poly1305@openssh.com")];
/// What both servers know, Debian 12's OpenSSH too.
pub(crate) const KEX: &str = "curve25519-sha256";
pub(crate) const ABOUT: &str = "The memory that an upload takes was given free just before, by the one before it: a virtual machine \
    gives its host what is free for longer, and to have it again costs more processor time than all that is measured here.";
/// What the last upload has left behind.
const LAST: &str = "last";

pub(crate) fn measure(place: &Place, servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    prepare(place, servers, extent)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for round in 0..extent.rounds {
        eprintln!("transfers, round {} of {}", round + 1, extent.rounds);
        for (name, cipher) in CIPHERS {
            for server in servers {
                big_file(place, server, name, cipher, extent, report)?;
                big_file_faster(&runtime, server, name, cipher, extent, report)?;
            }
        }
        for server in servers {
            small_files(place, server, round, extent, report)?;
        }
    }
    Ok(())
}

fn prepare(place: &Place, servers: &[Server], extent: Extent) -> Result<()> {
    random_file(&place.path("big"), extent.file_size)?;
    let small = place.path("small");
    fs::create_dir(&small)?;
    for n in 0..extent.small_files {
        random_file(&small.join(n.to_string()), 4096)?;
    }
    for server in servers {
        for name in ["big", LAST] {
            let there = server.files().join(name);
            fs::copy(place.path("big"), &there)?;
            server.own(&there)?;
        }
    }
    Ok(())
}

/// Bytes that do not compress.
fn random_file(path: &Path, size: u64) -> Result<()> {
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

fn big_file(
    place: &Place,
    server: &Server,
    name: &str,
    cipher: &str,
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
    name: &str,
    cipher: &str,
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

fn gib(extent: Extent) -> f64 {
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

fn transferred(report: &mut Report, server: &Server, row: &str, gib: f64, taken: Taken) {
    report.note(&format!("{row}: throughput"), Unit::MibPerSecond, server, gib * 1024.0 / taken.wall.as_secs_f64());
    report.note(&format!("{row}: server CPU"), Unit::SecondsPerGib, server, taken.cpu.as_secs_f64() / gib);
}

fn small_files(place: &Place, server: &Server, round: usize, extent: Extent, report: &mut Report) -> Result<()> {
    let cipher = "aes128-gcm@openssh.com";
    let there = server.files().join(format!("small-{round}"));
    let put = taken(server, || sftp(place, server, cipher, &format!("put -r small small-{round}\n")))?;
    let back = place.path("back");
    let got = taken(server, || sftp(place, server, cipher, &format!("get -r small-{round} back\n")))?;
    ensure!(fs::read_dir(&back)?.count() == extent.small_files, "not all small files came back");
    fs::remove_dir_all(back)?;
    fs::remove_dir_all(there)?;
    let files = extent.small_files as f64;
    for (row, taken) in [("get, 4 KiB files", got), ("put, 4 KiB files", put)] {
        report.note(&format!("{row}: files a second"), Unit::PerSecond, server, files / taken.wall.as_secs_f64());
        report.note(
            &format!("{row}: server CPU"),
            Unit::MillisecondsEach,
            server,
            taken.cpu.as_secs_f64() * 1e3 / files,
        );
    }
    Ok(())
}

fn sftp(place: &Place, server: &Server, cipher: &str, commands: &str) -> Result<()> {
    let options = [
        format!("Ciphers={cipher}"),
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
    let mut command = Command::new("sftp");
    command.args(["-q", "-F", "/dev/null", "-b", "-"]).args(options.iter().flat_map(|o| ["-o", o]));
    command.arg(format!("{}@127.0.0.1", server.user())).current_dir(place.path(""));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("was piped")?.write_all(commands.as_bytes())?;
    let ended = child.wait_with_output()?;
    ensure!(ended.status.success(), "sftp: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}
