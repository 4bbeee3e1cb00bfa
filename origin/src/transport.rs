//! The byte stream under a connection: TCP, or TLS over TCP.
//!
//! A socket belongs to the I/O driver of the runtime on which it was opened. Pooled connections cross threads, so
//! the socket can be moved to the driver of the thread that uses it now ([`Transport::rehome`]), also below TLS.
//! Liveness is asked of the kernel only when the driver has heard something ([`Transport::is_quiet`]).

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Id};
use tokio_rustls::client::TlsStream;

use crate::wire::Wire;

/// A TCP socket that knows whose driver watches it.
pub(crate) struct Socket {
    /// `None` only inside `rehome`, and after it failed.
    stream: Option<Wire>,
    driver: Id,
}

impl Socket {
    /// Takes a stream opened on the current runtime.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream: Some(Wire::new(stream)), driver: Handle::current().id() }
    }

    fn get(&self) -> io::Result<&TcpStream> {
        self.stream.as_ref().map(Wire::get).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn pinned(&mut self) -> io::Result<Pin<&mut Wire>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn is_home(&self) -> bool {
        Handle::try_current().is_ok_and(|current| current.id() == self.driver)
    }

    /// Two system calls when the driver changes, none otherwise.
    fn rehome(&mut self) -> io::Result<()> {
        if self.is_home() {
            return Ok(());
        }
        let stream = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        self.stream = Some(Wire::new(TcpStream::from_std(stream.into_inner().into_std()?)?));
        self.driver = Handle::current().id();
        Ok(())
    }

    /// True if the driver has heard nothing of this socket since it was read dry: no byte, no FIN, no reset.
    fn has_no_news(&self) -> bool {
        let Ok(stream) = self.get() else { return false };
        let probe = stream.try_io(Interest::READABLE, || peek(stream));
        matches!(probe, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn has_no_news_in_kernel(&self) -> bool {
        let probe = self.get().and_then(peek);
        matches!(probe, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn reset_on_close(&self) {
        if let Ok(stream) = self.get() {
            // Best effort: without it the close is a FIN, which still leaves the body short.
            let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

fn peek(stream: &TcpStream) -> io::Result<usize> {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()])
}

/// Reads a socket without the driver, for the records that TLS sends on its own account.
struct Raw<'a>(&'a TcpStream);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*SockRef::from(self.0)).read(buffer)
    }
}

pub(crate) enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    #[cfg(test)]
    Script(tokio::io::DuplexStream),
}

impl Transport {
    /// True if the current runtime's driver watches the socket.
    pub(crate) fn is_home(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_home(),
            Self::Tls(stream) => stream.get_ref().0.is_home(),
            #[cfg(test)]
            Self::Script(_) => true,
        }
    }

    /// Moves the socket to the current runtime's driver. After an error the transport is dead.
    pub(crate) fn rehome(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.rehome(),
            Self::Tls(stream) => stream.get_mut().0.rehome(),
            #[cfg(test)]
            Self::Script(_) => Ok(()),
        }
    }

    /// True if nothing has come since the last answer ended: no unread byte, no end. With `ask_kernel` the answer
    /// is as of now; without, as of the last time the driver looked, and costs no system call.
    pub(crate) fn is_quiet(&mut self, ask_kernel: bool) -> bool {
        match self {
            Self::Plain(socket) => quiet(socket, ask_kernel),
            Self::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                quiet(socket, ask_kernel) || digest_records(socket, session)
            }
            #[cfg(test)]
            Self::Script(stream) => {
                let mut byte = [0];
                let mut cx = Context::from_waker(std::task::Waker::noop());
                Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }

    /// Makes the close a reset, so that nobody takes what was sent for a whole message.
    pub(crate) fn reset_on_close(&self) {
        match self {
            Self::Plain(socket) => socket.reset_on_close(),
            Self::Tls(stream) => stream.get_ref().0.reset_on_close(),
            #[cfg(test)]
            Self::Script(_) => {}
        }
    }
}

fn quiet(socket: &Socket, ask_kernel: bool) -> bool {
    if ask_kernel || !socket.is_home() { socket.has_no_news_in_kernel() } else { socket.has_no_news() }
}

/// Session tickets and key updates come between answers and are no sign of ill health; application data, alerts
/// and the end of the stream are. Reads until the kernel has no more.
fn digest_records(socket: &Socket, session: &mut rustls::ClientConnection) -> bool {
    let Ok(stream) = socket.get() else { return false };
    loop {
        match session.read_tls(&mut Raw(stream)) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
        match session.process_new_packets() {
            Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
            _ => return false,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().pinned()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().pinned()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().pinned()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().pinned()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().pinned()?.poll_shutdown(cx)
    }
}

/// Hands a call on to the stream inside.
macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Plain($stream) => $call,
            Transport::Tls($stream) => $call,
            #[cfg(test)]
            Transport::Script($stream) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
