//! The body of a response as it arrives, and the way home of its connection.
//!
//! One place knows where the body ends. At that place the connection goes home if it may serve again: the answer was
//! framed, nothing follows it, the request is out. Everywhere else it is closed. An upload that is still running
//! when the head arrives goes on in a task of its own (`Pump`), so that neither direction waits for the other: a
//! client that reads nothing before it has sent everything would otherwise block both.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use super::Connection;
use super::head::BodyFraming;
use super::pump::{Half, Outcome};
use super::scratch::{self, BLOCK_BYTES, READ_BYTES_BIG};
use crate::error::{Deadline, Fault, FetchError, Phase};
use crate::exchange::{self, Home, Limits};
use crate::framing::{ChunkedDecoder, Step};

/// After this many bytes a body is long, and is read in larger pieces.
const LONG_BODY_BYTES: u64 = 256 * 1024;

/// What carries the body.
pub(super) enum Source {
    /// The request is out: the connection is all ours.
    Whole(Connection),
    /// The request is still going out.
    Half(Half),
}

enum Framing {
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    Close,
}

/// The body of an answer that is still arriving.
pub(crate) struct Body {
    /// `None` once the body has ended, well or not.
    source: Option<Source>,
    home: Option<Home>,
    framing: Framing,
    persistent: bool,
    /// What was found behind a piece of data that was handed out.
    next: Option<Next>,
    received: u64,
    limits: Limits,
    /// When the wait that is going on is too long.
    due: Option<Instant>,
}

enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    Failure(FetchError),
}

impl Body {
    pub(super) fn new(source: Source, home: Home, framing: BodyFraming, persistent: bool, limits: Limits) -> Self {
        let framing = match framing {
            BodyFraming::Length(length) => Framing::Length(length),
            BodyFraming::Chunked => Framing::Chunked(Box::default()),
            BodyFraming::Close => Framing::Close,
        };
        let (next, received, due) = (None, 0, None);
        Self { source: Some(source), home: Some(home), framing, persistent, next, received, limits, due }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.source.is_none() && self.next.is_none()
    }

    /// Bytes still to come, where the origin said.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match &self.framing {
            Framing::Length(left) => Some(*left),
            Framing::Chunked(_) | Framing::Close => self.is_end_stream().then_some(0),
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        let result = ready!(self.poll_next(cx));
        if let Some(Err(error)) = &result {
            self.abort(error);
        }
        Poll::Ready(result)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        loop {
            match self.next.take() {
                Some(Next::Data(data)) => return Poll::Ready(Some(Ok(self.hand_out(data)))),
                Some(Next::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Some(Next::Failure(error)) => return Poll::Ready(Some(Err(error))),
                None => {}
            }
            let Some(source) = &mut self.source else { return Poll::Ready(None) };
            source.watch_upload(cx)?;
            match self.take()? {
                Step::Data(data) => return Poll::Ready(Some(Ok(self.hand_out(data)))),
                Step::End(trailers) => self.finish(trailers),
                Step::More => ready!(self.poll_read(cx))?,
            }
        }
    }

