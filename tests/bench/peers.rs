//! OpenSSH and Enclos beside two other servers of SFTP.

use std::slice;

use anyhow::Result;

use crate::report::Report;
use crate::server::{Place, Server};
use crate::transfers::AES_128_GCM;
use crate::{Extent, files, transfers};

pub(crate) const ABOUT: &str = "ProFTPD with mod_sftp, and `rclone serve sftp`, which is Go's SSH; neither confines anything. By \
    OpenSSH's client.";

pub(crate) fn measure(place: &Place, servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    let others = [Server::proftpd(place)?, Server::rclone(place)?];
    for other in &others {
        report.version(other.name(), other.version().to_owned());
    }
    files::fill(place, "small", extent.small_files, 4096)?;
    for server in servers.iter().chain(&others) {
        transfers::prepare(place, slice::from_ref(server), extent)?;
    }
    // The others are slow: two rounds fewer keep the run short.
    for round in 0..extent.rounds.saturating_sub(2).max(1) {
        eprintln!("peers, round {}", round + 1);
        for server in servers.iter().chain(&others) {
            transfers::big_file(place, server, AES_128_GCM, extent, report)?;
            files::small_files(place, server, extent.small_files, report)?;
        }
    }
    Ok(())
}
