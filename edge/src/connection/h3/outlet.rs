//! The sending half of a request stream. Whatever is written, the client has to take some of it within the stall time:
//! one that is slow but takes is left alone, one that takes nothing loses its stream.
//!
//! QUIC takes only what the client's windows and the congestion controller allow, so what was taken is on its way. Unless
//! it was finished, a half that is dropped resets its stream: what is short must never look whole.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Connection, SendStream, StoppedError, VarInt};

use super::code;
use crate::connection::deadline::Deadline;
use crate::h3::Code;

/// A client that acknowledges less than this within the stall time is too slow, once all is sent.
const TAIL_BYTES: u64 = 64 << 10;
/// Stall times in which bytes left, but none of this stream was taken.
const STALLS_MAX: u32 = 8;
/// Bytes that a connection sends in a stall time if it sends more than acknowledgements.
const LEAVING_BYTES: u64 = 4 << 10;
/// Bytes that one connection may have on their way, unacknowledged.
pub(crate) const UNACKNOWLEDGED_BYTES_MAX: u64 = 4 << 20;

/// Why the client does not get more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It wants no more, or is gone.
    Stopped,
    /// It took nothing for too long.
    Stalled,
    /// There is no more: the content broke off.
    Broken,
}

type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

pub(super) struct Outlet {
    quic: Connection,
    stream: SendStream,
    stall: Duration,
    deadline: Deadline,
    stopped: Option<Stopped>,
    ended: bool,
}

impl Outlet {
    pub(super) fn new(quic: Connection, stream: SendStream, stall: Duration) -> Self {
        Outlet { quic, stream, stall, deadline: Deadline::default(), stopped: None, ended: false }
    }

    /// Sends every part, without a copy.
    pub(super) async fn write(&mut self, mut parts: &mut [Bytes]) -> Result<(), Refused> {
        while !parts.is_empty() {
            let written = self.write_some(parts).await?;
            self.deadline.clear();
            parts = &mut parts[written..];
        }
        Ok(())
    }

    /// Sends as much as the client takes now, at least something; how many parts are sent.
    ///
    /// Its windows open in leaps, so it may take bytes all the time and still let nothing more in for a while: as long as
    /// bytes leave it is given that time, though not for ever.
    async fn write_some(&mut self, parts: &mut [Bytes]) -> Result<usize, Refused> {
        let (quic, deadline, stall) = (&self.quic, &mut self.deadline, self.stall);
        let left = || quic.stats().udp_tx.bytes;
        let (mut stalls, mut before) = (0, 0);
        let mut writing = pin!(self.stream.write_chunks(parts));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(written) = writing.as_mut().poll(cx) {
                return Poll::Ready(written.map(|written| written.chunks).map_err(|_| Refused::Stopped));
            }
            loop {
                if !deadline.is_set() {
                    before = left();
                    deadline.set(Instant::now(), stall);
                }
                std::task::ready!(deadline.poll(cx));
                deadline.clear();
                stalls += 1;
                if stalls == STALLS_MAX || left() < before + LEAVING_BYTES {
                    return Poll::Ready(Err(Refused::Stalled));
                }
            }
        })
        .await
    }

    /// Ready when the client wants no more of it.
    pub(super) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stopped = self.stopped.get_or_insert_with(|| Box::pin(self.stream.stopped()));
        stopped.as_mut().poll(cx).map(|_| ())
    }

    /// Urgency 0 to 7, the most urgent first (RFC 9218 section 4.1).
    pub(super) fn set_urgency(&self, urgency: u8) {
        // A stream that is gone shows when something is written.
        drop(self.stream.set_priority(3 - i32::from(urgency)));
    }

    /// All is said.
    pub(super) fn finish(&mut self) -> bool {
        self.ended = true;
        self.stream.finish().is_ok()
    }

    pub(super) fn reset(&mut self, reason: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            // A stream that is closed needs no telling.
            drop(self.stream.reset(code(reason)));
        }
    }

    /// Waits until the client has acknowledged all that was sent.
    pub(super) async fn arrive(mut self, sent_bytes: u64) {
        let tail = sent_bytes.min(UNACKNOWLEDGED_BYTES_MAX) / TAIL_BYTES;
        let within = self.stall * (1 + tail as u32);
        let stopped = std::future::poll_fn(|cx| self.poll_stopped(cx));
        if tokio::time::timeout(within, stopped).await.is_err() {
            drop(self.stream.reset(code(Code::InternalError)));
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.reset(Code::InternalError);
    }
}
