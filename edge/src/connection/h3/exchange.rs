//! One request over HTTP/3, from its head to the last acknowledgement of its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use headland_cache::{Outcome, Scheme};
use headland_origin::RequestBody;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;

use super::inlet::{Gone, Inlet};
use super::outlet::{Outlet, Refused};
use super::uploaded::Uploaded;
use super::{Door, Open};
use crate::answer::{Answer, Content, Trace};
use crate::connection::content::{Piece, Source};
use crate::connection::exchange::{Asked, Sent, done};
use crate::connection::head;
use crate::deliver::has_content;
use crate::fetching;
use crate::h1::{Reason, Refusal};
use crate::h3::{Code, FieldSection, Malformed, Priority, RequestHead, data_frame, read_head};
use crate::interims::Interims;
use crate::metrics::Protocol;
use crate::plan::Plan;
use crate::quic::{Quic, Receiving};
use crate::request::{Next, Received, Scratch, walk};
use crate::snapshot::Snapshot;

/// Serves one stream. It counts as open until the client has acknowledged the answer.
pub(super) async fn serve<Q: Quic>(open: Open<Q>, send: Q::Sending, receive: Q::Receiving) {
    let door = &open.0;
    let early = receive.is_early();
    let snapshot = door.node.snapshot();
    let limits = &snapshot.limits;
    let mut outlet = Outlet::new(door.clone(), send, Duration::from_millis(limits.write_stall_ms.into()));
    let mut inlet = Inlet::new(door.clone(), receive, limits);
    let within = Duration::from_millis(limits.header_ms.into());
    let section = match tokio::time::timeout(within, inlet.head()).await {
        Ok(Ok(section)) => section,
        Ok(Err(Gone::Client)) => return door.gave_up(),
        Ok(Err(Gone::TooLarge)) => return refuse(door, outlet, inlet, Reason::HeaderTooLarge).await,
        Ok(Err(Gone::Incomplete)) | Err(_) => return outlet.reset(Code::RequestIncomplete),
    };
    let started = Instant::now();
    let head = match read_head(section, limits) {
        Ok(head) => head,
        Err(Malformed::Connection(reason)) => return door.fail(reason),
        Err(Malformed::Message(reason)) => return refuse(door, outlet, inlet, reason).await,
    };
    let body = match tokio::time::timeout(within, has_body(&head, &mut inlet)).await {
        Ok(Ok(Some(body))) => body,
        Ok(Ok(None)) => return refuse(door, outlet, inlet, Reason::BadLength).await,
        Ok(Err(_)) => return door.gave_up(),
        Err(_) => return outlet.reset(Code::RequestIncomplete),
    };
    let said = head.fields.get("priority").map(|value| Priority::of(value.as_bytes()));
    outlet.set_priority(said.unwrap_or_default());
    let door = door.clone();
    let exchange = Exchange { door, snapshot, head, started, outlet, inlet: body.then_some(inlet) };
    if early {
        Box::pin(exchange.run_early()).await;
    } else {
        exchange.run().await;
    }
    drop(open);
}

/// Whether a body follows; none where a length of nothing was announced and something comes (RFC 9114 section 4.1.2). Only
/// methods that usually have a body are not waited with until it is certain.
async fn has_body(head: &RequestHead, inlet: &mut Inlet<impl Quic>) -> Result<Option<bool>, Gone> {
    let usual = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    let more = std::future::poll_fn(|cx| match inlet.poll_more(cx) {
        Poll::Pending if head.length.is_some_and(|length| length > 0) || (usual && head.length.is_none()) => {
            Poll::Ready(Ok(true))
        }
        more => more,
    });
    let more = more.await?;
    Ok(match head.length {
        Some(0) if more => None,
        // Less than announced: the reader of the body says so.
        Some(1..) => Some(true),
        _ => Some(more),
    })
}

/// Answers what is malformed, and stops reading it (section 4.1.2).
async fn refuse<Q: Quic>(door: &Door<Q>, mut outlet: Outlet<Q>, mut inlet: Inlet<Q>, reason: Reason) {
    door.node.metrics.here().refused.0[reason.index()].bump();
    inlet.stop(Code::MessageError);
    let refusal = Refusal::from(reason);
    let mut section = FieldSection::head(StatusCode::from_u16(refusal.status).expect("refusals have real statuses"));
    section.field("content-type", b"text/plain; charset=utf-8");
    section.field("content-length", reason.word().len().to_string().as_bytes());
    let mut wire = section.finish();
    data_frame(&mut wire, reason.word().len() as u64);
    wire.extend_from_slice(reason.word().as_bytes());
    if outlet.write(&mut [wire.freeze()]).await.is_ok() {
        outlet.finish();
        outlet.arrive(0).await;
    }
}

