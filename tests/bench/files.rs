//! Many small files and some larger ones, by OpenSSH's `sftp`.

use std::fs;

use anyhow::{Result, ensure};

use crate::report::{Report, Unit};
use crate::server::{Place, Server};
use crate::transfers::{AES_128_GCM, random_file, sftp, transferred};
use crate::{Extent, Taken, taken};

pub(crate) const ABOUT: &str =
    "Directories of files by `put -r` and `get -r`. The client waits for every answer before it asks on.";
/// The larger files.
const LARGE: usize = 20;
const LARGE_SIZE: u64 = 50 << 20;

pub(crate) fn measure(place: &Place, servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    // A look in short has smaller ones.
    let large = LARGE_SIZE.min(extent.file_size / 16);
    fill(place, "small", extent.small_files, 4096)?;
    fill(place, "large", LARGE, large)?;
    for round in 0..extent.rounds {
        eprintln!("files, round {} of {}", round + 1, extent.rounds);
        for server in servers {
            small_files(place, server, extent.small_files, report)?;
        }
        for server in servers {
            large_files(place, server, large, report)?;
        }
    }
    Ok(())
}

/// Makes a directory of so many files, if it is not there yet.
pub(crate) fn fill(place: &Place, name: &str, count: usize, size: u64) -> Result<()> {
    let directory = place.path(name);
    if directory.exists() {
        return Ok(());
    }
    fs::create_dir(&directory)?;
    (0..count).try_for_each(|n| random_file(&directory.join(n.to_string()), size))
}

pub(crate) fn small_files(place: &Place, server: &Server, count: usize, report: &mut Report) -> Result<()> {
    let (put, got) = there_and_back(place, server, "small", count)?;
    let files = count as f64;
    for (row, taken) in [("get, 4 KiB files", got), ("put, 4 KiB files", put)] {
        report.note(&format!("{row}: files a second"), Unit::PerSecond, server, files / taken.wall.as_secs_f64());
        let each = taken.cpu.as_secs_f64() * 1e3 / files;
        report.note(&format!("{row}: server CPU"), Unit::MillisecondsEach, server, each);
    }
    Ok(())
}

fn large_files(place: &Place, server: &Server, size: u64, report: &mut Report) -> Result<()> {
    let (put, got) = there_and_back(place, server, "large", LARGE)?;
    let gib = LARGE as f64 * size as f64 / (1_u64 << 30) as f64;
    transferred(report, server, &format!("get, {LARGE} files of {} MiB", size >> 20), gib, got);
    transferred(report, server, &format!("put, {LARGE} files of {} MiB", size >> 20), gib, put);
    Ok(())
}

/// Sends a directory and fetches it.
fn there_and_back(place: &Place, server: &Server, name: &str, count: usize) -> Result<(Taken, Taken)> {
    let (there, back) = (server.files().join("sent"), place.path("back"));
    // ProFTPD finds no path of what is not there yet, and the client asks for one before it makes a directory.
    let send = format!("mkdir sent\nmkdir sent/{name}\nput -r {name} sent\n");
    let put = taken(server, || sftp(place, server, AES_128_GCM.1, &send))?;
    let got = taken(server, || sftp(place, server, AES_128_GCM.1, &format!("get -r sent/{name} back\n")))?;
    ensure!(fs::read_dir(&back)?.count() == count, "not all files came back");
    fs::remove_dir_all(back)?;
    fs::remove_dir_all(there)?;
    Ok((put, got))
}
