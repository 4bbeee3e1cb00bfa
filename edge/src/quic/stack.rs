//! What HTTP/3 asks of the transport below it. Who wants to put another stack there writes these three traits for it, and
//! the door beside `crate::quic`; `crate::connection::h3` knows nothing else of it. For quinn they stand in `by_quinn`.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::session::Facts;

/// A connection; its clones are the same one.
pub trait Quic: Clone + Send + Sync + 'static {
    type Sending: Sending;
    type Receiving: Receiving;

    /// The next request stream that the client opens; none when the connection ended.
    fn accept_request(&self) -> impl Future<Output = Option<(Self::Sending, Self::Receiving)>> + Send;

    /// The next unidirectional stream that the client opens; none when the connection ended.
    fn accept_uni(&self) -> impl Future<Output = Option<Self::Receiving>> + Send;

    /// A unidirectional stream of ours; none when the connection ended.
    fn open_uni(&self) -> impl Future<Output = Option<Self::Sending>> + Send;

    /// Ends it with a code of the application's; the first reason stands.
    fn close(&self, code: u32);

    fn is_closed(&self) -> bool;

    fn round_trip(&self) -> Duration;

    /// From now on takes little more from all streams than it can send: what it has taken is in an order that
    /// may not be the right one any more.
    fn bound_ahead(&self);

    /// Bytes of datagrams that left so far.
    fn bytes_sent(&self) -> u64;

    /// What happened so far.
    fn counted(&self) -> Counted;

    /// What the handshake said.
    fn facts(&self) -> Option<Facts>;
}

/// The sending half of a stream.
pub trait Sending: Send + Sync + 'static {
    /// The stream's number (RFC 9000 section 2.1).
    fn id(&self) -> u64;

    /// Takes as much as flow and congestion control allow now, at least something: how many parts were taken whole; what
    /// is left of a part stays in its place. Whoever asked last is woken when it may take more. An error: the client wants
    /// no more, or is gone.
    fn poll_write(&mut self, parts: &mut [Bytes], cx: &mut Context<'_>) -> Poll<Result<usize, Cut>>;

    /// Streams of a higher priority are sent first, those of the same one by turns.
    fn set_priority(&self, priority: i32);

    /// Nothing follows; whether that could still be said.
    fn finish(&mut self) -> bool;

    /// What was not sent never will be.
    fn reset(&mut self, code: u32);

    /// Ends when the client wants no more, is gone, or has acknowledged everything.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static;
}

/// The receiving half of a stream.
pub trait Receiving: Send + Unpin + 'static {
    /// Whether what was read so far may be somebody's copy (RFC 8470).
    fn is_early(&self) -> bool;

    /// What comes next, without a copy; none at the end of the stream.
    fn read(&mut self, bytes_max: usize) -> impl Future<Output = Result<Option<Bytes>, Cut>> + Send;

    /// The client is asked to send no more.
    fn stop(&mut self, code: u32);
}

/// Why a stream goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The client said so.
    Stream,
    /// The connection ended.
    Connection,
}

/// What a connection counted over its life.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    pub datagrams_sent: u64,
    /// System calls that sent them.
    pub sends: u64,
    pub datagrams_received: u64,
    pub packets_sent: u64,
    pub packets_lost: u64,
    /// New addresses of the client that it proved.
    pub migrations: u64,
}
