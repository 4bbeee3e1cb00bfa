//! Writing an answer on an HTTP/1.1 connection: head, content in its framing, and what follows from how it went.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use headland_cache::Scheme;
use http::{HeaderMap, Method, StatusCode};

use super::{After, Connection, DISCARD_BYTES};
use crate::answer::{Answer, Content, Head, adorn};
use crate::connection::content::{Piece, Source};
use crate::connection::exchange::{Asked, Sent, done};
use crate::connection::upload::Progress;
use crate::deliver::has_content;
use crate::h1::{FlatFields, RequestHead, ResponseFraming, Version, encode};
use crate::snapshot::Snapshot;
use crate::tunnel;

/// What is gathered before it is written, as long as more is ready.
const GATHER_BYTES: usize = 256 << 10;

/// One step of writing content.
enum Step {
    Piece(Piece),
    /// Nothing yet, but something is there to be written first.
    Flush,
}

impl Connection {
    /// Delivering: writes the answer, counts it, and says what becomes of the connection.
    pub(super) async fn deliver(
        &mut self,
        mut answer: Answer,
        head: &RequestHead,
        snapshot: &Snapshot,
        asked: &Asked<'_, FlatFields>,
    ) -> After {
        if let Content::Tunnel(_) = answer.content {
            return self.tunnel(answer, head, snapshot, asked).await;
        }
        let keep = self.may_keep(&answer, head, snapshot);
        let sent = self.write(&mut answer, &head.method, head.version, keep, snapshot, asked.started).await;
        done(&self.node, asked, &answer.trace, &sent);
        if !sent.complete {
            return After::Drop;
        }
        if !keep {
            return After::Close;
        }
        self.finish_body().await
    }

    /// Whether the connection can serve another request after this answer, as far as is known before it is written.
    fn may_keep(&self, answer: &Answer, head: &RequestHead, snapshot: &Snapshot) -> bool {
        let until_close = ResponseFraming::choose(&head.method, head.version, answer.status, answer.length)
            == ResponseFraming::UntilClose;
        // A client that waits for 100 may or may not send its body after a final answer (RFC 9110 section 10.1.1).
        let ambiguous = head.expect_continue && self.upload.is_some();
        head.keep_alive
            && !answer.close
            && !until_close
            && !ambiguous
            && self.upload_failed.is_none()
            && self.served < snapshot.limits.requests_per_connection_max
            && !self.node.drain.has_begun()
    }

    /// Reads the rest of a request body after the answer, if it is small enough to be worth it.
    async fn finish_body(&mut self) -> After {
        if self.upload.is_none() && self.upload_failed.is_none() {
            return After::Keep;
        }
        std::future::poll_fn(|cx| {
            self.poll_upload(cx);
            match &self.upload {
                None => Poll::Ready(()),
                Some(upload) if upload.dropped > DISCARD_BYTES => Poll::Ready(()),
                Some(_) => Poll::Pending,
            }
        })
        .await;
        match (&self.upload, self.upload_failed) {
            (None, None) => After::Keep,
            (None, Some(Progress::Gone)) => After::Drop,
            _ => After::Close,
        }
    }

    /// Writes the answer; its content is spent afterwards.
    pub(super) async fn write(
        &mut self,
        answer: &mut Answer,
        method: &Method,
        version: Version,
        keep: bool,
        snapshot: &Snapshot,
        started: Instant,
    ) -> Sent {
        let framing = ResponseFraming::choose(method, version, answer.status, answer.length);
        (self.first_written, self.moment) = (None, started);
        self.head_text(answer, method, framing, version, keep, snapshot);
        let status = answer.status.as_u16();
        let mut sent = Sent { status, bytes: 0, first: started, last: started, complete: false, broken: None };
        let content = std::mem::replace(&mut answer.content, Content::Empty);
        let wanted = has_content(method, answer.status);
        sent.complete = match content {
            _ if !wanted => self.flush(snapshot).await.is_ok(),
            Content::Empty | Content::Tunnel(_) => self.flush(snapshot).await.is_ok(),
            Content::Text(text) => {
                sent.bytes = text.len() as u64;
                self.outgoing.push(text);
                self.flush(snapshot).await.is_ok()
            }
            Content::Stored(body, range) => {
                sent.bytes = range.end - range.start;
                body.slice(range).for_each(|piece| self.outgoing.push(piece));
                self.flush(snapshot).await.is_ok()
            }
            Content::Parts(pieces) => {
                sent.bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
                for piece in pieces {
                    self.outgoing.push(piece);
                }
                self.flush(snapshot).await.is_ok()
            }
            content @ (Content::Fill(_) | Content::Origin(_) | Content::Piped(_) | Content::Disk(_)) => {
                self.stream_out(Source::of(content), framing, &mut sent, snapshot).await
            }
        };
        if !sent.complete {
            // What was not taken was not sent.
            sent.bytes = sent.bytes.saturating_sub(self.outgoing.remaining() as u64);
        }
        sent.last = self.moment;
        sent.first = self.first_written.unwrap_or(self.moment);
        if !sent.complete && framing == ResponseFraming::UntilClose {
            self.stream.abort_on_close();
        }
        sent
    }

