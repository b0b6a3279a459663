//! Programs: how many a second, what a shell weighs, and how soon everything is gone.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use russh::{Channel, ChannelMsg, client::Msg};
use tokio::runtime::Runtime;

use crate::client::{Client, execute, hang_up, on_terminal};
use crate::report::{Report, Unit};
use crate::server::Server;
use crate::{Extent, taken};

pub(crate) const ABOUT: &str = "By a client of our own. Commands are `true`, run by bash. With Enclos a new connection of \
    somebody who has no other gets a new cell, which goes with it; sshd confines nothing. Revoking is `enclos user disable`, \
    from the start of that command, while 20 processes run in the cell.";
/// Shells whose memory is looked at.
const SHELLS: usize = 30;
/// Processes that are revoked.
const SLEEPERS: usize = 20;

pub(crate) fn measure(servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for round in 0..extent.rounds {
        eprintln!("programs, round {} of {}", round + 1, extent.rounds);
        for server in servers {
            one_connection(&runtime, server, extent, report)?;
            new_connections(&runtime, server, extent, report)?;
            if server.name() == "Enclos" {
                revoking(&runtime, server, report)?;
            }
        }
    }
    for server in servers {
        shells(&runtime, server, extent, report)?;
    }
    Ok(())
}

pub(crate) fn client(server: &Server) -> Result<Client> {
    Ok(Client::new(server)?.named(server.runner()))
}

fn ran(report: &mut Report, row: &str, server: &Server, count: usize, taken: crate::Taken) {
    let count = count as f64;
    report.note(&format!("{row}: a second"), Unit::PerSecond, server, count / taken.wall.as_secs_f64());
    report.note(&format!("{row}: server CPU"), Unit::MillisecondsEach, server, taken.cpu.as_secs_f64() * 1e3 / count);
}

fn one_connection(runtime: &Runtime, server: &Server, extent: Extent, report: &mut Report) -> Result<()> {
    let client = client(server)?;
    let taken = taken(server, || {
        runtime.block_on(async {
            let ssh = client.connect().await?;
            for _ in 0..extent.programs {
                execute(&ssh, "true").await?;
            }
            hang_up(ssh).await
        })
    })?;
    ran(report, "commands over one connection", server, extent.programs, taken);
    Ok(())
}

fn new_connections(runtime: &Runtime, server: &Server, extent: Extent, report: &mut Report) -> Result<()> {
    let client = client(server)?;
    let taken = taken(server, || {
        runtime.block_on(async {
            for _ in 0..extent.programs {
                let ssh = client.connect().await?;
                execute(&ssh, "true").await?;
                hang_up(ssh).await?;
            }
            Ok(())
        })
    })?;
    ran(report, "commands, each over a new connection", server, extent.programs, taken);
    Ok(())
}

// -- the end --------------------------------------------------------------------------------------------------------------

fn revoking(runtime: &Runtime, server: &Server, report: &mut Report) -> Result<()> {
    let ssh = runtime.block_on(async {
        let ssh = client(server)?.connect().await?;
        let channel = ssh.channel_open_session().await?;
        channel.exec(false, format!("for n in $(seq {SLEEPERS}); do sleep 1000 & done; wait")).await?;
        anyhow::Ok((ssh, channel))
    })?;
    let sleepers = sleepers(runtime, server)?;
    let begun = Instant::now();
    server.admin(&["user", "disable", server.runner()])?;
    while sleepers.iter().any(|pid| is_there(*pid)) {
        ensure!(begun.elapsed().as_secs() < 20, "processes outlive a revocation");
        sleep(Duration::from_micros(200));
    }
    let took = begun.elapsed();
    report.note("from revoking to the end of the last process", Unit::Milliseconds, server, took.as_secs_f64() * 1e3);
    drop(ssh);
    server.admin(&["user", "enable", server.runner()])
}

/// The processes that were started, once all are there.
fn sleepers(runtime: &Runtime, server: &Server) -> Result<Vec<u32>> {
    let late = Instant::now() + Duration::from_secs(10);
    loop {
        // The connection goes on meanwhile.
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
        let all = server.group().processes()?;
        let found: Vec<u32> = all.into_iter().filter(|pid| name(*pid).is_some_and(|name| name == "sleep")).collect();
        if found.len() == SLEEPERS {
            return Ok(found);
        }
        ensure!(Instant::now() < late, "{} of {SLEEPERS} processes are there", found.len());
    }
}

fn name(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

// -- memory ---------------------------------------------------------------------------------------------------------------

/// Memory of logins with a shell on a terminal: of one user, and with Enclos also of as many users with a cell each.
fn shells(runtime: &Runtime, server: &Server, extent: Extent, report: &mut Report) -> Result<()> {
    let same = vec![server.runner().to_owned(); SHELLS];
    weigh(runtime, server, extent, report, "login with a shell, one user's", &same)?;
    let others: Vec<String> = match server.name() {
        "Enclos" => (0..SHELLS).map(|n| format!("user-{n}")).collect(),
        _ => same,
    };
    if server.name() == "Enclos" {
        for user in &others {
            server.add_user(user, &["exec", "shell"])?;
        }
    }
    weigh(runtime, server, extent, report, "login with a shell, each another user's", &others)
}

fn weigh(
    runtime: &Runtime,
    server: &Server,
    extent: Extent,
    report: &mut Report,
    row: &str,
    users: &[String],
) -> Result<()> {
    eprintln!("{row}, {}", server.name());
    server.settle()?;
    let weight = || anyhow::Ok((server.group().pss()?, server.group().kernel_memory()?));
    let empty = weight()?;
    let full = runtime.block_on(async {
        let mut kept = Vec::new();
        for user in users {
            let ssh = Client::new(server)?.named(user).connect().await?;
            let mut channel = on_terminal(&ssh, None).await?;
            channel.data_bytes(&b"echo re''ady\n"[..]).await?;
            until(&mut channel, b"ready").await?;
            kept.push((ssh, channel));
        }
        tokio::time::sleep(extent.rest).await;
        let full = weight()?;
        for (ssh, _) in kept {
            hang_up(ssh).await?;
        }
        anyhow::Ok(full)
    })?;
    let each = |full: u64, empty: u64| full.saturating_sub(empty) as f64 / 1024.0 / users.len() as f64;
    report.note(&format!("{row}: memory (PSS)"), Unit::Kib, server, each(full.0, empty.0));
    report.note(&format!("{row}: kernel memory"), Unit::Kib, server, each(full.1, empty.1));
    server.settle()
}

/// Reads until something was printed.
async fn until(channel: &mut Channel<Msg>, wanted: &[u8]) -> Result<()> {
    let mut seen = Vec::new();
    while !seen.windows(wanted.len()).any(|window| window == wanted) {
        if let ChannelMsg::Data { data } = channel.wait().await.context("the shell is gone")? {
            seen.extend_from_slice(&data);
        }
    }
    Ok(())
}
