//! An HTTP/2 connection. Each stream is one request; what memory can answer is answered where it is read, without a
//! task of its own, all else becomes a task.
//!
//! Flow control is the client's: a stream whose client takes nothing for [`crate::limits::Limits::write_stall_ms`] is
//! reset, one whose connection has no stream open for its idle time is told to go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use headland_cache::Scheme;
use headland_origin::RequestBody;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;

use super::content::Source;
use super::deadline::Deadline;
use super::exchange::{Asked, Sent, done};
use super::gather::{Cork, Gathered};
use super::{Peer, Stream, count, head};
use crate::answer::{Answer, Content, Trace};
use crate::deliver::has_content;
use crate::fetching;
use crate::interims::Interims;
use crate::limits::Limits;
use crate::metrics::Protocol;
use crate::node::Node;
use crate::plan::Plan;
use crate::request::{Next, Received, Scratch, walk};
use crate::snapshot::Snapshot;

mod outlet;
mod uploaded;

use outlet::Outlet;
use uploaded::Uploaded;

/// How long a connection may take to end after it was told to go away.
const GOAWAY_WAIT: Duration = Duration::from_secs(10);
/// Content up to this size is handed to the codec at once: it is shared memory, and the codec sends it as the client's
/// windows allow.
const AT_ONCE_BYTES: u64 = 64 << 10;
/// Bytes of one stream that the codec may hold unsent.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// Serves a connection to its end.
pub async fn serve(node: Arc<Node>, stream: Stream, peer: Peer) {
    count(&node, Protocol::H2);
    let snapshot = node.snapshot();
    let limits = &snapshot.limits;
    let (stream, cork) = Gathered::new(stream);
    let handshake = builder(limits).handshake::<_, Bytes>(stream);
    let within = Duration::from_millis(limits.header_ms.into());
    let Ok(Ok(connection)) = tokio::time::timeout(within, handshake).await else { return };
    let mut door = Door { cork, node, peer: Arc::new(peer), scratch: Scratch::default(), open: Arc::default() };
    door.run(connection).await;
}

fn builder(limits: &Limits) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.h2_streams_max)
        .initial_window_size(limits.h2_window_bytes)
        .initial_connection_window_size(limits.h2_window_bytes.saturating_mul(2))
        .max_header_list_size(limits.h2_header_list_bytes)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(limits.h2_resets_max as usize)
        .max_local_error_reset_streams(Some(limits.h2_resets_max as usize));
    builder
}

/// What one connection's streams share.
struct Door {
    node: Arc<Node>,
    peer: Arc<Peer>,
    cork: Arc<Cork>,
    scratch: Scratch,
    /// Streams whose task is running.
    open: Arc<AtomicUsize>,
}

/// What a connection waits for.
enum Event {
    Stream(Box<(Request<RecvStream>, SendResponse<Bytes>)>),
    End,
    Idle,
    Drain,
    Flood,
}

impl Door {
    async fn run(&mut self, mut connection: Connection<Gathered, Bytes>) {
        let node = self.node.clone();
        let mut draining = std::pin::pin!(node.drain.begins());
        let mut drained = false;
        let mut deadline = Deadline::default();
        deadline.set(Instant::now(), self.idle());
        let mut leaving = false;
        loop {
            let event = std::future::poll_fn(|cx| {
                if let Poll::Ready(event) = self.poll_stream(cx, &mut connection) {
                    return Poll::Ready(event);
                }
                if !drained && draining.as_mut().poll(cx).is_ready() {
                    drained = true;
                    return Poll::Ready(Event::Drain);
                }
                deadline.poll(cx).map(|()| Event::Idle)
            })
            .await;
            match event {
                Event::Stream(stream) => {
                    deadline.set(Instant::now(), self.idle());
                    self.accept(*stream);
                }
                Event::Idle if leaving => return,
                Event::Idle if self.open.load(Ordering::Relaxed) > 0 => deadline.set(Instant::now(), self.idle()),
                Event::Idle | Event::Drain => {
                    leaving = true;
                    connection.graceful_shutdown();
                    let wait = if self.open.load(Ordering::Relaxed) > 0 { self.idle() } else { GOAWAY_WAIT };
                    deadline.set(Instant::now(), wait);
                }
                Event::Flood => return self.break_off(connection).await,
                Event::End => return,
            }
        }
    }

