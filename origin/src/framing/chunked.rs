//! Reading the chunked coding (RFC 9112 7.1), strictly.
//!
//! One state per place in the grammar; input may be cut anywhere. Sizes are at most 16 digits; every line ends in
//! CRLF; extensions are read by their grammar and dropped. A stranger can make framing cost more than data, so its
//! bytes are budgeted against the data of the body.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::trailer::TrailerSection;
use super::{FramingError, is_token_byte};
use crate::error::Excess;

/// Hexadecimal digits of a chunk size, leading zeros included: 64 bits.
pub const DIGITS_MAX: u8 = 16;
/// Bytes of chunk extensions in one body.
pub const EXTENSION_BYTES_MAX: u64 = 16 * 1024;
/// Bytes of chunk framing that any body may have.
pub const OVERHEAD_SLACK_BYTES: u64 = 64 * 1024;
/// Bytes of chunk framing allowed for each byte of data beyond the slack: a chunk of one byte costs five.
pub const OVERHEAD_PER_DATA: u64 = 2;

/// What one call of [`ChunkedDecoder::decode`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The input is used up; read more.
    More,
    /// Bytes of the body, never empty.
    Data(Bytes),
    /// The body is complete, with the trailer fields that may be passed on. What is left of the input is not of
    /// this message.
    End(Option<HeaderMap>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The digits of a chunk size.
    Size,
    Extension(Extension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// Within `*( BWS ";" BWS name [ BWS "=" BWS value ] )`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    /// After `;`.
    Start,
    Name,
    /// White space after a name.
    AfterName,
    /// After `=`.
    Value,
    Token,
    Quoted,
    QuotedPair,
    /// After the quotes of a value.
    After,
    /// White space after a value.
    AfterValue,
}

/// Where a chunked body ends, and what is in it.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    digits: u8,
    /// Of the size being read, then of the data still to come.
    left: u64,
    overhead: u64,
    extensions: u64,
    data: u64,
    trailers: TrailerSection,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedDecoder {
    pub fn new() -> Self {
        Self {
            state: State::Size,
            digits: 0,
            left: 0,
            overhead: 0,
            extensions: 0,
            data: 0,
            trailers: TrailerSection::default(),
        }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next piece of the body from the front of `input`. After an error the message is lost.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Step, FramingError> {
        loop {
            match self.state {
                State::Data if self.left > 0 => return Ok(self.data(input)),
                State::Data => self.state = State::DataCr,
                State::Trailers => return self.end(input),
                State::Done => return Ok(Step::End(None)),
                _ if input.is_empty() => return Ok(Step::More),
                _ => self.framing(input)?,
            }
        }
    }

    fn data(&mut self, input: &mut BytesMut) -> Step {
        if input.is_empty() {
            return Step::More;
        }
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        self.left -= n as u64;
        self.data = self.data.saturating_add(n as u64);
        Step::Data(input.split_to(n).freeze())
    }

    fn end(&mut self, input: &mut BytesMut) -> Result<Step, FramingError> {
        if !self.trailers.take(input)? {
            return Ok(Step::More);
        }
        self.state = State::Done;
        Ok(Step::End(self.trailers.fields()?))
    }

    /// Reads framing bytes until data or the trailers begin, or the input ends.
    fn framing(&mut self, input: &mut BytesMut) -> Result<(), FramingError> {
        let mut used = 0;
        let mut result = Ok(());
        for &byte in input.iter() {
            used += 1;
            result = self.step(byte);
            if result.is_err() || matches!(self.state, State::Data | State::Trailers) {
                break;
            }
        }
        let _ = input.split_to(used);
        self.overhead += used as u64;
        if self.overhead > OVERHEAD_SLACK_BYTES.saturating_add(self.data.saturating_mul(OVERHEAD_PER_DATA)) {
            return Err(FramingError::TooLarge(Excess::Framing));
        }
        result
    }

    fn step(&mut self, byte: u8) -> Result<(), FramingError> {
        self.state = match (self.state, byte) {
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, b';') if self.digits > 0 => State::Extension(Extension::Start),
            (State::Size, _) => return self.digit(byte),
            (State::Extension(place), _) => {
                self.extensions += 1;
                if self.extensions > EXTENSION_BYTES_MAX {
                    return Err(FramingError::TooLarge(Excess::Framing));
                }
                extension(place, byte).ok_or(FramingError::Malformed("chunk extension"))?
            }
            (State::SizeLf, b'\n') if self.left == 0 => State::Trailers,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.digits = 0;
                State::Size
            }
            (State::SizeLf, _) => return Err(FramingError::Malformed("bare CR in a chunk size line")),
            _ => return Err(FramingError::Malformed("chunk data not ended by CRLF")),
        };
        Ok(())
    }

    /// `1*HEXDIG`: no sign, no prefix, no space.
    fn digit(&mut self, byte: u8) -> Result<(), FramingError> {
        let digit = (byte as char).to_digit(16).ok_or(FramingError::Malformed("chunk size is not hexadecimal"))?;
        if self.digits == DIGITS_MAX {
            return Err(FramingError::Malformed("chunk size of more than 16 digits"));
        }
        self.digits += 1;
        // Before the first digit the last chunk's data is through, so `left` is 0.
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }
}

/// The state after one more byte of a chunk extension, or none if the grammar has no such byte there.
fn extension(place: Extension, byte: u8) -> Option<State> {
    use Extension as E;
    let next = match (place, byte) {
        (E::Name | E::Token | E::After, b'\r') => return Some(State::SizeLf),
        (E::Name | E::AfterName | E::Token | E::After | E::AfterValue, b';') => E::Start,
        (E::Name | E::AfterName, b'=') => E::Value,
        (E::Start | E::Value | E::AfterName | E::AfterValue, b' ' | b'\t') => place,
        (E::Name, b' ' | b'\t') => E::AfterName,
        (E::Token | E::After, b' ' | b'\t') => E::AfterValue,
        (E::Start | E::Name, _) if is_token_byte(byte) => E::Name,
        (E::Value | E::Token, _) if is_token_byte(byte) => E::Token,
        (E::Quoted, b'"') => E::After,
        (E::Quoted, b'\\') => E::QuotedPair,
        (E::Value, b'"') | (E::Quoted | E::QuotedPair, b'\t' | b' '..=b'~' | 0x80..) => E::Quoted,
        _ => return None,
    };
    Some(State::Extension(next))
}

#[cfg(test)]
mod tests;
