//! An HTTP/1.1 connection: heads are read one after another, each is answered before the next is looked at.
//!
//! The task of the connection is the only one that touches its socket. A request body is read by [`Upload`] while the
//! answer is awaited and written, so both directions move at once. Whatever the task waits for, one [`Deadline`]
//! bounds the wait. A connection is kept only when the request's body is through to its last byte; what cannot be
//! trusted is answered and closed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::deadline::Deadline;
use super::exchange::{Asked, Sent, done};
use super::outgoing::Outgoing;
use super::upload::{Progress, Upload};
use super::{Peer, Stream, count};
use crate::answer::Answer;
use crate::fetching;
use crate::h1::{BodyFraming, FlatFields, HeadParser, Parsed, Refusal, RequestHead, Version, encode};
use crate::interims::Interims;
use crate::metrics::Protocol;
use crate::node::Node;
use crate::plan::Plan;
use crate::request::{Next, Received, Scratch, walk};
use crate::snapshot::Snapshot;

mod write;

/// How much of a body is read at once.
pub const READ_BYTES: usize = 16 << 10;
/// How much is read at once while a head is awaited: nearly every head fits, and an idle connection keeps no more room.
pub const HEAD_READ_BYTES: usize = 4 << 10;
/// How much a client may send ahead while its answer is awaited.
const AHEAD_BYTES: usize = 64 << 10;
/// How much of an unwanted request body is read to keep the connection.
const DISCARD_BYTES: u64 = 64 << 10;
/// How long a closing connection is read, so that the last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(2);
/// How much a closing connection is read.
const LINGER_BYTES: usize = 256 << 10;

/// One connection and all it remembers between requests.
pub(super) struct Connection {
    node: Arc<Node>,
    snapshot: Arc<Snapshot>,
    snapshot_version: u64,
    stream: Stream,
    input: BytesMut,
    outgoing: Outgoing,
    parser: HeadParser,
    scratch: Scratch,
    text: String,
    deadline: Deadline,
    peer: Peer,
    upload: Option<Upload>,
    interims: Arc<Interims>,
    /// How the last upload ended, when it did not end well.
    upload_failed: Option<Progress>,
    served: u32,
    /// The newest reading of the clock, so that it is read once where it matters.
    moment: Instant,
    /// When the first bytes of the answer had left, if there was more to write then.
    first_written: Option<Instant>,
}

/// What came while the answer was awaited.
#[allow(clippy::large_enum_variant, reason = "nearly always the large one, and moved once")]
enum Came {
    Answer(Answer),
    Interims(Vec<(StatusCode, HeaderMap)>),
    /// The client left.
    Gone,
}

/// Why no further head comes.
enum End {
    /// The client closed, or was idle for its time, or the node drains.
    Quiet,
    /// What came is no request.
    Refused(Refusal),
    /// A head did not become whole in time.
    Late,
}

/// Serves a connection whose first bytes may have been read already.
pub async fn serve(node: Arc<Node>, stream: Stream, peer: Peer, input: BytesMut) {
    count(&node, Protocol::H1);
    let mut connection = Box::new(Connection {
        snapshot: node.snapshot(),
        snapshot_version: node.version(),
        stream,
        input,
        outgoing: Outgoing::default(),
        parser: HeadParser::new(),
        scratch: Scratch::default(),
        text: String::new(),
        deadline: Deadline::default(),
        peer,
        upload: None,
        interims: Arc::default(),
        upload_failed: None,
        served: 0,
        moment: Instant::now(),
        first_written: None,
        node,
    });
    connection.run().await;
}

/// Whether the connection serves another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Keep,
    /// Close once the client has had time to read the answer.
    Close,
    /// Nothing more can be said on this connection.
    Drop,
}

impl Connection {
    async fn run(&mut self) {
        let node = self.node.clone();
        let mut draining = std::pin::pin!(node.drain.begins());
        loop {
            let after = match self.read_head(draining.as_mut()).await {
                Ok(head) => self.serve_one(head).await,
                Err(End::Quiet) => After::Drop,
                Err(End::Late) => self.refuse(StatusCode::REQUEST_TIMEOUT, "the request head took too long").await,
                Err(End::Refused(refusal)) => {
                    self.node.metrics.here().refused.0[refusal.reason.index()].bump();
                    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
                    self.refuse(status, refusal.reason.word()).await
                }
            };
            match after {
                After::Keep => {}
                After::Close => return self.linger().await,
                After::Drop => return,
            }
        }
    }