    /// Ends a connection whose client only keeps it busy: all its streams, and with the reason.
    async fn break_off(&self, mut connection: Connection<Gathered, Bytes>) {
        self.node.metrics.here().connections_flooded.bump();
        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        self.cork.take_out();
        // Whoever takes no answer does not get this one either.
        let closed = std::future::poll_fn(|cx| connection.poll_closed(cx));
        drop(tokio::time::timeout(GOAWAY_WAIT, closed).await);
    }

    /// The next stream. Answers given since the last one leave together, once there is none.
    fn poll_stream(&self, cx: &mut Context<'_>, connection: &mut Connection<Gathered, Bytes>) -> Poll<Event> {
        self.cork.put_in();
        let mut accepted = connection.poll_accept(cx);
        if accepted.is_pending() && self.cork.take_out() {
            accepted = connection.poll_accept(cx);
        }
        if self.cork.is_flooded() {
            return Poll::Ready(Event::Flood);
        }
        accepted.map(|accepted| match accepted {
            Some(Ok(stream)) => Event::Stream(Box::new(stream)),
            Some(Err(_)) | None => Event::End,
        })
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(self.node.snapshot().limits.idle_ms.into())
    }

    /// Walks one request; answers it here when it can.
    fn accept(&mut self, (request, respond): (Request<RecvStream>, SendResponse<Bytes>)) {
        let started = Instant::now();
        let snapshot = self.node.snapshot();
        let (parts, body) = request.into_parts();
        let exchange = Exchange { node: self.node.clone(), snapshot, peer: self.peer.clone(), parts, started, respond };
        if let Some(answer) = exchange.refusal() {
            return exchange.answer_now(answer);
        }
        let next = walk(&self.node, &exchange.snapshot, &mut self.scratch, exchange.received(&body));
        match next {
            Next::Answer(answer, refresh) => {
                fetching::refresh(&self.node, refresh);
                if fits_at_once(&answer) {
                    exchange.answer_now(answer);
                } else {
                    self.spawn(async move { exchange.answer(answer).await });
                }
            }
            Next::Purge(purge) => self.spawn(async move {
                let answer = exchange.node.purges.purge(purge).await;
                exchange.answer(answer).await;
            }),
            Next::Fetch(plan) => self.spawn(async move { exchange.fetch(plan, body).await }),
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let open = self.open.clone();
        open.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            task.await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn fits_at_once(answer: &Answer) -> bool {
    match &answer.content {
        Content::Empty | Content::Text(_) => true,
        Content::Stored(_, range) => range.end - range.start <= AT_ONCE_BYTES,
        Content::Parts(_)
        | Content::Fill(_)
        | Content::Origin(_)
        | Content::Piped(_)
        | Content::Disk(_)
        | Content::Tunnel(_) => false,
    }
}

/// One stream.
struct Exchange {
    node: Arc<Node>,
    snapshot: Arc<Snapshot>,
    peer: Arc<Peer>,
    parts: http::request::Parts,
    started: Instant,
    respond: SendResponse<Bytes>,
}

impl Exchange {
    /// The authority wins over Host (RFC 9113 section 8.3.1).
    fn authority(&self) -> &[u8] {
        match self.parts.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => self.parts.headers.get(http::header::HOST).map_or(&[], |value| value.as_bytes()),
        }
    }

    fn target(&self) -> &[u8] {
        self.parts.uri.path_and_query().map_or(b"/", |target| target.as_str().as_bytes())
    }

    fn received<'r>(&'r self, body: &RecvStream) -> Received<'r, HeaderMap> {
        Received {
            method: &self.parts.method,
            scheme: self.peer.scheme,
            authority: self.authority(),
            target: self.target(),
            fields: &self.parts.headers,
            protocol: Protocol::H2,
            client: self.peer.address.ip(),
            sni: self.peer.sni.as_deref().filter(|_| self.peer.scheme == Scheme::Https),
            has_body: !body.is_end_stream(),
            upgrade: None,
            now: self.node.clock.at(self.started),
        }
    }