    /// The next step from the bytes that are here.
    fn take(&mut self) -> Result<Step, FetchError> {
        let Some(source) = &mut self.source else { return Ok(Step::End(None)) };
        let input = source.input();
        match &mut self.framing {
            Framing::Length(0) => Ok(Step::End(None)),
            _ if input.is_empty() => Ok(Step::More),
            Framing::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= n as u64;
                Ok(Step::Data(input.split_to(n).freeze()))
            }
            Framing::Chunked(decoder) => {
                decoder.decode(input).map_err(|error| FetchError::new(error.into(), Phase::Body))
            }
            Framing::Close => Ok(Step::Data(input.split().freeze())),
        }
    }

    /// With data in hand, looks whether it was the last: then the connection goes home now, and the reader learns of
    /// the end without another poll.
    fn hand_out(&mut self, data: Bytes) -> Frame<Bytes> {
        self.received += data.len() as u64;
        match self.take() {
            Ok(Step::End(trailers)) => self.finish(trailers),
            Ok(Step::Data(more)) => self.next = Some(Next::Data(more)),
            Ok(Step::More) => {}
            Err(error) => self.next = Some(Next::Failure(error)),
        }
        Frame::data(data)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FetchError>> {
        let wanted = self.read_size();
        let Some(source) = &mut self.source else { return Poll::Ready(Ok(())) };
        match source.poll_read(cx, wanted) {
            Poll::Ready(Ok(0)) => {
                self.due = None;
                Poll::Ready(self.end_of_stream())
            }
            Poll::Ready(Ok(_)) => {
                self.due = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(FetchError::io(error, Phase::Body))),
            Poll::Pending => self.poll_late(cx),
        }
    }

    /// How much room the next read is given.
    fn read_size(&self) -> usize {
        match self.framing {
            Framing::Length(left) if left <= BLOCK_BYTES as u64 => BLOCK_BYTES,
            Framing::Length(left) => usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES_BIG),
            _ if self.received >= LONG_BODY_BYTES => READ_BYTES_BIG,
            _ => BLOCK_BYTES,
        }
    }

    fn end_of_stream(&mut self) -> Result<(), FetchError> {
        match self.framing {
            Framing::Close => {
                self.finish(None);
                Ok(())
            }
            // RFC 9112 8: an incomplete message is never a complete one.
            _ => Err(FetchError::new(Fault::Truncated, Phase::Body)),
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FetchError>> {
        let step = *self.due.get_or_insert_with(|| Instant::now() + self.limits.between_bytes);
        let Some(source) = &mut self.source else { return Poll::Ready(Ok(())) };
        ready!(source.timer().poll(cx, step.min(self.limits.end)));
        let deadline = if step < self.limits.end { Deadline::BetweenBytes } else { Deadline::Total };
        Poll::Ready(Err(FetchError::timeout(deadline, Phase::Body)))
    }

    /// The body is complete.
    fn finish(&mut self, trailers: Option<HeaderMap>) {
        self.next = trailers.map(Next::Trailers);
        if let (Some(source), Some(home)) = (self.source.take(), self.home.take()) {
            source.go_home(self.persistent, home);
        }
    }

    fn abort(&mut self, error: &FetchError) {
        match self.source.take() {
            Some(Source::Half(half)) if matches!(error.fault, Fault::ClientBody(_)) => half.reset(),
            _ => {}
        }
        self.home = None;
        self.next = None;
    }
}

/// Gives a connection back after an exchange that ended well, unless bytes follow that nobody asked for.
pub(super) fn send_home(mut connection: Connection, persistent: bool, home: Home) {
    // RFC 9112 6.3: excess bytes are no answer to the next request.
    if persistent && connection.inner.input.is_empty() {
        connection.rest();
        home(exchange::Connection::H1(connection));
    }
}

impl Source {
    /// After the body.
    pub(super) fn go_home(self, persistent: bool, home: Home) {
        match self {
            Self::Whole(connection) => send_home(connection, persistent, home),
            Self::Half(half) if persistent => half.finish_later(home),
            // The origin will close and has said all that it has to say: the rest of the upload has no reader.
            Self::Half(_) => {}
        }
    }

    pub(super) fn input(&mut self) -> &mut BytesMut {
        match self {
            Self::Whole(connection) => &mut connection.inner.input,
            Self::Half(half) => &mut half.input,
        }
    }

    fn timer(&mut self) -> &mut crate::timer::Timer {
        match self {
            Self::Whole(connection) => &mut connection.inner.timer,
            Self::Half(half) => &mut half.timer,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<std::io::Result<usize>> {
        match self {
            Self::Whole(connection) => {
                let inner = &mut *connection.inner;
                poll_fill(cx, &mut inner.transport, &mut inner.input, wanted)
            }
            Self::Half(half) => half.poll_fill(cx, wanted),
        }
    }

    /// Learns how the upload ended. An upload that the client broke takes the answer with it.
    fn watch_upload(&mut self, cx: &mut Context<'_>) -> Result<(), FetchError> {
        let Self::Half(half) = self else { return Ok(()) };
        match half.poll_outcome(cx) {
            Poll::Ready(Outcome::Client(fault)) => Err(FetchError::new(Fault::ClientBody(fault), Phase::Send)),
            Poll::Ready(Outcome::Done | Outcome::Origin) | Poll::Pending => Ok(()),
        }
    }
}

/// Reads once, at the end of `input`.
pub(super) fn poll_fill<R: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    from: &mut R,
    input: &mut BytesMut,
    wanted: usize,
) -> Poll<std::io::Result<usize>> {
    scratch::make_room(input, wanted);
    // The future of `read_buf` keeps no state, so that a new one for every poll loses nothing.
    let result = pin!(from.read_buf(input)).poll(cx);
    if result.is_pending() {
        scratch::give_room(input);
    }
    result
}
