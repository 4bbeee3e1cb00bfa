//! A body that is coded for one client, handed over piece by piece: the coder waits until the last one was taken.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::workshop::{Done, Sink};
use crate::connection::content::Piece;

/// Pieces that wait to be taken.
const PIECES_MAX: usize = 2;

/// The client's end.
pub struct Reader {
    pieces: mpsc::Receiver<Piece>,
}

/// The coder's end.
#[derive(Clone)]
pub struct Sender {
    pieces: mpsc::Sender<Piece>,
}

/// Both ends.
pub fn channel() -> (Sender, Reader) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    (Sender { pieces: sender }, Reader { pieces: receiver })
}

impl Reader {
    /// The next piece. A coder that went away without an end has broken the body.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        self.pieces.poll_recv(cx).map(|piece| piece.unwrap_or(Piece::Broken))
    }
}

impl Sender {
    /// Ready when the client has left.
    pub async fn is_unwanted(&self) {
        self.pieces.closed().await;
    }

    /// Sends the end.
    pub async fn end(&self, done: Done) {
        let last = match done {
            Done::Whole { last, trailers } => {
                // A client that has left needs no end.
                if !last.is_empty() && self.pieces.send(Piece::Data(last.into())).await.is_err() {
                    return;
                }
                trailers.map_or(Piece::End, Piece::Trailers)
            }
            Done::Broken(_) | Done::Unwanted => Piece::Broken,
        };
        drop(self.pieces.send(last).await);
    }
}

impl Sink for Sender {
    async fn put(&mut self, data: Vec<u8>) -> bool {
        self.pieces.send(Piece::Data(Bytes::from(data))).await.is_ok()
    }
}
