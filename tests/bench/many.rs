//! Several transfers at the same time, by a client of our own.

use std::fs;

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::client::{Client, hang_up};
use crate::fast::{self, Way};
use crate::report::Report;
use crate::server::Server;
use crate::transfers::{gib, transferred};
use crate::{Extent, taken};

pub(crate) const ABOUT: &str = "By the faster client, all of it on one thread, so that one processor is left for the server; \
    the same amount in all, divided among the transfers.";
const CONNECTIONS: [usize; 3] = [1, 4, 16];
/// Transfers over one connection.
const CHANNELS: usize = 4;

pub(crate) fn measure(servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for round in 0..extent.rounds {
        eprintln!("many, round {} of {}", round + 1, extent.rounds);
        for server in servers {
            for count in CONNECTIONS {
                let row = if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") };
                both_ways(&runtime, server, &row, Over::Connections(count), extent, report)?;
            }
            let row = format!("{CHANNELS} transfers over 1 connection");
            both_ways(&runtime, server, &row, Over::Channels(CHANNELS), extent, report)?;
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Over {
    Connections(usize),
    Channels(usize),
}

fn both_ways(
    runtime: &Runtime,
    server: &Server,
    row: &str,
    over: Over,
    extent: Extent,
    report: &mut Report,
) -> Result<()> {
    for (way, name) in [(Way::Put, "put"), (Way::Get, "get")] {
        let taken = taken(server, || runtime.block_on(transfers(server, over, way, extent.file_size)))?;
        transferred(report, server, &format!("{name}, {row}"), gib(extent), taken);
    }
    for file in (0..CONNECTIONS[2]).map(|n| server.files().join(part(n))).filter(|file| file.exists()) {
        fs::remove_file(file)?;
    }
    Ok(())
}

fn part(number: usize) -> String {
    format!("part-{number}")
}

async fn transfers(server: &Server, over: Over, way: Way, size: u64) -> Result<()> {
    let client = Client::new(server)?.with(fast::settings);
    let mut tasks = JoinSet::new();
    let mut shared = None;
    match over {
        Over::Connections(count) => {
            for n in 0..count {
                let client = client.clone();
                tasks.spawn(async move { fast::transfer_by(&client, way, &part(n), size / count as u64).await });
            }
        }
        Over::Channels(count) => {
            let ssh = client.connect().await?;
            for n in 0..count {
                let channel = ssh.channel_open_session().await?;
                tasks.spawn(async move { fast::transfer_over(channel, way, &part(n), size / count as u64).await });
            }
            shared = Some(ssh);
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    if let Some(ssh) = shared {
        hang_up(ssh).await?;
    }
    ensure!(server.files().join(part(0)).exists(), "nothing has arrived");
    Ok(())
}
