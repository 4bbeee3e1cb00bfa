//! The sending half of a request stream. Whatever is written, the client has to take some of it within the stall time:
//! one that is slow but takes is left alone, one that takes nothing loses its stream.
//!
//! QUIC takes only what the client's windows and the congestion controller allow, so what was taken is on its way. Unless
//! it was finished, a half that is dropped resets its stream: what is short must never look whole.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Door;
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
    stream: Q::Sending,
    stall: Duration,
    deadline: Deadline,
    stopped: Option<Stopped>,
    ended: bool,
    /// Updates of priorities that were looked at.
    updates: u32,
}

/// What ended the waiting for a client that takes nothing now.
enum Step {
    Written(usize),
    Refused(Refused),
    /// The client wants its answers in another order.
    Reordered,
}

impl<Q: Quic> Outlet<Q> {
    pub(super) fn new(door: Arc<Door<Q>>, stream: Q::Sending, stall: Duration) -> Self {
        Outlet { door, stream, stall, deadline: Deadline::default(), stopped: None, ended: false, updates: 0 }
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
        let (mut stalls, mut before) = (0, 0);
        loop {
            self.reorder();
            match self.write_or_wait(parts, &mut stalls, &mut before).await {
                Step::Written(parts) => return Ok(parts),
                Step::Refused(why) => return Err(why),
                Step::Reordered => {}
            }
        }
    }

    async fn write_or_wait(&mut self, parts: &mut [Bytes], stalls: &mut u32, before: &mut u64) -> Step {
        let (door, deadline, stall, seen) = (&self.door, &mut self.deadline, self.stall, self.updates);
        let mut reordered = pin!(door.priorities.changed.notified());
        let mut writing = pin!(self.stream.write(parts));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(written) = writing.as_mut().poll(cx) {
                return Poll::Ready(written.map_or(Step::Refused(Refused::Stopped), Step::Written));
            }
            // First be heard of, then look: what is said in between wakes.
            if reordered.as_mut().poll(cx).is_ready() || door.priorities.version.load(Relaxed) != seen {
                return Poll::Ready(Step::Reordered);
            }
            loop {
                if !deadline.is_set() {
                    *before = door.quic.bytes_sent();
                    deadline.set(Instant::now(), stall);
                }
                std::task::ready!(deadline.poll(cx));
                deadline.clear();
                *stalls += 1;
                if *stalls == STALLS_MAX || door.quic.bytes_sent() < *before + LEAVING_BYTES {
                    return Poll::Ready(Step::Refused(Refused::Stalled));
                }
            }
        })
        .await
    }

    /// Takes the client's last word on this stream, if there was one since.
    fn reorder(&mut self) {
        let version = self.door.priorities.version.load(Relaxed);
        if std::mem::replace(&mut self.updates, version) != version
            && let Some(priority) = self.door.priorities.of(self.stream.id())
        {
            self.stream.set_priority(priority.rank(self.stream.id()));
        }
    }

    /// Ready when the client wants no more of it.
    pub(super) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stopped = self.stopped.get_or_insert_with(|| Box::pin(self.stream.stopped()));
        stopped.as_mut().poll(cx)
    }

    /// What the request asked for; what was said of it apart counts more (RFC 9218 section 7).
    pub(super) fn set_priority(&self, priority: Priority) {
        self.stream.set_priority(priority.rank(self.stream.id()));
    }

    /// All is said.
    pub(super) fn finish(&mut self) -> bool {
        self.ended = true;
        self.stream.finish()
    }

    pub(super) fn reset(&mut self, reason: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            self.stream.reset(reason as u32);
        }
    }

    /// Waits until the client has acknowledged all that was sent.
    pub(super) async fn arrive(mut self, sent_bytes: u64) {
        let tail = sent_bytes.min(UNACKNOWLEDGED_BYTES_MAX) / TAIL_BYTES;
        let within = self.stall * (1 + tail as u32);
        let stopped = std::future::poll_fn(|cx| self.poll_stopped(cx));
        if tokio::time::timeout(within, stopped).await.is_err() {
            self.stream.reset(Code::InternalError as u32);
        }
    }
}

impl<Q: Quic> Drop for Outlet<Q> {
    fn drop(&mut self) {
        self.door.priorities.forget(self.stream.id());
        self.reset(Code::InternalError);
    }
}