/// One stream.
struct Exchange<Q: Quic> {
    door: Arc<Door<Q>>,
    snapshot: Arc<Snapshot>,
    head: RequestHead,
    started: Instant,
    outlet: Outlet<Q>,
    /// Where there is a body.
    inlet: Option<Inlet<Q>>,
}

impl<Q: Quic> Exchange<Q> {
    async fn run(mut self) {
        if let Some(answer) = self.refusal() {
            return self.answer(answer).await;
        }
        let next = walk(&self.door.node, &self.snapshot, &mut Scratch::default(), self.received());
        let answer = match next {
            Next::Answer(answer, refresh) => {
                fetching::refresh(&self.door.node, refresh);
                answer
            }
            // What is not a hit has a place of its own: a task is as large as its largest step, and is moved when it begins.
            Next::Purge(purge) => Box::pin(self.door.node.purges.purge(purge)).await,
            Next::Fetch(plan) => {
                let unanswered = plan.trace();
                let Some(answer) = Box::pin(self.fetch(plan)).await else {
                    self.door.gave_up();
                    return self.done(&unanswered, &Sent::nothing());
                };
                answer
            }
        };
        self.answer(answer).await;
    }

    /// A request in early data may be a copy: it is answered at once only where that does nothing but read what is fresh
    /// in the cache. All others wait until the handshake ends, which no copy does (RFC 8470 section 3).
    async fn run_early(self) {
        let reads = matches!(self.head.method, Method::GET | Method::HEAD) && self.inlet.is_none();
        if reads && self.refusal().is_none() {
            let next = walk(&self.door.node, &self.snapshot, &mut Scratch::default(), self.received());
            if let Next::Answer(answer, None) = next
                && answer.trace.outcome == Outcome::Hit
            {
                self.door.node.metrics.here().quic.early_answered.bump();
                return self.answer(answer).await;
            }
        }
        self.door.node.metrics.here().quic.early_waited.bump();
        if self.door.proven.clone().wait().await {
            self.run().await;
        }
    }

