//! The reading side of a fill: the head, then the body as it arrives.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::fill::{Broken, Fill, FillHead, NoHead};

/// A place among the readers of a fill; leaves when dropped.
struct Seat {
    fill: Arc<Fill>,
    reader: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.fill.leave(self.reader);
    }
}

/// One who waits for the head of a fill that somebody else leads (or, for the leader's client, that it leads itself).
pub struct Follower {
    seat: Seat,
}

impl Follower {
    pub(crate) fn new(fill: Arc<Fill>, reader: usize) -> Self {
        Follower { seat: Seat { fill, reader } }
    }

    /// The head as soon as it is there, or why there will be none. Dropping the future loses nothing.
    pub async fn head(&mut self) -> Result<Arc<FillHead>, NoHead> {
        std::future::poll_fn(|cx| self.seat.fill.poll_head(self.seat.reader, cx)).await
    }

    pub(crate) fn fill(&self) -> &Arc<Fill> {
        &self.seat.fill
    }

    /// The body, from its first byte.
    #[must_use]
    pub fn into_reader(self) -> FillReader {
        FillReader { seat: self.seat, limit: None, trailers: Trailers::Ahead }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Trailers {
    Ahead,
    Done,
}

/// The body of a fill, streamed while it arrives. Ends cleanly only when the response was whole; otherwise it yields
/// what had arrived and then [`Broken`].
pub struct FillReader {
    seat: Seat,
    /// Offset behind the last byte wanted; none for the whole body.
    limit: Option<u64>,
    trailers: Trailers,
}

impl FillReader {
    /// Reads only the bytes from `first` up to, not including, `end`. Call it before the first byte is read.
    #[must_use]
    pub fn narrowed(mut self, first: u64, end: u64) -> Self {
        self.seat.fill.skip_to(self.seat.reader, first);
        self.limit = Some(end);
        self
    }

    fn poll_trailers(&mut self) -> Option<Frame<Bytes>> {
        let first_time = std::mem::replace(&mut self.trailers, Trailers::Done) == Trailers::Ahead;
        // A part of a body has no trailers: these belong to the whole.
        if !first_time || self.limit.is_some() {
            return None;
        }
        self.seat.fill.trailers().map(Frame::trailers)
    }
}

impl Body for FillReader {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if this.trailers == Trailers::Done {
            return Poll::Ready(None);
        }
        let limit = this.limit.unwrap_or(u64::MAX);
        match this.seat.fill.poll_data(this.seat.reader, limit, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(data))) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Poll::Ready(Some(Err(broken))) => {
                this.trailers = Trailers::Done;
                Poll::Ready(Some(Err(broken)))
            }
            Poll::Ready(None) => Poll::Ready(this.poll_trailers().map(Ok)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let fill = &self.seat.fill;
        match self.limit.or_else(|| fill.length()) {
            Some(end) => SizeHint::with_exact(end.saturating_sub(fill.position(self.seat.reader))),
            None => SizeHint::default(),
        }
    }
}
