//! Logins: connect, key exchange, public key, open SFTP, stat, close. And what a login costs that then does nothing.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use russh::kex;
use tokio::task::JoinSet;

use crate::client::{Client, hang_up};
use crate::report::{Report, Unit};
use crate::server::{PASSWORD, Place, Server};
use crate::{Extent, taken};

pub(crate) const ABOUT: &str = "By a client of our own that is as quick as the servers: it takes its part of the processors. \
    Each login opens SFTP and asks for one thing. Passwords are hashed as each server stores them: by argon2id with Enclos, \
    by yescrypt with OpenSSH on Debian.";

/// How many log in at the same time in the second row.
const PARALLEL: usize = 16;

pub(crate) fn measure(place: &Place, servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for round in 0..extent.rounds {
        eprintln!("logins, round {} of {}", round + 1, extent.rounds);
        for server in servers {
            let client = Client::new(server)?;
            logins(&runtime, server, "login, one after another", 1, &client, extent, report)?;
            logins(&runtime, server, "login, 16 at a time", PARALLEL, &client, extent, report)?;
            let certified = client.clone().with_certificate(&place.certificate())?;
            logins(&runtime, server, "login by certificate", 1, &certified, extent, report)?;
            let by_password = client.clone().with_password(PASSWORD);
            let fewer = Extent { logins: extent.passwords, ..extent };
            logins(&runtime, server, "login by password", 1, &by_password, fewer, report)?;
            let client = client.with(|config| config.preferred.kex = vec![kex::MLKEM768X25519_SHA256].into());
            // Servers before OpenSSH 9.9 do not know it.
            if runtime.block_on(client.connect()).is_ok() {
                logins(&runtime, server, "login, mlkem768x25519", 1, &client, extent, report)?;
            }
        }
    }
    for server in servers {
        eprintln!("{} idle logins, {}", extent.idle, server.name());
        idle(&runtime, server, "login without a channel", What::Connections, extent, report)?;
        idle(&runtime, server, "idle login", What::Sftp, extent, report)?;
    }
    Ok(())
}

fn logins(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    row: &str,
    parallel: usize,
    client: &Client,
    extent: Extent,
    report: &mut Report,
) -> Result<()> {
    let taken = taken(server, || runtime.block_on(log_in_and_out(client, extent.logins, parallel)))?;
    let count = extent.logins as f64;
    report.note(&format!("{row}: a second"), Unit::PerSecond, server, count / taken.wall.as_secs_f64());
    report.note(&format!("{row}: server CPU"), Unit::MillisecondsEach, server, taken.cpu.as_secs_f64() * 1e3 / count);
    Ok(())
}

/// What is kept open.
#[derive(Debug, Clone, Copy)]
enum What {
    Connections,
    Sftp,
}

/// Memory of many logins that do nothing, over that of the server alone.
fn idle(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    row: &str,
    what: What,
    extent: Extent,
    report: &mut Report,
) -> Result<()> {
    server.settle()?;
    let empty = (server.group().pss()?, server.group().kernel_memory()?);
    let client = Client::new(server)?;
    let full = runtime.block_on(async {
        let (mut connections, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..extent.idle {
            match what {
                What::Connections => connections.push(client.connect().await?),
                What::Sftp => kept.push(client.log_in().await?),
            }
        }
        tokio::time::sleep(extent.rest).await;
        let full = (server.group().pss()?, server.group().kernel_memory()?);
        ensure!(server.group().processes()?.len() > extent.idle, "not all logins are there any more");
        // So that nothing of them is there when others are weighed.
        for ssh in connections {
            hang_up(ssh).await?;
        }
        for login in kept {
            login.log_out().await?;
        }
        anyhow::Ok(full)
    })?;
    let each = |full: u64, empty: u64| full.saturating_sub(empty) as f64 / 1024.0 / extent.idle as f64;
    report.note(&format!("{row}: memory (PSS)"), Unit::Kib, server, each(full.0, empty.0));
    report.note(&format!("{row}: kernel memory"), Unit::Kib, server, each(full.1, empty.1));
    server.settle()
}

async fn log_in_and_out(client: &Client, count: usize, parallel: usize) -> Result<()> {
    let begun = Instant::now();
    let mut under_way = JoinSet::new();
    for _ in 0..count {
        if under_way.len() == parallel {
            under_way.join_next().await.context("one is under way")???;
        }
        let client = client.clone();
        under_way.spawn(async move { client.log_in().await?.log_out().await });
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    ensure!(begun.elapsed().as_secs() < 300, "logins take minutes");
    Ok(())
}
