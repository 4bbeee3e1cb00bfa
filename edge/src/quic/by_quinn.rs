//! quinn, as HTTP/3 sees a transport.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};

use super::session::Facts;
use super::stack::{Counted, Cut, Quic, Receiving, Sending};
use crate::connection::h3::outlet::UNACKNOWLEDGED_BYTES_MAX;

/// Bytes that are taken beyond what congestion control lets out: enough to send while the next ones are handed over.
pub(super) const AHEAD_BYTES: u64 = 128 << 10;

impl Quic for Connection {
    type Sending = SendStream;
    type Receiving = RecvStream;

    async fn accept_request(&self) -> Option<(SendStream, RecvStream)> {
        self.accept_bi().await.ok()
    }

    async fn accept_uni(&self) -> Option<RecvStream> {
        Connection::accept_uni(self).await.ok()
    }

    async fn open_uni(&self) -> Option<SendStream> {
        Connection::open_uni(self).await.ok()
    }

    fn close(&self, code: u32) {
        Connection::close(self, code.into(), b"");
    }

    fn is_closed(&self) -> bool {
        self.close_reason().is_some()
    }

    fn round_trip(&self) -> Duration {
        self.rtt()
    }

    fn bound_ahead(&self) {
        // Acknowledged bytes count as long as earlier ones are missing: a lost packet costs a second window.
        let window = 2 * self.stats().path.cwnd + AHEAD_BYTES;
        self.set_send_window(window.min(UNACKNOWLEDGED_BYTES_MAX));
    }

    fn bytes_sent(&self) -> u64 {
        self.stats().udp_tx.bytes
    }

    fn counted(&self) -> Counted {
        let stats = self.stats();
        Counted {
            datagrams_sent: stats.udp_tx.datagrams,
            sends: stats.udp_tx.ios,
            datagrams_received: stats.udp_rx.datagrams,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
            migrations: stats.frame_rx.path_response,
        }
    }

    fn facts(&self) -> Option<Facts> {
        self.handshake_data()?.downcast().ok().map(|facts| *facts)
    }
}

impl Sending for SendStream {
    fn id(&self) -> u64 {
        VarInt::from(SendStream::id(self)).into_inner()
    }

    fn poll_write(&mut self, parts: &mut [Bytes], cx: &mut Context<'_>) -> Poll<Result<usize, Cut>> {
        // It keeps who is to be woken with the connection, nothing in the future.
        pin!(self.write_chunks(parts)).poll(cx).map(|written| match written {
            Ok(written) => Ok(written.chunks),
            Err(quinn::WriteError::Stopped(_)) => Err(Cut::Stream),
            Err(_) => Err(Cut::Connection),
        })
    }

    fn set_priority(&self, priority: i32) {
        // A stream that is gone shows when something is written.
        drop(SendStream::set_priority(self, priority));
    }

    fn finish(&mut self) -> bool {
        SendStream::finish(self).is_ok()
    }

    fn reset(&mut self, code: u32) {
        // A stream that is closed needs no telling.
        drop(SendStream::reset(self, code.into()));
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = SendStream::stopped(self);
        async move { drop(stopped.await) }
    }
}

impl Receiving for RecvStream {
    fn is_early(&self) -> bool {
        self.is_0rtt()
    }

    async fn read(&mut self, bytes_max: usize) -> Result<Option<Bytes>, Cut> {
        match self.read_chunk(bytes_max, true).await {
            Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
            Err(ReadError::Reset(_)) => Err(Cut::Stream),
            Err(_) => Err(Cut::Connection),
        }
    }

    fn stop(&mut self, code: u32) {
        // A stream that is closed needs no telling.
        drop(RecvStream::stop(self, code.into()));
    }
}