    /// What the codec let through and we do not.
    fn refusal(&self) -> Option<Answer> {
        if self.parts.method == Method::CONNECT {
            return Some(Answer::error(StatusCode::NOT_IMPLEMENTED, "this is no forward proxy"));
        }
        if self.parts.headers.len() > self.snapshot.limits.header_count as usize {
            return Some(Answer::error(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many header fields"));
        }
        None
    }

    async fn fetch(mut self, mut plan: Box<Plan<HeaderMap>>, body: RecvStream) {
        let length =
            self.parts.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > self.snapshot.limits.body_bytes_max) {
            return self.answer(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large")).await;
        }
        let body = if body.is_end_stream() {
            RequestBody::Empty
        } else {
            let uploaded = Uploaded::new(body, &self.snapshot.limits);
            RequestBody::Stream { body: UnsyncBoxBody::new(uploaded), length }
        };
        let node = self.node.clone();
        let unanswered = plan.trace();
        let interims = Arc::<Interims>::default();
        plan.interim = Some(interims.begin());
        let mut fetched = std::pin::pin!(fetching::fetch(node, plan, body));
        let answer = std::future::poll_fn(|cx| {
            if self.respond.poll_reset(cx).is_ready() {
                // The client wants no answer any more.
                return Poll::Ready(None);
            }
            let answer = fetched.as_mut().poll(cx);
            for (status, headers) in interims.take(cx) {
                self.send_interim(status, headers);
            }
            answer.map(Some)
        })
        .await;
        match answer {
            Some(answer) => self.answer(answer).await,
            None => self.done(&unanswered, &Sent::nothing()),
        }
    }

    fn send_interim(&mut self, status: StatusCode, headers: HeaderMap) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        // A stream that is gone shows when its answer is sent.
        drop(self.respond.send_informational(response));
    }

    /// Hands a whole answer to the codec.
    fn answer_now(mut self, mut answer: Answer) {
        let content = std::mem::replace(&mut answer.content, Content::Empty);
        let mut sent = self.sent(&answer);
        let wanted = has_content(&self.parts.method, answer.status);
        let Source::Here(mut pieces) = Source::of(content) else { unreachable!("only what is here fits at once") };
        if !wanted {
            pieces.clear();
        }
        let response = head::response(&self.node, &self.snapshot, self.peer.scheme == Scheme::Https, &mut answer);
        sent.complete = match self.respond.send_response(response, pieces.is_empty()) {
            Err(_) => false,
            Ok(_) if pieces.is_empty() => true,
            Ok(mut stream) => {
                sent.bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
                let last = pieces.len() - 1;
                pieces.into_iter().enumerate().all(|(at, piece)| stream.send_data(piece, at == last).is_ok())
            }
        };
        sent.first = Instant::now();
        sent.last = sent.first;
        self.done(&answer.trace, &sent);
    }

    /// Sends an answer as fast as the client takes it.
    async fn answer(mut self, mut answer: Answer) {
        if let Content::Tunnel(_) = answer.content {
            answer = Answer::error(StatusCode::BAD_GATEWAY, "the origin switched protocols unasked");
        }
        let content = std::mem::replace(&mut answer.content, Content::Empty);
        let mut sent = self.sent(&answer);
        let ends = !has_content(&self.parts.method, answer.status) || matches!(content, Content::Empty);
        let response = head::response(&self.node, &self.snapshot, self.peer.scheme == Scheme::Https, &mut answer);
        let sending = self.respond.send_response(response, ends);
        sent.first = Instant::now();
        sent.complete = match sending {
            Err(_) => false,
            Ok(_) if ends => true,
            Ok(stream) => {
                let stall = Duration::from_millis(self.snapshot.limits.write_stall_ms.into());
                let mut outlet = Outlet::new(stream, stall);
                outlet.send_all(Source::of(content), answer.length, &mut sent).await
            }
        };
        sent.last = Instant::now();
        self.done(&answer.trace, &sent);
    }

    fn sent(&self, answer: &Answer) -> Sent {
        let status = answer.status.as_u16();
        Sent { status, bytes: 0, first: self.started, last: self.started, complete: false, broken: None }
    }

    fn done(&self, trace: &Trace, sent: &Sent) {
        let asked = Asked {
            method: &self.parts.method,
            host: self.authority(),
            target: self.target(),
            fields: &self.parts.headers,
            protocol: Protocol::H2,
            http10: false,
            client: self.peer.address.ip(),
            started: self.started,
        };
        done(&self.node, &asked, trace, sent);
    }
}
