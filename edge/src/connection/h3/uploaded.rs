//! A request body over HTTP/3, on its way to the origin: bounded in bytes, and in how long the client may be silent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use headland_origin::BodyFault;
use http_body::{Body, Frame};

use super::Inlet;
use crate::connection::deadline::Deadline;
use crate::limits::Limits;

/// The receiving half of one stream; the client's window opens as the origin takes what comes.
pub(super) struct Uploaded {
    stream: Inlet,
    left: u64,
    idle: Duration,
    deadline: Deadline,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Data,
    Trailers,
    Done,
}

impl Uploaded {
    pub(super) fn new(stream: Inlet, limits: &Limits) -> Self {
        let idle = Duration::from_millis(limits.body_idle_ms.into());
        Uploaded { stream, left: limits.body_bytes_max, idle, deadline: Deadline::default(), state: State::Data }
    }

    fn waiting(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if !self.deadline.is_set() {
            self.deadline.set(Instant::now(), self.idle);
        }
        self.deadline.poll(cx).map(|()| self.ends(Some(Err(BodyFault::Timeout))))
    }

    fn ends<T>(&mut self, last: T) -> T {
        self.state = State::Done;
        last
    }
}

impl Body for Uploaded {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        if this.state == State::Data {
            match this.stream.poll_recv_data(cx) {
                Poll::Pending => return this.waiting(cx),
                Poll::Ready(Err(_)) => return Poll::Ready(this.ends(Some(Err(BodyFault::Disconnected)))),
                Poll::Ready(Ok(Some(mut data))) => {
                    this.deadline.clear();
                    let data = data.copy_to_bytes(data.remaining());
                    let Some(left) = this.left.checked_sub(data.len() as u64) else {
                        return Poll::Ready(this.ends(Some(Err(BodyFault::TooLarge))));
                    };
                    this.left = left;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Ok(None)) => this.state = State::Trailers,
            }
        }
        if this.state == State::Done {
            return Poll::Ready(None);
        }
        match this.stream.poll_recv_trailers(cx) {
            Poll::Pending => this.waiting(cx),
            Poll::Ready(Ok(trailers)) => Poll::Ready(this.ends(trailers.map(|trailers| Ok(Frame::trailers(trailers))))),
            Poll::Ready(Err(_)) => Poll::Ready(this.ends(Some(Err(BodyFault::Disconnected)))),
        }
    }
}
