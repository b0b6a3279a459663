//! The other end of the admin socket: asks a running node, or opens the database itself when none runs.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::admin_socket::{self, Reply};
use super::audit;
use super::operation::{self, Operation};
use super::outcome::{Outcome, SessionView};
use super::store::{Presented, Store};
use crate::config::{ControlSettings, Paths};
use crate::telemetry::Causes;
use crate::wire;

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
    /// It is done, but not on record.
    #[error("it is done, but the audit trail cannot be kept")]
    Audit(#[source] audit::NotWritten),
    /// The kernel does not tell about processes of the node.
    #[error("ask the kernel for the processes of the node")]
    Processes(#[source] io::Error),
    /// The node is somebody else's.
    #[error("process {pid} has the service, which is another user's; ask that user")]
    NotOurs {
        /// The process.
        pid: u32,
    },
    /// This user may not operate the node.
    #[error("only root, or the user that runs it, may operate this node")]
    Denied,
}

/// Whoever can do an operation.
#[derive(Debug)]
pub enum Doer<'a> {
    /// The node that runs here.
    Node(UnixStream),
    /// Nobody but ourselves: no node runs.
    Alone(&'a ControlSettings),
}

impl Doer<'_> {
    /// Finds out who it is.
    pub fn find(settings: &ControlSettings) -> Result<Doer<'_>, ClientError> {
        match UnixStream::connect(settings.paths.admin_socket()) {
            Ok(stream) => Ok(Doer::Node(stream)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(ClientError::Denied),
            // No socket, or one that a node left behind.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(Doer::Alone(settings))
            }
            Err(error) => Err(ClientError::Socket(error)),
        }
    }

    /// Has it done. A node asks the kernel who wants it; otherwise it is `operator`.
    pub fn operate(self, operation: Operation, operator: u32) -> Result<Outcome, ClientError> {
        match self {
            Doer::Node(stream) => ask(stream, &operation),
            Doer::Alone(settings) => alone(settings, operation, operator),
        }
    }
}

/// Process id of the monitor that has the service; `None` if none has it.
///
/// The kernel knows which process listens on the admin socket, and who started it. Control cannot make much of that: whatever
/// listens in its place has control itself for its parent, which is another user, or the first process of the host.
pub fn monitor(settings: &ControlSettings) -> Result<Option<u32>, ClientError> {
    let Doer::Node(stream) = Doer::find(settings)? else { return Ok(None) };
    let control = wire::peer_process(&stream).map_err(ClientError::Socket)?;
    let parent = parent_of(control).map_err(ClientError::Processes)?;
    let of = |pid: u32, what: &str| PathBuf::from(format!("/proc/{pid}/{what}"));
    let owner = std::fs::metadata(of(parent, "")).map_err(ClientError::Processes)?.uid();
    if owner != admin_socket::real_uid() {
        return Err(ClientError::NotOurs { pid: parent });
    }
    // Control of a monitor that has ended, or has left the service, has another process for its parent.
    let command = |pid: u32| std::fs::read(of(pid, "cmdline")).map_err(ClientError::Processes);
    Ok((command(control)? == command(parent)?).then_some(parent))
}

fn parent_of(pid: u32) -> io::Result<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
    parent.ok_or_else(|| io::Error::other("the kernel does not say who started it"))
}

/// What was done, and what an earlier process does that finishes what it has begun: its sessions are listed and ended too.
pub fn and_those_left(
    settings: &ControlSettings,
    operation: &Operation,
    done: Result<Outcome, ClientError>,
) -> Result<Outcome, ClientError> {
    match operation {
        Operation::SessionList => with_those_left(settings, done),
        Operation::SessionKill { .. } if done.is_err() => by_those_left(settings, operation).unwrap_or(done),
        _ => done,
    }
}

/// Sessions of the service, and those of the processes that have left it.
fn with_those_left(
    settings: &ControlSettings,
    of_service: Result<Outcome, ClientError>,
) -> Result<Outcome, ClientError> {
    let of_those_left = asked_of_those_left(settings, &Operation::SessionList);
    if of_those_left.is_empty() || matches!(&of_service, Err(error) if !matches!(error, ClientError::Refused(_))) {
        return of_service;
    }
    // Until there is another, whoever has left the service still answers for it too.
    let mut sessions = BTreeMap::new();
    for outcome in of_those_left.into_iter().chain(of_service) {
        if let Outcome::Sessions(list) = outcome {
            sessions.extend(list.into_iter().map(|session: SessionView| (session.conn, session)));
        }
    }
    Ok(Outcome::Sessions(sessions.into_values().collect()))
}

fn by_those_left(settings: &ControlSettings, operation: &Operation) -> Option<Result<Outcome, ClientError>> {
    asked_of_those_left(settings, operation).into_iter().next().map(Ok)
}

/// What those answer that have left the service and do not refuse. A socket that nobody listens on was left behind.
fn asked_of_those_left(settings: &ControlSettings, operation: &Operation) -> Vec<Outcome> {
    let Ok(entries) = std::fs::read_dir(settings.paths.run_dir()) else { return Vec::new() };
    let sockets = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let sockets =
        sockets.filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(Paths::is_leaving_socket));
    sockets.filter_map(|path| ask(UnixStream::connect(path).ok()?, operation).ok()).collect()
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

fn alone(settings: &ControlSettings, operation: Operation, operator: u32) -> Result<Outcome, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    runtime.block_on(async {
        let refused = |e: super::StoreError| ClientError::Refused(Causes(&e).to_string());
        let store = Store::open(&settings.database).await.map_err(refused)?;
        let store = store.with_users_from(settings.users_from.as_ref(), settings.ids).map_err(refused)?;
        let refused = |error: &dyn std::error::Error| ClientError::Refused(Causes(error).to_string());
        let (record, noting) =
            audit::before(&settings.audit, &store, operator, &operation).await.map_err(|e| refused(&e))?;
        let done = operation::apply(&noting, settings.ids, operation).await;
        store.close().await;
        let outcome = done.map_err(|e| refused(&e))?.outcome;
        if let Some(record) = record {
            audit::note_alone(&settings.audit, &settings.paths, &record).map_err(ClientError::Audit)?;
        }
        Ok(outcome)
    })
}

/// How long it takes to look up these claims, one after the other, as a login does: who is behind a name, with all that is
/// granted, and whether a key is theirs. For the benchmark.
pub fn time_lookups(
    settings: &ControlSettings,
    claims: &[(crate::domain::ClaimedName, crate::domain::KeyBlob)],
) -> Result<Vec<(std::time::Duration, bool)>, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    let refused = |e: super::StoreError| ClientError::Refused(Causes(&e).to_string());
    runtime.block_on(async {
        let store = Store::open(&settings.database).await.map_err(refused)?;
        let mut times = Vec::with_capacity(claims.len());
        for (name, key) in claims {
            let since = std::time::Instant::now();
            let known = store.known(name, Presented::Key(key)).await.map_err(refused)?;
            times.push((since.elapsed(), known.is_some_and(|known| known.key.is_some())));
        }
        store.close().await;
        Ok(times)
    })
}
