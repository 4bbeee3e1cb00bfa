//! A request body over HTTP/2, on its way to the origin: bounded in bytes, and in how long the client may be silent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use headland_origin::BodyFault;
use http_body::{Body, Frame};

use crate::connection::deadline::Deadline;
use crate::limits::Limits;

/// A request body on its way from an HTTP/2 client to the origin; the client's window opens as the origin takes it.
pub(super) struct Uploaded {
    stream: RecvStream,
    left: u64,
    idle: Duration,
    deadline: Deadline,
    data_ended: bool,
}

impl Uploaded {
    pub(super) fn new(stream: RecvStream, limits: &Limits) -> Self {
        let idle = Duration::from_millis(limits.body_idle_ms.into());
        Uploaded { stream, left: limits.body_bytes_max, idle, deadline: Deadline::default(), data_ended: false }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        match self.stream.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => {
                self.deadline.clear();
                let _ = self.stream.flow_control().release_capacity(data.len());
                let Some(left) = self.left.checked_sub(data.len() as u64) else {
                    return Poll::Ready(Some(Err(BodyFault::TooLarge)));
                };
                self.left = left;
                Poll::Ready(Some(Ok(data)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(BodyFault::Disconnected))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                if !self.deadline.is_set() {
                    self.deadline.set(Instant::now(), self.idle);
                }
                self.deadline.poll(cx).map(|()| Some(Err(BodyFault::Timeout)))
            }
        }
    }
}

impl Body for Uploaded {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        if !this.data_ended {
            if let Some(data) = ready!(this.poll_data(cx)) {
                return Poll::Ready(Some(data.map(Frame::data)));
            }
            this.data_ended = true;
        }
        match ready!(this.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(_) => Poll::Ready(Some(Err(BodyFault::Disconnected))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
