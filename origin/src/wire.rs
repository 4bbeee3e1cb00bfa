//! A TCP stream whose bytes move by bare system calls.
//!
//! The C library makes `recv` and `send` points of cancellation: in a process with threads each call then pays two
//! atomic exchanges around the system call. Nobody here cancels threads, so that is left out; the rest is as in
//! Tokio's own stream: when fewer bytes moved than were asked for, the kernel has no more (epoll(7), edge-triggered),
//! and readiness is given back without a call that would only say so.
#![allow(unsafe_code)] // `ReadBuf` is filled where it is not initialised yet

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The stream of one TCP connection.
#[derive(Debug)]
pub struct Wire(TcpStream);

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Wire(stream)
    }

    pub fn get(&self) -> &TcpStream {
        &self.0
    }

    pub fn into_inner(self) -> TcpStream {
        self.0
    }

    /// Writes until the kernel takes no more, or waits. `wanted` is how many bytes `send` is given.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        send: impl Fn(&TcpStream) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            if let Some(sent) = self.attempt(Interest::WRITABLE, || send(&self.0), |sent| *sent < wanted)? {
                return Poll::Ready(Ok(sent));
            }
        }
    }

    /// One system call, if the driver thinks that it may do something; nothing if it was wrong. Readiness ends with a
    /// call that would block, and with one of which the kernel did less than it was asked for.
    fn attempt<T>(
        &self,
        interest: Interest,
        call: impl Fn() -> rustix::io::Result<T>,
        is_short: impl Fn(&T) -> bool,
    ) -> io::Result<Option<T>> {
        let mut done = None;
        let tried = self.0.try_io(interest, || {
            let moved = rustix::io::retry_on_intr(&call)?;
            let short = is_short(&moved);
            done = Some(moved);
            if short { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match tried {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(done),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        // SAFETY: the bytes are only written to, by the kernel; none is made uninitialised.
        let unfilled = std::cell::RefCell::new(unsafe { buf.unfilled_mut() });
        let read = loop {
            ready!(self.0.poll_read_ready(cx))?;
            let receive = || {
                rustix::net::recv(&self.0, &mut **unfilled.borrow_mut(), RecvFlags::empty())
                    .map(|((read, _), _)| read.len())
            };
            // The end of the stream is no short read: it stays readable.
            if let Some(read) = self.attempt(Interest::READABLE, receive, |&read| 0 < read && read < room)? {
                break read;
            }
        };
        // SAFETY: the kernel has written these bytes.
        unsafe { buf.assume_init(read) };
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, buf.len(), |stream| rustix::net::send(stream, buf, SendFlags::NOSIGNAL))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_send(cx, wanted, |stream| {
            rustix::net::sendmsg(stream, bufs, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Wire, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Wire::new(near.unwrap()), Wire::new(far.unwrap().0))
    }

    /// Not a multiple of any buffer, and more than sockets hold.
    const MANY: usize = 20_000_003;

    fn pattern() -> Vec<u8> {
        (0..MANY).map(|at| (at % 251) as u8).collect()
    }

    #[tokio::test]
    async fn more_than_the_kernel_holds_arrives_whole_and_in_order() {
        let (mut near, mut far) = pair().await;
        let sender = tokio::spawn(async move {
            near.write_all(&pattern()).await.unwrap();
            near.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        sender.await.unwrap();
        assert!(got == pattern());
    }

    #[tokio::test]
    async fn slices_leave_in_their_order() {
        let (mut near, mut far) = pair().await;
        let sender = tokio::spawn(async move {
            let body = pattern();
            let mut sent = 0;
            while sent < body.len() {
                let (head, rest) = body[sent..].split_at(7.min(body.len() - sent));
                sent += near.write_vectored(&[IoSlice::new(head), IoSlice::new(rest)]).await.unwrap();
            }
        });
        let mut got = vec![0; MANY];
        far.read_exact(&mut got).await.unwrap();
        sender.await.unwrap();
        assert!(got == pattern());
    }

    #[tokio::test]
    async fn both_ends_take_turns_whatever_the_size_of_their_reads() {
        let (mut near, mut far) = pair().await;
        for size in [1, 3, 4096, 65536] {
            let sent = vec![b'x'; size];
            near.write_all(&sent).await.unwrap();
            let mut got = vec![0; size];
            far.read_exact(&mut got).await.unwrap();
            far.write_all(&got).await.unwrap();
            near.read_exact(&mut got).await.unwrap();
            assert_eq!(got, sent);
        }
    }

    #[tokio::test]
    async fn a_reset_is_an_error_and_no_signal() {
        let (mut near, far) = pair().await;
        socket2::SockRef::from(far.get()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(far);
        let read = near.read(&mut [0]).await.unwrap_err();
        assert_eq!(read.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(near.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_told_again_and_again() {
        let (mut near, mut far) = pair().await;
        near.shutdown().await.unwrap();
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