    /// Waits for the next request head.
    async fn read_head(&mut self, mut draining: Pin<&mut impl Future<Output = ()>>) -> Result<RequestHead, End> {
        self.refresh_snapshot();
        let limits = self.snapshot.limits.clone();
        let mut in_head = self.served == 0;
        let wait = if in_head { limits.header_ms } else { limits.idle_ms };
        self.deadline.set(self.moment, Duration::from_millis(wait.into()));
        let mut armed = false;
        loop {
            match self.parser.advance(&mut self.input, &limits).map_err(End::Refused)? {
                Parsed::Complete(head) => return Ok(head),
                Parsed::Partial => {}
            }
            if !in_head && !self.parser.is_idle() {
                in_head = true;
                self.deadline.set(Instant::now(), Duration::from_millis(limits.header_ms.into()));
            }
            let idle = self.parser.is_idle();
            std::future::poll_fn(|cx| {
                if let Poll::Ready(read) = self.poll_read(cx) {
                    return Poll::Ready(if read { Ok(()) } else { Err(End::Quiet) });
                }
                // Registered once: the task stays the same, and whatever wakes it looks at the flag.
                if idle && (self.node.drain.has_begun() || !armed && draining.as_mut().poll(cx).is_ready()) {
                    return Poll::Ready(Err(End::Quiet));
                }
                armed = true;
                self.deadline.poll(cx).map(|()| Err(if idle { End::Quiet } else { End::Late }))
            })
            .await?;
        }
    }

    /// Takes the newest snapshot, which costs one load when nothing was reloaded.
    fn refresh_snapshot(&mut self) {
        let version = self.node.version();
        if version != self.snapshot_version {
            self.snapshot = self.node.snapshot();
            self.snapshot_version = version;
        }
    }

