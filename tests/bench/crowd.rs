//! Logging in while many others are there, and what they weigh while that goes on.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;

use crate::Extent;
use crate::client::Client;
use crate::report::{Report, Unit};
use crate::server::Server;

pub(crate) const ABOUT: &str = "Connections that have opened SFTP are held; then others log in, ask for one thing and go, \
    four at a time, three times over. Growth is what memory (PSS of all processes, and the kernel's) has gained from the end of \
    the first time to the end of the third, for each login in between.";
/// How many log in at the same time.
const PARALLEL: usize = 4;
/// The same while the crowd gathers.
const GATHERING: usize = 16;
/// How often others come and go.
const TIMES: usize = 3;

pub(crate) fn measure(servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for server in servers {
        eprintln!("{} connections held, {}", extent.held, server.name());
        runtime.block_on(beside_a_crowd(server, extent, report))?;
        server.settle()?;
    }
    Ok(())
}

async fn beside_a_crowd(server: &Server, extent: Extent, report: &mut Report) -> Result<()> {
    let client = Client::new(server)?;
    let (mut gathering, mut held) = (JoinSet::new(), Vec::new());
    for _ in 0..extent.held {
        if gathering.len() == GATHERING {
            held.push(gathering.join_next().await.context("one is under way")???);
        }
        let client = client.clone();
        gathering.spawn(async move { client.log_in().await });
    }
    while let Some(login) = gathering.join_next().await {
        held.push(login??);
    }
    let (mut took, mut weights) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        took.extend(come_and_go(&client, extent.come_and_go).await?);
        server.settle()?;
        weights.push((server.group().pss()? + server.group().kernel_memory()?) as f64 / 1024.0);
    }
    ensure!(server.group().processes()?.len() > extent.held, "not all connections are there any more");
    took.sort_by(f64::total_cmp);
    for part in [50, 99] {
        let value = took.get(took.len() * part / 100).context("something was measured")?;
        let row = format!("login and logout beside {} held connections: p{part}", extent.held);
        report.note(&row, Unit::Milliseconds, server, *value);
    }
    let (first, last) = weights.first().zip(weights.last()).context("was weighed")?;
    report.note("all memory, for each held connection", Unit::Kib, server, first / extent.held as f64);
    let growth = (last - first) / ((TIMES - 1) * extent.come_and_go) as f64;
    report.note("growth for each login that came and went", Unit::Kib, server, growth);
    for login in held {
        login.log_out().await?;
    }
    Ok(())
}

/// Milliseconds of each login.
async fn come_and_go(client: &Client, count: usize) -> Result<Vec<f64>> {
    let (mut under_way, mut took) = (JoinSet::new(), Vec::new());
    for _ in 0..count {
        if under_way.len() == PARALLEL {
            took.push(under_way.join_next().await.context("one is under way")???);
        }
        let client = client.clone();
        under_way.spawn(async move {
            let begun = Instant::now();
            client.log_in().await?.log_out().await?;
            anyhow::Ok(begun.elapsed().as_secs_f64() * 1e3)
        });
    }
    while let Some(ended) = under_way.join_next().await {
        took.push(ended??);
    }
    Ok(took)
}
