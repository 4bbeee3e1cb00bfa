//! The content of an answer, piece by piece, wherever it comes from.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use headland_cache::{Broken, FillReader};
use headland_origin::ResponseBody;
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::answer::Content;
use crate::fetching;
use crate::pipe::Reader;
use crate::tier::stream::DiskReader;

/// Content that is read to its end.
pub enum Source {
    /// It is all here, in shared pieces.
    Here(VecDeque<Bytes>),
    Fill(FillReader),
    Origin(ResponseBody),
    Piped(Reader),
    Disk(Box<DiskReader>),
}

/// One step of content.
#[derive(Debug)]
pub enum Piece {
    Data(Bytes),
    /// The end, with trailers.
    Trailers(HeaderMap),
    End,
    /// It will never be whole, and why.
    Broken(Broken),
}

impl Source {
    /// A tunnel has no content: it is carried by [`crate::tunnel`].
    pub fn of(content: Content) -> Self {
        match content {
            Content::Empty | Content::Tunnel(_) => Source::Here(VecDeque::new()),
            Content::Text(text) => Source::Here([text].into()),
            Content::Stored(body, range) => Source::Here(body.slice(range).collect()),
            Content::Parts(pieces) => Source::Here(pieces.into()),
            Content::Fill(reader) => Source::Fill(reader),
            Content::Origin(body) => Source::Origin(body),
            Content::Piped(reader) => Source::Piped(reader),
            Content::Disk(reader) => Source::Disk(reader),
        }
    }

    /// The next step. Not to be polled again after an end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        match self {
            Source::Here(pieces) => Poll::Ready(pieces.pop_front().map_or(Piece::End, Piece::Data)),
            Source::Fill(reader) => Pin::new(reader).poll_frame(cx).map(|frame| piece(frame, |broken| broken)),
            Source::Origin(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| piece(frame, |error| fetching::broken(&error)))
            }
            Source::Piped(reader) => reader.poll(cx),
            Source::Disk(reader) => reader.poll(cx),
        }
    }
}

fn piece<E>(frame: Option<Result<Frame<Bytes>, E>>, why: impl FnOnce(E) -> Broken) -> Piece {
    match frame.map(|frame| frame.map(Frame::into_data)) {
        None => Piece::End,
        Some(Ok(Ok(data))) => Piece::Data(data),
        Some(Ok(Err(frame))) => frame.into_trailers().map_or(Piece::End, Piece::Trailers),
        Some(Err(error)) => Piece::Broken(why(error)),
    }
}
