//! Gathers what an HTTP/2 connection writes, so that many answers leave in one system call and one TLS record; what it
//! reads passes the [`FrameMeter`].
//!
//! The codec flushes after each stream that it is asked about. While the [`Cork`] is in, a flush leaves what was
//! gathered where it is; the connection takes the cork out when it has nothing more to answer at once, and then flushes
//! in earnest. Pieces as large as the buffer are passed on without a copy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::FrameMeter;
use super::stream::Stream;

/// How much is gathered: the content of one TLS record.
const GATHER_BYTES: usize = 16 << 10;

/// How much of a flood is read after its end was announced.
const LINGER_BYTES: usize = 16 << 20;

/// Holds flushes back; shared by the connection and its stream, on one thread.
#[derive(Debug, Default)]
pub struct Cork {
    is_in: AtomicBool,
    /// Something was written and is not known to have left.
    holds: AtomicBool,
    /// The client sends more frames without a purpose than it may.
    flooded: AtomicBool,
}

impl Cork {
    pub fn put_in(&self) {
        self.is_in.store(true, Relaxed);
    }

    /// Whether the client floods the connection.
    pub fn is_flooded(&self) -> bool {
        self.flooded.load(Relaxed)
    }

    /// Takes the cork out; true when something was written since the last flush in earnest.
    pub fn take_out(&self) -> bool {
        self.is_in.store(false, Relaxed);
        self.holds.load(Relaxed)
    }
}

/// A stream whose writes are gathered.
#[derive(Debug)]
pub struct Gathered {
    stream: Stream,
    held: BytesMut,
    cork: Arc<Cork>,
    meter: FrameMeter,
    /// Nothing more is written.
    shut: bool,
    /// Bytes read since then.
    lingered: usize,
}

impl Gathered {
    pub fn new(stream: Stream) -> (Self, Arc<Cork>) {
        let cork = Arc::<Cork>::default();
        let meter = FrameMeter::new(Instant::now());
        (Gathered { stream, held: BytesMut::new(), cork: cork.clone(), meter, shut: false, lingered: 0 }, cork)
    }

    /// Reads and drops what a flood still brings: closing on unread input would reset the connection, and the client
    /// would not learn the reason.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut unwanted = [0; GATHER_BYTES];
        while self.lingered < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut unwanted);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                break;
            }
            self.lingered += buf.filled().len();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is held.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.has_remaining() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.held.advance(written),
            }
        }
        self.held.clear();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Gathered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if this.meter.floods(&buf.filled()[before..], Instant::now) {
            this.cork.flooded.store(true, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        this.cork.holds.store(true, Relaxed);
        if this.held.len() + offered > GATHER_BYTES {
            ready!(this.poll_drain(cx))?;
            if offered >= GATHER_BYTES {
                return Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
            }
        }
        this.held.reserve(offered);
        for buf in bufs {
            this.held.extend_from_slice(buf);
        }
        Poll::Ready(Ok(offered))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.cork.is_in.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_drain(cx))?;
        // Under TLS, what was written may still wait for the socket: only then is nothing held back any more.
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.cork.holds.store(false, Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut {
            ready!(this.poll_drain(cx))?;
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.shut = true;
        }
        if this.cork.is_flooded() { this.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (Gathered, Arc<Cork>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (gathered, cork) = Gathered::new(Stream::plain(accepted.unwrap().0));
        (gathered, cork, client.unwrap())
    }

    #[tokio::test]
    async fn nothing_leaves_while_the_cork_is_in_and_all_of_it_in_order_once_it_is_out() {
        let (mut gathered, cork, mut client) = pair().await;
        cork.put_in();
        for part in ["a", "bc", "def"] {
            gathered.write_all(part.as_bytes()).await.unwrap();
            gathered.flush().await.unwrap();
        }
        assert_eq!(client.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(cork.take_out());
        gathered.flush().await.unwrap();
        let mut got = [0; 6];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"abcdef");
        assert!(!cork.take_out());
    }

    #[tokio::test]
    async fn large_pieces_follow_what_was_gathered_before_them() {
        let (mut gathered, cork, mut client) = pair().await;
        cork.put_in();
        let large = vec![7_u8; GATHER_BYTES * 3];
        let sent = async {
            gathered.write_all(b"small").await.unwrap();
            gathered.write_all(&large).await.unwrap();
            gathered.write_all(b"end").await.unwrap();
            gathered.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let ((), read) = tokio::join!(sent, client.read_to_end(&mut got));
        read.unwrap();
        assert_eq!(got, [b"small".as_slice(), &large, b"end"].concat());
    }
}
