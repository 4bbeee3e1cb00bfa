//! One request and the head of its answer.
//!
//! Both directions progress in one future until the head is here: an early answer is seen while the request is
//! still going out. From then on the body carries the connection (`body`), and what is left of an upload runs on
//! its own (`pump`). No system call is made to read what cannot be there yet, no timer is set while nothing waits.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::Connection;
use super::body::{Body, Source, poll_fill};
use super::head::{self, BodyFraming, Head, Scan};
use super::upload::{Broken, Upload};
use super::{Upgraded, pump, request, scratch};
use crate::error::{Deadline, Excess, Fault, FetchError, Phase};
use crate::exchange::{Deadlines, Home, Waits};
use crate::message::{Interim, Request, RequestBody, Response, ResponseBody};

/// Interim answers (1xx) to one request.
pub const INTERIM_MAX: u32 = 32;

impl Connection {
    /// Sends `request` and waits for the head of its final answer. The body of the request is taken only once the
    /// connection has been found alive; a request whose body was taken cannot be sent again.
    pub async fn exchange(
        self,
        request: &mut Request,
        deadlines: &Deadlines,
        interim: Option<Interim>,
        home: Home,
    ) -> Result<Response, FetchError> {
        let mut exchange = Exchange::begin(self, request, deadlines, interim)?;
        let head = poll_fn(|cx| exchange.poll(cx)).await?;
        exchange.answer(head, home)
    }
}

/// How far the request is.
enum Sending {
    Going,
    Done,
    /// The origin stopped reading; its answer may be here.
    Broken(io::Error),
}

/// Whom an exchange waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The origin to take more of the request.
    Origin,
    /// The client to send more of it.
    Client,
    Answer,
}

struct Exchange {
    connection: Connection,
    method: Method,
    asked_to_upgrade: bool,
    /// Sending it twice does no harm, and nothing of it is spent.
    repeatable: bool,
    upload: Upload,
    sending: Sending,
    scan: Scan,
    interim: Option<Interim>,
    interims: u32,
    started: Instant,
    /// The wait that is going on: for whom, after how many bytes written, since when.
    waiting: Option<(Wait, u64, Instant)>,
    deadlines: Deadlines,
}

impl Exchange {
    fn begin(
        mut connection: Connection,
        request: &mut Request,
        deadlines: &Deadlines,
        interim: Option<Interim>,
    ) -> Result<Self, FetchError> {
        if connection.inner.used && !request.method.is_idempotent() && !connection.inner.transport.is_quiet(true) {
            // This request cannot be sent twice, so it is worth a system call to see a close that has just come.
            return Err(FetchError::new(Fault::Reset, Phase::Send).with_nothing_sent(true));
        }
        if let Some(early) = connection.inner.early.take() {
            let exchange = Self::new(connection, request, Upload::done(early.bytes), early.at, deadlines, interim);
            return Ok(Self { sending: Sending::Done, ..exchange });
        }
        let mut bytes = scratch::take_head();
        let framing = request::encode(request, &mut bytes)?;
        let body = match std::mem::take(&mut request.body) {
            RequestBody::Stream { body, .. } => {
                request.body = RequestBody::Spent;
                Some(body)
            }
            RequestBody::Empty => None,
            RequestBody::Spent => {
                request.body = RequestBody::Spent;
                return Err(FetchError::new(Fault::Canceled, Phase::Send).because("the request's body is spent"));
            }
        };
        let upload = Upload::new(bytes, framing, body);
        Ok(Self::new(connection, request, upload, Instant::now(), deadlines, interim))
    }

