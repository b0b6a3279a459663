//! A handshake of the library's server with the library's client, over a pipe in memory.

use std::sync::Arc;

use russh::client;
use russh::keys::PublicKeyOrCertificate;
use russh::server;

use super::SshError;

/// Room in the pipe: more than any message of a handshake.
const ROOM: usize = 64 * 1024;

struct Peer;

impl client::Handler for Peer {
    type Error = SshError;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        Ok(true)
    }
}

struct Nobody;

impl server::Handler for Nobody {
    type Error = SshError;
}

/// Does all that a connection does up to a denied login.
pub(super) fn handshake(config: Arc<server::Config>) -> Result<(), SshError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (ours, theirs) = tokio::io::duplex(ROOM);
        let serving = tokio::spawn(async move {
            let running = server::run_stream(config, ours, Nobody).await?;
            running.await
        });
        let mut peer = client::connect_stream(Arc::default(), theirs, Peer).await?;
        peer.authenticate_none("nobody").await?;
        drop(peer);
        serving.abort();
        Ok(())
    })
}
