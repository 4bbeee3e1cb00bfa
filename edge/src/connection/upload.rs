//! A request body on its way from an HTTP/1.1 client to the origin, driven by the connection that reads it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use headland_origin::{BodyFault, RequestBody};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use tokio_util::io::poll_read_buf;

use super::deadline::Deadline;
use super::h1::READ_BYTES;
use super::relay::{Feeder, relay};
use super::stream::Stream;
use crate::h1::{BodyDecoder, BodyFraming, Piece, Reason};
use crate::limits::Limits;

/// A body being read.
pub struct Upload {
    decoder: BodyDecoder,
    /// None once nobody wants the body any more: it is then read and dropped.
    feeder: Option<Feeder>,
    /// Bytes of data that were dropped.
    pub dropped: u64,
    /// How long the client may be silent.
    idle: Duration,
    /// When it has been, while it is waited for. An origin that takes nothing has deadlines of its own.
    deadline: Deadline,
}

/// How far an upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The body is whole, and the next request may follow.
    Whole,
    /// The client broke the framing: nothing more can be read from it.
    Refused(Reason),
    /// The client went away in the middle.
    Gone,
}

impl Upload {
    /// Begins to read a body; the other end goes to the origin.
    pub fn begin(framing: BodyFraming, limits: &Limits) -> (Self, RequestBody) {
        let (feeder, relayed) = relay();
        let length = match framing {
            BodyFraming::Length(length) => Some(length),
            BodyFraming::Empty | BodyFraming::Chunked => None,
        };
        let mut upload = Upload::discard(framing, limits);
        upload.feeder = Some(feeder);
        (upload, RequestBody::Stream { body: UnsyncBoxBody::new(relayed), length })
    }

    /// Begins to read a body that nobody wants.
    pub fn discard(framing: BodyFraming, limits: &Limits) -> Self {
        Upload {
            decoder: BodyDecoder::new(framing, limits.body_bytes_max),
            feeder: None,
            dropped: 0,
            idle: Duration::from_millis(limits.body_idle_ms.into()),
            deadline: Deadline::default(),
        }
    }

    /// Moves what can be moved without waiting. Pending means: for the client's bytes, or for the origin to take some.
    pub fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream, input: &mut BytesMut) -> Poll<Progress> {
        loop {
            if let Some(feeder) = &self.feeder {
                match feeder.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => self.feeder = None,
                    Poll::Pending => {
                        self.deadline.clear();
                        return Poll::Pending;
                    }
                }
            }
            match self.decoder.next(input) {
                Ok(Piece::Data(data)) => match &self.feeder {
                    Some(feeder) => feeder.push(Frame::data(data)),
                    None => self.dropped += data.len() as u64,
                },
                Ok(Piece::Trailers(trailers)) => {
                    if let Some(feeder) = &self.feeder {
                        feeder.push(Frame::trailers(trailers));
                    }
                }
                Ok(Piece::End) => {
                    if let Some(feeder) = self.feeder.take() {
                        feeder.finish();
                    }
                    return Poll::Ready(Progress::Whole);
                }
                Ok(Piece::NeedMore) => {
                    input.reserve(READ_BYTES);
                    match poll_read_buf(Pin::new(&mut *stream), cx, input) {
                        Poll::Ready(Ok(1..)) => self.deadline.clear(),
                        Poll::Ready(_) => return Poll::Ready(self.end(BodyFault::Disconnected, Progress::Gone)),
                        Poll::Pending => return self.poll_silent(cx),
                    }
                }
                Err(refusal) => {
                    let fault = match refusal.reason {
                        Reason::BodyTooLarge => BodyFault::TooLarge,
                        reason => BodyFault::Malformed(reason.word()),
                    };
                    return Poll::Ready(self.end(fault, Progress::Refused(refusal.reason)));
                }
            }
        }
    }

    /// Nothing comes from the client: for too long?
    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        if !self.deadline.is_set() {
            self.deadline.set(Instant::now(), self.idle);
        }
        std::task::ready!(self.deadline.poll(cx));
        Poll::Ready(self.end(BodyFault::Timeout, Progress::Gone))
    }

    fn end(&mut self, fault: BodyFault, progress: Progress) -> Progress {
        if let Some(feeder) = self.feeder.take() {
            feeder.fail(fault);
        }
        progress
    }
}
