//! The HTTP/1.1 client: one connection, one exchange at a time.
//!
//! A [`Connection`] is given away to its exchange and comes home after it, or not at all. In the common case an
//! exchange is one write and one read: the head leaves with the first piece of the body, and the answer's head and
//! the body bytes that came with it are slices of one read. No task belongs to a connection.

use std::io;

use bytes::BytesMut;

use crate::early_data::SentEarly;
use crate::error::FetchError;
use crate::message::Request;
use crate::timer::Timer;
use crate::transport::Transport;

mod body;
mod exchange;
mod head;
mod pump;
mod request;
mod scratch;
mod upgrade;
mod upload;

pub(crate) use body::Body;
pub use exchange::INTERIM_MAX;
pub use head::HEAD_FIELDS_MAX;
pub use upgrade::Upgraded;

/// A connection that speaks HTTP/1.1, between exchanges.
pub struct Connection {
    inner: Box<Inner>,
}

struct Inner {
    transport: Transport,
    /// Read and not yet used; empty between exchanges.
    input: BytesMut,
    timer: Timer,
    /// It has served an exchange: the origin may close it at any time.
    used: bool,
    /// The request that it was opened for went out with the handshake: its exchange sends nothing more.
    early: Option<SentEarly>,
}

/// The head of a request as it goes over the wire.
pub(crate) fn head_of(request: &Request) -> Result<Vec<u8>, FetchError> {
    let mut head = Vec::new();
    request::encode(request, &mut head)?;
    Ok(head)
}

impl Connection {
    pub(crate) fn new(transport: Transport) -> Self {
        let (input, timer) = (BytesMut::new(), Timer::default());
        Self { inner: Box::new(Inner { transport, input, timer, used: false, early: None }) }
    }

    /// The server has taken the request that it was opened for.
    pub(crate) fn with_early(mut self, sent: Option<SentEarly>) -> Self {
        self.inner.early = sent;
        self
    }

    pub(crate) fn early(&self) -> Option<SentEarly> {
        self.inner.early
    }

    fn assemble(transport: Transport, input: BytesMut, timer: Timer) -> Self {
        Self { inner: Box::new(Inner { transport, input, timer, used: true, early: None }) }
    }

    /// Liveness before reuse: nothing was left or has come since the last exchange, no byte and no end. Asks the
    /// kernel when the driver of this thread has heard something, or does not watch this socket. One whose request is
    /// out and was given up serves no other.
    pub fn is_alive(&mut self) -> bool {
        self.inner.early.is_none() && self.inner.input.is_empty() && self.inner.transport.is_quiet(false)
    }

    /// Moves the socket to the current thread's runtime, when it was last used on another. After an error the
    /// connection is to be dropped.
    pub fn rehome(&mut self) -> io::Result<()> {
        if !self.inner.transport.is_home() {
            self.inner.timer.clear();
            self.inner.transport.rehome()?;
        }
        Ok(())
    }

    /// After an exchange: holds on to nothing but the socket.
    fn rest(&mut self) {
        self.inner.used = true;
        self.inner.timer.forget_task();
        scratch::give_room(&mut self.inner.input);
        self.inner.input = BytesMut::new();
    }

    fn reset_on_close(&self) {
        self.inner.transport.reset_on_close();
    }
}

#[cfg(test)]
mod tests;
