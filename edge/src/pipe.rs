//! Content that a task makes for one client, handed over piece by piece: the task waits until the last one was taken.

use std::task::{Context, Poll};

use headland_cache::Broken;
use tokio::sync::mpsc;

use crate::connection::content::Piece;

/// Pieces that wait to be taken.
const PIECES_MAX: usize = 2;

/// The client's end.
pub struct Reader {
    pieces: mpsc::Receiver<Piece>,
}

/// The maker's end.
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
    /// The next piece. A maker that went away without an end has broken the content.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        self.pieces.poll_recv(cx).map(|piece| piece.unwrap_or(Piece::Broken(Broken::ABANDONED)))
    }

    pub async fn next(&mut self) -> Piece {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}

impl Sender {
    /// Hands over a piece; false when the client has left.
    pub async fn send(&self, piece: Piece) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// Ready when the client has left.
    pub async fn is_unwanted(&self) {
        self.pieces.closed().await;
    }
}
