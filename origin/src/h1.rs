//! The HTTP/1.1 client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::{Fault, FetchError, Phase};
use crate::exchange::{Deadlines, Home};
use crate::message::{Interim, Request, Response};
use crate::transport::Transport;

/// A connection that speaks HTTP/1.1, between exchanges.
pub struct Connection {
    transport: Transport,
}

impl Connection {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport }
    }

    /// Liveness before reuse.
    pub fn is_alive(&mut self) -> bool {
        self.transport.is_quiet(false)
    }

    /// Moves the socket to the current thread's runtime, when it was last used on another.
    pub fn rehome(&mut self) -> io::Result<()> {
        self.transport.rehome()
    }

    pub async fn exchange(
        self,
        _request: &mut Request,
        _deadlines: &Deadlines,
        _interim: Option<Interim>,
        _home: Home,
    ) -> Result<Response, FetchError> {
        Err(FetchError::new(Fault::Canceled, Phase::Send))
    }
}

/// The body of an answer that is still arriving.
pub(crate) struct Body {}

impl Body {
    #[allow(clippy::unused_self)]
    pub(crate) fn poll_frame(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        Poll::Ready(None)
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn is_end_stream(&self) -> bool {
        true
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn remaining(&self) -> Option<u64> {
        None
    }
}

/// A connection after its 101: bytes both ways.
pub struct Upgraded {
    transport: Transport,
    leftover: Bytes,
}

impl AsyncRead for Upgraded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.leftover.is_empty() {
            return Pin::new(&mut this.transport).poll_read(cx, buf);
        }
        let n = this.leftover.len().min(buf.remaining());
        buf.put_slice(&this.leftover.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}
