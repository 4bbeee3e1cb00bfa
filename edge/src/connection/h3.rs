//! An HTTP/3 connection (RFC 9114): each request is a stream and a task. The steps, the cache and the log are those of the
//! other protocols; flow control is QUIC's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h3::error::Code;
use h3::server::{RequestResolver, RequestStream};
use headland_cache::Scheme;
use headland_origin::RequestBody;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use quinn::crypto::rustls::HandshakeData;

use super::content::{Piece, Source};
use super::exchange::{Asked, Sent, done};
use super::{Peer, count, head};
use crate::answer::{Answer, Content, Trace};
use crate::deliver::has_content;
use crate::fetching;
use crate::interims::Interims;
use crate::metrics::Protocol;
use crate::node::Node;
use crate::plan::Plan;
use crate::request::{Next, Received, Scratch, walk};
use crate::snapshot::Snapshot;

mod uploaded;

use uploaded::Uploaded;

type Connection = h3::server::Connection<h3_quinn::Connection, Bytes>;
type Outlet = RequestStream<h3_quinn::SendStream<Bytes>, Bytes>;
type Inlet = RequestStream<h3_quinn::RecvStream, Bytes>;

/// How long the requests of a connection may take to end after it was told to go away.
const GOAWAY_WAIT: Duration = Duration::from_secs(10);

/// Serves a connection to its end.
pub async fn serve(node: Arc<Node>, quic: quinn::Connection, address: SocketAddr) {
    count(&node, Protocol::H3);
    node.metrics.here().tls_full.bump();
    let data = quic.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let sni = data.and_then(|data| data.server_name).map(|name| name.to_ascii_lowercase().into_boxed_str());
    let peer = Arc::new(Peer { address, scheme: Scheme::Https, sni });
    let mut builder = h3::server::builder();
    builder.max_field_section_size(node.snapshot().limits.h2_header_list_bytes.into()).send_grease(false);
    let Ok(connection) = builder.build(h3_quinn::Connection::new(quic)).await else { return };
    run(node, connection, peer).await;
}

async fn run(node: Arc<Node>, mut connection: Connection, peer: Arc<Peer>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = node.drain.begins() => break,
            accepted = connection.accept() => accepted,
        };
        // A connection that breaks a rule has been closed with the reason.
        let Ok(Some(resolver)) = accepted else { return };
        tokio::spawn(request(node.clone(), peer.clone(), resolver));
    }
    // Told to go away: no new requests, and those under way end.
    if connection.shutdown(0).await.is_ok() {
        let rest = async { while let Ok(Some(_)) = connection.accept().await {} };
        drop(tokio::time::timeout(GOAWAY_WAIT, rest).await);
    }
}

/// One request, from its head to the end of its answer.
async fn request(node: Arc<Node>, peer: Arc<Peer>, resolver: RequestResolver<h3_quinn::Connection, Bytes>) {
    let snapshot = node.snapshot();
    let within = Duration::from_millis(snapshot.limits.header_ms.into());
    let Ok(Ok((request, stream))) = tokio::time::timeout(within, resolver.resolve_request()).await else { return };
    let started = Instant::now();
    let (outlet, inlet) = stream.split();
    let (parts, ()) = request.into_parts();
    let exchange = Exchange { node, snapshot, peer, parts, started, outlet };
    exchange.run(inlet).await;
}

/// One stream.
struct Exchange {
    node: Arc<Node>,
    snapshot: Arc<Snapshot>,
    peer: Arc<Peer>,
    parts: http::request::Parts,
    started: Instant,
    outlet: Outlet,
}

impl Exchange {
    async fn run(mut self, inlet: Inlet) {
        if let Some(answer) = self.refusal() {
            return self.answer(answer).await;
        }
        let next = walk(&self.node, &self.snapshot, &mut Scratch::default(), self.received());
        match next {
            Next::Answer(answer, refresh) => {
                fetching::refresh(&self.node, refresh);
                self.answer(answer).await;
            }
            Next::Purge(purge) => {
                let answer = self.node.purges.purge(purge).await;
                self.answer(answer).await;
            }
            Next::Fetch(plan) => {
                let answer = self.fetch(plan, inlet).await;
                self.answer(answer).await;
            }
        }
    }

