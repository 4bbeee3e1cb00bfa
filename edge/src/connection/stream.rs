//! A client's byte stream, in the clear or under TLS, as one type.
//!
//! Vectored writes are forwarded: a head and its body leave in one system call, and in one TLS record.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use headland_origin::wire::Wire;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The stream of one client connection.
#[derive(Debug)]
pub struct Stream {
    transport: Transport,
    /// Read before it was clear what the client speaks; read again first.
    prefix: Bytes,
}

#[derive(Debug)]
enum Transport {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl Stream {
    pub fn plain(socket: TcpStream) -> Self {
        Stream { transport: Transport::Plain(Wire::new(socket)), prefix: Bytes::new() }
    }

    pub fn tls(stream: TlsStream<Wire>) -> Self {
        Stream { transport: Transport::Tls(Box::new(stream)), prefix: Bytes::new() }
    }

    /// Puts bytes back that were read already.
    pub fn unread(&mut self, bytes: Bytes) {
        debug_assert!(self.prefix.is_empty(), "bytes are put back once");
        self.prefix = bytes;
    }

    /// Makes closing abort the connection: a client that takes the end of the connection for the end of the body must
    /// not take a truncated one for whole.
    pub fn abort_on_close(&self) {
        let socket = match &self.transport {
            Transport::Plain(socket) => socket.get(),
            Transport::Tls(stream) => stream.get_ref().0.get(),
        };
        // A socket that refuses is closed already.
        let _ = socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
    }
}

macro_rules! forward {
    ($self:ident, $inner:ident => $call:expr) => {
        match &mut $self.get_mut().transport {
            Transport::Plain($inner) => {
                let $inner = Pin::new($inner);
                $call
            }
            Transport::Tls($inner) => {
                let $inner = Pin::new(&mut **$inner);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let count = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix.split_to(count));
            return Poll::Ready(Ok(()));
        }
        forward!(self, inner => inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, inner => inner.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, inner => inner.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, inner => inner.poll_shutdown(cx))
    }
}
