//! How soon a terminal answers, while nothing else happens and while files are uploaded.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Extent;
use crate::client::{Client, hang_up, on_terminal};
use crate::fast::{self, Way};
use crate::programs::client;
use crate::report::{Report, Unit};
use crate::server::Server;

pub(crate) const ABOUT: &str = "The echo of a key, from `cat`. The uploads beside it go over other connections as fast as \
    they can, by one client that takes a processor for itself: one of the same user, or many, with Enclos each of another user.";
/// What is uploaded over and over.
const NOISE: u64 = 1 << 28;

pub(crate) fn measure(servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let others = |server: &Server| match server.name() {
        "Enclos" => (0..extent.others).map(|n| format!("other-{n}")).collect(),
        _ => vec![server.runner().to_owned(); extent.others],
    };
    for server in servers.iter().filter(|server| server.name() == "Enclos") {
        for user in others(server) {
            server.add_user(&user, &["sftp"])?;
        }
    }
    for round in 0..extent.rounds {
        eprintln!("terminals, round {} of {}", round + 1, extent.rounds);
        for server in servers {
            let idle = runtime.block_on(echoes(server, extent.keys))?;
            note(report, "a terminal's answer", server, idle)?;
            let same = [server.runner().to_owned()];
            beside(&runtime, server, "a terminal's answer beside an upload", &same, extent.keys, report)?;
            let row = format!("a terminal's answer beside {} uploads by others", extent.others);
            beside(&runtime, server, &row, &others(server), extent.keys / 2, report)?;
        }
    }
    Ok(())
}

fn beside(
    runtime: &Runtime,
    server: &Server,
    row: &str,
    uploaders: &[String],
    keys: usize,
    report: &mut Report,
) -> Result<()> {
    let noise = Noise::begin(server, uploaders)?;
    let took = runtime.block_on(echoes(server, keys));
    noise.end()?;
    note(report, row, server, took?)
}

fn note(report: &mut Report, row: &str, server: &Server, mut took: Vec<f64>) -> Result<()> {
    took.sort_by(f64::total_cmp);
    for part in [50, 99] {
        let value = took.get(took.len() * part / 100).context("something was measured")?;
        report.note(&format!("{row}: p{part}"), Unit::Milliseconds, server, *value);
    }
    Ok(())
}

/// Types one key after another; milliseconds until each was answered.
async fn echoes(server: &Server, keys: usize) -> Result<Vec<f64>> {
    let ssh = client(server)?.connect().await?;
    let mut channel = on_terminal(&ssh, Some("cat")).await?;
    // The first is answered when the program is there.
    echo(&mut channel).await?;
    let mut took = Vec::new();
    for _ in 0..keys {
        // As a person would who types fast, and so that nobody is awake already.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let begun = Instant::now();
        echo(&mut channel).await?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    hang_up(ssh).await?;
    Ok(took)
}

async fn echo(channel: &mut Channel<Msg>) -> Result<()> {
    channel.data_bytes(&b"x"[..]).await?;
    loop {
        match channel.wait().await.context("the terminal is gone")? {
            ChannelMsg::Data { data } if data.contains(&b'x') => return Ok(()),
            ChannelMsg::ExitStatus { exit_status } => anyhow::bail!("the terminal ended with {exit_status}"),
            _ => {}
        }
    }
}

/// Uploads, one after another by each of some users, until told to stop.
struct Noise {
    is_over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Noise {
    fn begin(server: &Server, uploaders: &[String]) -> Result<Noise> {
        let client = Client::new(server)?.with(|config| config.window_size = 16 << 20);
        let clients: Vec<Client> = uploaders.iter().map(|user| client.clone().named(user)).collect();
        let (is_over, size) = (Arc::new(AtomicBool::new(false)), NOISE / uploaders.len() as u64);
        let until = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(uploads(clients, size, until))
        });
        // All of them have begun.
        let files: Vec<_> = (0..uploaders.len()).map(|n| server.files().join(noise(n))).collect();
        let has_begun = |file: &Path| fs::metadata(file).is_ok_and(|m| m.len() > size / 8);
        let late = Instant::now() + Duration::from_secs(30);
        while !files.iter().all(|file| has_begun(file)) {
            ensure!(Instant::now() < late && !thread.is_finished(), "the uploads do not begin");
            sleep(Duration::from_millis(5));
        }
        Ok(Noise { is_over, thread })
    }

    fn end(self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the uploads panicked"))?
    }
}

fn noise(number: usize) -> String {
    format!("noise-{number}")
}

async fn uploads(clients: Vec<Client>, size: u64, is_over: Arc<AtomicBool>) -> Result<()> {
    let mut tasks = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        let is_over = Arc::clone(&is_over);
        tasks.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                fast::transfer_by(&client, Way::Put, &noise(number), size).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