    /// The authority wins over Host (RFC 9114 section 4.3.1).
    fn authority(&self) -> &[u8] {
        match self.parts.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => self.parts.headers.get(http::header::HOST).map_or(&[], |value| value.as_bytes()),
        }
    }

    fn target(&self) -> &[u8] {
        self.parts.uri.path_and_query().map_or(b"/", |target| target.as_str().as_bytes())
    }

    /// Whether a body is to be expected: it is announced, or the method has one. What comes beside that is not read.
    fn has_body(&self) -> bool {
        match self.length() {
            Some(length) => length > 0,
            None => matches!(self.parts.method, Method::POST | Method::PUT | Method::PATCH),
        }
    }

    fn length(&self) -> Option<u64> {
        self.parts.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    fn received(&self) -> Received<'_, HeaderMap> {
        Received {
            method: &self.parts.method,
            scheme: self.peer.scheme,
            authority: self.authority(),
            target: self.target(),
            fields: &self.parts.headers,
            protocol: Protocol::H3,
            client: self.peer.address.ip(),
            sni: self.peer.sni.as_deref(),
            has_body: self.has_body(),
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
        if self.length().is_some_and(|length| length > self.snapshot.limits.body_bytes_max) {
            return Some(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large"));
        }
        None
    }

    async fn fetch(&mut self, mut plan: Box<Plan<HeaderMap>>, inlet: Inlet) -> Answer {
        let body = if self.has_body() {
            let uploaded = Uploaded::new(inlet, &self.snapshot.limits);
            RequestBody::Stream { body: UnsyncBoxBody::new(uploaded), length: self.length() }
        } else {
            RequestBody::Empty
        };
        let interims = Arc::<Interims>::default();
        plan.interim = Some(interims.begin());
        let mut fetched = std::pin::pin!(fetching::fetch(self.node.clone(), plan, body));
        loop {
            let mut told = Vec::new();
            let answer = std::future::poll_fn(|cx| {
                let answer = fetched.as_mut().poll(cx);
                told = interims.take(cx);
                if answer.is_pending() && told.is_empty() {
                    return std::task::Poll::Pending;
                }
                std::task::Poll::Ready(match answer {
                    std::task::Poll::Ready(answer) => Some(answer),
                    std::task::Poll::Pending => None,
                })
            })
            .await;
            for (status, headers) in told {
                let mut response = http::Response::new(());
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                // A stream that is gone shows when its answer is sent.
                drop(self.outlet.send_response(response).await);
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
        let mut sent =
            Sent { status: answer.status.as_u16(), bytes: 0, first: self.started, last: self.started, complete: false };
        let ends = !has_content(&self.parts.method, answer.status) || matches!(content, Content::Empty);
        let response = head::response(&self.node, &self.snapshot, true, &mut answer);
        let begun = self.outlet.send_response(response).await.is_ok();
        sent.first = Instant::now();
        sent.complete = begun && (ends || self.send_all(Source::of(content), answer.length, &mut sent.bytes).await);
        if sent.complete {
            sent.complete = self.outlet.finish().await.is_ok();
        } else {
            // What is short must never look whole.
            self.outlet.stop_stream(Code::H3_INTERNAL_ERROR);
        }
        sent.last = Instant::now();
        self.done(&answer.trace, &sent);
    }

    async fn send_all(&mut self, mut source: Source, announced: Option<u64>, sent: &mut u64) -> bool {
        let stall = Duration::from_millis(self.snapshot.limits.write_stall_ms.into());
        loop {
            match std::future::poll_fn(|cx| source.poll(cx)).await {
                Piece::Data(data) if data.is_empty() => {}
                Piece::Data(data) => {
                    *sent += data.len() as u64;
                    if !matches!(tokio::time::timeout(stall, self.outlet.send_data(data)).await, Ok(Ok(()))) {
                        return false;
                    }
                }
                Piece::Broken => return false,
                Piece::End | Piece::Trailers(_) if announced.is_some_and(|announced| announced != *sent) => {
                    return false;
                }
                Piece::Trailers(trailers) => return self.outlet.send_trailers(trailers).await.is_ok(),
                Piece::End => return true,
            }
        }
    }

    fn done(&self, trace: &Trace, sent: &Sent) {
        let asked = Asked {
            method: &self.parts.method,
            host: self.authority(),
            target: self.target(),
            fields: &self.parts.headers,
            protocol: Protocol::H3,
            http10: false,
            client: self.peer.address.ip(),
            started: self.started,
        };
        done(&self.node, &asked, trace, sent);
    }
}
