//! The TCP stream beneath the SSH library: what comes is taken in large pieces, what goes leaves together.
//!
//! Runs in: sessions. Trusts: nobody; it does not look at what it carries.
//!
//! The library reads every packet with two reads, and writes and flushes after every packet that it has served. Reading
//! ahead spares the reads. And as long as something read ahead waits to be served, what is written is held back, a few
//! milliseconds at most: then the answers to all that came together leave by one system call, and wake the client once.
//! Nothing is ever held when the library waits for more to come. When more has come than should, nothing is read for moments,
//! nor given out of what was read ahead.
//!
//! Until a client has logged in, what it sends is also acknowledged at once. Clients send several small packets in a row
//! there, and without TCP_NODELAY each waits for the one before to be acknowledged (Nagle's algorithm, RFC 896; OpenSSH's
//! client sets the option late, libraries often never). The kernel delays acknowledgements by 40 ms when it expects an answer
//! to carry them; TCP_QUICKACK (tcp(7)) stops that, but only until the kernel changes its mind, so it is set again after
//! each read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop;
use tokio::time::Sleep;

use crate::session::traffic::Traffic;

/// Reads that belong to logging in; a key exchange and three attempts take about twelve.
const PROMPT_READS: u8 = 16;
/// What is read ahead of a client that says little.
const LITTLE: usize = 8 * 1024;
/// What is read ahead once a client sends more than that at a time.
const MUCH: usize = 128 * 1024;
/// Most that is held back.
const MOST_HELD: usize = 64 * 1024;
/// The longest that anything is held back, but for the time that serving one packet takes.
const HELD_FOR: Duration = Duration::from_millis(2);

/// The stream.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    prompt_reads: u8,
    buffers: Buffers,
    traffic: Traffic,
    /// Nothing is read before then.
    pause: Option<Pin<Box<Sleep>>>,
}

/// What has come and what is to go, shared with whoever takes their memory away when the client rests.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Both>>);

#[derive(Debug, Default)]
struct Both {
    ahead: Ahead,
    held: Held,
}

/// What was read ahead.
#[derive(Debug, Default)]
struct Ahead {
    /// All of it may be read into.
    room: Box<[u8]>,
    taken: usize,
    filled: usize,
}

/// What is held back, and since when.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    since: Option<Instant>,
}

