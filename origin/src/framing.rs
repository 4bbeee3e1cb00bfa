//! HTTP/1.1 message framing (RFC 9112 6 and 7): where a body ends. Pure, and shared by both sides of the node.
//!
//! Strict in what it takes, since two parsers that read one message differently are how requests are smuggled:
//! only CRLF ends a line, digits are digits, sizes are capped, and a transfer coding other than `chunked` alone is
//! refused. It allocates nothing but a trailer section, and hands out body bytes as slices of the input.

use std::fmt;

use crate::error::{Excess, Fault};

mod chunked;
mod encode;
mod length;
mod trailer;
mod words;

pub use chunked::{ChunkedDecoder, DIGITS_MAX, EXTENSION_BYTES_MAX, OVERHEAD_PER_DATA, OVERHEAD_SLACK_BYTES, Step};
pub use encode::{CHUNK_END, ChunkSize, LAST_CHUNK, encode_last_chunk};
pub use length::{TransferEncoding, content_length, parse_length, transfer_encoding};
pub use trailer::{TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX, may_trail, only_trailing};
pub use words::{is_field_value, is_token_byte, is_value_byte, token_end, trim_ows};

/// A message whose framing cannot be trusted. Nothing after it on the connection can be read either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// The reason names the rule that was broken.
    Malformed(&'static str),
    TooLarge(Excess),
}

impl FramingError {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed(reason) => reason,
            Self::TooLarge(_) => "framing larger than its bound",
        }
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for FramingError {}

impl From<FramingError> for Fault {
    fn from(error: FramingError) -> Self {
        match error {
            FramingError::Malformed(reason) => Self::Malformed(reason),
            FramingError::TooLarge(excess) => Self::TooLarge(excess),
        }
    }
}