    /// Reads what is there; false at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.input.reserve(HEAD_READ_BYTES);
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input).map(|read| matches!(read, Ok(1..)))
    }

    /// Answers one request.
    async fn serve_one(&mut self, head: RequestHead) -> After {
        self.served += 1;
        let started = Instant::now();
        // The settings may have been reloaded while the head was awaited.
        self.refresh_snapshot();
        let snapshot = self.snapshot.clone();
        let target = head.target().path_and_query();
        let received = Received {
            method: &head.method,
            scheme: self.peer.scheme,
            authority: head.authority().unwrap_or_default(),
            target: &target,
            fields: &head.fields,
            protocol: Protocol::H1,
            client: self.peer.address.ip(),
            sni: self.peer.sni.as_deref(),
            has_body: head.framing != BodyFraming::Empty,
            upgrade: head.upgrade(),
            now: self.node.clock.at(started),
        };
        let next = walk(&self.node, &snapshot, &mut self.scratch, received);
        let asked = Asked {
            method: &head.method,
            host: head.authority().unwrap_or_default(),
            target: &target,
            fields: &head.fields,
            protocol: Protocol::H1,
            http10: head.version == Version::Http10,
            client: self.peer.address.ip(),
            started,
        };
        let answer = match next {
            Next::Answer(answer, refresh) => {
                fetching::refresh(&self.node, refresh);
                self.discard_body(&head, &snapshot);
                answer
            }
            Next::Purge(purge) => {
                self.discard_body(&head, &snapshot);
                self.node.purges.purge(purge).await
            }
            Next::Fetch(plan) => {
                let unanswered = plan.trace();
                let Some(answer) = self.fetch(&head, &snapshot, plan).await else {
                    done(&self.node, &asked, &unanswered, &Sent::nothing());
                    return After::Drop;
                };
                answer
            }
        };
        self.deliver(answer, &head, &snapshot, &asked).await
    }

    /// A body that no step wants is read and dropped while the answer goes out (and before the next head: its bytes
    /// must never be taken for a request).
    fn discard_body(&mut self, head: &RequestHead, snapshot: &Snapshot) {
        if head.framing != BodyFraming::Empty {
            self.upload = Some(Upload::discard(head.framing, &snapshot.limits));
        }
    }

    /// Asks the origin; none when the client left meanwhile.
    async fn fetch(
        &mut self,
        head: &RequestHead,
        snapshot: &Snapshot,
        mut plan: Box<Plan<FlatFields>>,
    ) -> Option<Answer> {
        let mut body = headland_origin::RequestBody::Empty;
        if head.framing != BodyFraming::Empty {
            if matches!(head.framing, BodyFraming::Length(length) if length > snapshot.limits.body_bytes_max) {
                self.discard_body(head, snapshot);
                let mut answer = Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large");
                answer.close = true;
                return Some(answer);
            }
            let (upload, relayed) = Upload::begin(head.framing, &snapshot.limits);
            (self.upload, body) = (Some(upload), relayed);
            if head.expect_continue {
                encode::interim(self.outgoing.text(), StatusCode::CONTINUE, &HeaderMap::new());
                self.flush(snapshot).await.ok()?;
            }
        }
        // RFC 9110 section 15.2: clients of HTTP/1.0 know no interim answers.
        plan.interim = (head.version == Version::Http11).then(|| self.interims.begin());
        let mut fetched = std::pin::pin!(fetching::fetch(self.node.clone(), plan, body));
        loop {
            match self.await_unless_gone(fetched.as_mut()).await {
                Came::Answer(answer) => return Some(answer),
                Came::Interims(interims) => {
                    self.push_interims(&interims);
                    self.flush(snapshot).await.ok()?;
                }
                Came::Gone => return None,
            }
        }
    }

    fn push_interims(&mut self, interims: &[(StatusCode, HeaderMap)]) {
        for (status, headers) in interims {
            encode::interim(self.outgoing.text(), *status, headers);
        }
    }

    /// Awaits the answer, or what comes before it, while the upload moves on.
    async fn await_unless_gone(&mut self, mut fetched: Pin<&mut impl Future<Output = Answer>>) -> Came {
        std::future::poll_fn(|cx| {
            self.poll_upload(cx);
            if let Poll::Ready(answer) = fetched.as_mut().poll(cx) {
                let before = self.interims.end();
                self.push_interims(&before);
                return Poll::Ready(Came::Answer(answer));
            }
            if matches!(self.upload_failed, Some(Progress::Gone)) {
                return Poll::Ready(Came::Gone);
            }
            let interims = self.interims.take(cx);
            if !interims.is_empty() {
                return Poll::Ready(Came::Interims(interims));
            }
            // Reading on tells that the client has left; what it sends ahead is kept, within bounds.
            let ahead = AHEAD_BYTES;
            while self.upload.is_none() && self.upload_failed.is_none() && self.input.len() < ahead {
                match self.poll_read(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(Came::Gone),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Moves the request body.
    fn poll_upload(&mut self, cx: &mut Context<'_>) {
        let Some(upload) = &mut self.upload else { return };
        if let Poll::Ready(progress) = upload.poll(cx, &mut self.stream, &mut self.input) {
            self.upload = None;
            self.upload_failed = Some(progress).filter(|progress| *progress != Progress::Whole);
        }
    }

    /// Writes all that waits, while the upload moves on, and takes down when.
    async fn flush(&mut self, snapshot: &Snapshot) -> Result<(), ()> {
        let wait = Duration::from_millis(snapshot.limits.write_stall_ms.into());
        let mut waiting = false;
        std::future::poll_fn(|cx| {
            self.poll_upload(cx);
            while self.outgoing.has_remaining() {
                match self.poll_write(cx) {
                    Poll::Ready(Ok(1..)) => {
                        waiting = false;
                        if self.outgoing.has_remaining() {
                            self.first_written.get_or_insert_with(Instant::now);
                        }
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(())),
                    Poll::Pending => return self.poll_stalled(cx, &mut waiting, wait),
                }
            }
            // Under TLS the last records may still wait for the socket.
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(flushed) => Poll::Ready(flushed.map_err(drop)),
                Poll::Pending => self.poll_stalled(cx, &mut waiting, wait),
            }
        })
        .await?;
        self.moment = Instant::now();
        self.first_written.get_or_insert(self.moment);
        Ok(())
    }

    /// The client takes nothing: ready, as an error, once that lasts too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>, waiting: &mut bool, wait: Duration) -> Poll<Result<(), ()>> {
        if !std::mem::replace(waiting, true) {
            self.deadline.set(Instant::now(), wait);
        }
        self.deadline.poll(cx).map(Err)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        if !self.outgoing.is_one_piece() {
            return poll_write_buf(stream, cx, &mut self.outgoing);
        }
        let written = std::task::ready!(stream.poll_write(cx, self.outgoing.chunk()))?;
        self.outgoing.advance(written);
        Poll::Ready(Ok(written))
    }

    /// Answers what is no request, and closes.
    async fn refuse(&mut self, status: StatusCode, reason: &'static str) -> After {
        let now = Instant::now();
        let mut answer = Answer::error(status, reason);
        answer.close = true;
        answer.trace.error = crate::deliver::trace_error("http_request_error", reason);
        let snapshot = self.snapshot.clone();
        let asked = Asked {
            method: &http::Method::GET,
            host: b"",
            target: b"",
            fields: &HeaderMap::new(),
            protocol: Protocol::H1,
            http10: false,
            client: self.peer.address.ip(),
            started: now,
        };
        let sent = self.write(&mut answer, &http::Method::GET, Version::Http11, false, &snapshot, now).await;
        done(&self.node, &asked, &answer.trace, &sent);
        After::Close
    }

    /// Ends the writing side and reads on for a moment: closing with unread input would reset the connection, and the
    /// client could lose the answer (RFC 9112 section 9.6).
    async fn linger(&mut self) {
        let reading = async {
            if self.stream.shutdown().await.is_err() {
                return;
            }
            let mut left = LINGER_BYTES;
            while left > 0 {
                self.input.clear();
                if !std::future::poll_fn(|cx| self.poll_read(cx)).await {
                    return;
                }
                left = left.saturating_sub(self.input.len());
            }
        };
        // The deadline passing is the expected end for a client that keeps sending.
        drop(tokio::time::timeout(LINGER, reading).await);
    }
}