impl Buffers {
    /// No code panics while it holds the lock; if it did, the process would be aborted.
    fn lock(&self) -> MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives away the room that a burst needed, if nothing lies in it.
    pub(super) fn give_back(&self) {
        let mut both = self.lock();
        if both.ahead.is_empty() {
            both.ahead = Ahead::default();
        }
        if both.held.bytes.is_empty() {
            both.held = Held::default();
        }
    }
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.taken == self.filled
    }

    fn waiting(&self) -> &[u8] {
        self.room.get(self.taken..self.filled).unwrap_or_default()
    }

    /// Moves what fits into `into`.
    fn take(&mut self, into: &mut ReadBuf<'_>) {
        let waiting = self.waiting();
        let part = waiting.get(..into.remaining().min(waiting.len())).unwrap_or_default();
        into.put_slice(part);
        self.taken += part.len();
    }

    /// Reads from the socket, into nothing but this; there must be nothing in it. What filled it says that more comes
    /// than was thought.
    fn poll_fill(&mut self, socket: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.room.is_empty() {
            self.room = vec![0; LITTLE].into();
        } else if self.filled == self.room.len() && self.filled < MUCH {
            self.room = vec![0; MUCH].into();
        }
        let mut into = ReadBuf::new(&mut self.room);
        ready!(Pin::new(socket).poll_read(context, &mut into))?;
        (self.taken, self.filled) = (0, into.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl Held {
    /// Whether more may be added, rather than all be sent.
    fn has_room(&self, more: usize) -> bool {
        self.bytes.len() + more <= MOST_HELD && self.since.is_none_or(|since| since.elapsed() < HELD_FOR)
    }

    fn add(&mut self, bytes: &[u8]) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes.extend_from_slice(bytes);
    }

    /// Sends all that is held, and with it what of `more` the socket takes: says how much of that.
    fn poll_send(&mut self, socket: &mut TcpStream, context: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        while !self.bytes.is_empty() {
            let parts = [IoSlice::new(&self.bytes), IoSlice::new(more)];
            let sent = ready!(Pin::new(&mut *socket).poll_write_vectored(context, &parts))?;
            match sent.checked_sub(self.bytes.len()) {
                _ if sent == 0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                None => drop(self.bytes.drain(..sent)),
                Some(of_more) => {
                    self.bytes.clear();
                    self.since = None;
                    if of_more > 0 {
                        return Poll::Ready(Ok(of_more));
                    }
                }
            }
        }
        if more.is_empty() { Poll::Ready(Ok(0)) } else { Pin::new(socket).poll_write(context, more) }
    }
}

impl Stream {
    pub(super) fn new(socket: TcpStream, traffic: Traffic) -> Stream {
        Stream { socket, prompt_reads: PROMPT_READS, buffers: Buffers::default(), traffic, pause: None }
    }

    pub(super) fn buffers(&self) -> Buffers {
        self.buffers.clone()
    }

    /// Waits for the moment from which it may be read again.
    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(until) = self.traffic.held_until() {
            self.pause = Some(Box::pin(tokio::time::sleep_until(until)));
        }
        let over = self.pause.as_mut().map_or(Poll::Ready(()), |pause| pause.as_mut().poll(context));
        if over.is_ready() {
            self.pause = None;
        }
        over
    }

    /// Sends what is held, if anything is.
    fn poll_send_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Stream { socket, buffers, .. } = self;
        buffers.lock().held.poll_send(socket, context, &[]).map_ok(|_| ())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let pause = self.poll_pause(context);
        if (pause.is_pending() || self.buffers.lock().ahead.is_empty())
            // A client that does not read is still listened to.
            && let Poll::Ready(Err(error)) = self.poll_send_held(context)
        {
            return Poll::Ready(Err(error));
        }
        ready!(pause);
        let Stream { socket, prompt_reads, buffers, .. } = &mut *self;
        let mut both = buffers.lock();
        let ahead = &mut both.ahead;
        if ahead.is_empty() {
            ready!(ahead.poll_fill(socket, context))?;
            if *prompt_reads > 0 {
                *prompt_reads -= 1;
                socket.set_quickack(true)?;
            }
        } else {
            // Much may have been read ahead; others have their turn in between.
            ready!(coop::poll_proceed(context)).made_progress();
        }
        ahead.take(into);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Stream { socket, buffers, .. } = &mut *self;
        let mut both = buffers.lock();
        let Both { ahead, held } = &mut *both;
        if !ahead.is_empty() && held.has_room(bytes.len()) {
            held.add(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        held.poll_send(socket, context, bytes)
    }

    /// The library flushes whatever it writes; what is held goes when nothing read ahead waits any more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let holds = {
            let both = self.buffers.lock();
            !both.ahead.is_empty() && both.held.has_room(0)
        };
        if holds { Poll::Ready(Ok(())) } else { self.poll_send_held(context) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_held(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl Drop for Stream {
    /// A connection that fails has said all that it was going to say, as far as the client takes it.
    fn drop(&mut self) {
        let both = self.buffers.lock();
        if !both.held.bytes.is_empty() {
            drop(self.socket.try_write(&both.held.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::pin::pin;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A stream, and its client's end, which waits for nothing.
    async fn pair() -> (Stream, std::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        client.set_nonblocking(true).expect("no waiting");
        (Stream::new(listener.accept().await.expect("accepted").0, Traffic::default()), client)
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
    }

    /// What has arrived at the client; over loopback that is all that was sent.
    fn arrived(client: &mut std::net::TcpStream) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        match client.read(&mut bytes) {
            Ok(length) => bytes.truncate(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => bytes.clear(),
            Err(error) => panic!("{error}"),
        }
        bytes
    }

    async fn answer(stream: &mut Stream, bytes: &[u8]) {
        stream.write_all(bytes).await.expect("written");
        stream.flush().await.expect("flushed");
    }

    /// Lets the stream find that nothing has come.
    async fn wait_in_vain(stream: &mut Stream) {
        let mut byte = [0];
        let mut reading = pin!(stream.read(&mut byte));
        std::future::poll_fn(|context| {
            assert!(reading.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    #[test]
    fn answers_to_what_came_together_leave_together() {
        run(async {
            let (mut stream, mut client) = pair().await;
            client.write_all(b"abc").expect("sent");
            assert_eq!(stream.read_u8().await.expect("read"), b'a');
            // So that a slow machine sends nothing early.
            stream.buffers.lock().held.since = Some(Instant::now() + Duration::from_secs(3600));
            answer(&mut stream, b"1").await;
            assert_eq!(stream.read_u8().await.expect("read"), b'b');
            answer(&mut stream, b"2").await;
            assert_eq!(arrived(&mut client), b"", "held back");
            assert_eq!(stream.read_u8().await.expect("read"), b'c');
            assert_eq!(arrived(&mut client), b"", "until it is known that no more has come");
            wait_in_vain(&mut stream).await;
            assert_eq!(arrived(&mut client), b"12");
            answer(&mut stream, b"3").await;
            assert_eq!(arrived(&mut client), b"3", "nothing waits to be served");
        });
    }

    #[test]
    fn while_nothing_is_to_be_read_answers_leave_and_nothing_is_given_out() {
        run(async {
            let (mut stream, mut client) = pair().await;
            client.write_all(b"abc").expect("sent");
            stream.read_u8().await.expect("read");
            stream.buffers.lock().held.since = Some(Instant::now() + Duration::from_secs(3600));
            answer(&mut stream, b"1").await;
            stream.traffic.hold();
            wait_in_vain(&mut stream).await;
            assert_eq!(arrived(&mut client), b"1");
            assert_eq!(stream.read_u8().await.expect("later"), b'b');
        });
    }

    #[test]
    fn nothing_is_held_for_long() {
        run(async {
            let (mut stream, mut client) = pair().await;
            client.write_all(b"abc").expect("sent");
            stream.read_u8().await.expect("read");
            stream.buffers.lock().held.since = Instant::now().checked_sub(HELD_FOR);
            answer(&mut stream, b"1").await;
            assert_eq!(arrived(&mut client), b"1");
        });
    }

    #[test]
    fn little_is_held_and_nothing_lost() {
        run(async {
            let (mut stream, mut client) = pair().await;
            client.write_all(b"abc").expect("sent");
            stream.read_u8().await.expect("read");
            let all: Vec<u8> = (0..=u8::MAX).cycle().take(3 * MOST_HELD + 7).collect();
            for part in all.chunks(1000) {
                answer(&mut stream, part).await;
                assert!(stream.buffers.lock().held.bytes.len() <= MOST_HELD);
            }
            stream.shutdown().await.expect("shut down");
            let mut came = Vec::new();
            while came.len() < all.len() {
                came.extend(arrived(&mut client));
            }
            assert!(came == all);
        });
    }

    #[test]
    fn what_is_held_at_the_end_is_sent() {
        run(async {
            let (mut stream, mut client) = pair().await;
            client.write_all(b"abc").expect("sent");
            stream.read_u8().await.expect("read");
            stream.write_all(b"goodbye").await.expect("written");
            drop(stream);
            assert_eq!(arrived(&mut client), b"goodbye");
        });
    }

    #[test]
    fn room_grows_with_what_comes_and_is_given_back_when_nothing_lies_in_it() {
        run(async {
            let (mut stream, mut client) = pair().await;
            client.write_all(&[7; LITTLE + 1]).expect("sent");
            let buffers = stream.buffers();
            let mut byte = [0; LITTLE];
            stream.read_exact(&mut byte[..1]).await.expect("read");
            buffers.give_back();
            stream.read_exact(&mut byte[1..]).await.expect("read");
            stream.read_exact(&mut byte[..1]).await.expect("read");
            assert_eq!((byte, buffers.lock().ahead.room.len()), ([7; LITTLE], MUCH));
            buffers.give_back();
            assert_eq!(buffers.lock().ahead.room.len(), 0);
            client.write_all(b"x").expect("sent");
            assert_eq!(stream.read_u8().await.expect("read"), b'x');
        });
    }
}
