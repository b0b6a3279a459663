//! The admin socket: one JSON object a line in, one out.
//!
//! Whoever may open it may do everything, so the kernel is asked who that is: root, or the user that this process runs
//! as. Lines, connections and time are bounded all the same.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use zeroize::Zeroize;

use super::Error;
use super::operation::Operation;
use super::outcome::Outcome;
use super::serve::Control;

/// Longest request.
const LONGEST: u64 = 1024 * 1024;
/// Most connections at a time.
const MOST: usize = 32;
/// Longest a connection may take for one request.
const PATIENCE: Duration = Duration::from_secs(30);

/// What comes back over the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    /// Done.
    Done(Box<Outcome>),
    /// Not done; the sentence says why.
    Refused(String),
}

/// Who runs this process, whoever it acts as.
pub(super) fn real_uid() -> u32 {
    nix::unistd::getuid().as_raw()
}

/// Makes the socket, in place of one that an earlier process left.
pub(super) fn bind(path: &Path) -> Result<UnixListener, Error> {
    let failed = |source: io::Error| Error::Socket { path: path.to_owned(), source };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Serves operators for ever.
pub(super) async fn listen(listener: UnixListener, control: Arc<Control>) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let control = control.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &control).await {
                        tracing::warn!(%error, "an operator's connection failed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an operator's connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, control: &Control) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let own = nix::unistd::geteuid().as_raw();
    if peer != 0 && peer != own {
        return Err(io::Error::other(format!("user {peer} may not operate this node")));
    }
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let Some(mut line) = read_line(&mut lines).await? else { return Ok(()) };
        let parsed = serde_json::from_str::<Operation>(&line);
        // A password may have been in it.
        line.zeroize();
        let reply = match parsed {
            Ok(operation) => match tokio::time::timeout(PATIENCE, control.operate(operation, peer)).await {
                Ok(Ok(outcome)) => Reply::Done(Box::new(outcome)),
                Ok(Err(sentence)) => Reply::Refused(sentence),
                Err(_) => Reply::Refused("the node is too busy; try again".to_owned()),
            },
            Err(error) => Reply::Refused(format!("not a request: {error}")),
        };
        let mut answer = serde_json::to_vec(&reply)?;
        answer.push(b'\n');
        write.write_all(&answer).await?;
    }
}

/// The next request; `None` when the operator hangs up or says nothing for too long, which gives the place to another.
async fn read_line(lines: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = String::new();
    let mut bounded = lines.take(LONGEST);
    match tokio::time::timeout(PATIENCE, bounded.read_line(&mut line)).await {
        Ok(read) => Ok((read? > 0).then_some(line)),
        Err(_) => Ok(None),
    }
}
