//! A request body over HTTP/3, on its way to the origin: bounded in bytes, and in how long the client may be silent; as long
//! as it was announced (RFC 9114 section 4.1.2).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headland_origin::BodyFault;
use http_body::{Body, Frame};

use super::inlet::{Gone, Inlet};
use crate::connection::deadline::Deadline;
use crate::h3::{Code, Event, Malformed, read_trailers};
use crate::quic::Quic;
use crate::snapshot::Snapshot;

/// The receiving half of one stream; the client's window opens as the origin takes what comes.
pub(super) struct Uploaded<Q: Quic> {
    inlet: Inlet<Q>,
    snapshot: Arc<Snapshot>,
    /// Bytes that may still come.
    left: u64,
    /// Bytes that were announced and did not come yet.
    announced: Option<u64>,
    deadline: Deadline,
    done: bool,
}

impl<Q: Quic> Uploaded<Q> {
    pub(super) fn new(inlet: Inlet<Q>, announced: Option<u64>, snapshot: Arc<Snapshot>) -> Self {
        let left = snapshot.limits.body_bytes_max;
        Uploaded { inlet, snapshot, left, announced, deadline: Deadline::default(), done: false }
    }

    fn take(&mut self, event: Option<Event>) -> Option<Result<Frame<Bytes>, BodyFault>> {
        match event {
            Some(Event::Data(data)) => {
                let bytes = data.len() as u64;
                let Some(left) = self.left.checked_sub(bytes) else {
                    return Some(Err(self.breaks(BodyFault::TooLarge)));
                };
                self.left = left;
                match self.announced.map(|announced| announced.checked_sub(bytes)) {
                    Some(None) => return Some(Err(self.breaks(BodyFault::Malformed("length")))),
                    announced => self.announced = announced.flatten(),
                }
                Some(Ok(Frame::data(data)))
            }
            _ if self.announced.is_some_and(|announced| announced > 0) => Some(Err(self.breaks(BodyFault::TooShort))),
            Some(Event::Trailers(section)) => match read_trailers(section, &self.snapshot.limits) {
                Ok(trailers) => Some(Ok(Frame::trailers(trailers))),
                Err(Malformed::Message(reason)) => Some(Err(self.breaks(BodyFault::Malformed(reason.word())))),
                Err(Malformed::Connection(reason)) => {
                    self.inlet.door.fail(reason);
                    Some(Err(self.breaks(BodyFault::Disconnected)))
                }
            },
            _ => {
                self.done = true;
                None
            }
        }
    }

    fn breaks(&mut self, fault: BodyFault) -> BodyFault {
        self.done = true;
        match fault {
            BodyFault::Malformed(_) | BodyFault::TooShort => self.inlet.stop(Code::MessageError),
            _ => self.inlet.stop(Code::NoError),
        }
        fault
    }
}

impl<Q: Quic> Body for Uploaded<Q> {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        match this.inlet.poll_event(cx) {
            Poll::Ready(Ok(event)) => {
                this.deadline.clear();
                Poll::Ready(this.take(event))
            }
            Poll::Ready(Err(Gone::TooLarge)) => {
                Poll::Ready(Some(Err(this.breaks(BodyFault::Malformed("trailer-too-large")))))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Some(Err(this.breaks(BodyFault::Disconnected)))),
            Poll::Pending => {
                if !this.deadline.is_set() {
                    let idle = Duration::from_millis(this.snapshot.limits.body_idle_ms.into());
                    this.deadline.set(Instant::now(), idle);
                }
                match this.deadline.poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(this.breaks(BodyFault::Timeout)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}
