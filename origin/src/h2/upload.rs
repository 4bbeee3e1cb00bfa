//! Sending a request's body, as far as the origin's windows let it.
//!
//! A body that breaks off, or is not as long as declared, resets its stream: the origin must not take a part for the
//! whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;

use crate::error::BodyFault;
use crate::exchange::Waits;
use crate::framing::only_trailing;

pub(super) struct Upload {
    body: UnsyncBoxBody<Bytes, BodyFault>,
    /// What the body is still to have, where it was declared.
    left: Option<u64>,
    send: SendStream<Bytes>,
    data: Bytes,
    /// No more of the body comes after `data`.
    last: bool,
    sent: u64,
    waits: Waits,
}

/// How an upload ended.
#[derive(Debug)]
pub(super) enum Ended {
    Done,
    /// The origin wants no more of it; its answer counts.
    Unwanted,
}

impl Upload {
    pub(super) fn new(body: UnsyncBoxBody<Bytes, BodyFault>, left: Option<u64>, send: SendStream<Bytes>) -> Self {
        Self { body, left, send, data: Bytes::new(), last: false, sent: 0, waits: Waits::Client }
    }

    /// Bytes handed to the connection.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    /// After the client's fault: the origin must not wait for the rest.
    pub(super) fn cancel(&mut self) {
        self.send.send_reset(Reason::CANCEL);
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended, BodyFault>> {
        loop {
            if !self.data.is_empty() {
                self.waits = Waits::Origin;
                match ready!(self.poll_data(cx)) {
                    true if self.last && self.data.is_empty() => return Poll::Ready(Ok(Ended::Done)),
                    true => continue,
                    false => return Poll::Ready(Ok(Ended::Unwanted)),
                }
            }
            self.waits = Waits::Client;
            if self.send.poll_reset(cx).is_ready() {
                // RFC 9113 8.1: an origin may answer early and ask, without an error, for the rest not to be sent.
                return Poll::Ready(Ok(Ended::Unwanted));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(self.end(None)),
                Some(Err(fault)) => return Poll::Ready(Err(fault)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.take(data)?,
                    Err(frame) => return Poll::Ready(self.end(frame.trailers_ref())),
                },
            }
        }
    }

    fn take(&mut self, data: Bytes) -> Result<(), BodyFault> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or(BodyFault::TooLarge)?;
        }
        // The end travels with the last data only if it is the end that was declared.
        self.last = !data.is_empty() && self.body.is_end_stream() && self.left.is_none_or(|left| left == 0);
        self.data = data;
        Ok(())
    }

    /// Sends as much as there is room for; false when the origin takes no more.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.send.reserve_capacity(self.data.len());
        match ready!(self.send.poll_capacity(cx)) {
            Some(Ok(room)) => {
                let piece = self.data.split_to(room.min(self.data.len()));
                self.sent += piece.len() as u64;
                let end = self.last && self.data.is_empty();
                Poll::Ready(self.send.send_data(piece, end).is_ok())
            }
            Some(Err(_)) | None => Poll::Ready(false),
        }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<Ended, BodyFault> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(BodyFault::TooShort);
        }
        let sent = match trailers.map(only_trailing).filter(|trailers| !trailers.is_empty()) {
            Some(trailers) => self.send.send_trailers(trailers),
            None => self.send.send_data(Bytes::new(), true),
        };
        Ok(if sent.is_ok() { Ended::Done } else { Ended::Unwanted })
    }
}
