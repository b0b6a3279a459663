//! A TCP stream that acknowledges at once while a client logs in, and that is not read for moments when more has come than
//! should.
//!
//! Clients send several small packets in a row there, and without TCP_NODELAY each waits for the one before to be
//! acknowledged (Nagle's algorithm, RFC 896; OpenSSH's client sets the option late, libraries often never). The kernel
//! delays acknowledgements by 40 ms when it expects an answer to carry them; TCP_QUICKACK (tcp(7)) stops that, but only
//! until the kernel changes its mind, so it is set again after each read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::session::traffic::Traffic;

/// Reads that belong to logging in; a key exchange and three attempts take about twelve.
const READS: u8 = 16;

/// The stream.
#[derive(Debug)]
pub(super) struct Prompt {
    stream: TcpStream,
    left: u8,
    traffic: Traffic,
    held: Option<Pin<Box<Sleep>>>,
}

impl Prompt {
    pub(super) fn new(stream: TcpStream, traffic: Traffic) -> Prompt {
        Prompt { stream, left: READS, traffic, held: None }
    }

    /// Waits for the end of a hold.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(until) = self.traffic.held_until() {
            self.held = Some(Box::pin(tokio::time::sleep_until(until)));
        }
        let over = self.held.as_mut().map_or(Poll::Ready(()), |held| held.as_mut().poll(context));
        if over.is_ready() {
            self.held = None;
        }
        over
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_held(context));
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() && self.left > 0 {
            self.left -= 1;
            self.stream.set_quickack(true)?;
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
