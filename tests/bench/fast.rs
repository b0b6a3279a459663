//! A client that keeps more in flight than OpenSSH's, and with larger requests: one file, as fast as it comes. It speaks
//! just enough of SFTP version 3 for that, and neither makes nor looks at what is in the file.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, cipher};
use tokio::sync::Semaphore;

use crate::client::{Client, hang_up};
use crate::server::Server;

/// Bytes of one request: the most that OpenSSH's server and ours serve.
const PIECE: u32 = 255 * 1024;
/// Requests in flight.
const DEPTH: usize = 64;

const INIT: u8 = 1;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
/// SSH_FXF_READ; and SSH_FXF_WRITE, CREAT and TRUNC together.
const FOR_READING: u32 = 1;
const FOR_WRITING: u32 = 2 | 8 | 16;

/// Which way the file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Get,
    Put,
}

/// Logs in and transfers a file of `size` bytes.
pub(crate) async fn transfer(server: &Server, cipher: cipher::Name, way: Way, name: &str, size: u64) -> Result<()> {
    let client = Client::new(server)?.with(|config| {
        settings(config);
        config.preferred.cipher = vec![cipher].into();
    });
    transfer_by(&client, way, name, size).await
}

/// How the client gets much at a time.
pub(crate) fn settings(config: &mut russh::client::Config) {
    config.window_size = 16 << 20;
    config.maximum_packet_size = 64 << 10;
}

pub(crate) async fn transfer_by(client: &Client, way: Way, name: &str, size: u64) -> Result<()> {
    let ssh = client.connect().await?;
    transfer_over(ssh.channel_open_session().await?, way, name, size).await?;
    hang_up(ssh).await
}

/// Transfers a file over a channel on which nothing was asked for.
pub(crate) async fn transfer_over(channel: Channel<Msg>, way: Way, name: &str, size: u64) -> Result<()> {
    channel.request_subsystem(true, "sftp").await?;
    let (mut from, to) = channel.split();
    let mut answers = Answers::default();
    send(&to, &[packet(INIT, &3_u32.to_be_bytes(), 0)]).await?;
    answers.next(&mut from).await?;
    let flags = if way == Way::Get { FOR_READING } else { FOR_WRITING };
    let open =
        [&1_u32.to_be_bytes()[..], &string(name.as_bytes()), &flags.to_be_bytes(), &0_u32.to_be_bytes()].concat();
    send(&to, &[packet(OPEN, &open, 0)]).await?;
    let handle = answers.next(&mut from).await?;
    ensure!(handle.kind == HANDLE, "{name} cannot be opened");
    let handle = handle.begin.get(4..).context("a handle")?.to_vec();

    let room = Arc::new(Semaphore::new(DEPTH));
    let asking = tokio::spawn(ask(way, string(&handle), size, to, Arc::clone(&room)));
    let mut left = size;
    while left > 0 {
        let answer = answers.next(&mut from).await?;
        let length = match (way, answer.kind) {
            (Way::Get, DATA) => u64::from(answer.field(0)?),
            // Status OK.
            (Way::Put, STATUS) if answer.field(0)? == 0 => u64::from(PIECE).min(left),
            _ => bail!("an answer of type {} and {:?}", answer.kind, answer.begin),
        };
        left = left.checked_sub(length).context("too much came")?;
        room.add_permits(1);
    }
    let to = asking.await??;
    send(&to, &[packet(CLOSE, &[&2_u32.to_be_bytes()[..], &string(&handle)].concat(), 0)]).await?;
    ensure!(answers.next(&mut from).await?.field(0)? == 0, "closing {name} failed");
    Ok(to.eof().await?)
}

/// Sends the requests, as many as there is room for.
async fn ask(
    way: Way,
    handle: Vec<u8>,
    size: u64,
    to: ChannelWriteHalf<Msg>,
    room: Arc<Semaphore>,
) -> Result<ChannelWriteHalf<Msg>> {
    let data = Bytes::from(vec![0x5a; PIECE as usize]);
    let mut offset = 0;
    while offset < size {
        room.acquire().await?.forget();
        let length = u64::from(PIECE).min(size - offset);
        let short = u32::try_from(length)?.to_be_bytes();
        let body = [&7_u32.to_be_bytes()[..], &handle, &offset.to_be_bytes(), &short].concat();
        match way {
            Way::Get => send(&to, &[packet(READ, &body, 0)]).await?,
            Way::Put => {
                let data = data.slice(..usize::try_from(length)?);
                send(&to, &[packet(WRITE, &body, data.len()), data]).await?;
            }
        }
        offset += length;
    }
    Ok(to)
}

async fn send(to: &ChannelWriteHalf<Msg>, parts: &[Bytes]) -> Result<()> {
    for part in parts {
        to.data_bytes(part.clone()).await?;
    }
    Ok(())
}

/// A packet that `more` bytes follow.
fn packet(kind: u8, body: &[u8], more: usize) -> Bytes {
    let length = u32::try_from(1 + body.len() + more).unwrap_or_default();
    Bytes::from([&length.to_be_bytes()[..], &[kind], body].concat())
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes()[..], bytes].concat()
}

/// An answer's type, and what stands at its beginning after its number.
struct Answer {
    kind: u8,
    begin: Vec<u8>,
}

impl Answer {
    fn field(&self, at: usize) -> Result<u32> {
        let bytes = self.begin.get(at..).and_then(|b| b.first_chunk::<4>()).context("a number")?;
        Ok(u32::from_be_bytes(*bytes))
    }
}

/// Takes answers apart without keeping what they carry.
#[derive(Default)]
struct Answers {
    arrived: Bytes,
}

impl Answers {
    /// Bytes of an answer that are looked at: length, type, number, and room for a handle.
    const BEGIN: usize = 9 + 64;

    async fn next(&mut self, from: &mut ChannelReadHalf) -> Result<Answer> {
        let mut head = Vec::with_capacity(Answers::BEGIN);
        self.take(from, 4, |part| head.extend_from_slice(part)).await?;
        let length = u32::from_be_bytes(*head.first_chunk::<4>().context("a length")?) as usize;
        let mut packet = Vec::with_capacity(Answers::BEGIN);
        self.take(from, length, |part| {
            let room = Answers::BEGIN.saturating_sub(packet.len());
            packet.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
        })
        .await?;
        let kind = *packet.first().context("a type")?;
        Ok(Answer { kind, begin: packet.get(5..).unwrap_or_default().to_vec() })
    }

    /// Takes exactly so many bytes, in the pieces in which they come.
    async fn take(&mut self, from: &mut ChannelReadHalf, mut bytes: usize, mut each: impl FnMut(&[u8])) -> Result<()> {
        while bytes > 0 {
            if self.arrived.is_empty() {
                self.arrived = data(from).await?;
            }
            let part = self.arrived.split_to(bytes.min(self.arrived.len()));
            each(&part);
            bytes -= part.len();
        }
        Ok(())
    }
}

async fn data(from: &mut ChannelReadHalf) -> Result<Bytes> {
    loop {
        match from.wait().await.context("the connection was closed")? {
            ChannelMsg::Data { data } => return Ok(data),
            ChannelMsg::Failure => bail!("sftp was refused"),
            ChannelMsg::ExtendedData { data, .. } => bail!("{}", String::from_utf8_lossy(&data)),
            _ => {}
        }
    }
}
