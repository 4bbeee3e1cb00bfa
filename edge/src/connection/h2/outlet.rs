//! Content over HTTP/2, as fast as the client takes it.

use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use h2::{Reason, SendStream};

use crate::connection::content::{Piece, Source};
use crate::connection::deadline::Deadline;
use crate::connection::exchange::Sent;

/// The sending half of one stream.
pub(super) struct Outlet {
    stream: SendStream<Bytes>,
    stall: Duration,
    deadline: Deadline,
}

impl Outlet {
    /// A client that takes nothing for `stall` loses its stream.
    pub(super) fn new(stream: SendStream<Bytes>, stall: Duration) -> Self {
        Outlet { stream, stall, deadline: Deadline::default() }
    }

    /// True when everything was sent and it was as long as announced. Otherwise the stream is reset, so that what is
    /// short never looks whole.
    pub(super) async fn send_all(&mut self, mut source: Source, announced: Option<u64>, sent: &mut Sent) -> bool {
        let whole = loop {
            let piece = std::future::poll_fn(|cx| match self.stream.poll_reset(cx) {
                Poll::Ready(_) => Poll::Ready(None),
                Poll::Pending => source.poll(cx).map(Some),
            })
            .await;
            let Some(piece) = piece else { break false };
            match piece {
                Piece::Data(data) => {
                    sent.bytes += data.len() as u64;
                    if !self.send(data).await {
                        break false;
                    }
                }
                Piece::Broken(broken) => {
                    sent.broken = Some(broken);
                    break false;
                }
                Piece::End | Piece::Trailers(_) if announced.is_some_and(|announced| announced != sent.bytes) => {
                    break false;
                }
                Piece::Trailers(trailers) => break self.stream.send_trailers(trailers).is_ok(),
                Piece::End => break self.stream.send_data(Bytes::new(), true).is_ok(),
            }
        };
        if !whole {
            self.stream.send_reset(Reason::INTERNAL_ERROR);
        }
        whole
    }

    /// Sends one piece as the client's windows open; false when it is reset, or stalls for too long.
    async fn send(&mut self, mut data: Bytes) -> bool {
        while data.has_remaining() {
            self.stream.reserve_capacity(data.len());
            self.deadline.set(Instant::now(), self.stall);
            let room = std::future::poll_fn(|cx| match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => Poll::Ready(Some(room)),
                Poll::Ready(_) => Poll::Ready(None),
                Poll::Pending => self.deadline.poll(cx).map(|()| None),
            })
            .await;
            let Some(room) = room else { return false };
            let part = data.split_to(room.min(data.len()));
            if !part.is_empty() && self.stream.send_data(part, false).is_err() {
                return false;
            }
        }
        true
    }
}
