//! The sending half of a request stream. Whatever is written, the client has to take some of it within the stall time:
//! one that is slow but takes is left alone, one that takes nothing loses its stream.
//!
//! QUIC takes only what the client's windows and the congestion controller allow, so what was taken is on its way. Unless
//! it was finished, a half that is dropped resets its stream: what is short must never look whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Door, order};
use crate::connection::deadline::Deadline;
use crate::h3::{Code, Priority};
use crate::quic::{Quic, Sending};

/// A client that acknowledges less than this within the stall time is too slow, once all is sent.
const TAIL_BYTES: u64 = 64 << 10;
/// Stall times in which bytes left, but none of this stream was taken.
const STALLS_MAX: u32 = 8;
/// Bytes that a connection sends in a stall time if it sends more than acknowledgements.
const LEAVING_BYTES: u64 = 4 << 10;
/// Bytes that one connection may have on their way, unacknowledged.
pub(crate) const UNACKNOWLEDGED_BYTES_MAX: u64 = 4 << 20;

/// Where the stream is whenever nothing waits to be written.
const HERE: &str = "the stream is here unless it waits";

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

type Stopped = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Outlet<Q: Quic> {
    door: Arc<Door<Q>>,
    id: u64,
    /// None while it waits for room: then it is with those that do.
    stream: Option<Q::Sending>,
    priority: Priority,
    stall: Duration,
    deadline: Deadline,
    stopped: Option<Stopped>,
    ended: bool,
    /// Updates of priorities that were looked at.
    updates: u32,
}

impl<Q: Quic> Outlet<Q> {
    pub(super) fn new(door: Arc<Door<Q>>, stream: Q::Sending, stall: Duration) -> Self {
        Outlet {
            door,
            id: stream.id(),
            stream: Some(stream),
            priority: Priority::default(),
            stall,
            deadline: Deadline::default(),
            stopped: None,
            ended: false,
            updates: 0,
        }
    }

    /// Sends every part, without a copy, when no answer that goes before this one waits.
    pub(super) async fn write(&mut self, mut parts: &mut [Bytes]) -> Result<(), Refused> {
        self.reorder();
        if self.door.order.is_free(self.id, self.priority) {
            while !parts.is_empty() {
                let stream = self.stream.as_mut().expect(HERE);
                let written = std::future::poll_fn(|cx| Poll::Ready(stream.poll_write(parts, cx)));
                let Poll::Ready(written) = written.await else { break };
                parts = &mut parts[written.map_err(|_| Refused::Stopped)?..];
            }
        }
        if parts.is_empty() { Ok(()) } else { self.wait(parts).await }
    }

    /// Waits for room for what is left.
    ///
    /// The client's windows open in leaps, so it may take bytes all the time and still let nothing more of this stream in
    /// for a while: as long as bytes leave it is given that time, though not for ever unless others go before it.
    async fn wait(&mut self, parts: &mut [Bytes]) -> Result<(), Refused> {
        let stream = self.stream.take().expect(HERE);
        let parts = parts.iter_mut().map(std::mem::take).collect();
        order::enter(&self.door.order, &self.door.quic, stream, self.priority, parts);
        let (door, deadline, stall, id) = (&self.door, &mut self.deadline, self.stall, self.id);
        let (mut stalls, mut left, mut taken) = (0, 0, 0);
        let left_queue = std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = door.order.poll_leave(id, cx) {
                return Poll::Ready(Some(done));
            }
            loop {
                if !deadline.is_set() {
                    (left, taken) = (door.quic.bytes_sent(), door.order.taken(id));
                    deadline.set(Instant::now(), stall);
                }
                std::task::ready!(deadline.poll(cx));
                deadline.clear();
                if door.order.taken(id) > taken {
                    stalls = 0;
                } else if door.quic.bytes_sent() < left + LEAVING_BYTES {
                    return Poll::Ready(None);
                } else if door.order.is_first(id) {
                    stalls += 1;
                    if stalls == STALLS_MAX {
                        return Poll::Ready(None);
                    }
                }
            }
        });
        let Some((stream, outcome)) = left_queue.await else {
            self.stream = self.door.order.withdraw(id);
            return Err(Refused::Stalled);
        };
        self.deadline.clear();
        self.stream = Some(stream);
        outcome.map_err(|_| Refused::Stopped)
    }

    /// Takes the client's last word on this stream, if there was one since.
    fn reorder(&mut self) {
        let version = self.door.priorities.version.load(Relaxed);
        if std::mem::replace(&mut self.updates, version) != version
            && let Some(priority) = self.door.priorities.of(self.id)
        {
            self.set_priority(priority);
        }
    }

    /// Ready when the client wants no more of it.
    pub(super) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stream = self.stream.as_ref().expect(HERE);
        let stopped = self.stopped.get_or_insert_with(|| Box::pin(stream.stopped()));
        stopped.as_mut().poll(cx)
    }

    /// What the request asked for; what was said of it apart counts more (RFC 9218 section 7).
    pub(super) fn set_priority(&mut self, priority: Priority) {
        self.priority = priority;
        self.stream.as_ref().expect(HERE).set_priority(priority.rank(self.id));
    }

    /// All is said.
    pub(super) fn finish(&mut self) -> bool {
        self.ended = true;
        self.stream.as_mut().expect(HERE).finish()
    }

    pub(super) fn reset(&mut self, reason: Code) {
        if !std::mem::replace(&mut self.ended, true)
            && let Some(stream) = &mut self.stream
        {
            stream.reset(reason as u32);
        }
    }

    /// Waits until the client has acknowledged all that was sent.
    pub(super) async fn arrive(mut self, sent_bytes: u64) {
        let tail = sent_bytes.min(UNACKNOWLEDGED_BYTES_MAX) / TAIL_BYTES;
        let within = self.stall * (1 + tail as u32);
        let stopped = std::future::poll_fn(|cx| self.poll_stopped(cx));
        if tokio::time::timeout(within, stopped).await.is_err() {
            self.stream.as_mut().expect(HERE).reset(Code::InternalError as u32);
        }
    }
}

impl<Q: Quic> Drop for Outlet<Q> {
    fn drop(&mut self) {
        self.door.priorities.forget(self.id);
        if self.stream.is_none() {
            // It was dropped while it waited.
            self.stream = self.door.order.withdraw(self.id);
        }
        self.reset(Code::InternalError);
    }
}