    fn new(
        connection: Connection,
        request: &Request,
        upload: Upload,
        started: Instant,
        deadlines: &Deadlines,
        interim: Option<Interim>,
    ) -> Self {
        Self {
            connection,
            method: request.method.clone(),
            asked_to_upgrade: request.upgrade.is_some(),
            repeatable: request.body.is_empty() && request.method.is_idempotent(),
            upload,
            sending: Sending::Going,
            scan: Scan::new(deadlines.head_bytes_max),
            interim,
            interims: 0,
            started,
            waiting: None,
            deadlines: *deadlines,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, FetchError>> {
        self.poll_send(cx)?;
        match self.poll_head(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_late(cx),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), FetchError> {
        if !matches!(self.sending, Sending::Going) {
            return Ok(());
        }
        match self.upload.poll(cx, &mut self.connection.inner.transport) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.sending = Sending::Done,
            Poll::Ready(Err(Broken::Client(fault))) => {
                // The origin must not take what it has for a whole request.
                self.connection.reset_on_close();
                return Err(self.failed(Fault::ClientBody(fault), Phase::Send));
            }
            Poll::Ready(Err(Broken::Origin(error))) => self.sending = Sending::Broken(error),
        }
        Ok(())
    }

    /// Reads until the head of the final answer is here.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, FetchError>> {
        loop {
            if let Some(head) = self.take_head()? {
                return Poll::Ready(Ok(head));
            }
            let inner = &mut *self.connection.inner;
            match ready!(poll_fill(cx, &mut inner.transport, &mut inner.input, scratch::BLOCK_BYTES)) {
                Ok(0) => return Poll::Ready(Err(self.ended())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(self.broke(error))),
            }
        }
    }

    /// The final head from the bytes that are here; interim ones are passed on.
    fn take_head(&mut self) -> Result<Option<Head>, FetchError> {
        loop {
            let found = match self.scan.find(&self.connection.inner.input) {
                Ok(found) => found,
                Err(fault) => return Err(self.failed(fault, Phase::Head)),
            };
            let Some(length) = found else { return Ok(None) };
            let bytes = self.connection.inner.input.split_to(length);
            self.scan = Scan::new(self.deadlines.head_bytes_max);
            let head = head::parse(&bytes, &self.method).map_err(|fault| self.failed(fault, Phase::Head))?;
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS if self.asked_to_upgrade => return Ok(Some(head)),
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(self.failed(Fault::Malformed("101 that nobody asked for"), Phase::Head));
                }
                status if status.is_informational() => self.interim(head)?,
                StatusCode::REQUEST_TIMEOUT if self.crossed(&head) => {
                    return Err(self.failed(Fault::Reset, Phase::Head));
                }
                _ => return Ok(Some(head)),
            }
        }
    }

    /// RFC 9110 15.5.9: an origin that closes an idle connection may say 408 first. On a kept connection that is no
    /// answer to this request but its close, crossing it on the way; a new connection will tell.
    fn crossed(&self, head: &Head) -> bool {
        self.connection.inner.used && !head.persistent && self.repeatable
    }

    fn interim(&mut self, head: Head) -> Result<(), FetchError> {
        self.interims += 1;
        if self.interims > INTERIM_MAX {
            return Err(self.failed(Fault::TooLarge(Excess::Interim), Phase::Head));
        }
        // RFC 9110 15.2.1: 100 concerns the hop that expected it, and the door has answered its client.
        if head.status != StatusCode::CONTINUE
            && let Some(interim) = &self.interim
        {
            interim.pass(head.status, head.headers.into_map());
        }
        Ok(())
    }

    /// Nothing moves: is it for too long?
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, FetchError>> {
        let end = self.deadlines.end(self.started);
        let wait = match self.sending {
            Sending::Going if self.upload.waits() == Waits::Client => Wait::Client,
            Sending::Going => Wait::Origin,
            Sending::Done | Sending::Broken(_) => Wait::Answer,
        };
        let since = self.waiting_since(wait);
        let (due, deadline, phase) = match wait {
            Wait::Origin => (since + self.deadlines.between_bytes, Deadline::BetweenBytes, Phase::Send),
            // The origin is not to blame for a slow client; the door has a deadline of its own for that.
            Wait::Client => (end, Deadline::Total, Phase::Send),
            Wait::Answer => (since + self.deadlines.first_byte, Deadline::FirstByte, Phase::Head),
        };
        let (due, deadline) = if due < end { (due, deadline) } else { (end, Deadline::Total) };
        ready!(self.connection.inner.timer.poll(cx, due));
        Poll::Ready(Err(self.failed(Fault::Timeout(deadline), phase)))
    }

    fn waiting_since(&mut self, wait: Wait) -> Instant {
        let written = self.upload.written();
        match self.waiting {
            Some((before, bytes, since)) if before == wait && bytes == written => since,
            // The first wait begins with the exchange: no look at the clock.
            earlier => {
                let now = if earlier.is_none() { self.started } else { Instant::now() };
                self.waiting = Some((wait, written, now));
                now
            }
        }
    }

    /// The origin closed before its answer was whole.
    fn ended(&self) -> FetchError {
        if self.connection.inner.input.is_empty() && self.interims == 0 {
            self.failed(Fault::Reset, Phase::Head)
        } else {
            self.failed(Fault::Truncated, Phase::Head)
        }
    }

    fn broke(&mut self, error: io::Error) -> FetchError {
        let nothing_sent = self.upload.written() == 0;
        // The write that failed first says more than the read that failed after it.
        match std::mem::replace(&mut self.sending, Sending::Done) {
            Sending::Broken(earlier) => FetchError::io(earlier, Phase::Send).with_nothing_sent(nothing_sent),
            _ => FetchError::io(error, Phase::Head).with_nothing_sent(nothing_sent),
        }
    }

    fn failed(&self, fault: Fault, phase: Phase) -> FetchError {
        FetchError::new(fault, phase).with_nothing_sent(self.upload.written() == 0)
    }

    /// Makes the response, and sends the connection where it belongs.
    fn answer(self, head: Head, home: Home) -> Result<Response, FetchError> {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let Head { status, headers, framing, length, persistent } = head;
        let mut response = if status == StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = self.upgrade(home)?;
            let mut response = Response::new(status, headers, None, ResponseBody::empty());
            response.upgraded = Some(upgraded);
            response
        } else {
            let body = self.body(framing, persistent, home);
            Response::new(status, headers, length, body)
        };
        response.first_byte_micros = micros;
        Ok(response)
    }

    fn upgrade(self, home: Home) -> Result<Upgraded, FetchError> {
        match self.sending {
            Sending::Done => {
                let inner = *self.connection.inner;
                Ok(Upgraded::new(inner.transport, inner.input, home))
            }
            // The rest of the request would be read as the new protocol.
            _ => Err(self.failed(Fault::Malformed("101 before the end of the request"), Phase::Head)),
        }
    }

    fn body(self, framing: BodyFraming, persistent: bool, home: Home) -> ResponseBody {
        let limits = self.deadlines.limits(self.started);
        let (mut source, persistent) = match self.sending {
            Sending::Done => (Source::Whole(self.connection), persistent),
            Sending::Broken(_) => (Source::Whole(self.connection), false),
            Sending::Going => (Source::Half(pump::start(self.connection, self.upload, limits)), persistent),
        };
        if let BodyFraming::Length(length) = framing
            && let Ok(length) = usize::try_from(length)
            && length <= source.input().len()
        {
            let data = source.input().split_to(length).freeze();
            source.go_home(persistent, home);
            return ResponseBody::whole(data);
        }
        ResponseBody::h1(Box::new(Body::new(source, home, framing, persistent, limits)))
    }
}
