//! A client of our own (russh), so that OpenSSH's start does not hide the server.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use russh::client::{self, Handle, Msg};
use russh::keys::ssh_key::Certificate;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, cipher, kex};
use russh_sftp::client::SftpSession;

use crate::server::Server;

/// Takes any host key: the servers are ours.
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
    user: String,
    key: Arc<PrivateKey>,
    shows: Shows,
}

/// What a client logs in with.
#[derive(Clone)]
enum Shows {
    Key,
    Certificate(Box<Certificate>),
    Password(&'static str),
}

impl Client {
    /// One that transfers files, by curve25519 and aes128-gcm.
    pub(crate) fn new(server: &Server) -> Result<Client> {
        let key = russh::keys::load_secret_key(server.key(), None).context("load the key")?;
        let preferred = russh::Preferred {
            kex: Cow::Owned(vec![kex::CURVE25519]),
            cipher: Cow::Owned(vec![cipher::AES_128_GCM]),
            ..russh::Preferred::default()
        };
        // As OpenSSH's client does; without it, logins wait for acknowledgements and measure those.
        let config = client::Config { preferred, nodelay: true, ..client::Config::default() };
        Ok(Client {
            config: Arc::new(config),
            port: server.port(),
            user: server.user().to_owned(),
            key: Arc::new(key),
            shows: Shows::Key,
        })
    }

    /// The same with changes to what it offers.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut client::Config)) -> Client {
        let mut config =
            client::Config { preferred: self.config.preferred.clone(), nodelay: true, ..Default::default() };
        change(&mut config);
        self.config = Arc::new(config);
        self
    }

    /// The same as somebody else.
    pub(crate) fn named(mut self, user: &str) -> Client {
        user.clone_into(&mut self.user);
        self
    }

    /// The same by password.
    pub(crate) fn with_password(mut self, password: &'static str) -> Client {
        self.shows = Shows::Password(password);
        self
    }

    /// The same by a certificate for the key.
    pub(crate) fn with_certificate(mut self, file: &Path) -> Result<Client> {
        self.shows = Shows::Certificate(Box::new(Certificate::read_file(file).context("read the certificate")?));
        Ok(self)
    }

    /// Connects and logs in.
    pub(crate) async fn connect(&self) -> Result<Handle<Anybody>> {
        let mut ssh = client::connect(self.config.clone(), ("127.0.0.1", self.port), Anybody).await?;
        let key = Arc::clone(&self.key);
        let answer = match &self.shows {
            Shows::Key => ssh.authenticate_publickey(&self.user, PrivateKeyWithHashAlg::new(key, None)).await?,
            Shows::Password(password) => ssh.authenticate_password(&self.user, *password).await?,
            Shows::Certificate(certificate) => {
                ssh.authenticate_openssh_cert(&self.user, key, (**certificate).clone()).await?
            }
        };
        ensure!(answer.success(), "{} was refused", self.user);
        Ok(ssh)
    }

    /// Logs in, opens SFTP and asks for one thing.
    pub(crate) async fn log_in(&self) -> Result<LoggedIn> {
        let ssh = self.connect().await?;
        let channel = ssh.channel_open_session().await?;
        channel.request_subsystem(true, "sftp").await?;
        let sftp = SftpSession::new(channel.into_stream()).await.context("open sftp")?;
        sftp.metadata(".").await.context("stat")?;
        Ok(LoggedIn { ssh, sftp })
    }
}

/// A login that lives as long as this does.
pub(crate) struct LoggedIn {
    ssh: Handle<Anybody>,
    pub(crate) sftp: SftpSession,
}

impl LoggedIn {
    pub(crate) async fn log_out(self) -> Result<()> {
        self.sftp.close().await.context("close sftp")?;
        hang_up(self.ssh).await
    }
}

/// Ends a connection, and waits until the server has hung up too, in whichever way it does.
pub(crate) async fn hang_up(ssh: Handle<Anybody>) -> Result<()> {
    ssh.disconnect(russh::Disconnect::ByApplication, "done", "").await?;
    drop(ssh.await);
    Ok(())
}

/// Runs a command to its end; it must succeed.
pub(crate) async fn execute(ssh: &Handle<Anybody>, command: &str) -> Result<()> {
    let mut channel = ssh.channel_open_session().await?;
    channel.exec(true, command).await?;
    let mut status = None;
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            ChannelMsg::Failure => bail!("{command}: refused"),
            ChannelMsg::ExtendedData { data, .. } => bail!("{command}: {}", String::from_utf8_lossy(&data)),
            _ => {}
        }
    }
    ensure!(status == Some(0), "{command}: ended with {status:?}");
    Ok(())
}

/// A command on a terminal.
pub(crate) async fn on_terminal(ssh: &Handle<Anybody>, command: Option<&str>) -> Result<Channel<Msg>> {
    let channel = ssh.channel_open_session().await?;
    channel.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await?;
    match command {
        Some(command) => channel.exec(false, command).await?,
        None => channel.request_shell(false).await?,
    }
    Ok(channel)
}
