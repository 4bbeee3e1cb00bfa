//! The receiving half of a request stream: head, content, trailers.
//!
//! What breaks a rule of framing ends the connection here; what is merely not wanted is stopped when the half is dropped,
//! which asks the client to send no more of it (RFC 9114 section 4.1).

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::Door;
use crate::h3::{Code, Event, Frames};
use crate::limits::Limits;
use crate::quic::{Quic, Receiving};

/// Bytes read at a time; they are not copied.
const READ_BYTES: usize = 64 << 10;

/// Why no more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// The client gave the request up, or the connection ended.
    Client,
    /// The stream ended without a request.
    Incomplete,
    /// The field section is larger than is read.
    TooLarge,
}

pub(super) struct Inlet<Q: Quic> {
    pub(super) door: Arc<Door<Q>>,
    stream: Q::Receiving,
    frames: Frames,
    input: Bytes,
    ended: bool,
    /// What came already, and was looked at only.
    peeked: Option<Event>,
}

impl<Q: Quic> Inlet<Q> {
    pub(super) fn new(door: Arc<Door<Q>>, stream: Q::Receiving, limits: &Limits) -> Self {
        let frames = Frames::new(limits.h2_header_list_bytes);
        Inlet { door, stream, frames, input: Bytes::new(), ended: false, peeked: None }
    }

    /// The field section of the head.
    pub(super) async fn head(&mut self) -> Result<Bytes, Gone> {
        match std::future::poll_fn(|cx| self.poll_event(cx)).await? {
            Some(Event::Head(section)) => Ok(section),
            _ => Err(Gone::Incomplete),
        }
    }

    /// Whether anything follows the head.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Gone>> {
        if self.peeked.is_none() {
            self.peeked = ready!(self.poll_event(cx))?;
        }
        Poll::Ready(Ok(self.peeked.is_some()))
    }

    /// The next part of the message; none at its end.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Gone>> {
        if let Some(event) = self.peeked.take() {
            return Poll::Ready(Ok(Some(event)));
        }
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        loop {
            match self.frames.next(&mut self.input) {
                Ok(Event::NeedMore) => {}
                Ok(Event::TooLarge) => return Poll::Ready(Err(Gone::TooLarge)),
                Ok(event) => return Poll::Ready(Ok(Some(event))),
                Err(reason) => return Poll::Ready(Err(self.breaks(reason))),
            }
            let Some(chunk) = ready!(self.poll_chunk(cx))? else {
                self.ended = true;
                return Poll::Ready(match self.frames.end() {
                    Ok(()) => Ok(None),
                    // Section 4.1: an error of the stream only.
                    Err(Code::RequestIncomplete) => Err(Gone::Incomplete),
                    Err(reason) => Err(self.breaks(reason)),
                });
            };
            self.input = chunk;
        }
    }

    /// What comes next on the stream; none at its end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Gone>> {
        let chunk = ready!(pin!(self.stream.read(READ_BYTES)).poll(cx));
        self.ended |= chunk.is_err();
        Poll::Ready(chunk.map_err(|_| Gone::Client))
    }

    fn breaks(&mut self, reason: Code) -> Gone {
        self.ended = true;
        self.door.fail(reason);
        Gone::Client
    }

    /// The client is asked to send no more.
    pub(super) fn stop(&mut self, reason: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            self.stream.stop(reason as u32);
        }
    }
}

impl<Q: Quic> Drop for Inlet<Q> {
    fn drop(&mut self) {
        self.stop(Code::NoError);
    }
}