    fn head_text(
        &mut self,
        answer: &Answer,
        method: &Method,
        framing: ResponseFraming,
        version: Version,
        keep: bool,
        snapshot: &Snapshot,
    ) {
        let mut text = std::mem::take(&mut self.text);
        let out = self.outgoing.text();
        encode::status_line(out, answer.status);
        match &answer.head {
            Head::Stored(head) => out.extend_from_slice(head.wire()),
            // The origin side has dropped what is not end to end, and the date is there since the fields were taken over.
            Head::Lines(lines) => out.extend_from_slice(lines.text()),
            Head::Map(headers) => {
                encode::fields(out, headers);
                if !headers.contains_key(http::header::DATE) {
                    encode::date(out, &crate::clock::http_date(self.node.clock.now()));
                }
            }
        }
        let secure = self.peer.scheme == Scheme::Https;
        adorn(answer, snapshot, secure, &mut text, out);
        match (framing, answer.length) {
            // The length that GET would get (RFC 9110 section 9.3.2).
            (ResponseFraming::None, Some(length)) if method == Method::HEAD && may_tell_length(answer.status) => {
                encode::content_length(out, length);
            }
            (framing, _) => encode::framing(out, framing),
        }
        encode::connection(out, version, keep);
        encode::end(out);
        self.text = text;
    }

    /// Writes content as it comes; true when it came to its end.
    async fn stream_out(
        &mut self,
        mut source: Source,
        framing: ResponseFraming,
        sent: &mut Sent,
        snapshot: &Snapshot,
    ) -> bool {
        loop {
            let flush = match std::future::poll_fn(|cx| self.poll_step(cx, &mut source)).await {
                Step::Piece(Piece::Data(data)) => {
                    sent.bytes += data.len() as u64;
                    self.push_data(data, framing);
                    self.outgoing.remaining() >= GATHER_BYTES
                }
                Step::Piece(Piece::Trailers(trailers)) => {
                    self.push_end(framing, Some(&trailers));
                    return self.flush_last(sent, framing, snapshot).await;
                }
                Step::Piece(Piece::End) => {
                    self.push_end(framing, None);
                    return self.flush_last(sent, framing, snapshot).await;
                }
                Step::Piece(Piece::Broken(broken)) => {
                    sent.broken = Some(broken);
                    // What arrived goes out; the missing end tells that something is missing.
                    let _ = self.flush(snapshot).await;
                    return false;
                }
                Step::Flush => true,
            };
            if flush && self.flush(snapshot).await.is_err() {
                return false;
            }
        }
    }

    async fn flush_last(&mut self, sent: &Sent, framing: ResponseFraming, snapshot: &Snapshot) -> bool {
        let flushed = self.flush(snapshot).await.is_ok();
        // A source that ends early says so; this is the last line of defence against a short body that looks whole.
        flushed && !matches!(framing, ResponseFraming::Length(length) if length != sent.bytes)
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, source: &mut Source) -> Poll<Step> {
        self.poll_upload(cx);
        match source.poll(cx) {
            Poll::Ready(piece) => Poll::Ready(Step::Piece(piece)),
            Poll::Pending if self.outgoing.has_remaining() => Poll::Ready(Step::Flush),
            Poll::Pending => Poll::Pending,
        }
    }

    fn push_data(&mut self, data: Bytes, framing: ResponseFraming) {
        if framing == ResponseFraming::Chunked {
            if data.is_empty() {
                return;
            }
            self.outgoing.push(Bytes::copy_from_slice(encode::ChunkSize::new(data.len()).as_bytes()));
            self.outgoing.push(data);
            self.outgoing.push(Bytes::from_static(encode::CHUNK_END));
        } else {
            self.outgoing.push(data);
        }
    }

    fn push_end(&mut self, framing: ResponseFraming, trailers: Option<&HeaderMap>) {
        if framing == ResponseFraming::Chunked {
            let mut end = Vec::new();
            encode::last_chunk(&mut end, trailers);
            self.outgoing.push(end.into());
        }
    }

    /// The origin has switched protocols: says so, then carries bytes both ways until one side ends.
    async fn tunnel(
        &mut self,
        mut answer: Answer,
        head: &RequestHead,
        snapshot: &Snapshot,
        asked: &Asked<'_, FlatFields>,
    ) -> After {
        let Content::Tunnel(origin) = std::mem::replace(&mut answer.content, Content::Empty) else {
            return After::Drop;
        };
        let headers = std::mem::take(&mut answer.head).into_map();
        let chosen = headers.get(http::header::UPGRADE).map_or(head.upgrade().unwrap_or_default(), |v| v.as_bytes());
        encode::switching(self.outgoing.text(), &headers, chosen);
        let flushed = self.flush(snapshot).await.is_ok();
        let first = Instant::now();
        let input = self.input.split().freeze();
        let idle = Duration::from_millis(snapshot.limits.idle_ms.into());
        let bytes = if flushed { tunnel::carry(&mut self.stream, input, origin, idle).await } else { 0 };
        let last = Instant::now();
        let sent = Sent { status: answer.status.as_u16(), bytes, first, last, complete: flushed, broken: None };
        done(&self.node, asked, &answer.trace, &sent);
        After::Drop
    }
}

/// 1xx and 204 have no Content-Length at all (RFC 9110 section 8.6); of a 304 ours would be a guess.
fn may_tell_length(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}
