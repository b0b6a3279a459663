//! The same socket under a runtime, for sessions and control. The monitor has no runtime and does not use it.

use std::os::fd::AsFd;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Link, LinkError, Received};

/// A [`Link`] whose calls wait without blocking the runtime.
#[derive(Debug)]
pub struct AsyncLink {
    link: AsyncFd<Link>,
}

impl AsyncLink {
    /// Takes over a link. A runtime must be running.
    pub fn new(link: Link) -> std::io::Result<AsyncLink> {
        #[expect(deprecated, reason = "made for types that may change their descriptor; a Link owns one for life")]
        let link = AsyncFd::with_interest(link, Interest::READABLE | Interest::WRITABLE)?;
        Ok(AsyncLink { link })
    }

    /// Sends one message.
    pub async fn send<M: Serialize>(&self, message: &M) -> Result<(), LinkError> {
        loop {
            let mut ready = self.link.writable().await.map_err(|_| LinkError::Gone)?;
            match self.link.get_ref().try_send(message, None) {
                Err(LinkError::NotReady) => ready.clear_ready(),
                sent => return sent,
            }
        }
    }

    /// Sends one message if there is room for it now.
    pub fn try_send<M: Serialize>(&self, message: &M) -> Result<(), LinkError> {
        self.link.get_ref().try_send(message, None)
    }

    /// Receives one message.
    pub async fn recv<M: DeserializeOwned>(&self) -> Result<Received<M>, LinkError> {
        loop {
            let mut ready = self.link.readable().await.map_err(|_| LinkError::Gone)?;
            match self.link.get_ref().try_recv::<M>() {
                Err(LinkError::NotReady) => ready.clear_ready(),
                received => return received,
            }
        }
    }
}

impl AsFd for AsyncLink {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.link.get_ref().as_fd()
    }
}
