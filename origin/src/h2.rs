//! The HTTP/2 client: one connection, many exchanges, on the `h2` crate.
//!
//! A [`Handle`] is a cheap clone; any thread may use one. The connection itself is driven by one task of the runtime
//! on which it was opened. Windows are wide enough for a long fat link and are the bound of what an origin can make
//! us hold: bytes are let in again only as the reader takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};

use crate::error::{FetchError, Phase};
use crate::transport::Transport;

mod body;
mod driver;
mod exchange;
mod fault;
mod pump;
mod request;
mod upload;

pub(crate) use body::Body;
pub use driver::{PING_EVERY, PING_WAIT};

/// Bytes of one answer that may wait for their reader.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes of all answers on one connection that may wait: 8 MiB in 30 ms are 2 Gbit/s.
pub const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Bytes of a DATA frame that an origin may send us.
pub const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of a field section, as RFC 9113 6.5.2 counts them.
pub const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of requests on one connection that may wait to be written.
pub const SEND_BYTES_MAX: usize = 256 * 1024;
/// Streams opened before the origin has told its limit (RFC 9113 6.5.2 recommends no less than 100).
const STREAMS_BEFORE_SETTINGS: usize = 100;

/// A shared HTTP/2 connection; clones speak over the same one.
#[derive(Clone)]
pub struct Handle {
    send: SendRequest<Bytes>,
    shared: Arc<Shared>,
}

struct Shared {
    /// The driver has ended: the connection is gone.
    closed: AtomicBool,
    /// Exchanges that have not ended.
    streams: AtomicUsize,
    /// The request went over TLS.
    secure: bool,
}

/// Counts one exchange until it is dropped.
struct Stream(Arc<Shared>);

impl Stream {
    fn open(shared: &Arc<Shared>) -> Self {
        shared.streams.fetch_add(1, Ordering::Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Handle {
    /// Sends the preface and starts the driver. Does not wait for the origin's settings: that would cost every first
    /// request a round trip.
    pub(crate) async fn open(transport: Transport, secure: bool) -> Result<Self, FetchError> {
        let (send, connection) =
            builder().handshake::<_, Bytes>(transport).await.map_err(|error| fault::of(error, Phase::Connect))?;
        let shared = Arc::new(Shared { closed: AtomicBool::new(false), streams: AtomicUsize::new(0), secure });
        tokio::spawn(driver::drive(connection, shared.clone()));
        Ok(Self { send, shared })
    }

    /// False once the connection is closed or going away: it takes no new stream.
    pub fn is_usable(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        // Ready with an error after GOAWAY, and when stream ids are used up.
        !self.shared.closed.load(Ordering::Acquire)
            && !matches!(self.send.clone().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// How many streams the origin lets us have open at a time.
    pub fn capacity(&self) -> usize {
        self.send.current_max_send_streams()
    }

    /// How many of ours are open now.
    pub fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::Relaxed)
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buffer_size(SEND_BYTES_MAX)
        .initial_max_send_streams(STREAMS_BEFORE_SETTINGS);
    builder
}

#[cfg(test)]
mod tests;
