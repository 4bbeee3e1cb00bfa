//! A large body on its way from disk to a client: piece by piece, the next one read while one is sent.
//!
//! What the page cache has is read on the worker, which waits for nothing. Once it does not have a piece, that one and all
//! that follow are read by a reader thread, always one ahead. A client that leaves takes its read with it. What
//! comes from a piece on that is lost is had from the origin where that is possible ([`super::rest`]), else it breaks the
//! transfer, as an origin does that breaks off. Each piece is checked before a byte of it is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use headland_cache::disk::{DiskBody, DiskTier, NoPiece, Patience};
use headland_cache::{Body, Broken, CacheKey};
use tokio::sync::oneshot;

use super::rest::Rest;
use super::waiting;
use crate::connection::content::Piece;
use crate::pipe;

/// A part of a body, or all of it.
pub struct DiskReader {
    disk: Arc<DiskTier>,
    key: CacheKey,
    body: Arc<DiskBody>,
    at: u64,
    end: u64,
    /// The first piece, which was waited for before the answer began.
    first: Option<Bytes>,
    /// The piece that is being read by another thread.
    ahead: Option<(u64, oneshot::Receiver<Result<Bytes, NoPiece>>)>,
    /// The page cache has not had a piece.
    is_cold: bool,
    keeping: Option<Keeping>,
    /// Where the rest comes from when a piece is lost, and then that.
    rest: Option<Rest>,
    elsewhere: Option<pipe::Reader>,
}

/// A body that goes into memory when all of it was read.
struct Keeping {
    pieces: Vec<Bytes>,
    keep: Box<dyn FnOnce(Body) + Send>,
}

impl DiskReader {
    /// Reads from `at` up to, not including, `end`.
    pub fn new(disk: Arc<DiskTier>, key: CacheKey, body: Arc<DiskBody>, at: u64, end: u64) -> Self {
        let (first, ahead, keeping, rest, elsewhere) = (None, None, None, None, None);
        DiskReader { disk, key, body, at, end, first, ahead, is_cold: false, keeping, rest, elsewhere }
    }

    /// What is lost after the beginning comes from there.
    #[must_use]
    pub fn continued_by(mut self, rest: Option<Rest>) -> Self {
        self.rest = rest;
        self
    }

    /// Hands over the body when it has come to its end; only where all of it is read.
    #[must_use]
    pub fn keeping(mut self, keep: impl FnOnce(Body) + Send + 'static) -> Self {
        if self.at == 0 && self.end == self.body.len() {
            self.keeping = Some(Keeping { pieces: Vec::new(), keep: Box::new(keep) });
        }
        self
    }

    /// Waits for the first piece; false when it is lost. So what is lost at once is a miss, and no broken transfer.
    pub async fn begin(&mut self) -> bool {
        let (number, _) = self.body.piece_of(self.at);
        self.first = std::future::poll_fn(|cx| self.poll_piece(number, cx)).await;
        self.first.is_some()
    }

    /// The next step. Not to be polled again after an end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        if let Some(elsewhere) = &mut self.elsewhere {
            return elsewhere.poll(cx);
        }
        if self.at >= self.end {
            if let Some(Keeping { pieces, keep }) = self.keeping.take() {
                keep(Body::gathered(&pieces));
            }
            return Poll::Ready(Piece::End);
        }
        let (number, inside) = self.body.piece_of(self.at);
        let whole = match self.poll_piece(number, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return self.poll_rest(cx),
            Poll::Ready(Some(whole)) => whole,
        };
        let last = whole.len().min(inside + (self.end - self.at) as usize);
        let wanted = whole.slice(inside..last);
        self.at += wanted.len() as u64;
        if let Some(keeping) = &mut self.keeping {
            keeping.pieces.push(whole);
        }
        if self.is_cold && self.at < self.end {
            self.read_ahead(number + 1);
        }
        Poll::Ready(Piece::Data(wanted))
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        self.keeping = None;
        let Some(rest) = self.rest.take() else { return Poll::Ready(Piece::Broken(Broken::INCOMPLETE)) };
        self.elsewhere.insert(rest(self.at, self.end)).poll(cx)
    }

    /// A piece; none when it is lost.
    fn poll_piece(&mut self, number: u64, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if self.ahead.is_none() {
            match self.body.piece(number, Patience::None) {
                Ok(whole) => return Poll::Ready(Some(whole)),
                Err(NoPiece::Lost) => return Poll::Ready(None),
                Err(NoPiece::Waits) => {
                    self.is_cold = true;
                    self.read_ahead(number);
                }
            }
        }
        let Some((ahead, result)) = &mut self.ahead else { return Poll::Ready(None) };
        debug_assert_eq!(*ahead, number, "pieces are read in turn");
        let polled = Pin::new(result).poll(cx);
        if polled.is_ready() {
            self.ahead = None;
        }
        polled.map(|read| read.ok()?.ok())
    }

    fn read_ahead(&mut self, number: u64) {
        let body = self.body.clone();
        let read = move || body.piece(number, Patience::Waits);
        self.ahead = waiting::submit(&self.disk, self.key.as_ref(), true, read).map(|result| (number, result));
    }
}
