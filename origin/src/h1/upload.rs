//! Writing a request: the head, and the body as the client sends it.
//!
//! The first piece of the body, when it is there, leaves in one vectored write with the head. A body that breaks
//! off, or is not as long as declared, ends in an error and never in a last chunk: the origin must not take a part
//! for the whole.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::io::AsyncWrite;

use super::scratch;
use crate::error::BodyFault;
use crate::exchange::Waits;
use crate::framing::{CHUNK_END, ChunkSize, LAST_CHUNK, encode_last_chunk, only_trailing};

/// Ends the data of a chunk, and the body with it.
const CHUNK_END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    /// Bytes still to come.
    Length(u64),
    Chunked,
}

/// Why an upload stopped.
#[derive(Debug)]
pub(super) enum Broken {
    /// The origin takes no more; its answer may be there all the same (RFC 9112 9.5).
    Origin(io::Error),
    Client(BodyFault),
}

pub(super) struct Upload {
    /// Head and chunk sizes, of which `at` bytes are written.
    head: Vec<u8>,
    at: usize,
    data: Bytes,
    tail: &'static [u8],
    body: Option<UnsyncBoxBody<Bytes, BodyFault>>,
    framing: Framing,
    written: u64,
    waits: Waits,
}

impl Upload {
    pub(super) fn new(head: Vec<u8>, framing: Framing, body: Option<UnsyncBoxBody<Bytes, BodyFault>>) -> Self {
        Self { head, at: 0, data: Bytes::new(), tail: b"", body, framing, written: 0, waits: Waits::Origin }
    }

    /// Of a request that is out already.
    pub(super) fn done(written: u64) -> Self {
        let mut upload = Self::new(Vec::new(), Framing::None, None);
        upload.written = written;
        upload
    }

    /// Bytes that the kernel, or TLS, has taken.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    /// Writes until the request is out. While pending, `waits` says for whom.
    pub(super) fn poll<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, io: &mut W) -> Poll<Result<(), Broken>> {
        loop {
            // Before the first write too: head and body leave together.
            if self.data.is_empty() && self.tail.is_empty() && self.body.is_some() {
                match self.poll_body(cx) {
                    Poll::Ready(result) => result.map_err(Broken::Client)?,
                    Poll::Pending if self.has_bytes() => {}
                    Poll::Pending => {
                        self.waits = Waits::Client;
                        // What is out so far must not wait in TLS for the client; its errors come with the next write.
                        let _ = Pin::new(io).poll_flush(cx);
                        return Poll::Pending;
                    }
                }
            }
            self.waits = Waits::Origin;
            if self.has_bytes() {
                ready!(self.poll_write(cx, io)).map_err(Broken::Origin)?;
            } else if self.body.is_none() {
                return Pin::new(io).poll_flush(cx).map_err(Broken::Origin);
            }
        }
    }

    fn has_bytes(&self) -> bool {
        self.at < self.head.len() || !self.data.is_empty() || !self.tail.is_empty()
    }

    fn poll_write<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, io: &mut W) -> Poll<io::Result<()>> {
        let head = &self.head[self.at..];
        let n = if self.data.is_empty() && self.tail.is_empty() {
            ready!(Pin::new(io).poll_write(cx, head))?
        } else {
            let slices = [IoSlice::new(head), IoSlice::new(&self.data), IoSlice::new(self.tail)];
            ready!(Pin::new(io).poll_write_vectored(cx, &slices))?
        };
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(n);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut n: usize) {
        self.written += n as u64;
        let of_head = n.min(self.head.len() - self.at);
        self.at += of_head;
        n -= of_head;
        let of_data = n.min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[n - of_data..];
        if self.at == self.head.len() {
            self.head.clear();
            self.at = 0;
        }
    }

    /// Queues the next piece of the body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFault>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        let result = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => self.end(None),
            Some(Err(fault)) => Err(fault),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let last = body.is_end_stream();
                    self.data(data, last)
                }
                Err(frame) => self.end(frame.trailers_ref()),
            },
        };
        Poll::Ready(result)
    }

    fn data(&mut self, data: Bytes, last: bool) -> Result<(), BodyFault> {
        match &mut self.framing {
            Framing::None => return Err(BodyFault::TooLarge),
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(BodyFault::TooLarge)?;
            }
            // An empty chunk would end the body.
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => {
                self.head.extend_from_slice(ChunkSize::new(data.len()).as_bytes());
                self.tail = CHUNK_END;
            }
        }
        self.data = data;
        if last { self.end(None) } else { Ok(()) }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), BodyFault> {
        self.body = None;
        match (self.framing, trailers) {
            (Framing::Length(1..), _) => return Err(BodyFault::TooShort),
            // Only the chunked coding has a place for trailers.
            (Framing::None | Framing::Length(0), _) => {}
            (Framing::Chunked, None) if self.tail.is_empty() => self.tail = LAST_CHUNK,
            (Framing::Chunked, None) => self.tail = CHUNK_END_AND_LAST,
            (Framing::Chunked, Some(trailers)) => {
                encode_last_chunk(&only_trailing(trailers), &mut self.head);
            }
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        scratch::give_head(std::mem::take(&mut self.head));
    }
}
