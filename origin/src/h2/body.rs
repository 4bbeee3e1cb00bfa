//! The body of an answer, stream by stream.
//!
//! Bytes that the reader takes are let in again at once: what waits unread is bounded by the stream's window, and a
//! slow reader holds up its own stream only.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::pump::Pump;
use super::{Handle, Stream, fault};
use crate::error::{Deadline, Fault, FetchError, Phase};
use crate::exchange::{Connection, Home, Limits};
use crate::framing::only_trailing;
use crate::timer::Timer;

/// What happens once both bodies of an exchange are through: whoever is last calls home.
pub(super) struct Ending {
    /// Locked by nobody: it makes what one thread owns shareable by two.
    home: Mutex<Home>,
    handle: Handle,
    stream: Stream,
}

impl Ending {
    pub(super) fn new(home: Home, handle: Handle, stream: Stream) -> Self {
        Self { home: Mutex::new(home), handle, stream }
    }

    /// One of the two bodies is through.
    pub(super) fn part(ending: Arc<Self>) {
        if let Some(Self { home, handle, stream }) = Arc::into_inner(ending) {
            drop(stream);
            home.into_inner()(Connection::H2(handle));
        }
    }
}

/// The body of an answer that is still arriving.
pub(crate) struct Body {
    recv: RecvStream,
    length: Option<u64>,
    received: u64,
    pump: Option<Pump>,
    /// `None` once the body has ended, well or not.
    ending: Option<Arc<Ending>>,
    timer: Timer,
    limits: Limits,
    due: Option<Instant>,
    /// All data is here; trailers may come.
    data_done: bool,
}

impl Body {
    pub(super) fn new(
        recv: RecvStream,
        length: Option<u64>,
        pump: Option<Pump>,
        ending: Arc<Ending>,
        timer: Timer,
        limits: Limits,
    ) -> Self {
        Self { recv, length, received: 0, pump, ending: Some(ending), timer, limits, due: None, data_done: false }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.ending.is_none()
    }

    /// Bytes still to come, where the origin said.
    pub(crate) fn remaining(&self) -> Option<u64> {
        if self.is_end_stream() { Some(0) } else { self.length?.checked_sub(self.received) }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        if self.ending.is_none() {
            return Poll::Ready(None);
        }
        match self.poll_next(cx) {
            Poll::Ready(result) => {
                self.due = None;
                if matches!(result, Some(Err(_))) {
                    self.pump = None;
                    self.ending = None;
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_late(cx),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        while !self.data_done {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(self.take(data))))),
                Some(Err(error)) => return Poll::Ready(Some(Err(self.broke(error)))),
                None => self.data_done = true,
            }
        }
        match ready!(self.recv.poll_trailers(cx)) {
            Ok(trailers) => {
                self.finish();
                let trailers = trailers.as_ref().map(only_trailing).filter(|trailers| !trailers.is_empty());
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Err(error) => Poll::Ready(Some(Err(self.broke(error)))),
        }
    }

    /// Lets as many bytes in again; the stream may end with these.
    fn take(&mut self, data: Bytes) -> Bytes {
        self.received += data.len() as u64;
        // Fails only when the stream is over, and then there is no window to widen.
        let _ = self.recv.flow_control().release_capacity(data.len());
        if self.recv.is_end_stream() {
            self.finish();
        }
        data
    }

    fn finish(&mut self) {
        if let Some(ending) = self.ending.take() {
            Ending::part(ending);
        }
        if let Some(pump) = self.pump.take() {
            pump.go_on();
        }
    }

    fn broke(&self, error: h2::Error) -> FetchError {
        match self.pump.as_ref().and_then(Pump::broken) {
            Some(fault) => FetchError::new(Fault::ClientBody(fault.clone()), Phase::Send),
            None => fault::of(error, Phase::Body),
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        let step = *self.due.get_or_insert_with(|| Instant::now() + self.limits.between_bytes);
        ready!(self.timer.poll(cx, step.min(self.limits.end)));
        let deadline = if step < self.limits.end { Deadline::BetweenBytes } else { Deadline::Total };
        self.pump = None;
        self.ending = None;
        Poll::Ready(Some(Err(FetchError::timeout(deadline, Phase::Body))))
    }
}
