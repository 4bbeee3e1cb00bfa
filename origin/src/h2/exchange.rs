//! One request and the head of its answer, on one stream.
//!
//! As in HTTP/1.1 both directions progress in one future until the head is here; what is left of an upload then runs
//! in a task of its own. Closing a stream early resets it and leaves the connection to the others.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, StatusCode, header};
use tokio::time::Instant;

use super::body::{Body, Ending};
use super::pump::Pump;
use super::upload::{Ended, Upload};
use super::{Handle, Stream, fault, request};
use crate::error::{Deadline, Excess, Fault, FetchError, Phase};
use crate::exchange::{Deadlines, Home, Waits};
use crate::framing::content_length;
use crate::h1::INTERIM_MAX;
use crate::hop_by_hop::is_hop_by_hop;
use crate::message::{FieldLines, Interim, Request, RequestBody, Response, ResponseBody};
use crate::timer::Timer;

impl Handle {
    /// Sends `request` on a new stream and waits for the head of its final answer. `upgrade` is not offered:
    /// HTTP/2 has none (RFC 9113 8.6).
    pub async fn exchange(
        mut self,
        request: &mut Request,
        deadlines: &Deadlines,
        interim: Option<Interim>,
        home: Home,
    ) -> Result<Response, FetchError> {
        let stream = Stream::open(&self.shared);
        let head = request::head(request, self.shared.secure)?;
        if matches!(request.body, RequestBody::Spent) {
            return Err(FetchError::new(Fault::Canceled, Phase::Send).because("the request's body is spent"));
        }
        let (answer, send) = self
            .send
            .send_request(head, request.body.is_empty())
            .map_err(|error| fault::of(error, Phase::Send).with_nothing_sent(true))?;
        let sending = Sending::begin(&mut request.body, send);
        let started = Instant::now();
        let mut exchange = Exchange {
            answer,
            sending,
            interim,
            interims: 0,
            started,
            waiting: None,
            timer: Timer::default(),
            deadlines: *deadlines,
        };
        let response = poll_fn(|cx| exchange.poll(cx)).await?;
        let ending = Ending::new(home, self, stream);
        exchange.response(response, ending)
    }
}

/// How far the request is.
enum Sending {
    Going(Box<Upload>),
    Done,
}

impl Sending {
    fn begin(body: &mut RequestBody, send: SendStream<bytes::Bytes>) -> Self {
        match std::mem::take(body) {
            RequestBody::Stream { body: stream, length } => {
                *body = RequestBody::Spent;
                Self::Going(Box::new(Upload::new(stream, length, send)))
            }
            RequestBody::Empty | RequestBody::Spent => Self::Done,
        }
    }
}

/// The wait that is going on: for whom, after how many bytes, since when. `None` waits for the answer.
type Waiting = (Option<Waits>, u64, Instant);

struct Exchange {
    answer: ResponseFuture,
    sending: Sending,
    interim: Option<Interim>,
    interims: u32,
    started: Instant,
    waiting: Option<Waiting>,
    timer: Timer,
    deadlines: Deadlines,
}

impl Exchange {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<http::Response<RecvStream>, FetchError>> {
        if let Sending::Going(upload) = &mut self.sending
            && let Poll::Ready(ended) = upload.poll(cx)
        {
            match ended {
                Ok(Ended::Done | Ended::Unwanted) => self.sending = Sending::Done,
                Err(fault) => {
                    upload.cancel();
                    return Poll::Ready(Err(FetchError::new(Fault::ClientBody(fault), Phase::Send)));
                }
            }
        }
        match self.poll_answer(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_late(cx),
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<http::Response<RecvStream>, FetchError>> {
        while let Some(interim) = ready!(self.answer.poll_informational(cx)) {
            let (head, ()) = interim.map_err(|error| fault::of(error, Phase::Head))?.into_parts();
            self.interim(head.status, head.headers)?;
        }
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready(answer.map_err(|error| fault::of(error, Phase::Head)))
    }

    fn interim(&mut self, status: StatusCode, headers: HeaderMap) -> Result<(), FetchError> {
        self.interims += 1;
        if self.interims > INTERIM_MAX {
            return Err(FetchError::new(Fault::TooLarge(Excess::Interim), Phase::Head));
        }
        // RFC 9113 8.6: there is no 101 here.
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(FetchError::malformed("101 over HTTP/2", Phase::Head));
        }
        if status != StatusCode::CONTINUE
            && let Some(interim) = &self.interim
        {
            interim.pass(status, headers);
        }
        Ok(())
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Result<http::Response<RecvStream>, FetchError>> {
        let end = self.deadlines.end(self.started);
        let (waits, sent) = match &self.sending {
            Sending::Going(upload) => (Some(upload.waits()), upload.sent()),
            Sending::Done => (None, 0),
        };
        let since = match self.waiting {
            Some((before, bytes, since)) if before == waits && bytes == sent => since,
            earlier => earlier.map_or(self.started, |_| Instant::now()),
        };
        self.waiting = Some((waits, sent, since));
        let (due, deadline, phase) = match waits {
            Some(Waits::Origin) => (since + self.deadlines.between_bytes, Deadline::BetweenBytes, Phase::Send),
            Some(Waits::Client) => (end, Deadline::Total, Phase::Send),
            None => (since + self.deadlines.first_byte, Deadline::FirstByte, Phase::Head),
        };
        let (due, deadline) = if due < end { (due, deadline) } else { (end, Deadline::Total) };
        ready!(self.timer.poll(cx, due));
        Poll::Ready(Err(FetchError::timeout(deadline, phase)))
    }

    fn response(self, response: http::Response<RecvStream>, ending: Ending) -> Result<Response, FetchError> {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (head, recv) = response.into_parts();
        let headers = head.headers;
        if section_bytes(&headers) > self.deadlines.head_bytes_max {
            return Err(FetchError::new(Fault::TooLarge(Excess::Head), Phase::Head));
        }
        let lengths = headers.get_all(header::CONTENT_LENGTH);
        let length = content_length(lengths.iter().map(header::HeaderValue::as_bytes))
            .map_err(|error| FetchError::new(error.into(), Phase::Head))?;
        let mut fields = FieldLines::with_capacity(headers.len());
        let framing = |name: &header::HeaderName| *name == header::CONTENT_LENGTH || is_hop_by_hop(name.as_ref());
        headers.iter().filter(|(name, _)| !framing(name)).for_each(|(name, value)| fields.push(name, value));
        let limits = self.deadlines.limits(self.started);
        let ending = Arc::new(ending);
        let pump = match self.sending {
            Sending::Going(upload) => Some(Pump::start(upload, ending.clone(), limits)),
            Sending::Done => None,
        };
        let body = if recv.is_end_stream() {
            Ending::part(ending);
            if let Some(pump) = pump {
                pump.go_on();
            }
            ResponseBody::empty()
        } else {
            ResponseBody::h2(Box::new(Body::new(recv, length, pump, ending, self.timer, limits)))
        };
        let mut response = Response::new(head.status, fields, length, body);
        response.first_byte_micros = micros;
        Ok(response)
    }
}

/// The size of a field section as RFC 9113 6.5.2 counts it.
fn section_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}
