//! Logins by a client of our own, so that OpenSSH's start does not hide the server: connect, key exchange, public key, open
//! SFTP, stat, close. And what a login costs that then does nothing.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use russh::client::{self, Handle};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh_sftp::client::SftpSession;
use tokio::task::JoinSet;

use crate::report::{Report, Unit};
use crate::server::Server;
use crate::{Extent, taken};

/// How many log in at the same time in the second row.
const PARALLEL: usize = 16;

pub(crate) fn measure(servers: &[Server], extent: Extent, report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for round in 0..extent.rounds {
        eprintln!("logins, round {} of {}", round + 1, extent.rounds);
        for server in servers {
            logins(&runtime, server, "login, one after another", 1, Kex::Curve25519, extent, report)?;
            logins(&runtime, server, "login, 16 at a time", PARALLEL, Kex::Curve25519, extent, report)?;
            if server.name() == "Enclos" {
                logins(&runtime, server, "login, mlkem768x25519", 1, Kex::MlKem, extent, report)?;
            }
        }
    }
    for server in servers {
        eprintln!("{} idle logins, {}", extent.idle, server.name());
        idle(&runtime, server, extent, report)?;
    }
    Ok(())
}

fn logins(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    row: &str,
    parallel: usize,
    kex: Kex,
    extent: Extent,
    report: &mut Report,
) -> Result<()> {
    let client = Client::new(server, kex)?;
    let taken = taken(server, || runtime.block_on(client.log_in_and_out(extent.logins, parallel)))?;
    let count = extent.logins as f64;
    report.note(&format!("{row}: a second"), Unit::PerSecond, server, count / taken.wall.as_secs_f64());
    report.note(&format!("{row}: server CPU"), Unit::MillisecondsEach, server, taken.cpu.as_secs_f64() * 1e3 / count);
    Ok(())
}

/// Memory of many logins that have opened SFTP and do nothing, over that of the server alone.
fn idle(runtime: &tokio::runtime::Runtime, server: &Server, extent: Extent, report: &mut Report) -> Result<()> {
    server.settle()?;
    let empty = (server.group().pss()?, server.group().kernel_memory()?);
    let client = Client::new(server, Kex::Curve25519)?;
    let full = runtime.block_on(async {
        let mut kept = Vec::new();
        for _ in 0..extent.idle {
            kept.push(client.log_in().await?);
        }
        // Servers give memory back after a while of rest; idle means that it has passed.
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        let full = (server.group().pss()?, server.group().kernel_memory()?);
        ensure!(server.group().processes()?.len() > extent.idle, "not all logins are there any more");
        drop(kept);
        anyhow::Ok(full)
    })?;
    let each = |full: u64, empty: u64| full.saturating_sub(empty) as f64 / 1024.0 / extent.idle as f64;
    report.note("idle login: memory (PSS)", Unit::Kib, server, each(full.0, empty.0));
    report.note("idle login: kernel memory", Unit::Kib, server, each(full.1, empty.1));
    server.settle()
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kex {
    Curve25519,
    MlKem,
}

/// Takes any host key: both servers are ours.
pub(crate) struct Anybody;

impl client::Handler for Anybody {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A client that logs in by the server's key.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<client::Config>,
    port: u16,
    user: &'static str,
    key: PrivateKeyWithHashAlg,
}

/// A login that lives as long as this does.
pub(crate) struct LoggedIn {
    ssh: Handle<Anybody>,
    pub(crate) sftp: SftpSession,
}

impl Client {
    pub(crate) fn new(server: &Server, kex: Kex) -> Result<Client> {
        let kex = match kex {
            Kex::Curve25519 => russh::kex::CURVE25519,
            Kex::MlKem => russh::kex::MLKEM768X25519_SHA256,
        };
        let preferred = russh::Preferred {
            kex: Cow::Owned(vec![kex]),
            cipher: Cow::Owned(vec![russh::cipher::AES_128_GCM]),
            ..russh::Preferred::default()
        };
        // As OpenSSH's client does; without it, logins wait for acknowledgements and measure those.
        let config = client::Config { preferred, nodelay: true, ..client::Config::default() };
        let key = russh::keys::load_secret_key(server.key(), None).context("load the key")?;
        Ok(Client {
            config: Arc::new(config),
            port: server.port(),
            user: server.user(),
            key: PrivateKeyWithHashAlg::new(Arc::new(key), None),
        })
    }

    pub(crate) async fn log_in(&self) -> Result<LoggedIn> {
        let mut ssh = client::connect(self.config.clone(), ("127.0.0.1", self.port), Anybody).await?;
        let answer = ssh.authenticate_publickey(self.user, self.key.clone()).await?;
        ensure!(answer.success(), "{} was refused", self.user);
        let channel = ssh.channel_open_session().await?;
        channel.request_subsystem(true, "sftp").await?;
        let sftp = SftpSession::new(channel.into_stream()).await.context("open sftp")?;
        sftp.metadata(".").await.context("stat")?;
        Ok(LoggedIn { ssh, sftp })
    }

    async fn log_in_and_out(&self, count: usize, parallel: usize) -> Result<()> {
        let begun = Instant::now();
        let mut under_way = JoinSet::new();
        for _ in 0..count {
            if under_way.len() == parallel {
                under_way.join_next().await.context("one is under way")???;
            }
            let client = self.clone();
            under_way.spawn(async move { client.log_in().await?.log_out().await });
        }
        while let Some(ended) = under_way.join_next().await {
            ended??;
        }
        ensure!(begun.elapsed().as_secs() < 300, "logins take minutes");
        Ok(())
    }
}

impl LoggedIn {
    pub(crate) async fn log_out(self) -> Result<()> {
        self.sftp.close().await.context("close sftp")?;
        self.ssh.disconnect(russh::Disconnect::ByApplication, "done", "").await?;
        // Until the server has hung up too, in whichever way it does.
        drop(self.ssh.await);
        Ok(())
    }
}
