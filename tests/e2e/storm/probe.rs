//! Somebody of another account, to whom none of it may matter: logs in anew after each fault, writes, syncs and reads.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::client;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg};
use russh_sftp::client::SftpSession;
use russh_sftp::protocol::OpenFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::abuse::stranger::{Anybody, run};
use crate::harness::Login;

/// Longest that all of it may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who that is, and how to come in.
#[derive(Clone)]
pub(crate) struct Probe {
    user: String,
    key: Arc<PrivateKey>,
    port: u16,
    looks: u64,
}

impl Probe {
    pub(crate) fn new(login: &Login) -> Probe {
        let key = Arc::new(russh::keys::load_secret_key(&login.key, None).expect("a key"));
        Probe { user: login.user.clone(), key, port: login.port, looks: 0 }
    }

    /// One login, the first try of it. How long it took.
    pub(crate) fn look(&mut self) -> Result<Duration, String> {
        self.looks += 1;
        let since = Instant::now();
        let looked = run(async { tokio::time::timeout(PATIENCE, self.log_in_and_work()).await });
        match looked {
            Ok(Ok(())) => Ok(since.elapsed()),
            Ok(Err(error)) => Err(format!("{error} after {:?}", since.elapsed())),
            Err(_) => Err(format!("nothing within {PATIENCE:?}")),
        }
    }

    /// How often it was looked.
    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }

    async fn log_in_and_work(&self) -> Result<(), String> {
        let said = |step: &'static str| move |error: russh::Error| format!("{step}: {error}");
        let config = Arc::new(client::Config::default());
        let address = (Ipv4Addr::LOCALHOST, self.port);
        let mut session = client::connect(config, address, Anybody).await.map_err(said("handshake"))?;
        let key = PrivateKeyWithHashAlg::new(self.key.clone(), None);
        let answer = session.authenticate_publickey(&self.user, key).await.map_err(said("login"))?;
        if !answer.success() {
            return Err(format!("login: {answer:?}"));
        }
        let channel = session.channel_open_session().await.map_err(said("channel"))?;
        channel.request_subsystem(true, "sftp").await.map_err(said("sftp"))?;
        let sftp = SftpSession::new(channel.into_stream()).await.map_err(|e| format!("sftp: {e}"))?;
        self.work(&sftp).await.map_err(|e| format!("a file: {e}"))
    }

    async fn work(&self, sftp: &SftpSession) -> Result<(), Box<dyn std::error::Error>> {
        let (name, content) = (format!("probe-{}", self.looks), format!("look {}\n", self.looks));
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE | OpenFlags::READ;
        let mut file = sftp.open_with_flags(&name, flags).await?;
        file.write_all(content.as_bytes()).await?;
        file.sync_all().await?;
        file.shutdown().await?;
        let mut again = sftp.open(&name).await?;
        let mut found = String::new();
        again.read_to_string(&mut found).await?;
        again.shutdown().await?;
        sftp.remove_file(&name).await?;
        if found == content { Ok(()) } else { Err(format!("read {found:?} instead of {content:?}").into()) }
    }
}