    fn received(&self) -> Received<'_, HeaderMap> {
        Received {
            method: &self.head.method,
            scheme: Scheme::Https,
            authority: &self.head.authority,
            target: &self.head.target,
            fields: &self.head.fields,
            protocol: Protocol::H3,
            // The address of the handshake, which was proven. Who moves may write from an address that is not theirs.
            client: self.door.peer.address.ip(),
            sni: self.door.peer.sni.as_deref(),
            has_body: self.inlet.is_some(),
            upgrade: None,
            now: self.door.node.clock.at(self.started),
        }
    }

    /// What the codec let through and we do not.
    fn refusal(&self) -> Option<Answer> {
        if self.head.method == Method::CONNECT {
            return Some(Answer::error(StatusCode::NOT_IMPLEMENTED, "this is no forward proxy"));
        }
        if self.head.length.is_some_and(|length| length > self.snapshot.limits.body_bytes_max) {
            return Some(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large"));
        }
        None
    }

    /// Asks the origin, and passes on what it says meanwhile; none when the client gives up.
    async fn fetch(&mut self, mut plan: Box<Plan<HeaderMap>>) -> Option<Answer> {
        let body = match self.inlet.take() {
            Some(inlet) => {
                let uploaded = Uploaded::new(inlet, self.head.length, self.snapshot.clone());
                RequestBody::Stream { body: UnsyncBoxBody::new(uploaded), length: self.head.length }
            }
            None => RequestBody::Empty,
        };
        let interims = Arc::<Interims>::default();
        plan.interim = Some(interims.begin());
        let mut fetched = std::pin::pin!(fetching::fetch(self.door.node.clone(), plan, body));
        loop {
            let mut told = Vec::new();
            let answer = std::future::poll_fn(|cx| {
                if self.outlet.poll_stopped(cx).is_ready() {
                    return Poll::Ready(Some(None));
                }
                let answer = fetched.as_mut().poll(cx);
                told = interims.take(cx);
                match answer {
                    Poll::Ready(answer) => Poll::Ready(Some(Some(answer))),
                    Poll::Pending if told.is_empty() => Poll::Pending,
                    Poll::Pending => Poll::Ready(None),
                }
            })
            .await;
            for (status, headers) in told {
                let mut section = FieldSection::head(status);
                section.fields(&headers);
                self.outlet.write(&mut [section.finish().freeze()]).await.ok()?;
            }
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    /// Sends an answer as fast as the client takes it.
    async fn answer(mut self, mut answer: Answer) {
        if let Content::Tunnel(_) = answer.content {
            answer = Answer::error(StatusCode::BAD_GATEWAY, "the origin switched protocols unasked");
        }
        let content = std::mem::replace(&mut answer.content, Content::Empty);
        let wanted = has_content(&self.head.method, answer.status);
        let (status, started) = (answer.status.as_u16(), self.started);
        let mut sent = Sent { status, bytes: 0, first: started, last: started, complete: false, broken: None };
        let response = head::response(&self.door.node, &self.snapshot, true, &mut answer);
        let mut section = FieldSection::head(response.status());
        section.fields(response.headers());
        let head = section.finish();
        let source = if wanted { Source::of(content) } else { Source::of(Content::Empty) };
        let outcome = if head.len() as u64 > self.door.section_bytes_max.load(Relaxed) {
            // RFC 9114 section 4.2.2: the client would refuse it.
            Err(Refused::Broken)
        } else {
            self.send(head, source, answer.length.filter(|_| wanted), &mut sent).await
        };
        sent.last = Instant::now();
        sent.complete = outcome.is_ok() && self.outlet.finish();
        match outcome {
            Ok(()) => self.door.let_end(),
            Err(Refused::Stopped) => self.door.gave_up(),
            Err(Refused::Stalled | Refused::Broken) => {}
        }
        if !sent.complete {
            self.outlet.reset(Code::InternalError);
        }
        self.done(&answer.trace, &sent);
        if sent.complete {
            // What is left of the request is not wanted any more.
            drop(self.inlet);
            self.outlet.arrive(sent.bytes).await;
        }
    }

    /// Head and content. Where the length is known the content is one frame, however many pieces it comes in.
    async fn send(
        &mut self,
        mut head: BytesMut,
        mut source: Source,
        length: Option<u64>,
        sent: &mut Sent,
    ) -> Result<(), Refused> {
        if let Source::Here(pieces) = &mut source {
            let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
            if bytes > 0 {
                data_frame(&mut head, bytes);
            }
            let mut parts: Vec<Bytes> = std::iter::once(head.freeze()).chain(pieces.drain(..)).collect();
            sent.first = Instant::now();
            self.outlet.write(&mut parts).await?;
            sent.bytes = bytes;
            return Ok(());
        }
        if let Some(length) = length.filter(|length| *length > 0) {
            data_frame(&mut head, length);
        }
        sent.first = Instant::now();
        self.outlet.write(&mut [head.freeze()]).await?;
        self.send_pieces(source, length, sent).await
    }

    async fn send_pieces(&mut self, mut source: Source, length: Option<u64>, sent: &mut Sent) -> Result<(), Refused> {
        loop {
            let piece = std::future::poll_fn(|cx| match source.poll(cx) {
                // Only while nothing is there to be sent: writing tells, too.
                Poll::Pending => self.outlet.poll_stopped(cx).map(|()| None),
                piece @ Poll::Ready(_) => piece.map(Some),
            });
            match piece.await.ok_or(Refused::Stopped)? {
                Piece::Data(data) if data.is_empty() => {}
                Piece::Data(data) => {
                    sent.bytes += data.len() as u64;
                    if length.is_some_and(|length| sent.bytes > length) {
                        return Err(Refused::Broken);
                    }
                    let mut frame = BytesMut::new();
                    if length.is_none() {
                        data_frame(&mut frame, data.len() as u64);
                    }
                    self.outlet.write(&mut [frame.freeze(), data]).await?;
                }
                // What is short must never look whole.
                Piece::Broken(broken) => {
                    sent.broken = Some(broken);
                    return Err(Refused::Broken);
                }
                Piece::End | Piece::Trailers(_) if length.is_some_and(|length| length != sent.bytes) => {
                    return Err(Refused::Broken);
                }
                Piece::Trailers(trailers) => {
                    let mut section = FieldSection::trailers();
                    section.fields(&trailers);
                    return self.outlet.write(&mut [section.finish().freeze()]).await;
                }
                Piece::End => return Ok(()),
            }
        }
    }

    fn done(&self, trace: &Trace, sent: &Sent) {
        let asked = Asked {
            method: &self.head.method,
            host: &self.head.authority,
            target: &self.head.target,
            fields: &self.head.fields,
            protocol: Protocol::H3,
            http10: false,
            client: self.door.peer.address.ip(),
            started: self.started,
        };
        done(&self.door.node, &asked, trace, sent);
    }
}
