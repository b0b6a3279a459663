//! Many small requests and long listings, by a client of our own that keeps several in flight; and what a connection keeps
//! after a transfer.

use std::fs::{self, File};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::client::{Client, LoggedIn};
use crate::report::{Report, Unit};
use crate::server::Server;
use crate::{Extent, taken};

pub(crate) const ABOUT: &str = "What a connection keeps after a transfer is looked at ten seconds later.";
/// Requests in flight.
const IN_FLIGHT: usize = 16;
/// Transferred each way by a connection whose memory is then looked at.
const BURST: usize = 8 << 20;
/// Connections that do so.
const BURSTS: usize = 30;

pub(crate) fn measure(servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for server in servers {
        let many = server.files().join("many");
        fs::create_dir(&many)?;
        server.own(&many)?;
        for n in 0..extent.listed {
            File::create(many.join(format!("an-entry-of-a-long-listing-{n:06}")))?;
        }
    }
    for round in 0..extent.rounds {
        eprintln!("requests, round {} of {}", round + 1, extent.rounds);
        for server in servers {
            listing(&runtime, server, extent, report)?;
            for storm in [Storm::Stat, Storm::Directories, Storm::Rename] {
                requests(&runtime, server, storm, extent, report)?;
            }
        }
    }
    for server in servers {
        after_a_burst(&runtime, server, extent, report)?;
    }
    Ok(())
}

fn listing(runtime: &tokio::runtime::Runtime, server: &Server, extent: Extent, report: &mut Report) -> Result<()> {
    let client = Client::new(server)?;
    let taken = taken(server, || {
        runtime.block_on(async {
            let login = client.log_in().await?;
            let listed = login.sftp.read_dir("many").await?.count();
            ensure!(listed == extent.listed, "{listed} of {} entries", extent.listed);
            login.log_out().await
        })
    })?;
    let row = format!("list {} entries", extent.listed);
    report.note(&format!("{row}: time"), Unit::Milliseconds, server, taken.wall.as_secs_f64() * 1e3);
    report.note(&format!("{row}: server CPU"), Unit::Milliseconds, server, taken.cpu.as_secs_f64() * 1e3);
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Storm {
    Stat,
    Directories,
    Rename,
}

impl Storm {
    fn row(self) -> &'static str {
        match self {
            Storm::Stat => "stat",
            Storm::Directories => "mkdir and rmdir",
            Storm::Rename => "rename there and back",
        }
    }

    async fn one(self, login: &LoggedIn, n: usize) -> Result<()> {
        let (name, other) = (format!("one-{n}"), format!("other-{n}"));
        match self {
            Storm::Stat => drop(login.sftp.metadata("many").await?),
            Storm::Directories => {
                login.sftp.create_dir(&name).await?;
                login.sftp.remove_dir(&name).await?;
            }
            Storm::Rename => {
                // The names are those of directories that each task has for itself.
                login.sftp.rename(&name, &other).await?;
                login.sftp.rename(&other, &name).await?;
            }
        }
        Ok(())
    }
}

fn requests(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    storm: Storm,
    extent: Extent,
    report: &mut Report,
) -> Result<()> {
    let client = Client::new(server)?;
    let each = extent.requests / IN_FLIGHT;
    let taken = taken(server, || {
        runtime.block_on(async {
            let login = Arc::new(client.log_in().await?);
            let mut tasks = JoinSet::new();
            for task in 0..IN_FLIGHT {
                let login = Arc::clone(&login);
                tasks.spawn(async move {
                    if matches!(storm, Storm::Rename) {
                        login.sftp.create_dir(format!("one-{task}")).await?;
                    }
                    for _ in 0..each {
                        storm.one(&login, task).await?;
                    }
                    if matches!(storm, Storm::Rename) {
                        login.sftp.remove_dir(format!("one-{task}")).await?;
                    }
                    anyhow::Ok(())
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            Arc::into_inner(login).context("all tasks have ended")?.log_out().await
        })
    })?;
    let count = (each * IN_FLIGHT) as f64;
    let row = storm.row();
    report.note(&format!("{row}: a second"), Unit::PerSecond, server, count / taken.wall.as_secs_f64());
    report.note(&format!("{row}: server CPU"), Unit::MillisecondsEach, server, taken.cpu.as_secs_f64() * 1e3 / count);
    Ok(())
}

/// Memory of logins that have sent and fetched 8 MiB and then rest, over that of the server alone.
fn after_a_burst(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    extent: Extent,
    report: &mut Report,
) -> Result<()> {
    eprintln!("{BURSTS} logins after a transfer, {}", server.name());
    server.settle()?;
    let empty = server.group().pss()?;
    let client = Client::new(server)?;
    let full = runtime.block_on(async {
        let mut kept = Vec::new();
        for n in 0..BURSTS {
            let login = client.log_in().await?;
            let mut file = login.sftp.create(format!("burst-{n}")).await?;
            file.write_all(&vec![7; BURST]).await?;
            file.shutdown().await?;
            let mut back = Vec::new();
            login.sftp.open(format!("burst-{n}")).await?.read_to_end(&mut back).await?;
            ensure!(back.len() == BURST, "{} bytes came back", back.len());
            login.sftp.remove_file(format!("burst-{n}")).await?;
            kept.push(login);
        }
        tokio::time::sleep(extent.rest).await;
        let full = server.group().pss()?;
        for login in kept {
            login.log_out().await?;
        }
        anyhow::Ok(full)
    })?;
    let each = full.saturating_sub(empty) as f64 / 1024.0 / BURSTS as f64;
    report.note("login after 8 MiB each way: memory (PSS)", Unit::Kib, server, each);
    server.settle()
}
