//! A body that is coded for one client goes into its pipe.

use bytes::Bytes;
use headland_cache::Broken;

use super::workshop::{Done, Sink};
use crate::connection::content::Piece;
use crate::pipe::Sender;

/// Sends the end.
pub async fn end(pipe: &Sender, done: Done) {
    let last = match done {
        Done::Whole { last, trailers } => {
            // A client that has left needs no end.
            if !last.is_empty() && !pipe.send(Piece::Data(last.into())).await {
                return;
            }
            trailers.map_or(Piece::End, Piece::Trailers)
        }
        Done::Broken(broken) => Piece::Broken(broken),
        Done::Unwanted => Piece::Broken(Broken::ABANDONED),
    };
    pipe.send(last).await;
}

impl Sink for Sender {
    async fn put(&mut self, data: Vec<u8>) -> bool {
        self.send(Piece::Data(Bytes::from(data))).await
    }
}
