//! The other end of the admin socket: asks a running node, or opens the database itself when none runs.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use super::admin_socket::Reply;
use super::operation::{self, Operation};
use super::outcome::Outcome;
use super::store::Store;
use crate::config::ControlSettings;
use crate::telemetry::Causes;

/// Why an operation could not even be asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node said no; the sentence says why.
    #[error("{0}")]
    Refused(String),
    /// The socket failed in the middle.
    #[error("ask the running node")]
    Socket(#[source] io::Error),
    /// The runtime could not be started.
    #[error("start a runtime")]
    Runtime(#[source] io::Error),
    /// This user may not operate the node.
    #[error("only root, or the user that runs it, may operate this node")]
    Denied,
}

/// Has one operation done by whoever can do it.
pub fn operate(settings: &ControlSettings, operation: Operation) -> Result<Outcome, ClientError> {
    match UnixStream::connect(settings.paths.admin_socket()) {
        Ok(stream) => ask(stream, &operation),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(ClientError::Denied),
        // No socket, or one that a node left behind.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            alone(settings, operation)
        }
        Err(error) => Err(ClientError::Socket(error)),
    }
}

fn ask(mut stream: UnixStream, operation: &Operation) -> Result<Outcome, ClientError> {
    let mut request = serde_json::to_vec(operation).map_err(|e| ClientError::Socket(e.into()))?;
    request.push(b'\n');
    stream.write_all(&request).map_err(ClientError::Socket)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(ClientError::Socket)?;
    if line.is_empty() {
        return Err(ClientError::Denied);
    }
    match serde_json::from_str(&line).map_err(|e| ClientError::Socket(e.into()))? {
        Reply::Done(outcome) => Ok(*outcome),
        Reply::Refused(sentence) => Err(ClientError::Refused(sentence)),
    }
}

fn alone(settings: &ControlSettings, operation: Operation) -> Result<Outcome, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    runtime.block_on(async {
        let store = Store::open(&settings.database).await.map_err(|e| ClientError::Refused(Causes(&e).to_string()))?;
        let done = operation::apply(&store, settings.ids, operation)
            .await
            .map_err(|e| ClientError::Refused(Causes(&e).to_string()));
        store.close().await;
        Ok(done?.outcome)
    })
}
