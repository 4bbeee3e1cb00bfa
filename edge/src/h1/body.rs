//! Reading a request body: pieces of data as slices of the read buffer, then the trailers that may pass, then the end.
//!
//! Invariant: not one byte beyond the body leaves the buffer, so what is left is the next request. The bounds on
//! chunk framing (Z2) and trailers are the shared decoder's; the bound on data is counted here.

use bytes::{Bytes, BytesMut};
use headland_origin::error::Excess;
use headland_origin::framing::{ChunkedDecoder, FramingError, Step};
use http::HeaderMap;

use super::encode::is_trailer;
use super::framing::BodyFraming;
use super::refuse::{Reason, Refusal};

/// What the next step into a body found.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body; never empty.
    Data(Bytes),
    /// The trailer fields that may be passed on; never empty; the end follows.
    Trailers(HeaderMap),
    /// The buffer is used up; read more.
    NeedMore,
    /// The body is complete.
    End,
}

/// One request body being read.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// Bytes of data that may still come before the body is too large.
    allowed: u64,
}

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    Done,
}

impl BodyDecoder {
    /// A decoder for a body of at most `bytes_max` bytes. (The head's parser has compared a Content-Length already.)
    pub fn new(framing: BodyFraming, bytes_max: u64) -> Self {
        let state = match framing {
            BodyFraming::Empty | BodyFraming::Length(0) => State::Done,
            BodyFraming::Length(length) => State::Length(length),
            BodyFraming::Chunked => State::Chunked(Box::new(ChunkedDecoder::new())),
        };
        Self { state, allowed: bytes_max }
    }

    /// Whether the whole body was taken.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Bytes still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Chunked(_) => None,
            State::Done => Some(0),
        }
    }

    /// Takes the next piece off the front of the buffer. After a refusal nothing on the connection can be read.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, Refusal> {
        match &mut self.state {
            State::Done => Ok(Piece::End),
            State::Length(_) if buffer.is_empty() => Ok(Piece::NeedMore),
            State::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                self.allow(buffer.split_to(taken).freeze())
            }
            State::Chunked(decoder) => match decoder.decode(buffer).map_err(reason)? {
                Step::More => Ok(Piece::NeedMore),
                Step::Data(data) => self.allow(data),
                Step::End(trailers) => {
                    self.state = State::Done;
                    Ok(trailers.as_ref().and_then(passable).map_or(Piece::End, Piece::Trailers))
                }
            },
        }
    }

    fn allow(&mut self, data: Bytes) -> Result<Piece, Refusal> {
        self.allowed = self.allowed.checked_sub(data.len() as u64).ok_or(Reason::BodyTooLarge)?;
        Ok(Piece::Data(data))
    }
}

/// The trailers that may be passed on, if any (RFC 9110 6.5.1).
fn passable(trailers: &HeaderMap) -> Option<HeaderMap> {
    let mut passed = HeaderMap::new();
    for (name, value) in trailers.iter().filter(|(name, _)| is_trailer(name)) {
        passed.append(name.clone(), value.clone());
    }
    (!passed.is_empty()).then_some(passed)
}

fn reason(error: FramingError) -> Reason {
    match error {
        FramingError::TooLarge(Excess::Trailers) => Reason::TrailerTooLarge,
        FramingError::TooLarge(_) => Reason::ChunkOverhead,
        FramingError::Malformed(_) => Reason::BadChunk,
    }
}

#[cfg(test)]
mod tests;
